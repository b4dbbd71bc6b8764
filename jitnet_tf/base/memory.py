"""Memory that the C library holds back."""

import ctypes
import functools


@functools.cache
def _malloc_trim():
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # not glibc; Windows has no library None
        return None


def give_back():
    """Returns freed memory to the system, where the C library is glibc; takes milliseconds.

    glibc keeps what threads have freed, in pieces: the memory of a long run would seem to grow by
    tens of megabytes.
    """
    if trim := _malloc_trim():
        trim(0)

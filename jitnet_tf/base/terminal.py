"""Standard output and error that never end a command: closed, or without some characters."""

import contextlib
import errno
import os
import sys

# The reader has gone: `… | head -1`, a closed terminal, or `>&-`.
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


class _Stream:
    """A standard stream; after an error of its file, what is written is dropped.

    Attributes:
      error: the OSError of a full disk or the like; None where the reader has gone.
    """

    def __init__(self, stream):
        self._stream = stream
        self.error = None
        with contextlib.suppress(AttributeError, ValueError):  # a stream of another kind
            # As \xd7, in encodings that lack a character.
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        """Writes a text."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self):
        """Hands the text so far to the system."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error):
        if error.errno not in _GONE:
            self.error = self.error or error
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            # The stream keeps what it could not write, and would try again when Python ends.
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def safe_output():
    """Makes standard output and error safe in the block; yields the output stream."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    if sys.stderr is None:  # closed at the start
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stdout, sys.stderr = _Stream(sys.stdout), _Stream(sys.stderr)
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _fill_descriptors():
    """Opens what is closed of 0, 1 and 2: another file would get its number, and its messages."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)

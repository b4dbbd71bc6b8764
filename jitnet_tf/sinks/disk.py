"""Files that outlive a full disk, and its errors, for sinks."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jitnet_tf.base.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class AppendedFile:
    """A file that blocks are appended to, each of them wholly or, after an error, not at all."""

    def __init__(self, path: str | os.PathLike):
        self._path = Path(path)
        with disk_errors_as_user_errors(self._path):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def append(self, block: bytes) -> None:
        """Hands a block to the operating system. UserError if it refuses."""
        with disk_errors_as_user_errors(self._path):
            size = os.fstat(self._file.fileno()).st_size
            rest = memoryview(block)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(size)
                raise

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def is_full(error: BaseException) -> bool:
    """Returns whether an error, or what caused it, is that of a full disk or quota."""
    return any(getattr(one, "errno", None) in _FULL for one in (error, error.__cause__))


def make_writable(folder: Path) -> None:
    """Creates the folder, and finds out by writing whether it can be written."""
    with disk_errors_as_user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextlib.contextmanager
def disk_errors_as_user_errors(path: Path) -> Iterator[None]:
    """Turns what the system refuses (permission, a full disk) into a UserError."""
    try:
        yield
    except OSError as error:  # PyAV's errors of this kind are OSErrors as well
        reason = error.strerror or error
        raise UserError(
            f"{path} cannot be written ({reason}): check the path, its permissions and free space"
        ) from error

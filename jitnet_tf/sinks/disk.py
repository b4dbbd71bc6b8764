"""Errors of the disk, for sinks."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jitnet_tf.base.errors import UserError


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

"""A folder of exported models as TensorFlow Serving watches it: versions 1, 2, …, each complete.

A version is written under a hidden name and renamed when it is complete; an old one is renamed
before it is deleted. So no name that is a number is ever half there.
"""

import contextlib
import os
import pathlib
import shutil

from jitnet_tf.base import files, locks
from jitnet_tf.base.errors import UserError

# In a version; the server passes over this folder. The other name is that of a TFLite model.
EXTRA = "assets.extra"
DESCRIPTION, TFLITE = "student.json", "student.tflite"
NEXT, OLD = ".next", ".old-"  # hidden names: the version that is written, those that are deleted


def numbers(folder):
    """Returns the versions in a folder, ascending; none if there is no folder."""
    folder = pathlib.Path(folder)
    names = os.listdir(folder) if folder.is_dir() else []
    found = (int(name) for name in names if name.isascii() and name.isdigit() and name[0] != "0")
    return sorted(found)


def describe(folder, number):
    """Returns the description of a version. ValueError or OSError if it is none of ours."""
    found = files.parse_json((folder / str(number) / EXTRA / DESCRIPTION).read_bytes())
    if not isinstance(found, dict):
        raise ValueError("no description")
    return found


def check(folder, description, overwrite):
    """Raises UserError if versions of a model may not be added to a folder.

    Args:
      folder: may be missing.
      description: of the model: those in the folder have to have the same values, since clients of
        a server take up the newest.
      overwrite: go on with another model.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise UserError(f"--export_dir={folder} is a file: name a folder")
        return
    known = numbers(folder)
    ours = {locks.NAME, NEXT, *map(str, known)}
    for name in sorted(os.listdir(folder)):
        if name not in ours and not name.startswith(OLD):
            raise UserError(
                f"--export_dir={folder} holds {name}, which is no version of an exported student: "
                "choose another folder"
            )
    for number in known:
        try:
            found = describe(folder, number)
        except (OSError, ValueError):
            raise UserError(
                f"--export_dir={folder} holds {number}, which no run has exported: choose another "
                "folder"
            ) from None
    if known and not overwrite:
        for name, value in description.items():
            if found.get(name) != value:
                raise UserError(
                    f"--export_dir={folder} holds students of another {name}, {found.get(name)}, "
                    f"not {value}: choose another folder, or give --overwrite to go on with "
                    f"{known[-1] + 1}"
                )


def begin(folder):
    """Deletes what a killed export has left; returns the path at which to write the next one."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    return folder / NEXT


def clean(folder):
    """Deletes what is no complete version."""
    folder = pathlib.Path(folder)
    for path in [folder / NEXT, *folder.glob(f"{OLD}*")]:
        shutil.rmtree(path, ignore_errors=True)


def commit(folder, keep):
    """Makes the version at `begin`'s path the newest, and deletes all but the newest `keep`.

    Returns its number. What was renamed survives a power cut.
    """
    folder = pathlib.Path(folder)
    for path in sorted((folder / NEXT).rglob("*"), reverse=True):
        _sync(path)
    _sync(folder / NEXT)
    number = max(numbers(folder), default=0) + 1
    os.rename(folder / NEXT, folder / str(number))
    for old in numbers(folder)[:-keep]:
        os.rename(folder / str(old), folder / f"{OLD}{old}")
    _sync(folder)
    clean(folder)
    return number


def _sync(path):
    """Hands a file or a folder to the disk, as far as the system can."""
    with contextlib.suppress(PermissionError):  # folders, on Windows
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

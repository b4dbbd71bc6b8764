"""Checkpoints: named arrays and JSON values in one .npz file, replaced atomically."""

import io
import json
import os
import pathlib
import zipfile

import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError

NAME = "checkpoint.npz"
WEIGHTS = "weights.npz"  # of a pretrained student, without the state of its training
# Files of a run that only grow; a checkpoint keeps their sizes.
GROWING = ("frames.jsonl", "frames-*Z-*.jsonl", "events.out.tfevents.*")
PROGRESS = "progress.json"


def save(directory, arrays, progress, name=NAME):
    """Writes a checkpoint.

    Args:
      directory: its folder, which exists.
      arrays: name → numpy array.
      progress: a dictionary of JSON values.
      name: of the file.

    Raises:
      OSError: it cannot be written; an earlier checkpoint stays.
    """
    packed = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    # In memory first: on a full disk, a ZipFile would complain once more when it is deleted.
    content = io.BytesIO()
    np.savez(content, **arrays, **{PROGRESS: packed})
    files.write_atomically(
        pathlib.Path(directory) / name, lambda file: file.write(content.getbuffer())
    )


def load(path):
    """Reads a checkpoint file, or the one of a run directory; returns (arrays, progress).

    Raises:
      UserError: it is missing, damaged or another kind of file.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / NAME
    if not path.is_file():
        raise UserError(f"{str(path)!r} does not exist: give a run directory or its {NAME}")
    try:
        # Opened here: numpy leaves damaged files open.
        with open(path, "rb") as opened:
            _check_not_a_bomb(opened)
            with np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        progress = files.parse_json(arrays.pop(PROGRESS).tobytes())
        if not isinstance(progress, dict):
            raise ValueError(f"no {PROGRESS}")
        return arrays, progress
    except Exception as error:  # numpy and zipfile raise many kinds, for one mistake of the user
        raise UserError(f"{str(path)!r} is not a checkpoint of jitnet_tf ({error})") from error


def _check_not_a_bomb(opened):
    """Raises ValueError if a ZIP file holds more than its size: `save` does not compress."""
    with zipfile.ZipFile(opened) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    if claimed > os.fstat(opened.fileno()).st_size:
        raise ValueError("it is compressed")
    opened.seek(0)


def growing_files(directory):
    """Returns the sizes in bytes of a run's growing files, by name. Flush them first."""
    directory = pathlib.Path(directory)
    paths = [path for pattern in GROWING for path in directory.glob(pattern)]
    return {path.name: path.stat().st_size for path in paths}


def cut_back(directory, sizes, may_be_missing=()):
    """Truncates the growing files to earlier sizes, and deletes those without one.

    Args:
      directory: the run's.
      sizes: a result of `growing_files`.
      may_be_missing: names of files that the run may have deleted since.

    Raises:
      UserError: another file is missing or too short: another program or a power cut changed it.
    """
    found = growing_files(directory)
    for name, size in sizes.items():
        if name in may_be_missing and name not in found:
            continue
        if found.get(name, -1) < size:
            raise UserError(
                f"{name} in {str(directory)!r} is missing or shorter than at the checkpoint: the "
                "run cannot be resumed; start it again with --overwrite"
            )
    for name in found:
        path = pathlib.Path(directory) / name
        if name in sizes:
            os.truncate(path, sizes[name])
        else:
            path.unlink()

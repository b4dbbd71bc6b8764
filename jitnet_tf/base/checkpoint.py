"""A run's whole state in one file, replaced atomically."""

import json
import os
import pathlib

import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError

NAME = "checkpoint.npz"
WEIGHTS = "weights.npz"  # a pretrained student alone, without what training goes on with
# Files of a run that only ever grow; a checkpoint remembers how far.
GROWING = ("frames.jsonl", "events.out.tfevents.*")
_PROGRESS = "progress.json"


def save(directory, arrays, progress, name=NAME):
    """Saves a student's state and where the run stands.

    arrays: name → numpy array. progress: anything that JSON holds.
    """
    packed = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    files.write_atomically(
        pathlib.Path(directory) / name,
        lambda file: np.savez(file, **arrays, **{_PROGRESS: packed}),
    )


def load(path):
    """Reads a checkpoint file, or that of a run directory: (arrays, progress).

    Raises:
      UserError: there is none, or the file is something else or damaged.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / NAME
    if not path.is_file():
        raise UserError(f"{str(path)!r} does not exist: give a run directory or its {NAME}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(arrays.pop(_PROGRESS).tobytes())
    except Exception as error:  # numpy and zipfile raise many kinds, for one user-visible fact
        raise UserError(f"{str(path)!r} is not a checkpoint of jitnet_tf ({error})") from error


def growing_files(directory):
    """The run's growing files: name → size in bytes. Take it when they are flushed."""
    directory = pathlib.Path(directory)
    paths = [path for pattern in GROWING for path in directory.glob(pattern)]
    return {path.name: path.stat().st_size for path in paths}


def cut_back(directory, sizes):
    """Takes the growing files back to sizes once told by `growing_files`; drops later ones.

    Raises:
      UserError: one is missing or shorter, which only other programs and power cuts do.
    """
    found = growing_files(directory)
    for name, size in sizes.items():
        if found.get(name, -1) < size:
            raise UserError(
                f"{name} in {str(directory)!r} is not what it was at the checkpoint: the run "
                "cannot go on; give --overwrite to start it again"
            )
    for name in found:
        path = pathlib.Path(directory) / name
        if name in sizes:
            os.truncate(path, sizes[name])
        else:
            path.unlink()

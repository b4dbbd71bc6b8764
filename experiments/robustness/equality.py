"""A comparison of the files of two runs, but for times and places."""

import json
import pathlib

import av
import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from jitnet_tf.base import checkpoint
from jitnet_tf.runs import directory
from jitnet_tf.sinks.frame_log import FRAME_LOG

MASKS = "masks"
OVERLAY = "overlay.mp4"
# Names of scalars and arrays, and of figures in summary.json, that measure time.
TIMES = ("ms/", "cost/", "final/fps", "final/processing_fps", "final/speedup")
TIMES_OF_ARRAYS = "sinks/tensorboard/window/ms/"
TIMES_OF_SUMMARY = ("seconds", "fps", "processing_fps", "speedup")
TIMES_OF_STATISTICS = ("seconds", "wall_seconds")
PLACES = ("configuration", "_hparams_/")  # in TensorBoard: they name the run's folder


def differences(one, other):
    """Returns the parts in which two run directories differ, a line each.

    Both have masks in `MASKS` and the overlay as `OVERLAY`.
    """
    found = []
    for what, read in (
        ("frames.jsonl", _rows),
        ("checkpoint", _arrays),
        ("progress in the checkpoint", _progress),
        ("masks", _masks),
        ("overlay", _frames),
        ("TensorBoard", _points),
        ("summary.json", _summary),
    ):
        values = read(pathlib.Path(one)), read(pathlib.Path(other))
        if values[0] != values[1]:
            found.append(f"{what}: {_first_difference(*values)}")
    return found


def same_bytes(one, other):
    """Returns whether the overlays of two run directories are the same file."""
    overlays = [pathlib.Path(folder, OVERLAY).read_bytes() for folder in (one, other)]
    return overlays[0] == overlays[1]


def _first_difference(one, other):
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    first = names[0]
    values = [str(side.get(first, "missing"))[:80] for side in (one, other)]
    return f"{len(names)} differ, the first at {first}: {values[0]} and {values[1]}"


def _rows(folder):
    lines = (folder / FRAME_LOG).read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {
        number: {name: value for name, value in row.items() if name != "ms"}
        for number, row in enumerate(rows)
    }


def _arrays(folder):
    arrays, _ = checkpoint.load(folder)
    return {
        name: (str(array.dtype), array.shape, array.tobytes())
        for name, array in arrays.items()
        if not name.startswith(TIMES_OF_ARRAYS)
    }


def _progress(folder):
    _, progress = checkpoint.load(folder)
    sizes = progress.pop("file_sizes")
    for name in TIMES_OF_STATISTICS:
        progress["statistics"].pop(name)
    # The frame log has milliseconds of varying length, but the checkpoint has to know all of it.
    return {**progress, FRAME_LOG: sizes[FRAME_LOG] == (folder / FRAME_LOG).stat().st_size}


def _masks(folder):
    return {path.name: path.read_bytes() for path in (folder / MASKS).iterdir()}


def _frames(folder):
    frames = {}
    try:
        with av.open(str(folder / OVERLAY)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                time = float(frame.pts * frame.time_base)
                frames[number] = (time, frame.to_ndarray().tobytes())
    except av.FFmpegError as error:  # which differs from any whole video
        frames["end"] = str(error)
    return frames


def _points(folder):
    """Returns (name, step) → values; more than one if a point is there twice."""
    points = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if not value.tag.startswith((*TIMES, *PLACES)):
                    array = np.asarray(tensor_util.make_ndarray(value.tensor))
                    points.setdefault((value.tag, event.step), []).append(array.tolist())
    return points


def _summary(folder):
    summary = json.loads((folder / directory.SUMMARY).read_text("utf-8"))
    return {name: value for name, value in summary.items() if name not in TIMES_OF_SUMMARY}

"""Where a run's results go, besides TensorBoard: overlay video, class masks, frame log."""

import json
import pathlib
from typing import Protocol

import numpy as np

from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.distiller import FrameResult
from jitnet_tf.sinks.overlay import Status

FRAME_LOG = "frames.jsonl"
# What the overlay keeps in a checkpoint: its latest teacher frame, labels, index and accuracies.
OVERLAY_STATE = "overlay/"
STATE_NAMES = ("frame", "labels", "status")


class Sink(Protocol):
    """Anything that a run's results go to, in the order of the frames."""

    def add(self, result: FrameResult) -> None:
        """Takes the next frame's result."""

    def flush(self) -> None:
        """Makes what came so far durable: a checkpoint is about to be written."""

    def get_state(self) -> dict[str, np.ndarray]:
        """What that checkpoint has to hold for it, besides what is in its own files."""

    def finish(self, complete: bool) -> None:
        """Ends it, after the last result. complete: whether the run came to its end."""


class FrameLog:
    """Writes one JSON object a frame to frames.jsonl. Everything but "ms" is reproducible."""

    def __init__(self, logdir):
        path = pathlib.Path(logdir) / FRAME_LOG
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def add(self, result):
        """Logs one FrameResult."""
        row = {
            "frame": result.index,
            "teacher": result.is_teacher_frame,
            "stride": result.stride,
            "updates": result.updates,
        }
        if result.is_teacher_frame:
            row["accuracy_before"] = round(result.accuracy_before, 6)
            row["accuracy_after"] = round(result.accuracy_after, 6)
            row["losses"] = [round(loss, 6) for loss in result.losses]
        if result.staleness:
            row["teacher_frame"] = result.teacher_index
            row["staleness"] = result.staleness
        if result.reference_confusion is not None:
            row["iou"] = round(metrics.mean_iou(result.reference_confusion), 6)
        row["ms"] = {stage: round(1000 * s, 2) for stage, s in result.seconds.items()}
        self._file.write(json.dumps(row) + "\n")

    def flush(self):
        """Hands everything so far to the operating system."""
        self._file.flush()

    def get_state(self):
        """Nothing: a resumed run appends."""
        return {}

    def finish(self, complete):
        """Closes the file."""
        self._file.close()


class OverlayVideo:
    """Writes frame | student | latest teacher label as an H.264 video.

    Args:
      writer: a VideoWriter.
      overlay: an Overlay.
      statistics: the run's Statistics, for the status line.
      latest: arrays of `get_state` of an earlier part of the run, or none.
    """

    def __init__(self, writer, overlay, statistics, latest):
        self._writer = writer
        self._overlay = overlay
        self._statistics = statistics
        self._teacher = self._accuracy = None
        frame, labels, status = (latest.get(OVERLAY_STATE + name) for name in STATE_NAMES)
        if frame is not None:
            index, *accuracy = status.tolist()
            self._teacher = (frame, labels, int(index))
            self._accuracy = tuple(accuracy)

    def add(self, result):
        """Draws and writes one FrameResult."""
        if result.is_teacher_frame:
            self._teacher = (result.teacher_frame, result.labels, result.teacher_index)
            self._accuracy = (result.accuracy_before, result.accuracy_after)
        status = Status(
            result.index,
            result.stride,
            self._accuracy,
            self._statistics.teacher_fraction,
            self._statistics.updates,
        )
        picture = self._overlay.draw(result.frame, result.prediction, self._teacher, status)
        self._writer.write(picture)

    def flush(self):
        """Ends a part of the video, which then outlives a crash."""
        self._writer.cut()

    def get_state(self):
        """The latest teacher frame, as named arrays."""
        if self._teacher is None:
            return {}
        frame, labels, index = self._teacher
        arrays = (frame, labels, np.array([index, *self._accuracy], np.float64))
        return {OVERLAY_STATE + name: a for name, a in zip(STATE_NAMES, arrays, strict=True)}

    def finish(self, complete):
        """Joins the parts to the video; a resumed run takes it apart again."""
        self._writer.finish()


class ClassMasks:
    """Writes each prediction as a PNG of class ids. writer: a MaskWriter."""

    def __init__(self, writer):
        self._writer = writer

    def add(self, result):
        """Writes one FrameResult's prediction."""
        self._writer.write(result.index, result.prediction)

    def flush(self):
        """Nothing: each mask is a file of its own."""

    def get_state(self):
        """Nothing."""
        return {}

    def finish(self, complete):
        """Nothing."""

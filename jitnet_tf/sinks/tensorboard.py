"""A run's TensorBoard events."""

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from jitnet_tf.config import ASYNC, SYNC
from jitnet_tf.distillation import metrics

# Scalars that need every frame are averaged over this many: a curve a person can read.
AVERAGED_FRAMES = 20
# Stages of a teacher frame, of which each has a point, when the teacher is synchronous. Otherwise
# only the teacher's time is of one frame; the others lie on several, and are averaged.
BY_LESSON = {SYNC: ("teacher", "labels", "update"), ASYNC: ("teacher",)}
# What does not bear on the figures has no place in a table that compares runs.
NO_HPARAMS = {"logdir", "output", "masks", "reference", "checkpoint_every", "image_every"}


class TensorBoard:
    """Writes a run's curves, images and configuration for TensorBoard.

    Args:
      logdir: the run directory.
      class_names: background first.
      statistics: the run's Statistics, read for the running figures.
      configuration: name → value, shown as text and as HParams.
      overlay: an Overlay, which draws the pictures.
      image_every: least distance of two pictures in frames.
      resumed: whether the events of an earlier part of the run are there.
    """

    def __init__(
        self, logdir, class_names, statistics, configuration, overlay, image_every, resumed
    ):
        self._writer = tf.summary.create_file_writer(str(logdir))
        self._names = class_names
        self._statistics = statistics
        self._overlay = overlay
        self._image_every = image_every
        self._next_image = 0
        self._clear_window()
        if not resumed:
            rows = [f"| {name} | {value} |" for name, value in configuration.items()]
            with self._writer.as_default(step=0):
                tf.summary.text("configuration", "\n".join(["| flag | value |", "|-|-|", *rows]))
                hparams.hparams(
                    {
                        name: _plain(value)
                        for name, value in configuration.items()
                        if name not in NO_HPARAMS
                    }
                )

    def _clear_window(self):
        self._window = {}
        self._window_frames = 0

    def add(self, result):
        """Logs one FrameResult."""
        with self._writer.as_default(step=result.index):
            if result.is_teacher_frame:
                self._add_teacher_frame(result)
            self._average(result)
            if result.is_teacher_frame and result.index >= self._next_image:
                triptych = self._overlay.triptych(
                    result.teacher_frame, result.teacher_prediction, result.labels
                )
                tf.summary.image("frame, student, teacher", triptych[None])
                # Further apart on a long stream: pictures would fill the disk.
                distance = max(self._image_every, result.index // 20)
                self._next_image = result.index + distance

    def _add_teacher_frame(self, result):
        statistics = self._statistics
        tf.summary.scalar("accuracy/before update", result.accuracy_before)
        tf.summary.scalar("accuracy/after update", result.accuracy_after)
        if result.losses:
            tf.summary.scalar("loss/first update", result.losses[0])
            tf.summary.scalar("loss/last update", result.losses[-1])
        for name, iou in zip(self._names, metrics.class_iou(result.confusion), strict=True):
            if not np.isnan(iou):  # absent from both maps
                tf.summary.scalar(f"iou before update/{name}", iou)
        tf.summary.scalar("schedule/stride", result.stride)
        if statistics.asynchronous:
            tf.summary.scalar("schedule/staleness", result.staleness)
        tf.summary.scalar("schedule/updates", result.updates)
        tf.summary.scalar("schedule/updates in all", statistics.updates)
        tf.summary.scalar("schedule/teacher fraction", statistics.teacher_fraction)
        if statistics.speedup is not None:
            tf.summary.scalar("cost/speedup over the teacher", statistics.speedup)
        for stage in BY_LESSON[statistics.teacher_mode]:
            if stage in result.seconds:
                count = max(result.updates, 1) if stage == "update" else 1
                tf.summary.scalar(f"ms/{stage}", 1000 * result.seconds[stage] / count)

    def _average(self, result):
        values = {
            f"ms/{stage}": 1000 * seconds
            for stage, seconds in result.seconds.items()
            if stage not in BY_LESSON[self._statistics.teacher_mode]
        }
        if not self._statistics.asynchronous:  # where rehearsals are a stage of their own
            values["ms/infer"] /= 1 + result.updates
        if result.reference_confusion is not None:
            values["iou against reference/frame"] = metrics.mean_iou(result.reference_confusion)
        for name, value in values.items():
            self._window.setdefault(name, []).append(value)
        self._window_frames += 1
        if self._window_frames == AVERAGED_FRAMES:
            for name, values in self._window.items():
                tf.summary.scalar(name, sum(values) / len(values))
            if self._statistics.score and self._statistics.score.mean() is not None:
                tf.summary.scalar("iou against reference/stream", self._statistics.score.mean())
            self._clear_window()

    def flush(self):
        """Hands everything so far to the operating system."""
        self._writer.flush()

    def finish(self, complete):
        """Closes the event file, with the final figures of a complete run."""
        if complete:
            with self._writer.as_default(step=self._statistics.frames):
                for name, value in self._statistics.summary().items():
                    if isinstance(value, (int, float)):
                        tf.summary.scalar(f"final/{name}", value)
        self._writer.close()

    def get_state(self):
        """Nothing: a resumed run writes a further file."""
        return {}


def _plain(value):
    return value if isinstance(value, (bool, int, float, str)) else str(value)

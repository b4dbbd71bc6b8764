"""TensorBoard's event files."""

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from jitnet_tf.config import ASYNC, SYNC
from jitnet_tf.distillation import metrics
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.overlay import Overlay

# Scalars of every frame are averaged over this many, for curves that a person can read.
AVERAGED_FRAMES = 20
# Stages with a point for each teacher frame; the others are averaged over frames. With an
# asynchronous teacher, training on a teacher frame is spread over several frames.
BY_TEACHER_FRAME = {SYNC: ("teacher", "labels", "trial", "update"), ASYNC: ("teacher",)}
# Options that do not bear on the figures and have no place in a table that compares runs.
NO_HPARAMS = {"logdir", "output", "masks", "reference", "checkpoint_every", "image_every"}


class TensorBoard(Sink):
    """Writes a run's curves, pictures and configuration.

    Args:
      logdir: the run directory.
      class_names: background first.
      statistics: the run's Statistics, for the running figures.
      options: name → value, shown as text and as HParams; empty to show none.
      overlay: an Overlay, which draws the pictures.
      image_every: least distance of two pictures in frames.
    """

    name = "tensorboard"

    def __init__(self, logdir, class_names, statistics, options, overlay, image_every):
        self._writer = tf.summary.create_file_writer(str(logdir))
        self._names = class_names
        self._statistics = statistics
        self._overlay = overlay
        self._image_every = image_every
        self._next_image = 0
        self._clear_window()
        if options:
            rows = [f"| {name} | {value} |" for name, value in options.items()]
            compared = {n: _plain(v) for n, v in options.items() if n not in NO_HPARAMS}
            with self._writer.as_default(step=0):
                tf.summary.text("configuration", "\n".join(["| flag | value |", "|-|-|", *rows]))
                hparams.hparams(compared)

    @classmethod
    def open(cls, config, stream):
        """Opens an event file; a resumed run's is a further one, without the configuration."""
        return cls(
            config.logdir,
            stream.class_names,
            stream.statistics,
            {} if stream.resume_at else config.flat(),
            Overlay(stream.class_names, stream.frame_size),
            config.image_every,
        )

    def _clear_window(self):
        self._window = {}
        self._window_frames = 0

    def add(self, result):
        """Writes the scalars of one frame, and now and then a picture."""
        with self._writer.as_default(step=result.index):
            if result.teacher:
                self._add_teacher_frame(result)
            self._average(result)
            if result.teacher and result.index >= self._next_image:
                teacher = result.teacher
                triptych = self._overlay.triptych(teacher.frame, teacher.prediction, teacher.labels)
                tf.summary.image("frame, student, teacher", triptych[None])
                # Further apart on a long stream: pictures would fill the disk.
                distance = max(self._image_every, result.index // 20)
                self._next_image = result.index + distance

    def _add_teacher_frame(self, result):
        statistics, teacher = self._statistics, result.teacher
        tf.summary.scalar("accuracy/before update", teacher.accuracy_before)
        tf.summary.scalar("accuracy/after update", teacher.accuracy_after)
        if teacher.losses:
            tf.summary.scalar("loss/first update", teacher.losses[0])
            tf.summary.scalar("loss/last update", teacher.losses[-1])
        for name, iou in zip(self._names, metrics.class_iou(teacher.confusion), strict=True):
            if not np.isnan(iou):  # absent from both maps
                tf.summary.scalar(f"iou before update/{name}", iou)
        tf.summary.scalar("schedule/stride", result.stride)
        if statistics.asynchronous:
            tf.summary.scalar("schedule/staleness", teacher.staleness)
        tf.summary.scalar("schedule/updates", result.updates)
        tf.summary.scalar("schedule/updates in all", statistics.updates)
        tf.summary.scalar("schedule/teacher fraction", statistics.teacher_fraction)
        if statistics.speedup is not None:
            tf.summary.scalar("cost/speedup over the teacher", statistics.speedup)
        for stage in BY_TEACHER_FRAME[statistics.teacher_mode]:
            if stage in result.seconds:
                count = max(result.updates, 1) if stage == "update" else 1
                tf.summary.scalar(f"ms/{stage}", 1000 * result.seconds[stage] / count)

    def _average(self, result):
        values = {
            f"ms/{stage}": 1000 * seconds
            for stage, seconds in result.seconds.items()
            if stage not in BY_TEACHER_FRAME[self._statistics.teacher_mode]
        }
        if result.reference:
            values["iou against reference/frame"] = metrics.mean_iou(result.reference.confusion)
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
        """Writes the final figures of a complete run."""
        if complete:
            with self._writer.as_default(step=self._statistics.frames):
                for name, value in self._statistics.summary().items():
                    if isinstance(value, (int, float)):
                        tf.summary.scalar(f"final/{name}", value)
        self._writer.flush()

    def close(self):
        """Closes the event file."""
        self._writer.close()


def _plain(value):
    return value if isinstance(value, (bool, int, float, str)) else str(value)

"""TensorBoard's event files."""

import dataclasses

import numpy as np
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.text.summary_v2 import text_pb

from jitnet_tf.base.files import printable
from jitnet_tf.base.state import prefixed, with_prefix
from jitnet_tf.config.names import ASYNC, SYNC
from jitnet_tf.config.serving import ServingOptions
from jitnet_tf.distillation import metrics
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.event_file import EventFile, image_pb, scalars_pb
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.sinks.segment_files import events_suffix
from jitnet_tf.sinks.segments import Segments

# Scalars of every frame are averaged over this many, for curves that a person can read.
AVERAGED_FRAMES = 20
# Stages with a point for each teacher frame; the others are averaged over frames. With an
# asynchronous teacher, training on a teacher frame is spread over several frames. Each stage is
# averaged over the frames on which it ran.
BY_TEACHER_FRAME = {SYNC: ("teacher", "labels", "trial", "update"), ASYNC: ("teacher",)}
WINDOW = "window/"  # prefix of the unfinished averages in a checkpoint
# Options that do not bear on the figures and have no place in a table that compares runs.
NO_HPARAMS = {
    *("logdir", "output", "masks", "reference", "keep_hard"),
    *("checkpoint_every", "image_every", "segment", "keep"),
    *(field.name for field in dataclasses.fields(ServingOptions)),
}


class TensorBoard(Sink):
    """Writes a run's curves, pictures and configuration.

    Args:
      logdir: the run directory.
      class_names: background first.
      statistics: the run's Statistics, for the running figures.
      options: name → value, shown as text and as HParams; empty to show none.
      overlay: an Overlay, which draws the pictures.
      image_every: least distance of two pictures in frames.
      segments: the run's Segments; each has an event file of its own. The configuration is in
        another, which stays.
    """

    name = "tensorboard"

    def __init__(
        self, logdir, class_names, statistics, options, overlay, image_every, segments=None
    ):
        self._logdir = logdir
        self._segments = segments or Segments()
        self._segment = None
        self._file = self._segments.write(lambda: EventFile(logdir))
        self._names = class_names
        self._statistics = statistics
        self._overlay = overlay
        self._image_every = image_every
        self._next_image = 0
        self._clear_window()
        if options:
            rows = [f"| {name} | {printable(value)} |" for name, value in options.items()]
            compared = {n: _plain(v) for n, v in options.items() if n not in NO_HPARAMS}
            table = "\n".join(["| flag | value |", "|-|-|", *rows])
            self._write(text_pb("configuration", table), 0)
            self._write(hparams.hparams_pb(compared), 0)

    @classmethod
    def open(cls, config, stream):
        """Opens an event file; a resumed run's is a further one, without the configuration."""
        return cls(
            config.logdir,
            stream.class_names,
            stream.statistics,
            {} if stream.resume_at else config.flat(),
            Overlay(stream.class_names, stream.frame_size, ignored=stream.ignored),
            config.image_every,
            stream.segments,
        )

    def _write(self, summary, step):
        self._segments.write(lambda: self._file.write(summary, step))

    def _turn(self):
        """Opens the file of the current segment."""
        segment = self._segments.current
        if segment is not self._segment:
            self._file.close()
            suffix = events_suffix(segment.name)
            self._file = self._segments.write(lambda: EventFile(self._logdir, suffix))
            self._segment = segment

    def _clear_window(self):
        self._window = {}
        self._window_frames = 0

    def add(self, result):
        """Writes the scalars of one frame, and now and then a picture."""
        self._turn()
        if result.gap is not None:
            gaps = {"live/gap in seconds": result.gap, "live/gaps in all": self._statistics.gaps}
            self._write(scalars_pb(gaps), result.index)
        if result.teacher:
            self._write(scalars_pb(self._of_teacher_frame(result)), result.index)
        self._average(result)
        if result.teacher and result.index >= self._next_image:
            teacher = result.teacher
            triptych = self._overlay.triptych(teacher.frame, teacher.prediction, teacher.labels)
            self._write(image_pb("frame, student, teacher", triptych), result.index)
            # Further apart on a long stream: pictures would fill the disk.
            distance = max(self._image_every, result.index // 20)
            self._next_image = result.index + distance

    def _of_teacher_frame(self, result):
        """Returns the scalars of a teacher frame, name → value."""
        statistics, teacher = self._statistics, result.teacher
        values = {
            "accuracy/before update": teacher.accuracy_before,
            "accuracy/after update": teacher.accuracy_after,
        }
        if teacher.accuracy_shown is not None:
            values["accuracy/shown"] = teacher.accuracy_shown
        if teacher.losses:
            values["loss/first update"] = teacher.losses[0]
            values["loss/last update"] = teacher.losses[-1]
        for name, iou in zip(self._names, metrics.class_iou(teacher.confusion), strict=True):
            if not np.isnan(iou):  # absent from both maps
                values[f"iou before update/{name}"] = iou
        values["schedule/stride"] = result.stride
        if statistics.asynchronous:
            values["schedule/staleness"] = teacher.staleness
        values["schedule/updates"] = result.updates
        values["schedule/updates in all"] = statistics.updates
        values["schedule/teacher fraction"] = statistics.teacher_fraction
        if statistics.budget_used is not None:
            values["schedule/budget used"] = statistics.budget_used
        if statistics.speedup is not None:
            values["cost/speedup over the teacher"] = statistics.speedup
        for stage in BY_TEACHER_FRAME[statistics.teacher_mode]:
            if stage in result.seconds:
                count = max(result.updates, 1) if stage == "update" else 1
                values[f"ms/{stage}"] = 1000 * result.seconds[stage] / count
        return values

    def _average(self, result):
        values = {
            f"ms/{stage}": 1000 * seconds
            for stage, seconds in result.seconds.items()
            if stage not in BY_TEACHER_FRAME[self._statistics.teacher_mode]
        }
        if result.lag is not None:
            values["live/lag in seconds"] = result.lag
            values["live/dropped frames in all"] = self._statistics.dropped
        if result.reference:
            values["iou against reference/frame"] = metrics.mean_iou(result.reference.confusion)
        for name, value in values.items():
            self._window.setdefault(name, []).append(value)
        self._window_frames += 1
        if self._window_frames == AVERAGED_FRAMES:
            means = {name: sum(values) / len(values) for name, values in self._window.items()}
            if self._statistics.score and self._statistics.score.mean() is not None:
                means["iou against reference/stream"] = self._statistics.score.mean()
            self._write(scalars_pb(means), result.index)
            self._clear_window()

    def get_state(self):
        """Returns the unfinished averages, and the place of the next picture."""
        places = {"window_frames": self._window_frames, "next_image": self._next_image}
        return {
            **{name: np.array(value) for name, value in places.items()},
            **prefixed(WINDOW, {name: np.array(v) for name, v in self._window.items()}),
        }

    def set_state(self, state):
        """Restores `get_state`'s arrays, so that a resumed run's curves are those of one run."""
        self._window_frames = int(state["window_frames"])
        self._next_image = int(state["next_image"])
        window = with_prefix(WINDOW, state)
        if any(values.ndim != 1 or values.dtype.kind not in "fi" for values in window.values()):
            raise ValueError("averages of other values")
        self._window = {name: values.tolist() for name, values in window.items()}

    def finish(self, complete):
        """Writes the final figures of a complete run."""
        if complete:
            summary = self._statistics.summary()
            values = {f"final/{n}": v for n, v in summary.items() if isinstance(v, int | float)}
            self._write(scalars_pb(values), self._statistics.frames)

    def close(self):
        """Closes the event file."""
        self._file.close()


def _plain(value):
    return value if isinstance(value, (bool, int, float)) else printable(value)

"""Online distillation: Algorithm 1 of the paper, one frame at a time."""

import collections
import contextlib
import dataclasses
import math
import time
from typing import Protocol

import numpy as np

from jitnet_tf import metrics
from jitnet_tf.errors import UserError
from teacher.instances import Instances


class DivergedError(UserError):
    """The loss is no number any more, and neither are the weights."""


class Teacher(Protocol):
    """Anything that says what is in a frame: a live model, or a recording of one."""

    def __call__(self, frame: np.ndarray, index: int) -> Instances:
        """The instances on `frame`, uint8 RGB [H, W, 3], the stream's `index`-th."""


@dataclasses.dataclass
class FrameResult:
    """What became of one frame. Maps are uint8 [H, W]; `frame` is uint8 RGB [H, W, 3].

    `confusion` counts the teacher's labels against the prediction before any update; it, the
    accuracies, and `labels` are None on frames that the teacher did not see. `stride` is the one
    in force from here on. `reference_labels` are of a recording of the teacher on every frame, and
    `reference_confusion` counts them against `prediction`, where there is such a reference.
    """

    index: int
    frame: np.ndarray
    prediction: np.ndarray
    stride: int
    labels: np.ndarray | None = None
    confusion: np.ndarray | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    reference_labels: np.ndarray | None = None
    reference_confusion: np.ndarray | None = None
    losses: list[float] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def is_teacher_frame(self):
        """Whether the teacher was asked."""
        return self.labels is not None

    @property
    def updates(self):
        """How many updates the frame brought."""
        return len(self.losses)


class Stopwatch:
    """Adds up seconds by stage."""

    def __init__(self):
        self.seconds = collections.defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, stage):
        """Times the block as part of `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


class Distiller:
    """Student, teacher and schedule of one stream; `step` is all that a caller needs.

    Args:
      student: has infer(frame) and update(frame, labels, weights); see `student.Student`.
      teacher: see `Teacher`.
      label_maker: a `labels.LabelMaker`.
      schedule: a `schedule.Schedule`.
    """

    def __init__(self, student, teacher, label_maker, schedule):
        self.student = student
        self.teacher = teacher
        self.label_maker = label_maker
        self.schedule = schedule
        self.num_classes = len(label_maker.groups.names)
        self.index = 0

    def step(self, frame):
        """Segments the next frame, after learning from it where the teacher is due (Algorithm 1).

        frame: uint8 RGB [H, W, 3]. Returns a FrameResult. The prediction on a teacher frame is
        the student's own, after the updates.
        """
        t, watch, schedule = self.index, Stopwatch(), self.schedule
        result = FrameResult(t, frame, None, schedule.stride, seconds=watch.seconds)
        if schedule.teacher_due(t):  # line 3
            with watch("teacher"):
                instances = self.teacher(frame, t)  # line 4
            with watch("labels"):
                result.labels = self.label_maker.labels(instances, frame.shape[:2])
                weights = self.label_maker.weights(instances, frame.shape[:2])
            while True:  # line 6
                with watch("infer"):
                    result.prediction = self.student.infer(frame)  # line 7
                with watch("score"):
                    counts = metrics.confusion(result.labels, result.prediction, self.num_classes)
                    result.accuracy_after = metrics.mean_iou(counts)  # line 8
                if result.confusion is None:
                    result.confusion, result.accuracy_before = counts, result.accuracy_after
                if not schedule.update_due(result.updates, result.accuracy_after):  # line 9
                    break  # line 12
                with watch("update"):
                    loss = self.student.update(frame, result.labels, weights)  # line 10
                if not math.isfinite(loss):
                    raise DivergedError(
                        f"the student diverged at frame {t} (loss {loss}): lower --learning_rate"
                    )
                result.losses.append(loss)  # line 13
            schedule.adapt_stride(result.accuracy_after)  # lines 14–17
        else:
            with watch("infer"):
                result.prediction = self.student.infer(frame)  # line 19
        result.stride = schedule.stride
        self.index += 1  # line 20: the student keeps its weights
        return result

    def set_state(self, arrays, progress):
        """Goes on where a checkpoint was taken: the student's arrays, "frames" and "stride"."""
        self.student.set_state(arrays)
        self.index = progress["frames"]
        self.schedule.stride = progress["stride"]

"""Online distillation: Algorithm 1 of the paper, one frame at a time."""

import collections
import contextlib
import dataclasses
import math
import time
from typing import Protocol

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from teacher.detections import Detections


class DivergedError(UserError):
    """The loss is no number any more, and neither are the weights."""


class Teacher(Protocol):
    """Anything that says what is in a frame: a live model, or a recording of one."""

    def __call__(self, frame: np.ndarray, index: int) -> Detections:
        """The instances on `frame`, uint8 RGB [H, W, 3], the stream's `index`-th."""


@dataclasses.dataclass
class FrameResult:
    """What became of one frame. Maps are uint8 [H, W]; frames are uint8 RGB [H, W, 3].

    `stride` is the one in force from here on. `reference_labels` are of a recording of the teacher
    on every frame, and `reference_confusion` counts them against `prediction`, where there is such
    a reference. `latency` is the seconds from taking the frame to its prediction.

    All others tell of the `Lesson` that ended with this frame and are None, or empty, where none
    did: `teacher_frame` is the frame that the teacher saw, the stream's `teacher_index`-th, and
    `teacher_prediction` the student's last word on it. With a synchronous teacher that is `frame`
    itself. `staleness` is how many frames the labels came after theirs: 0 for a synchronous
    teacher, and at least 1 for an asynchronous one.
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
    teacher_index: int | None = None
    teacher_frame: np.ndarray | None = None
    teacher_prediction: np.ndarray | None = None
    staleness: int = 0
    latency: float | None = None

    @property
    def is_teacher_frame(self):
        """Whether a lesson ended here."""
        return self.labels is not None

    @property
    def updates(self):
        """How many updates that lesson brought."""
        return len(self.losses)


class Stopwatch:
    """Adds up seconds by stage."""

    def __init__(self):
        self.seconds = collections.defaultdict(float)
        self._stage = self._start = None

    @contextlib.contextmanager
    def __call__(self, stage):
        """Times the block as part of `stage`, or up to where it turns to another."""
        self._stage, self._start = stage, time.perf_counter()
        try:
            yield
        finally:
            self.turn_to(None)

    def turn_to(self, stage):
        """Within a block: what follows is part of another stage."""
        now = time.perf_counter()
        self.seconds[self._stage] += now - self._start
        self._stage, self._start = stage, now


@dataclasses.dataclass
class Lesson:
    """What the student learns from one frame that the teacher saw: lines 7–13 of Algorithm 1.

    Attributes:
      index: the frame's.
      frame: uint8 RGB [H, W, 3].
      labels: the teacher's, uint8 [H, W].
      weights: of the loss, float32 [H, W].
      num_classes: background included.
      prediction: the student's last on the frame, uint8 [H, W].
      confusion: of the labels and the prediction before any update, int64 [C, C].
      accuracy_before, accuracy_after: mean IoU of the first and of the last prediction.
      losses: before each update.
    """

    index: int
    frame: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    num_classes: int
    prediction: np.ndarray | None = None
    confusion: np.ndarray | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    losses: list[float] = dataclasses.field(default_factory=list)

    def round(self, student, schedule, watch, stage="infer"):
        """Has the student try the frame and learn from it if need be; whether another is due.

        watch: a Stopwatch; stage: what it counts the trial as. Raises DivergedError.
        """

        def update_due(prediction):
            watch.turn_to("score")
            self.prediction = prediction  # line 7
            counts = metrics.confusion(self.labels, prediction, self.num_classes)
            self.accuracy_after = metrics.mean_iou(counts)  # line 8
            if self.confusion is None:
                self.confusion, self.accuracy_before = counts, self.accuracy_after
            is_due = schedule.update_due(len(self.losses), self.accuracy_after)  # line 9
            watch.turn_to("update" if is_due else stage)
            return is_due

        with watch(stage):
            loss = student.attempt(self.frame, self.labels, self.weights, update_due)  # line 10
        if loss is None:
            return False  # line 12
        if not math.isfinite(loss):
            raise DivergedError(
                f"the student diverged at frame {self.index} (loss {loss}): lower --learning_rate"
            )
        self.losses.append(loss)  # line 13
        return True

    def report(self, result):
        """Tells a FrameResult what was learned, once the last round is over."""
        result.labels, result.confusion, result.losses = self.labels, self.confusion, self.losses
        result.accuracy_before, result.accuracy_after = self.accuracy_before, self.accuracy_after
        result.teacher_index, result.teacher_frame = self.index, self.frame
        result.teacher_prediction = self.prediction


class Distiller:
    """Student, teacher and schedule of one stream; `step` is all that a caller needs.

    Args:
      student: has infer(frame) and attempt(frame, labels, weights, wants_update); see
        `student.Student`.
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
                detections = self.teacher(frame, t)  # line 4
            lesson = self._lesson_on(frame, t, detections, watch)
            while lesson.round(self.student, schedule, watch):  # lines 6–13
                pass
            result.prediction = lesson.prediction
            schedule.adapt_stride(lesson.accuracy_after)  # lines 14–17
            lesson.report(result)
        else:
            with watch("infer"):
                result.prediction = self.student.infer(frame)  # line 19
        result.latency = sum(watch.seconds.values())
        result.stride = schedule.stride
        self.index += 1  # line 20: the student keeps its weights
        return result

    def _lesson_on(self, frame, index, detections, watch):
        """A Lesson on what the teacher says of a frame."""
        with watch("labels"):
            labels = self.label_maker.labels(detections, frame.shape[:2])
            weights = self.label_maker.weights(detections, frame.shape[:2])
        return Lesson(index, frame, labels, weights, self.num_classes)

    def progress(self):
        """Where the stream stands, for `set_state`, in plain values."""
        return {"frames": self.index, "stride": self.schedule.stride}

    def set_state(self, arrays, progress):
        """Goes on where a checkpoint was taken: the student's arrays, and `progress`'s values."""
        self.student.set_state(arrays)
        self.index = progress["frames"]
        self.schedule.stride = progress["stride"]

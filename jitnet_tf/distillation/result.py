"""The result of a frame."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TeacherFrame:
    """A teacher frame, after the training on it has ended: lines 4–13 of Algorithm 1.

    Attributes:
      index: its place in the stream.
      frame: uint8 RGB [H, W, 3].
      labels: the teacher's, uint8 [H, W].
      prediction: the last on this frame, uint8 [H, W].
      confusion: of labels and prediction before any update, int64 [C, C]; None of a segmenter that
        has no prediction before the labels, such as optical flow.
      accuracy_before, accuracy_after: mean IoU of the student's first and last prediction, or None.
      accuracy_shown: mean IoU of what was shown of the frame before its labels were known, or would
        have been; None without evidence: no foreground in either.
      losses: before each update.
      staleness: frames between this one and the arrival of its labels; 0 for a synchronous
        teacher, at least 1 for an asynchronous one.
      categories: the teacher's name for each object with a score from the threshold, also of those
        in no class.
      first_prediction: the student's on this frame before any update, uint8 [H, W]; None of a
        segmenter without updates.
    """

    index: int
    frame: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    confusion: np.ndarray | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    accuracy_shown: float | None = None
    losses: tuple[float, ...] = ()
    staleness: int = 0
    categories: tuple[str, ...] = ()
    first_prediction: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Score:
    """A prediction compared with a reference, a recording of the teacher on every frame.

    Attributes:
      labels: the reference's, uint8 [H, W].
      confusion: of these labels and the prediction, int64 [C, C].
    """

    labels: np.ndarray
    confusion: np.ndarray


@dataclasses.dataclass
class FrameResult:
    """Everything computed for one frame.

    Attributes:
      index: the frame's place in the stream.
      frame: uint8 RGB [H, W, 3].
      prediction: class ids, uint8 [H, W].
      stride: δ from this frame on.
      seconds: by stage; see `runs.summary`.
      latency: seconds from taking the frame to its prediction.
      teacher: the teacher frame on which training ended with this frame, if one did. With a
        synchronous teacher it is this very frame, with an asynchronous one an earlier frame.
      ahead: a later teacher frame, whose labels the prediction was decided from, too; None without.
      reference: the prediction's score, if there is a reference.
      time, duration: of the frame in the stream, in seconds; None if unknown. A live stream's time
        is that of arrival.
      dropped: of a live stream: number of frames passed over just before this one.
      gap: of a live stream: seconds for which it was gone just before this frame; otherwise None.
      lag: of a live stream: seconds from the frame's arrival to this result; otherwise None.
    """

    index: int
    frame: np.ndarray
    prediction: np.ndarray
    stride: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    latency: float | None = None
    teacher: TeacherFrame | None = None
    ahead: int | None = None
    reference: Score | None = None
    time: float | None = None
    duration: float | None = None
    dropped: int = 0
    gap: float | None = None
    lag: float | None = None

    @property
    def updates(self):
        """The number of updates on the teacher frame; 0 without one."""
        return len(self.teacher.losses) if self.teacher else 0

    @property
    def is_teacher_frame(self):
        """True if the prediction had the teacher's labels of this very frame."""
        return self.teacher is not None and self.teacher.index == self.index

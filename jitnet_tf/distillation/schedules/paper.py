"""The paper's schedule of teacher frames and updates: δ and u of Algorithm 1."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Schedule:
    """The state machine of Algorithm 1, without the networks.

    Attributes:
      accuracy_threshold: a_thresh, mean IoU in 0…1.
      max_updates: u_max, updates on one teacher frame.
      min_stride, max_stride: δ_min and δ_max in frames.
      stride: δ. It stays an integer: halving an odd stride rounds down.
      from_teacher_frame: count the stride from the latest teacher frame (EastGit0, ShadowTutor),
        not from the stream's first frame, as the paper does.
      last: the latest teacher frame if strides count from it; None: the next frame is one.
    """

    accuracy_threshold: float = 0.8
    max_updates: int = 8
    min_stride: int = 8
    max_stride: int = 64
    stride: int = 0
    from_teacher_frame: bool = False
    last: int | None = None

    def __post_init__(self):
        self.stride = self.stride or self.min_stride  # line 1

    def teacher_due(self, t: int) -> bool:
        """Line 3: the paper's t ≡ 0 (mod δ), or δ frames after the latest teacher frame."""
        if self.from_teacher_frame:
            return self.last is None or t - self.last >= self.stride
        return t % self.stride == 0

    def affordable(self, t: int) -> bool:
        """Returns whether frame t may be a teacher frame before the stride is over."""
        return self.last is None or t - self.last >= self.min_stride

    def ask(self, t: int) -> None:
        """Notes that the teacher is asked for frame t."""
        self.last = t if self.from_teacher_frame else None

    def update_threshold(self, updates: int) -> float:
        """Line 9: the accuracy below which another update is due after so many on a frame.

        An accuracy equal to it is enough to stop training; after u_max updates any is.
        """
        return self.accuracy_threshold if updates < self.max_updates else 0.0

    def adapt(self, teacher_frame) -> None:
        """Lines 14–17 for a `TeacherFrame`, once the training on it has ended."""
        self.adapt_stride(teacher_frame.accuracy_after)

    def adapt_stride(self, accuracy: float) -> None:
        """Lines 14–17: an accuracy equal to the threshold still halves the stride."""
        if accuracy > self.accuracy_threshold:
            self.stride = min(self.max_stride, 2 * self.stride)
        else:
            self.stride = max(self.min_stride, self.stride // 2)

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns what a derived schedule saves in a checkpoint besides stride and last."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""

"""The schedule of teacher frames and updates: δ and u of Algorithm 1."""

import dataclasses


@dataclasses.dataclass
class Schedule:
    """The state machine of Algorithm 1, without the networks.

    Attributes:
      accuracy_threshold: a_thresh, mean IoU in 0…1.
      max_updates: u_max, updates on one teacher frame.
      min_stride, max_stride: δ_min and δ_max in frames.
      stride: δ, its only state. It stays an integer: halving an odd stride rounds down.
    """

    accuracy_threshold: float = 0.8
    max_updates: int = 8
    min_stride: int = 8
    max_stride: int = 64
    stride: int = 0

    def __post_init__(self):
        self.stride = self.stride or self.min_stride  # line 1

    def teacher_due(self, t: int) -> bool:
        """Line 3. The paper's t ≡ 0 (mod δ); EastGit0's last version counts t + δ instead."""
        return t % self.stride == 0

    def update_threshold(self, updates: int) -> float:
        """Line 9: the accuracy below which another update is due after so many on a frame.

        An accuracy equal to it is enough to stop training; after u_max updates any is.
        """
        return self.accuracy_threshold if updates < self.max_updates else 0.0

    def adapt_stride(self, accuracy: float) -> None:
        """Lines 14–17: an accuracy equal to the threshold still halves the stride."""
        if accuracy > self.accuracy_threshold:
            self.stride = min(self.max_stride, 2 * self.stride)
        else:
            self.stride = max(self.min_stride, self.stride // 2)

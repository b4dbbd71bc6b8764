"""The protocol of teachers."""

from typing import Protocol

import numpy as np

from teacher.detections import Detections


class Teacher(Protocol):
    """Detects the objects on the frames of one stream.

    A class that derives from it defines `__call__`; the rest has defaults, those of a model that
    runs when it is called.

    Attributes:
      precomputed: whether the detections were made before and are only looked up: calling it says
        nothing of the model's time.
      mean_seconds: mean seconds a frame that the model took, for a precomputed teacher; None where
        unknown.
    """

    precomputed: bool = False
    mean_seconds: float | None = None

    def __call__(self, frame: np.ndarray, index: int) -> Detections:
        """Returns the objects on a frame.

        Args:
          frame: uint8 RGB [H, W, 3].
          index: the frame's number in the stream, from 0.

        Raises:
          UserError: the frame does not fit, or the teacher cannot go on.
        """
        ...

    def seconds(self, index: int) -> float | None:
        """Returns the model's seconds on a precomputed frame; None where unknown: time the call."""
        return None

    def close(self) -> None:
        """Releases files and processes."""
        return

"""The protocol of teachers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from jitnet_tf.base.errors import UserError
from teacher import coco
from teacher.detections import Detections


class TeacherError(UserError):
    """A teacher fails on a frame, or its output does not fit.

    Args:
      reason: without the frame.
      index: the frame's number in the stream, from 0.
    """

    def __init__(self, reason, index):
        super().__init__(f"the teacher fails on frame {index}: {reason}")
        self.reason, self.index = reason, index

    def __reduce__(self):
        """Pickles the arguments, not the message."""
        return TeacherError, (self.reason, self.index)


class Teacher(Protocol):
    """Detects the objects on the frames of one stream.

    A class that derives from it defines `__call__`; the rest has defaults, those of a model that
    runs when it is called.

    Attributes:
      precomputed: whether the detections were made before and are only read, so that the time of a
        call is not the model's.
      mean_seconds: the model's mean seconds a frame, of a precomputed teacher; None if unknown.
      names: id → name of the categories of its detections; by default COCO's.
      batches: whether its model takes several frames at a time; see `many`.
      problems: what the user has to know of the detections so far, a sentence each, each once.
    """

    precomputed: bool = False
    mean_seconds: float | None = None
    names: Mapping[int, str] = coco.NAMES
    batches: bool = False
    problems: Sequence[str] = ()

    def __call__(self, frame: np.ndarray, index: int) -> Detections:
        """Returns the objects on a frame.

        Args:
          frame: uint8 RGB [H, W, 3].
          index: the frame's number in the stream, from 0.

        Raises:
          UserError: the frame does not fit, or the teacher fails (TeacherError).
        """
        ...

    def many(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        """Returns the objects on several frames of one size, at once where `batches`.

        Raises UserError as a call does, for any of the frames.
        """
        return [self(frame, index) for frame, index in zip(frames, indices, strict=True)]

    def seconds(self, index: int) -> float | None:
        """Returns the model's seconds on a precomputed frame; None if unknown."""
        return None

    def close(self) -> None:
        """Releases files and processes."""
        return

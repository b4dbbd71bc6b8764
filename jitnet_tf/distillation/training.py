"""The question to the teacher about one frame, and the training on it."""

import concurrent.futures
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.policies.base import Example, Update
from jitnet_tf.distillation.result import TeacherFrame
from jitnet_tf.student.base import Trial


class DivergedError(UserError):
    """The loss became NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A question to an asynchronous teacher.

    Attributes:
      frame: uint8 RGB [H, W, 3], kept to train on.
      index: its place in the stream.
      answer: a Future of (Detections, seconds that the teacher took).
      asked: what the output keeps of the frame; see `Output.ask`.
    """

    frame: np.ndarray
    index: int
    answer: concurrent.futures.Future
    asked: Any


@dataclasses.dataclass
class Training:
    """The training on one teacher frame, as far as it has come.

    Attributes:
      example: the frame and its labels.
      steps: an update policy's steps still to come.
      shown: confusion of the labels and of what was shown; None for the first Trial's.
      categories: of the objects; see `TeacherFrame`.
      staleness, teacher_seconds: of an asynchronous answer; see `TeacherFrame`.
      first, last: the first and the latest Trial.
      losses: before each update.
    """

    example: Example
    steps: Iterator[Trial | Update]
    shown: np.ndarray | None = None
    categories: tuple[str, ...] = ()
    staleness: int = 0
    teacher_seconds: float = 0.0
    first: Trial | None = None
    last: Trial | None = None
    losses: list[float] = dataclasses.field(default_factory=list)

    def add(self, step):
        """Takes a step of the policy. Raises DivergedError; RuntimeError after the last one."""
        if self.last is not None and not self.last.updated:
            raise RuntimeError("the update policy goes on after an attempt without an update")
        if isinstance(step, Trial):
            self.first, self.last = self.first or step, step
        if step.updated:
            if not math.isfinite(step.loss):
                raise DivergedError(
                    f"the student diverged at frame {self.example.index} (loss {step.loss}): "
                    "lower --learning_rate"
                )
            self.losses.append(step.loss)

    def result(self):
        """Returns the TeacherFrame, once the training has ended.

        Raises RuntimeError for a policy that ended on an update, or made no attempt.
        """
        if self.last is None or self.last.updated:
            raise RuntimeError("the update policy's last attempt has to be one without an update")
        shown = self.first.confusion if self.shown is None else self.shown
        return TeacherFrame(
            self.example.index,
            self.example.frame,
            self.example.labels,
            self.last.prediction,
            self.first.confusion,
            metrics.mean_iou(self.first.confusion),
            metrics.mean_iou(self.last.confusion),
            metrics.mean_iou(shown) if metrics.has_foreground(shown) else None,
            tuple(self.losses),
            self.staleness,
            self.categories,
            self.first.prediction,
        )

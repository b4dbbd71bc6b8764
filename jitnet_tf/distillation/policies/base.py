"""The seam of update policies: the choice of frames that the student is trained on."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.student.base import StudentProtocol, Trial


@dataclasses.dataclass(frozen=True)
class Example:
    """A frame to train on.

    Attributes:
      index: its place in the stream.
      frame: uint8 RGB [H, W, 3].
      labels: uint8 [H, W].
      weights: of the loss, float32 [H, W].
    """

    index: int
    frame: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Update:
    """An update on something else than the teacher frame, an earlier one for example.

    Attributes:
      loss: before it.
    """

    loss: float
    updated = True


class UpdatePolicy(Protocol):
    """Trains the student after each teacher frame.

    Derive from it for the defaults of all but `train`, which fit a policy without state. A policy
    has a file of its own and a line in `config.UPDATE_POLICIES`.
    """

    @classmethod
    def of(cls, config: Any, frame_size: tuple[int, int], num_classes: int) -> "UpdatePolicy":
        """Makes the policy of a RunConfig, whose fields are its options.

        frame_size: (H, W); num_classes: C. Both are for the checks of `set_state`.
        """
        return cls()

    def train(
        self, student: StudentProtocol, example: Example, schedule: Schedule
    ) -> Iterator[Trial | Update]:
        """Trains on a teacher frame, pausing after each step.

        Yields the Trial of each attempt on `example`, and an Update for each other update: the
        first step is a Trial before any update, the last one without an update, its prediction
        being the frame's; after it the generator is run to its end. An asynchronous distiller lets
        a frame pass at each pause; a checkpoint may be taken there, from which the training is not
        continued.
        """

    def warm_up(self, student: StudentProtocol, frame: np.ndarray) -> None:
        """Runs the student's steps that `student.warm_up` does not, changing nothing."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the state for a checkpoint, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""

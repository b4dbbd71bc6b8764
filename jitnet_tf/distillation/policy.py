"""Update policies: the choice of frames that the student is trained on."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from jitnet_tf.distillation.schedule import Schedule
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


class UpdatePolicy(Protocol):
    """Trains the student after each teacher frame.

    Derive from it for the defaults of `get_state` and `set_state`, which fit a policy without
    state. A policy has a file of its own and a line in `config.UPDATE_POLICIES`.
    """

    @classmethod
    def of(cls, config: Any) -> "UpdatePolicy":
        """Makes the policy of a RunConfig, whose fields are its options."""
        return cls()

    def train(
        self, student: StudentProtocol, example: Example, schedule: Schedule
    ) -> Iterator[Trial]:
        """Trains on a teacher frame, pausing after each attempt on it.

        Yields the Trial of each attempt on `example`: the first before any update, the last without
        an update, its prediction being the frame's; after it the generator is run to its end. An
        asynchronous distiller lets a frame pass at each pause; a checkpoint may be taken there,
        from which the training is not continued.
        """

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the state for a checkpoint, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays."""


class TeacherFramePolicy(UpdatePolicy):
    """The paper's policy: up to u_max updates on the latest teacher frame alone."""

    def train(self, student, example, schedule):
        """Runs lines 5–13 of Algorithm 1."""
        for u in range(schedule.max_updates + 1):  # lines 5, 6 and 13
            trial = student.attempt(  # lines 7, 8 and 10
                example.frame, example.labels, example.weights, schedule.update_threshold(u)
            )
            yield trial
            if not trial.updated:  # line 12
                return

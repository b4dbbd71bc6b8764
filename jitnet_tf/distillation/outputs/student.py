"""The plain output: what the student says (line 19 of Algorithm 1)."""

from typing import Any, Protocol

import numpy as np

from jitnet_tf.distillation.stopwatch import Stopwatch


class Output(Protocol):
    """Makes the class map of a frame. Derive from it for defaults that fit one without state.

    Attributes:
      disagreement: of student and warped label on the latest frame, as a share of their foreground,
        0…1; None where they were not compared.
    """

    disagreement: float | None = None

    def segment(self, frame: np.ndarray, index: int, watch: Stopwatch) -> np.ndarray:
        """Segments the next frame, uint8 RGB [H, W, 3] → class ids, uint8 [H, W].

        watch: takes the seconds of its stages.
        """

    def ask(self, frame: np.ndarray, index: int, watch: Stopwatch, *, is_segmented: bool) -> Any:
        """Returns what `learn` needs of a frame, for which the teacher is being asked, or None.

        is_segmented: whether `segment` has just been called with it.
        """

    def learn(self, asked: Any, frame: np.ndarray, labels: np.ndarray, watch: Stopwatch) -> Any:
        """Takes a teacher frame's labels, uint8 [H, W], before the student is trained on them.

        asked: `ask`'s result for it. Returns the confusion of the labels and of what was or would
        have been shown, int64 [C, C]; None if the first attempt's prediction is that.
        """
        return None

    def look_ahead(
        self, frames: list[np.ndarray], labels: np.ndarray, index: int, watch: Stopwatch
    ) -> None:
        """Takes labels, uint8 [H, W], of a teacher frame ahead, before the frames up to it.

        frames: uint8 RGB [H, W, 3], from the next to be segmented, which is number `index`, to the
        one of the labels. `learn` gets these, too, when the stream has come to it.
        """

    def forget(self, index: int) -> None:
        """Forgets the frames before number `index`, as a gap lies before it."""

    def warm_up(self, frame: np.ndarray) -> None:
        """Runs the computations once, changing nothing."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the state for a checkpoint, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""


class StudentOutput(Output):
    """Shows the student's prediction."""

    def __init__(self, student):
        self._student = student

    def segment(self, frame, index, watch):
        """Runs the student."""
        with watch("infer"):
            return self._student.infer(frame)

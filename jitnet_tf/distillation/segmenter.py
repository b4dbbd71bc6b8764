"""The seam between a stream and whatever segments it."""

from typing import Protocol

import numpy as np

from jitnet_tf.distillation.result import FrameResult


class Segmenter(Protocol):
    """Segments the frames of a stream one after the other, with all state of the stream.

    A `Distiller` is one; the baselines of the experiments are others. Derive from it for the
    defaults of `warm_up`, `get_state` and `set_state`, which fit a segmenter without state.

    Attributes:
      index: the place of the next frame in the stream.
    """

    index: int

    def step(self, frame: np.ndarray) -> FrameResult:
        """Segments the next frame, uint8 RGB [H, W, 3]. After a UserError it can be taken again."""

    def warm_up(self, frame: np.ndarray) -> None:
        """Runs the computations once, changing nothing: first runs take longer."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the state for a checkpoint, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""

"""The seam between a stream and whatever segments it."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from jitnet_tf.distillation.result import FrameResult


class Segmenter(Protocol):
    """Segments the frames of a stream one after the other, with all state of the stream.

    A `Distiller` is one; the baselines of the experiments are others. Derive from it for the
    defaults, which fit a segmenter without state.

    Attributes:
      index: the place of the next frame in the stream.
      looks_ahead: whether predictions depend on later frames: not to be compared with those of a
        segmenter that knows the past alone.
    """

    index: int
    looks_ahead: bool = False

    def attach(self, frames: Iterator) -> Iterator:
        """Returns the `video.Frame`s to step through: a wrapper, if some have to be in sight.

        frames: those of the stream, from the next one on.
        """
        return frames

    def step(self, frame: np.ndarray) -> FrameResult:
        """Segments the next frame, uint8 RGB [H, W, 3]. After a UserError it can be taken again."""

    def after_gap(self) -> None:
        """Notes that a live stream was gone before the next frame, which may show anything."""

    def warm_up(self, frame: np.ndarray) -> None:
        """Runs the computations once, changing nothing: first runs take longer."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the state for a checkpoint, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""

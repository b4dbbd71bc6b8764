"""The protocol of sinks."""

from typing import Protocol

import numpy as np

from jitnet_tf.distillation.distiller import FrameResult


class Sink(Protocol):
    """Anything that a run's results go to, in the order of the frames."""

    def add(self, result: FrameResult) -> None:
        """Takes the next frame's result."""

    def flush(self) -> None:
        """Makes what came so far durable: a checkpoint is about to be written."""

    def get_state(self) -> dict[str, np.ndarray]:
        """What that checkpoint has to hold for it, besides what is in its own files."""

    def finish(self, complete: bool) -> None:
        """Ends it, after the last result. complete: whether the run came to its end."""

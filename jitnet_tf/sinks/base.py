"""The seam for a run's results."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.sinks.segments import Segments


@dataclasses.dataclass(frozen=True)
class StreamInfo:
    """Facts about a run that its sinks are opened with.

    Attributes:
      class_names: by class id, background first.
      frame_size: (H, W) in pixels.
      fps: frames a second of the source.
      statistics: the run's running figures, a `runs.summary.Statistics`; up to date with the result
        that a sink is given.
      resume_at: frames before the checkpoint that the run continues from; None for a new run.
      overwrite: replace existing outputs.
      ignored: the region to ignore, bool [H, W], where predictions and labels are background; None
        without one.
      segments: the run's Segments, up to date with the result that a sink is given. Call their
        `write` with whatever may meet a full disk.
    """

    class_names: tuple[str, ...]
    frame_size: tuple[int, int]
    fps: float
    statistics: Any
    resume_at: int | None = None
    overwrite: bool = False
    ignored: np.ndarray | None = None
    segments: Segments = dataclasses.field(default_factory=Segments)


class Sink(Protocol):
    """Takes the results of a run, in the order of the frames, in a thread of its own.

    Derive from it: every method has a default that does nothing. `flush` and `get_state` come
    before each checkpoint, also before the last, which `finish` and `close` follow. An error that a
    method raises ends the run, which keeps its last checkpoint.

    Attributes:
      name: prefix of its arrays in a checkpoint; sinks of one run have different names.
      remark: a line for the user when the run starts, such as an address; "" for none.
      problems: what the user has to know of its output so far, a sentence each, each once.
    """

    name: str
    remark: str = ""
    problems: Sequence[str] = ()

    @classmethod
    def open(cls, config: Any, stream: StreamInfo) -> "Sink | None":
        """Opens the sink of a RunConfig; None if the run has none. For sinks in `SINKS`.

        A new run (`stream.resume_at` is None) replaces what an earlier one has left.
        """
        return cls()

    @staticmethod
    def check(config: Any, *, resumed: bool, overwrite: bool) -> None:
        """Raises UserError if its outputs cannot be written; called before anything is."""

    def add(self, result: FrameResult) -> None:
        """Takes the result of the next frame."""

    def flush(self) -> None:
        """Makes everything so far durable: a checkpoint is about to be written."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the arrays that the checkpoint has to hold for it, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays, after `open`, if a resumed run's checkpoint has any."""

    def finish(self, complete: bool) -> None:
        """Completes the output after the last result. complete: whether the run came to its end."""

    def summary(self) -> dict[str, Any]:
        """Returns what summary.json says of its output, as JSON values by name."""
        return {}

    def close(self) -> None:
        """Releases files; called at the end in any case, also after an error."""

"""The form that decoders of all kinds of sources have."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jitnet_tf.base.errors import UserError

# Called with a sentence for each problem: what was skipped, or does not fit.
Note = Callable[[str], None]


class BrokenOffError(UserError):
    """A stream or a camera ended early.

    Frames delivered so far are valid; reopening the source may yield more.
    """


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as its decoder gives it.

    Attributes:
      size: (H, W) in which it is shown, in square pixels.
      convert: returns it as uint8 RGB [H, W, 3], upright; of another width than `size` if its
        pixels are not square. Skipped frames do not need it.
      time: seconds by the source's own clock; None where it states none.
    """

    size: tuple[int, int]
    convert: Callable[[], np.ndarray]
    time: float | None = None


@dataclass(frozen=True)
class Decoder:
    """An opened source.

    Attributes:
      frames: starts the only pass over the frames; closing the iterator releases the source.
      fps: the header's frame rate; may be missing (None) or implausible.
      announced_frames: number of frames by the header or an estimate; None if unknown.
      remark: a line that the user of a command should see at its start, if there is one.
      problems: those found at opening.
    """

    frames: Callable[[Note], Iterator[DecodedFrame]]
    fps: float | None
    announced_frames: int | None = None
    remark: str | None = None
    problems: Sequence[str] = ()

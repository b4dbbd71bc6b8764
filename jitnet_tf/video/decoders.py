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


def is_plausible_rate(fps) -> bool:
    """Returns whether a header's frames a second, or None, may be true: 1000 are milliseconds."""
    return fps is not None and 0.001 <= fps < 1000


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as its decoder gives it.

    Attributes:
      size: (H, W) in which it is shown, in square pixels.
      convert: returns it as uint8 RGB [H, W, 3], upright; of another width than `size` if its
        pixels are not square. Skipped frames do not need it.
      stamp: its time stamp in seconds, of any origin; None if it has none.
      duration: seconds until the next frame; None if unknown.
      waited: seconds waited for its data, rather than decoded; None if not measured.
      part: number of its file among those that are played one after another.
      gap: seconds for which a live source was gone just before it; None if it was not.
    """

    size: tuple[int, int]
    convert: Callable[[], np.ndarray]
    stamp: float | None = None
    duration: float | None = None
    waited: float | None = None
    part: int = 0
    gap: float | None = None


@dataclass(frozen=True)
class Decoder:
    """An opened source.

    Attributes:
      frames: starts the only pass over the frames; closing the iterator releases the source.
      fps: the header's mean frame rate; may be missing (None) or implausible.
      announced_frames: number of frames by the header or an estimate; None if unknown.
      remark: a line that the user of a command should see at its start, if there is one.
      problems: those found at opening.
      announced_seconds: length by the header; None if unknown.
      constant_rate: False if the header tells that frames last differently long.
      live: True for a camera or a stream that nobody can read again.
      in_bursts: True for a live stream whose frames come many at once.
    """

    frames: Callable[[Note], Iterator[DecodedFrame]]
    fps: float | None
    announced_frames: int | None = None
    remark: str | None = None
    problems: Sequence[str] = ()
    announced_seconds: float | None = None
    constant_rate: bool = True
    live: bool = False
    in_bursts: bool = False

"""Shows decoded frames as FFmpeg's players do: turned, mirrored, with square pixels."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from jitnet_tf.video.decoders import Note

# Pixels further from square than this are an error of the header (the widest in use is 32:11).
WIDEST = 4
_TILT = 0.0175  # tolerated part of a matrix beside its quarter turn: one degree


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to turn and mirror an image by quarter turns.

    Called with stored pixels [H, W, ...], it returns them as they are shown.

    Attributes:
      transposed: rows become columns, before the other two.
      mirrored: left and right are exchanged.
      upside_down: top and bottom are exchanged.
    """

    transposed: bool
    mirrored: bool
    upside_down: bool

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the turned view."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


class Geometry:
    """The size and the turn of each frame of a video stream, by its headers.

    Args:
      stream: PyAV's video stream, of which nothing has been decoded.
      note: called once for each kind of problem.
      noted: the kinds that have been noted; shared by the chunks of one video.
    """

    def __init__(self, stream, note: Note, noted: set[str]):
        self._codec = stream.codec_context
        self._note = note
        self._noted = noted
        ratio = stream.sample_aspect_ratio
        # The container's ratio precedes the codec's, which may change on the way.
        self._container_ratio = ratio if ratio != self._codec.sample_aspect_ratio else None
        self._matrix, self._turn = None, None

    def of(self, frame: av.VideoFrame) -> tuple[tuple[int, int], Turn | None]:
        """Returns a frame's shown (H, W), and the turn to be applied to its stored pixels.

        The turned pixels still have to be resized to the shown size, if that is another: the
        caller may have to resize them anyway.
        """
        if frame.interlaced_frame:
            self._note_once(
                "interlaced",
                "the video is interlaced: moving edges have combs; for clean frames deinterlace "
                "it first, for example by ffmpeg's filter bwdif",
            )
        turn = self._turn_of(frame)
        ratio = self._pixel_ratio()
        if turn and turn.transposed:
            return (frame.width, _shown_width(frame.height, 1 / ratio)), turn
        return (frame.height, _shown_width(frame.width, ratio)), turn

    def _pixel_ratio(self) -> Fraction:
        """Returns width / height of a stored pixel."""
        ratio = self._container_ratio or self._codec.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, WIDEST) <= ratio <= WIDEST:
            self._note_once(
                "ratio",
                f"the header's pixel aspect ratio {ratio.numerator}:{ratio.denominator} is "
                "implausible: taken as 1:1",
            )
            return Fraction(1)
        return ratio

    def _turn_of(self, frame: av.VideoFrame) -> Turn | None:
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # side data of a kind that this PyAV does not know
            return self._turn_by_angle(frame.rotation)
        if matrix is None:
            return None
        content = bytes(matrix)
        if content != self._matrix:  # parsed once, not for every frame
            self._matrix = content
            a, b, _, c, d, *_ = struct.unpack("=9i", content[:36])
            self._turn = quarter_turn(a, b, c, d)
            if self._turn is None and (a, b, c, d) != (0, 0, 0, 0):
                self._note_once(
                    "matrix",
                    "the header turns frames by other than quarter turns, or distorts them "
                    f"({round(math.degrees(math.atan2(b, a)))} degrees clockwise): ignored",
                )
        return self._turn

    def _turn_by_angle(self, angle: int) -> Turn | None:
        if angle == 0:
            return None
        self._note_once(
            "angle", "a mirror image cannot be told from a turn: update PyAV (pip install -U av)"
        )
        quarters = round(angle / 90) % 4  # counter-clockwise
        return Turn(quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2))

    def _note_once(self, kind: str, problem: str) -> None:
        if kind not in self._noted:
            self._noted.add(kind)
            self._note(problem)


def _shown_width(width: int, ratio: Fraction) -> int:
    shown = width * ratio
    # A difference below two pixels is a rounding of who wrote the header.
    return width if abs(shown - width) < 2 else max(2, 2 * round(shown / 2))


def quarter_turn(a: float, b: float, c: float, d: float) -> Turn | None:
    """Returns the turn of a display matrix; None if it is none by quarter turns.

    A stored pixel (x, y) is shown at (a x + c y, b x + d y).
    """
    straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
    if straight and max(abs(b), abs(c)) <= _TILT * straight:
        return Turn(False, mirrored=a < 0, upside_down=d < 0)
    if crossed and max(abs(a), abs(d)) <= _TILT * crossed:
        return Turn(True, mirrored=c < 0, upside_down=b < 0)
    return None

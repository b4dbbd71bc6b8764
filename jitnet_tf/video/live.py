"""The newest frame of a live source, which is opened again whenever it is gone."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from jitnet_tf.base import durations, progress
from jitnet_tf.base.errors import UserError
from jitnet_tf.video.decoders import BrokenOffError, DecodedFrame

# For what FFmpeg and the network hold when a stream is opened, and comes without waiting.
_DRAINING = 2.0  # seconds at most
_WAITED = 0.005  # seconds
# Decoding is too slow for a stream where less of the time is spent on waiting, over many frames.
_IDLE, _MANY = 0.02, 250
_CLOSING = 2.0  # seconds to wait for a thread that waits for the network
_LONGEST_PAUSE = 30.0  # seconds between two frames that come in one burst
# Seconds between two attempts to connect: twice as many each time, from the first again once a
# connection has lasted.
_FIRST_WAIT, _LONGEST_WAIT, _LASTING = 0.5, 30.0, 30.0
_LOOK_EVERY = 1.0  # seconds; converting each frame only to compare it would cost too much


@dataclass(frozen=True)
class Patience:
    """Bounds on the absence of a live source.

    Attributes:
      reconnect_for: seconds for which a source that is gone is opened again and again; infinity:
        for ever.
      frozen_for: seconds of the same picture after which the source counts as gone; 0: never.
    """

    reconnect_for: float = math.inf
    frozen_for: float = 0.0


class NewestFrame:
    """Decodes a live source in a thread, and keeps its latest frame alone.

    What was held back while the stream was opened is passed over.

    Args:
      spec: the source's name in messages, without credentials.
      first: the frame that is decoded already.
      frames: the further ones.
      in_bursts: frames come many at once; then they are played in the time of their time stamps.
      reopen: opens the source again once it is gone; returns its frames, and whether they come in
        bursts. None: it is not opened again.
      patience: a Patience.
      number: that of the first frame.

    Attributes:
      dropped: number of frames that were replaced by a newer one before the latest taken.
      number: place, from 0, of the frame that was taken or looked at last, among all decoded.
    """

    def __init__(
        self,
        spec: str,
        first: DecodedFrame,
        frames: Iterator[DecodedFrame],
        in_bursts: bool,
        reopen: Callable[[], tuple[Iterator[DecodedFrame], bool]] | None = None,
        patience: Patience | None = None,
        number: int = 0,
    ):
        self.dropped = self.number = 0
        self._spec = spec
        self._frames = frames
        self._reopen = reopen
        self._patience = patience or Patience()
        self._count, self._seconds, self._waited = 0, 0.0, 0.0
        self._pace = _Pace() if in_bursts else None
        self._wait_before, self._connected = _FIRST_WAIT, time.monotonic()
        self._first_reason = ""  # of its absences
        self._picture = _Picture(self._patience.frozen_for)
        self._converting = threading.Lock()  # both threads convert, with one converter
        # All below is guarded by the condition.
        self._condition = threading.Condition()
        self._latest: DecodedFrame | None = None
        self._arrived = time.monotonic()
        self._replaced, self._last = 0, number - 1
        self._is_current = in_bursts
        self._has_ended = self._is_closed = False
        self._error: BaseException | None = None
        self._arrive(first)
        self._thread = threading.Thread(target=self._read, name="live source", daemon=True)
        self._thread.start()

    def peek(self) -> DecodedFrame | None:
        """Returns the latest frame, which may be taken later; None at the end."""
        with self._condition:
            self._wait()
            self.number = self._last
            return self._latest

    def take(self) -> DecodedFrame | None:
        """Waits for a frame newer than the one taken before; None at the end.

        Its stamp is its arrival by `time.monotonic`. Raises what stopped the decoding, after the
        last frame.
        """
        with self._condition:
            self._wait()
            taken, self._latest = self._latest, None
            self.number = self._last
            if taken is None and self._error:
                error, self._error = self._error, None
                raise error
            self.dropped = self._replaced
            return taken

    def interrupt(self) -> None:
        """Lets `take`, and one that waits, return None: the stream has ended for its user."""
        with self._condition:
            self._has_ended = True
            self._latest = self._error = None
            self._condition.notify_all()

    def close(self) -> None:
        """Ends the thread, which releases the source."""
        with self._condition:
            self._is_closed = True
            self._latest = self._error = None
            self._condition.notify_all()
        # A thread that still waits for the network releases it when that answers or times out.
        self._thread.join(_CLOSING)

    @property
    def problems(self) -> list[str]:
        """A sentence if the source was gone, and one if decoding cannot keep up."""
        found = []
        if self._first_reason:
            # How often and for how long is counted elsewhere, over resumed runs, too.
            found.append(f"{self._spec} was gone (the first time: {self._first_reason})")
        if self._count >= _MANY and self._waited <= _IDLE * self._seconds:
            rate = self._count / self._seconds
            found.append(
                f"decoding takes all the time, at {rate:.1f} frames a second: if more are sent, "
                "frames come late or get lost on the way; have a smaller picture or fewer frames "
                "sent"
            )
        return found

    def _wait(self) -> None:
        self._condition.wait_for(
            lambda: self._has_ended or self._is_closed or (self._latest and self._is_current)
        )

    def _read(self) -> None:
        try:
            while True:
                try:
                    self._play()
                    return  # a normal end, or closed
                except BrokenOffError as error:
                    if not self._reopen:
                        raise
                    reason = str(error)
                if not self._reconnect(reason):
                    return
        except BaseException as error:
            self._error = error
        finally:
            self._frames.close()
            with self._condition:
                self._has_ended = True
                self._condition.notify_all()

    def _play(self) -> None:
        """Takes in the frames of a connection, until it ends or is closed."""
        start = before = time.monotonic()
        for frame in self._frames:
            waited = frame.waited
            if self._pace:
                waited = self._pace.seconds_until(frame.stamp)
                self._sleep(waited)
            now = time.monotonic()
            if waited is None:
                waited = now - before
            self._count += 1
            self._seconds, self._waited = self._seconds + now - before, self._waited + waited
            before = now
            with self._condition:
                if self._is_closed:
                    return
                if waited > _WAITED or now - start > _DRAINING:
                    self._is_current = True
                self._arrive(frame)
            if self._picture.is_frozen(self._convert_of(frame), now):
                seconds = durations.show(self._patience.frozen_for)
                raise BrokenOffError(f"the picture has been the same for {seconds}")

    def _reconnect(self, reason: str) -> bool:
        """Opens the source again; returns False if it was closed meanwhile.

        Raises BrokenOffError if it stays away for too long.
        """
        self._frames.close()
        with self._condition:
            self._is_current = True  # nothing newer will come for a while
            self._condition.notify_all()
        start = time.monotonic()
        if start - self._connected > _LASTING:
            self._wait_before = _FIRST_WAIT
        self._first_reason = self._first_reason or reason
        progress.say(f"{self._spec} is gone ({reason}): connecting again")
        while True:
            left = start + self._patience.reconnect_for - time.monotonic()
            if left <= 0:
                seconds = durations.show(self._patience.reconnect_for)
                raise BrokenOffError(f"gone for {seconds}; last: {reason}")
            self._sleep(min(self._wait_before, left))
            self._wait_before = min(2 * self._wait_before, _LONGEST_WAIT)
            with self._condition:
                if self._is_closed:
                    return False
            try:
                frames, in_bursts = self._reopen()
                first = next(frames, None)
            except UserError as error:  # it cannot be opened, or breaks off at once
                reason = str(error)
                continue
            if first is None or self._picture.is_still(self._convert_of(first)):
                frames.close()
                continue
            break
        self._connected = time.monotonic()
        self._pace = _Pace() if in_bursts else None
        with self._condition:
            self._is_current = in_bursts
            gap = self._connected - self._arrived
        progress.say(f"{self._spec} is back after {gap:.1f} s")
        self._frames = _chain(replace(first, gap=gap), frames)
        return True

    def _arrive(self, frame: DecodedFrame) -> None:
        with self._condition:
            self._last += 1
            gap = frame.gap
            if self._latest is not None:
                self._replaced += 1
                if self._latest.gap is not None:  # passed over, but the gap was there
                    gap = self._latest.gap + (gap or 0.0)
            convert = partial(self._convert, frame.convert)
            self._arrived = time.monotonic()
            self._latest = replace(
                frame, stamp=self._arrived, duration=None, convert=convert, gap=gap
            )
            self._condition.notify_all()

    def _convert_of(self, frame: DecodedFrame) -> Callable[[], np.ndarray]:
        return partial(self._convert, frame.convert)

    def _convert(self, convert: Callable[[], np.ndarray]) -> np.ndarray:
        with self._converting:
            return convert()

    def _sleep(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed, seconds)


def _chain(first: DecodedFrame, others: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Yields a frame and others; closing it closes those."""
    try:
        yield first
        yield from others
    finally:
        others.close()


class _Picture:
    """Tells a frozen picture. frozen_for: seconds of the same one; 0: never."""

    def __init__(self, frozen_for: float):
        self._frozen_for = frozen_for
        self._pixels: np.ndarray | None = None
        self._since = self._next_look = -math.inf
        self._is_frozen = False

    def is_frozen(self, convert: Callable[[], np.ndarray], now: float) -> bool:
        """Returns whether the picture has been the same for too long. convert: gives its pixels."""
        if not self._frozen_for or now < self._next_look:
            return False
        self._next_look = now + min(_LOOK_EVERY, self._frozen_for / 4)
        pixels = convert()
        if not self._is_same(pixels):
            self._pixels, self._since = pixels, now
        self._is_frozen = now - self._since >= self._frozen_for
        return self._is_frozen

    def is_still(self, convert: Callable[[], np.ndarray]) -> bool:
        """Returns whether a source that was frozen and opened again shows the same picture."""
        return self._is_frozen and self._is_same(convert())

    def _is_same(self, pixels: np.ndarray) -> bool:
        return self._pixels is not None and np.array_equal(self._pixels, pixels)


class _Pace:
    """Plays frames in the time of their time stamps."""

    def __init__(self):
        self._origin: float | None = None  # at which the time stamp is 0

    def seconds_until(self, stamp: float | None) -> float:
        """Returns the seconds, 0 or more, until a frame is due."""
        now = time.monotonic()
        if stamp is None:
            return 0.0
        if self._origin is None or not 0 <= self._origin + stamp - now < _LONGEST_PAUSE:
            self._origin = now - stamp  # the start, a jump, or late frames
        return max(0.0, self._origin + stamp - now)

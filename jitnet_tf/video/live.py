"""The newest frame of a live source."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from jitnet_tf.video.decoders import DecodedFrame

# For what FFmpeg and the network hold when a stream is opened, and comes without waiting.
_DRAINING = 2.0  # seconds at most
_WAITED = 0.005  # seconds
# Decoding is too slow for a stream where less of the time is spent on waiting, over many frames.
_IDLE, _MANY = 0.02, 250
_CLOSING = 2.0  # seconds to wait for a thread that waits for the network
_LONGEST_PAUSE = 30.0  # seconds between two frames that come in one burst


class NewestFrame:
    """Decodes a live source in a thread, and keeps its latest frame alone.

    What was held back while the stream was opened is passed over.

    Args:
      first: the frame that is decoded already.
      frames: the further ones.
      in_bursts: frames come many at once; then they are played in the time of their time stamps.

    Attributes:
      dropped: number of frames that were replaced by a newer one before the latest taken.
    """

    def __init__(self, first: DecodedFrame, frames: Iterator[DecodedFrame], in_bursts: bool):
        self.dropped = 0
        self._frames = frames
        self._count, self._seconds, self._waited = 0, 0.0, 0.0
        self._pace = _Pace() if in_bursts else None
        # All below is guarded by the condition.
        self._condition = threading.Condition()
        self._latest: DecodedFrame | None = None
        self._replaced = 0
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
            return self._latest

    def take(self) -> DecodedFrame | None:
        """Waits for a frame newer than the one taken before; None at the end.

        Its stamp is its arrival by `time.monotonic`. Raises what stopped the decoding, after the
        last frame.
        """
        with self._condition:
            self._wait()
            taken, self._latest = self._latest, None
            if taken is None and self._error:
                error, self._error = self._error, None
                raise error
            self.dropped = self._replaced
            return taken

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
        """A sentence if decoding cannot keep up."""
        if self._count < _MANY or self._waited > _IDLE * self._seconds:
            return []
        rate = self._count / self._seconds
        return [
            f"decoding takes all the time, at {rate:.1f} frames a second: if more are sent, frames "
            "come late or get lost on the way; have a smaller picture or fewer frames sent"
        ]

    def _wait(self) -> None:
        self._condition.wait_for(
            lambda: self._has_ended or self._is_closed or (self._latest and self._is_current)
        )

    def _read(self) -> None:
        start = before = time.monotonic()
        try:
            for frame in self._frames:
                waited = frame.waited
                if self._pace:
                    waited = self._pace.seconds_until(frame.stamp)
                    self._sleep(waited)
                now = time.monotonic()
                if waited is None:
                    waited = now - before
                self._count += 1
                self._seconds, self._waited = now - start, self._waited + waited
                before = now
                with self._condition:
                    if self._is_closed:
                        break
                    if waited > _WAITED or now - start > _DRAINING:
                        self._is_current = True
                    self._arrive(frame)
        except BaseException as error:
            self._error = error
        finally:
            self._frames.close()
            with self._condition:
                self._has_ended = True
                self._condition.notify_all()

    def _arrive(self, frame: DecodedFrame) -> None:
        with self._condition:
            self._replaced += self._latest is not None
            self._latest = replace(frame, stamp=time.monotonic(), duration=None)
            self._condition.notify_all()

    def _sleep(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed, seconds)


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

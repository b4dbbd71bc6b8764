"""The figures of a run for those who watch it while it goes on."""

import collections
import os
import threading
import time
from typing import Any

from jitnet_tf.base.files import printable
from jitnet_tf.distillation.result import FrameResult

SECONDS = 10  # of the latest frames that fps is the rate of
MOST_FRAMES = 1000  # kept to tell the rate


def run_name(logdir: str) -> str:
    """Returns the name of a run for people: its directory's, without the folders above."""
    return printable(os.path.basename(os.path.abspath(logdir)))


class Figures:
    """Gathers the figures of one run; `now` may be called from any thread.

    Args:
      statistics: the run's Statistics, up to date with each result that is added.
    """

    def __init__(self, statistics: Any):
        self._statistics = statistics
        self._lock = threading.Lock()
        self._times: collections.deque[float] = collections.deque(maxlen=MOST_FRAMES)
        self._lag: float | None = None
        self._stride: int | None = None
        self._accuracy: float | None = None
        self._gap: dict | None = None

    def add(self, result: FrameResult) -> None:
        """Takes the result of the next frame."""
        with self._lock:
            self._times.append(time.monotonic())
            self._lag, self._stride = result.lag, result.stride
            if result.teacher and result.teacher.accuracy_before is not None:
                self._accuracy = result.teacher.accuracy_before
            if result.gap is not None:
                self._gap = {"frame": result.index, "seconds": result.gap}

    def now(self) -> dict:
        """Returns the figures by name, as JSON values; None for one that there is none of.

        frames, dropped, teacher_frames, updates, reconnects: counts, also of the run before it was
        resumed. fps: frames a second lately; seconds_since_frame: since the latest frame's result.
        lag: seconds of the latest frame of a live stream. teacher_share: of all frames, 0…1.
        accuracy: mean IoU before updates on the latest teacher frame; accuracy_sum, accuracy_count:
        over all of them. stride: in force. gap: the latest, its seconds and the frame after it.
        """
        statistics = self._statistics
        with self._lock:
            now = time.monotonic()
            times = [moment for moment in self._times if now - moment <= SECONDS]
            span = now - times[0] if times else 0.0
            return {
                "frames": statistics.frames,
                "dropped": statistics.dropped,
                "teacher_frames": statistics.teacher_frames,
                "updates": statistics.updates,
                "reconnects": statistics.gaps,
                "fps": (len(times) - 1) / span if span else 0.0,
                "seconds_since_frame": now - self._times[-1] if self._times else None,
                "lag": self._lag,
                "teacher_share": statistics.teacher_fraction,
                "accuracy": self._accuracy,
                "accuracy_sum": statistics.accuracy_sum,
                "accuracy_count": statistics.scored_teacher_frames,
                "stride": self._stride,
                "gap": self._gap,
            }

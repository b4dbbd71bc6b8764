"""Seconds by stage."""

import collections
import contextlib
import time


class Stopwatch:
    """Adds up seconds by stage.

    Attributes:
      seconds: stage → seconds.
    """

    def __init__(self):
        self.seconds = collections.defaultdict(float)
        self._start = time.perf_counter()

    @contextlib.contextmanager
    def __call__(self, stage):
        """Times the block under `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def start(self):
        """Starts the time of the next `lap`."""
        self._start = time.perf_counter()

    def lap(self, stage):
        """Adds the time since `start`, or since the last lap, to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._start
        self._start = now

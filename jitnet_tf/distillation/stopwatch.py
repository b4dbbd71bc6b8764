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

    @contextlib.contextmanager
    def __call__(self, stage):
        """Times the block under `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

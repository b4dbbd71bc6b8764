"""Schedulers of the requests of streams that share teachers.

Pure state machines: the caller gives the time, in seconds of any origin. A stream has one request
waiting at most.
"""

import dataclasses
import math
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Request:
    """A stream's request for labels of one frame.

    Attributes:
      stream: its name.
      made: the time at which it was made.
      labeled: the time of the frame with the stream's latest labels; None: it has none yet.
      decay: accuracy that the stream lost a second between its latest two labels: of what was shown
        right after the one and right before the other; None: unknown.
      budget: greatest share of the stream's frames that may be teacher frames, 0…1.
    """

    stream: str
    made: float
    labeled: float | None = None
    decay: float | None = None
    budget: float = 1.0


class Scheduler(Protocol):
    """Keeps the requests that wait, and chooses among them."""

    def add(self, request: Request) -> None:
        """Takes a request in. ValueError: one of its stream is waiting."""

    def remove(self, stream: str) -> None:
        """Forgets a stream, and its request if one is waiting."""

    def next(self, now: float) -> Request | None:
        """Takes out the request to answer next; None if none is waiting."""

    def __len__(self) -> int:
        """Returns the number of requests that wait."""


class FirstCome(Scheduler):
    """Answers requests in the order in which they were made."""

    def __init__(self):
        self._waiting = {}

    def add(self, request):
        """Takes a request in."""
        if request.stream in self._waiting:
            raise ValueError(f"a request of {request.stream} is waiting")
        self._waiting[request.stream] = request

    def remove(self, stream):
        """Forgets a stream."""
        self._waiting.pop(stream, None)

    def next(self, now):
        """Takes out the oldest request."""
        if not self._waiting:
            return None
        return self._waiting.pop(self._choose(now))

    def _choose(self, now):
        """Returns the stream whose request is next; of equal ones the first that was added."""
        return min(self._waiting, key=lambda stream: self._waiting[stream].made)

    def __len__(self):
        return len(self._waiting)


class ByNeed(FirstCome):
    """Answers the stream that gains most, but lets none wait for too long.

    A stream loses accuracy from one label to the next, say r a second. Over the time τ since its
    label it has lost r·τ²/2. Answering where r·τ² is greatest spaces a stream's labels as 1/√r, the
    split of the teachers' capacity with the least mean loss (the index policy for the age of
    information with linear costs: Kadota et al., "Scheduling policies for minimizing age of
    information in broadcast wireless networks", 2018). A stream on which labels do not help loses
    nothing between them, and is asked for rarely, whatever its accuracy. With budgets b the
    greatest r·(b·τ)² is next: streams that lose the same get labels in proportion to their budgets.

    Streams without labels come first. A request that has waited for `longest_wait` comes before
    all others, the oldest first: with N streams and teachers that answer every s seconds none waits
    longer than `longest_wait` + N·s.

    Args:
      longest_wait: seconds.
      least_decay: of a stream that loses nothing, or whose loss is unknown, a second.
    """

    def __init__(self, longest_wait=10.0, least_decay=0.001):
        super().__init__()
        self._longest_wait = longest_wait
        self._least_decay = least_decay

    def _choose(self, now):
        oldest = super()._choose(now)
        if now - self._waiting[oldest].made >= self._longest_wait:
            return oldest
        return max(self._waiting, key=lambda stream: self._need(self._waiting[stream], now))

    def _need(self, request, now):
        if request.labeled is None:
            return math.inf
        decay = max(request.decay or 0.0, self._least_decay)
        return decay * (request.budget * (now - request.labeled)) ** 2


class Decay:
    """Measures the accuracy that a stream loses a second between two labels.

    Attributes:
      value: mean of the latest ones, with weights that fall by half from label to label; None
        before two labels.
    """

    KEPT = 0.5

    def __init__(self):
        self.value = None
        self._after = None  # time and accuracy right after the latest labels

    def add(self, time, shown, after):
        """Takes the accuracies of a label's frame: of what was shown of it, and after learning.

        time: of the frame, in seconds. shown: None where it is no evidence: then nothing is
        learned of the interval.
        """
        if self._after and shown is not None and time > self._after[0]:
            since, accuracy = self._after
            latest = max(accuracy - shown, 0.0) / (time - since)
            kept = self.KEPT if self.value is not None else 0.0
            self.value = kept * (self.value or 0.0) + (1 - kept) * latest
        self._after = (time, after) if after is not None else None

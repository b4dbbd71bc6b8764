"""Work beside the loop over frames, each kind in one thread, in order and bounded."""

import collections
from concurrent.futures import ThreadPoolExecutor

# Frames that wait at most. More would only smooth longer stalls, at megabytes each.
DEPTH = 4


def prefetch(iterator):
    """Yields an iterator's items, taken from it up to DEPTH items ahead in a thread.

    What the iterator raises is raised in its place. Close the generator before the iterator's
    resources.
    """
    with ThreadPoolExecutor(1, "ahead") as executor:
        coming = collections.deque()
        try:
            end = object()
            while True:
                while len(coming) <= DEPTH:
                    coming.append(executor.submit(next, iterator, end))
                item = coming.popleft().result()
                if item is end:
                    return
                yield item
        finally:
            executor.shutdown(cancel_futures=True)


class Worker:
    """Calls a function on items in a thread, in their order, at most DEPTH behind.

    Once it has raised, the function is called no more: every later call and `wait` raises that.
    """

    def __init__(self, function):
        self._function = function
        self._executor = ThreadPoolExecutor(1, "behind")
        self._waiting = collections.deque()
        self._error = None

    def __call__(self, item):
        """Hands an item over, waiting for an earlier one while too many wait."""
        if self._error:
            raise self._error
        self._waiting.append(self._executor.submit(self._work, item))
        while self._waiting and (len(self._waiting) > DEPTH or self._waiting[0].done()):
            self._waiting.popleft().result()

    def wait(self):
        """Waits for all items handed over."""
        while self._waiting:
            self._waiting.popleft().result()
        if self._error:
            raise self._error

    def close(self):
        """Ends the thread after the items handed over."""
        self._executor.shutdown()

    def _work(self, item):
        if self._error:
            raise self._error
        try:
            self._function(item)
        except BaseException as error:
            self._error = error
            raise

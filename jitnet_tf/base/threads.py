"""Decoding and output in threads beside the loop over frames, in order and bounded."""

import collections
from concurrent.futures import ThreadPoolExecutor

# Most frames that wait. More would only smooth longer stalls, at megabytes each.
DEPTH = 4


def prefetch(iterator):
    """Yields an iterator's items, which a thread takes up to DEPTH items ahead.

    An exception of the iterator is raised after the items before it. Close the generator before the
    resources of the iterator.
    """
    with ThreadPoolExecutor(1, "prefetch") as executor:
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
    """Calls a function on items in a thread, in their order, at most DEPTH items behind.

    After an exception the function is not called again: `__call__` and `wait` raise the exception.
    """

    def __init__(self, function):
        self._function = function
        self._executor = ThreadPoolExecutor(1, "worker")
        self._waiting = collections.deque()
        self._error = None

    def __call__(self, item):
        """Hands over an item; blocks while DEPTH items wait."""
        if self._error:
            raise self._error
        self._waiting.append(self._executor.submit(self._work, item))
        while self._waiting and (len(self._waiting) > DEPTH or self._waiting[0].done()):
            self._waiting.popleft().result()

    def wait(self):
        """Waits until all items are done."""
        while self._waiting:
            self._waiting.popleft().result()
        if self._error:
            raise self._error

    def close(self):
        """Finishes the items handed over and ends the thread."""
        self._executor.shutdown()

    def _work(self, item):
        if self._error:
            raise self._error
        try:
            self._function(item)
        except BaseException as error:
            self._error = error
            raise

"""Ctrl-C between frames."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def kept_from_children():
    """Ctrl-C never reaches processes begun in the block: their parent says when to stop.

    They inherit that it is blocked, also while they start. Not on platforms without such masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request to stop between frames.

    A frame is never left half-learned; a second signal interrupts at once. Outside the main thread,
    where Python allows no handlers, nothing is changed.
    """

    def __init__(self):
        self.made = False
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number, frame):
        if self.made:
            raise KeyboardInterrupt
        self.made = True

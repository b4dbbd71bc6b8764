"""Ctrl-C and SIGTERM: stop between frames, and never in a child process."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def blocked_in_children():
    """Blocks Ctrl-C in processes started in the block: their parent ends them.

    They inherit the signal mask, so it holds while they start, too. Does nothing on platforms
    without signal masks.
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
    """Turns the first Ctrl-C or SIGTERM into a request to stop, for a loop to check.

    Frames are thus completed; a second signal raises KeyboardInterrupt. Does nothing outside the
    main thread, where Python allows no signal handlers.

    Attributes:
      made: whether to stop.
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

"""Ctrl-C, SIGTERM and SIGHUP: stop between frames, and never in a child process."""

import contextlib
import signal
import threading

# What a closed terminal sends, maybe twice. Windows has none.
HANGUP = getattr(signal, "SIGHUP", None)


def _handled():
    """Returns the signals that end a command; none that it was started to ignore, as by nohup."""
    ignored = HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM) if ignored else (signal.SIGINT, signal.SIGTERM, HANGUP)


@contextlib.contextmanager
def as_ctrl_c():
    """Makes SIGTERM and SIGHUP raise KeyboardInterrupt in the block, as Ctrl-C does.

    So what is open is closed in order. Does nothing outside the main thread.
    """
    came = []

    def interrupt(number, frame):
        came.append(number)
        if number != HANGUP or len(came) == 1:
            raise KeyboardInterrupt

    numbers = [number for number in _handled() if number != signal.SIGINT]
    in_main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, interrupt) for number in numbers if in_main}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def blocked_in_children():
    """Blocks Ctrl-C and SIGHUP in processes started in the block: their parent ends them.

    They inherit the signal mask, so it holds while they start, too. Does nothing on platforms
    without signal masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, HANGUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


class StopRequest:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a request to stop, for a loop to check.

    Frames are thus completed; a second signal raises KeyboardInterrupt, unless it is a SIGHUP. Does
    nothing outside the main thread, where Python allows no signal handlers.

    Args:
      on_request: called when it is made, in the signal handler: wakes up what the loop waits for.

    Attributes:
      made: whether to stop.
    """

    def __init__(self, on_request=lambda: None):
        self.made = False
        self._on_request = on_request
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in _handled():
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number, frame):
        if self.made and number != HANGUP:
            raise KeyboardInterrupt
        self.made = True
        self._on_request()

"""Ctrl-C between frames."""

import signal
import threading


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

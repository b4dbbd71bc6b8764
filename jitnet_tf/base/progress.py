"""Progress bars; without a terminal, a line now and then."""

import os
import sys
import time

from tqdm import tqdm

FIRST, GROWTH, LONGEST = 10.0, 1.3, 60.0  # seconds between two lines


class _Lines(tqdm):
    """Progress for a log: a line at the start, at the end, and between them ever less often."""

    _due, _wait = 0.0, FIRST

    def display(self, msg=None, pos=None):
        """Writes a line if it is time for one."""
        now = time.monotonic()
        is_early = self.delay and time.time() < self.start_t + self.delay
        if msg == "" or now < self._due or is_early:  # "" would clear the bar
            return
        if self._due:
            self._wait = min(self._wait * GROWTH, LONGEST)
        self._due = now + self._wait
        self.ncols = None  # of a terminal without a size: cuts the line
        self.fp.write(f"{msg or self}\n")
        self.fp.flush()

    def close(self):
        """Writes the last line."""
        if not self.disable and self.leave:
            self._due = 0.0
            self.display()
        self.delay = float("inf")  # else tqdm ends the line that a bar stands on
        super().close()

    def clear(self, nolock=False):
        """Does nothing: other output does not overwrite lines."""

    def moveto(self, n):
        """Does nothing: each line follows the last one."""


def progress_bar(iterable=None, desc=None, total=None, **options):
    """Returns a tqdm, which shows progress on standard error; arguments as tqdm's.

    A bar redrawn ten times a second would fill a log with megabytes an hour.
    """
    is_terminal = _is_terminal()
    return (tqdm if is_terminal else _Lines)(
        iterable, desc, total, **{"dynamic_ncols": is_terminal, **options}
    )


def _is_terminal():
    """Returns whether standard error is a terminal with a size, which some in containers lack."""
    try:
        return sys.stderr.isatty() and min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except (AttributeError, OSError, ValueError):  # closed, or a stream without a file
        return False


def say(text):
    """Prints a line to standard output, above the bar on a terminal."""
    tqdm.write(text)

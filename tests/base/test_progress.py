"""Progress bars: a line now and then where no terminal is, and one place that makes them."""

import io
import pathlib
import sys
import time

import pytest

from jitnet_tf.base import progress
from jitnet_tf.base.progress import progress_bar, say

ROOT = pathlib.Path(__file__).parents[2]


class Clock:
    """Steps by a second for each item."""

    def __init__(self, monkeypatch):
        self.now = time.time()
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(progress.time, "time", lambda: self.now)

    def count(self, number):
        for i in range(number):
            self.now += 1
            yield i


@pytest.mark.parametrize(("seconds", "least", "most"), [(5, 2, 2), (50, 4, 7), (3600, 60, 80)])
def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys, seconds, least, most):
    clock = Clock(monkeypatch)
    for _ in progress_bar(clock.count(seconds), "training", seconds, mininterval=0):
        pass
    err = capsys.readouterr().err
    assert "\r" not in err
    lines = err.splitlines()
    assert least <= len(lines) <= most
    assert all(line.startswith("training: ") for line in lines)
    assert f" 0/{seconds} " in lines[0]
    assert f" {seconds}/{seconds} " in lines[-1]


def test_a_bar_that_is_not_left_and_one_that_waits_end_without_a_line(capsys):
    with progress_bar(total=3, leave=False), progress_bar(total=3, delay=60) as waiting:
        waiting.update()
        say("between")
    out, err = capsys.readouterr()
    assert out == "between\n"
    assert [line.split("|")[0].strip() for line in err.splitlines()] == ["0%"]


def test_no_output_at_all_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(total=3) as bar:
        bar.update()


def test_all_progress_is_shown_by_this_module():
    """Others would fill a log with a bar that is redrawn ten times a second."""
    using = [
        path.relative_to(ROOT).as_posix()
        for package in ("jitnet_tf", "teacher", "experiments")
        for path in (ROOT / package).rglob("*.py")
        if "import tqdm" in path.read_text("utf-8")
    ]
    assert using == ["jitnet_tf/base/progress.py"]

"""The progress bar counts frames, or seconds of video where frames say little."""

import types

import numpy as np
import pytest

from jitnet_tf.base.progress import progress_bar
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.runs.progress import bar_options, step
from jitnet_tf.runs.summary import Statistics

MAP = np.zeros((2, 2), np.uint8)


def source(frames=None, seconds=None, constant_rate=True):
    return types.SimpleNamespace(
        announced_frames=frames, announced_seconds=seconds, constant_rate=constant_rate
    )


def result(time, duration):
    return FrameResult(0, MAP, MAP, time=time, duration=duration)


@pytest.mark.parametrize(
    ("opened", "max_frames", "total"),
    [
        (source(90, 3.0), None, 90),
        (source(90, 3.0), 40, 40),
        (source(90, 3.0), 400, 90),
        (source(), 40, 40),
        (source(), None, None),
        (source(90, 9.5, constant_rate=False), 40, 40),
    ],
    ids=["frames", "max_frames", "fewer than max_frames", "limited", "live", "variable, limited"],
)
def test_frames_are_counted(opened, max_frames, total):
    options = bar_options(opened, max_frames, Statistics(frames=7))
    assert options == {"total": total, "initial": 7, "unit": "frame"}
    with progress_bar(**options, disable=True) as bar:
        assert step(bar, opened, max_frames, result(5.0, 0.1)) == 1


@pytest.mark.parametrize(
    "opened", [source(20, 9.5, False), source(None, 9.5)], ids=["variable rate", "not counted"]
)
def test_seconds_are_counted(opened, capsys):
    options = bar_options(opened, None, Statistics(frames=7, video_seconds=0.5))
    with progress_bar(**options) as bar:
        for time, duration in ((0.5, 1), (1.5, 7), (8.5, 1.0333)):
            bar.update(step(bar, opened, None, result(time, duration)))
        assert bar.n == 9.5
    assert "9.5/9.5 s" in capsys.readouterr().err

"""Warm-up, and every frame once."""

import pytest

from experiments.protocol.open_stream import open_stream
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.distillation.segmenter import Segmenter
from teacher import Teacher
from tests.materials import square_scene, write_square_stream

COUNT = 6


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", COUNT)


class Right(Segmenter):
    """A segmenter that is always right; records its warm-up."""

    def __init__(self, context):
        self.context = context
        self.index = 0
        self.warmed_up = 0

    def warm_up(self, frame):
        assert self.index == 0
        self.warmed_up += 1

    def step(self, frame):
        result = FrameResult(self.index, frame, square_scene(COUNT)[1][self.index])
        self.index += 1
        return result


@pytest.mark.parametrize("frames", [COUNT, 3])
def test_every_frame_once_after_a_warm_up(stream, frames):
    made = []

    def make(context):
        made.append(Right(context))
        return made[0]

    with open_stream(stream, frames, make, "settings") as opened:
        assert (made[0].warmed_up, made[0].index) == (1, 0)
        for result in opened.score(opened.frames):
            opened.statistics.add(result)
    context = made[0].context
    assert (context.settings, context.frames, context.frame_size) == ("settings", frames, (64, 96))
    assert context.teacher is context.recording
    summary = opened.statistics.summary()
    assert (summary["frames"], summary["mean_iou"]) == (frames, 1)
    assert (summary["teacher_time"], summary["teacher_seconds_per_frame"]) == ("recorded", 0.5)
    assert not summary["lookahead"]


def test_a_segmenter_that_looks_ahead_gets_frames_in_sight_and_is_marked(stream):
    class Looking(Right):
        looks_ahead = True

        def attach(self, frames):
            self.coming = list(frames)
            return iter(self.coming)

    made = []
    with open_stream(stream, 3, lambda c: made.append(Looking(c)) or made[0], None) as opened:
        assert len(list(opened.score(opened.frames))) == 3
    assert len(made[0].coming) == 3
    assert opened.statistics.summary()["lookahead"]


def test_a_live_teacher_is_warmed_up_and_closed(stream):
    calls = []

    class Live(Teacher):
        def __call__(self, frame, index):
            calls.append(index)

        def close(self):
            calls.append("closed")

    live = Live()
    with open_stream(stream, COUNT, Right, None, teacher=live) as opened:
        assert calls == [0]
        assert opened.statistics.summary()["teacher_time"] == "measured"
    assert calls == [0, "closed"]


def test_the_video_opens_once_more(stream):
    found = []

    def make(context):
        with context.open_source() as source:
            found.append(len(list(source)))
        return Right(context)

    with open_stream(stream, COUNT, make, None) as opened:
        assert len(list(opened.frames)) == COUNT
    assert found == [COUNT]

"""Every frame is segmented once and scored against a reference that the segmenter never sees."""

import dataclasses

import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stream import ScoredStream, warm_up
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.recorded import Recording
from tests.materials import square_scene, write_square_stream

MAKER = LabelMaker(class_groups("lvs"))
COUNT = 6


class Half(Segmenter):
    """Predicts the upper half of the labels; fails on one frame, once."""

    def __init__(self, fails_at=None):
        self.index = 0
        self.frames = []
        self.fails_at = fails_at

    def step(self, frame):
        if self.index == self.fails_at:
            self.fails_at = None
            raise UserError("it failed")
        self.frames.append(frame)
        prediction = square_scene(COUNT)[1][self.index]
        prediction[18:] = 0
        result = FrameResult(self.index, frame, prediction, 1, seconds={"infer": 1.0})
        self.index += 1
        return result


def timed(frames):
    """Iterates over the frames, ten a second."""
    return (video.Frame(frame, index / 10) for index, frame in enumerate(frames))


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", COUNT)


def test_every_frame_is_scored(stream):
    segmenter = Half()
    labels = square_scene(COUNT)[1]
    with video.open_source(stream.video) as source, Recording(stream.recording) as reference:
        results = list(ScoredStream(source.frames(), segmenter, MAKER, reference))
    assert [result.index for result in results] == list(range(COUNT))
    for result, label in zip(results, labels, strict=True):
        np.testing.assert_array_equal(result.reference.labels, label)
        expected = metrics.confusion(label, result.prediction, 9)
        np.testing.assert_array_equal(result.reference.confusion, expected)
        assert set(result.seconds) == {"infer", "decode", "reference"}
        assert result.seconds["infer"] == 1
        assert not result.is_teacher_frame


def test_without_a_reference_there_is_no_score():
    frames, _ = square_scene(COUNT)
    segmenter = Half()
    results = list(ScoredStream(timed(frames), segmenter, MAKER))
    assert len(results) == COUNT
    for result, frame, seen in zip(results, frames, segmenter.frames, strict=True):
        assert result.frame is frame is seen
        assert result.time == result.index / 10
        assert result.reference is None
        assert set(result.seconds) == {"infer", "decode"}


def test_the_end_is_none_again_and_again():
    scored = ScoredStream(iter([]), Half(), MAKER)
    assert (scored.take(), scored.take(), list(scored)) == (None, None, [])


def test_a_reference_that_ends_early_stops_before_the_segmenter(stream):
    """What a run keeps then is the state before the frame."""
    frames, _ = square_scene(COUNT + 1)
    segmenter = Half()
    with Recording(stream.recording) as reference:
        results = iter(ScoredStream(timed(frames), segmenter, MAKER, reference))
        for _ in range(COUNT):
            next(results)
        with pytest.raises(UserError, match="ends after 6 frames"):
            next(results)
    assert (segmenter.index, len(segmenter.frames)) == (COUNT, COUNT)


def test_a_segmenter_that_fails_passes_through(stream):
    frames, _ = square_scene(COUNT)
    segmenter = Half(fails_at=1)
    with Recording(stream.recording) as reference:
        results = iter(ScoredStream(timed(frames), segmenter, MAKER, reference))
        assert next(results).index == 0
        with pytest.raises(UserError, match="it failed"):
            next(results)
    assert segmenter.index == 1


class Warmed(Half):
    """Remembers the frame that it was warmed up with."""

    def __init__(self, index):
        super().__init__()
        self.index, self.warmed = index, []

    def warm_up(self, frame):
        self.warmed.append(frame)


def test_warming_up_runs_segmenter_and_teachers_once():
    [frame, *_], _ = square_scene(COUNT)
    segmenter, asked = Warmed(7), []
    warm_up(frame, segmenter, lambda frame, index: asked.append((frame, index)))
    assert len(segmenter.warmed) == len(asked) == 1
    assert segmenter.warmed[0] is asked[0][0] is frame
    assert asked[0][1] == 7
    warm_up(None, segmenter)
    assert len(segmenter.warmed) == 1


def test_the_ignored_region_is_not_scored(stream):
    """Whatever the segmenter says there."""
    ignored = np.zeros((64, 96), bool)
    ignored[:, 12:] = True
    maker = dataclasses.replace(MAKER, ignored=ignored)
    with video.open_source(stream.video) as source, Recording(stream.recording) as reference:
        results = list(ScoredStream(source.frames(), Half(), maker, reference))
    for result, label in zip(results, square_scene(COUNT)[1], strict=True):
        assert result.prediction[ignored].any()
        expected = metrics.confusion(label, result.prediction, 9, ignored)
        np.testing.assert_array_equal(result.reference.confusion, expected)
        assert expected.sum() == (~ignored).sum()
        assert not result.reference.labels[ignored].any()

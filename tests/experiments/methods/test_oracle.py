"""The oracle: frames, batches, learning rate."""

import itertools
import math
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.methods import named, oracle
from experiments.methods.oracle import BATCH_SIZE, OracleSettings, TrainingFrames, random_batches
from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.training import DivergedError
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.recorded import Recording
from tests.materials import square_scene, write_square_stream

MAKER = LabelMaker(class_groups("lvs"))


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", 12)


@pytest.fixture
def opened(stream):
    """The stream's source and its recording."""
    with Recording(stream.recording) as recording, video.open_source(stream.video) as source:
        yield source, recording


def folders(scratch):
    return [path.name for path in scratch.iterdir()]


def test_every_fifth_frame_is_kept_unchanged(stream, opened, tmp_path):
    source, recording = opened
    labels = square_scene(12)[1]
    with video.open_source(stream.video) as again:
        shown = list(again)
    with TrainingFrames(source, recording, MAKER, 12, tmp_path) as frames:
        assert frames.count == 3
        pictures, classes, weights = frames.batch([2, 0, 1, 0])
    for pixels, kind in ((pictures, np.uint8), (classes, np.uint8), (weights, np.float32)):
        assert (pixels.dtype, pixels.shape[:3]) == (kind, (4, 64, 96))
    for row, index in enumerate((10, 0, 5, 0)):
        np.testing.assert_array_equal(pictures[row], shown[index])
        np.testing.assert_array_equal(classes[row], labels[index])
        expected = MAKER.weights(recording(shown[index], index), (64, 96))
        np.testing.assert_array_equal(weights[row], expected)
    assert set(np.unique(weights)) == {1, 5}


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (5, 1), (6, 2), (11, 3), (99, 3)])
def test_no_more_frames_than_the_stream_has(opened, frames, count, tmp_path):
    with TrainingFrames(*opened, MAKER, frames, tmp_path) as training:
        assert training.count == count


def test_no_file_stays_on_disk(opened, tmp_path):
    with TrainingFrames(*opened, MAKER, 12, tmp_path):
        assert len(folders(tmp_path)) == 1
    assert folders(tmp_path) == []


def test_full_disk(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(oracle.cv2, "imwrite", lambda *_: False)
    with pytest.raises(UserError, match=r"oracle-.* cannot be written"):
        TrainingFrames(*opened, MAKER, 12, tmp_path)
    assert folders(tmp_path) == []


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 5))
def test_epochs_are_permutations(count, steps, seed):
    batches = list(random_batches(count, steps, seed))
    assert [len(batch) for batch in batches] == [BATCH_SIZE] * steps
    numbers = np.concatenate([np.empty(0, int), *batches]).tolist()
    for start in range(0, len(numbers) - count + 1, count):
        assert sorted(numbers[start : start + count]) == list(range(count))
    rest = numbers[len(numbers) // count * count :]
    assert len(set(rest)) == len(rest)


def test_batches_follow_the_seed():
    first, same, other = (np.array(list(random_batches(30, 9, seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert (first[:7].ravel() != np.arange(28)).any()  # in random order


def test_learning_rate_by_hand():
    rates = [oracle.learning_rate(step, 8, 0.02) for step in range(8)]
    falling = [0.01 * (1 + math.cos(math.pi * part)) for part in (0.25, 0.5, 0.75)]
    assert rates == pytest.approx([0.02] * 5 + falling)


@given(st.integers(1, 100), st.floats(1e-4, 1))
def test_learning_rate_never_rises_nor_ends(steps, peak):
    rates = [oracle.learning_rate(step, steps, peak) for step in range(steps)]
    assert rates[0] == peak
    assert all(a >= b > 0 for a, b in itertools.pairwise(rates))


def test_training(opened, tmp_path):
    """Records the order of the frames that a student is trained on."""
    log = []

    class Student:
        def set_learning_rate(self, rate):
            log.append(rate)

        def train(self, frames, labels, weights):
            log.append((frames, labels, weights))
            return 1.0

    with TrainingFrames(*opened, MAKER, 12, tmp_path) as frames:
        oracle.train(Student(), frames, 6, 0.01, 3, lambda: log.append("step"))
        for step, numbers in enumerate(random_batches(3, 6, 3)):
            rate, batch, end = log[3 * step : 3 * step + 3]
            assert rate == oracle.learning_rate(step, 6, 0.01)
            for array, expected in zip(batch, frames.batch(numbers), strict=True):
                np.testing.assert_array_equal(array, expected)
            assert end == "step"
    assert len(log) == 18


def test_divergence(opened, tmp_path):
    student = types.SimpleNamespace(
        set_learning_rate=lambda rate: None, train=lambda *batch: float("nan")
    )
    with (
        TrainingFrames(*opened, MAKER, 12, tmp_path) as frames,
        pytest.raises(DivergedError, match="the oracle diverged at step 0"),
    ):
        oracle.train(student, frames, 6, 0.01, 3)


@pytest.mark.parametrize(
    ("frames", "least", "epochs", "steps"),
    [
        (120, 500, 5, 500),  # 24 frames: 6 batches an epoch
        (30_000, 500, 5, 7500),  # the paper's streams: 6,000 frames
        (30_000, 500, 0, 500),
        (120, 1, 5, 30),
    ],
)
def test_the_oracles_steps(frames, least, epochs, steps):
    settings = OracleSettings(oracle_steps=least, oracle_epochs=epochs)
    assert settings.steps(frames) == steps
    assert named("oracle").preparation(settings, frames) == frames + steps

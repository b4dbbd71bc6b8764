"""Warping, DIS and FlowPropagation on known displacements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.methods import named
from experiments.methods.flow import FlowPropagation
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.outputs import flow
from jitnet_tf.distillation.outputs.flow import DIS
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.detections import Detections
from tests.materials import square_scene, texture

PRESETS = ("ultrafast", "fast", "medium")
SEEDS = st.integers(0, 2**32)


def constant(size, dx, dy):
    return np.broadcast_to(np.float32([dx, dy]), (*size, 2)).copy()


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_targets():
    moved = flow.targets(constant((3, 4), 0.5, -2))
    assert (moved.dtype, moved.shape) == (np.float32, (3, 4, 2))
    for y in range(3):
        for x in range(4):
            assert moved[y, x].tolist() == [x + 0.5, y - 2]


@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.integers(-10, 10), st.integers(-10, 10))
def test_warp_by_one_displacement(seed, height, width, dx, dy):
    values = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    # A frame around, so that a slice is the displacement; outside there is background.
    wide = np.pad(values, 10)
    expected = wide[10 + dy : 10 + dy + height, 10 + dx : 10 + dx + width]
    warped = flow.warp(values, constant((height, width), dx, dy))
    assert warped.dtype == np.uint8
    np.testing.assert_array_equal(warped, expected)


@given(SEEDS)
def test_warp_pixel_by_pixel(seed):
    """Compares random flows with numpy, without halves, which may round either way."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 9, (12, 17), np.uint8)
    moves = random.integers(-8, 9, (12, 17, 2)) + random.uniform(-0.4, 0.4, (12, 17, 2))
    expected = np.zeros_like(values)
    for y, x in np.ndindex(values.shape):
        to_x, to_y = np.rint(np.array([x, y]) + moves[y, x]).astype(int)
        if 0 <= to_y < 12 and 0 <= to_x < 17:
            expected[y, x] = values[to_y, to_x]
    np.testing.assert_array_equal(flow.warp(values, moves.astype(np.float32)), expected)


def test_warp_does_not_interpolate_classes():
    values = np.zeros((20, 20), np.uint8)
    values[:, 10:] = 8
    assert set(np.unique(flow.warp(values, constant((20, 20), 0.3, 0.3)))) == {0, 8}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-4, 3)])
def test_dis_finds_a_known_displacement(preset, dx, dy):
    wide = texture((96, 128), 5)
    frame, other = wide[16:80, 16:112], wide[16 - dy : 80 - dy, 16 - dx : 112 - dx]
    found = DIS(preset)(np.ascontiguousarray(frame), np.ascontiguousarray(other))
    assert (found.dtype, found.shape) == (np.float32, (64, 96, 2))
    error = np.abs(found - (dx, dy)).max(-1)[8:-8, 8:-8]
    assert np.median(error) < 0.25
    assert (error < 1).mean() > 0.9


def test_a_flow_depends_on_nothing_but_its_arguments():
    """Else a resumed run would differ: OpenCV keeps what it has started from."""
    one, other, third = (picture[..., 0].copy() for picture in square_scene(3, (2, 3))[0])
    expected = DIS("ultrafast").of_gray(one, other)
    used = DIS("ultrafast")
    used.of_gray(third, other, used.of_gray(one, third))
    np.testing.assert_array_equal(used.of_gray(one, other), expected)


def test_dis_has_three_presets():
    with pytest.raises(KeyError):
        DIS("slow")


# Propagation


class Teacher:
    """Returns the labels of a scene; records the frames that it is asked for."""

    def __init__(self, labels):
        self.labels = labels
        self.asked = []

    def __call__(self, frame, index):
        self.asked.append(index)
        mask = self.labels[index] > 0
        return Detections(
            np.float32([[0, 0, 1, 1]]),
            np.int32([1]),
            np.float32([0.9]),
            (mask,),
            np.int32([[0, 0]]),
        )


MAKER = LabelMaker(class_groups("lvs"))


def test_the_true_flow_moves_labels_exactly():
    frames, labels = square_scene(20, speed=(1, 2))
    number = {id(frame): i for i, frame in enumerate(frames)}
    asked = []

    def true_flow(frame, other):
        now, then = number[id(frame)], number[id(other)]
        asked.append((now, then))
        # Flow of the square, and of the wall around it, which is still.
        moved = np.where(labels[now][..., np.newaxis] > 0, (2 * (then - now), then - now), 0)
        # Pixels that the square uncovers come from the wall.
        uncovered = (labels[now] == 0) & (labels[then] > 0)
        return np.where(uncovered[..., np.newaxis], 100, moved).astype(np.float32)

    teacher = Teacher(labels)
    segmenter = FlowPropagation(true_flow, teacher, MAKER, 8)
    results = [segmenter.step(frame) for frame in frames]
    assert teacher.asked == [0, 8, 16]
    # In one step from the teacher frame.
    assert asked == [(i, i - i % 8) for i in range(20) if i % 8]
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result.prediction, labels[i])
        assert (result.index, result.stride, result.updates) == (i, 8, 0)
        assert result.frame is frames[i]
        assert result.is_teacher_frame == (i % 8 == 0)
        stages = {"teacher", "labels"} if i % 8 == 0 else {"flow", "warp"}
        assert set(result.seconds) == stages
        if result.teacher:
            assert (result.teacher.accuracy_before, result.teacher.confusion) == (None, None)
            np.testing.assert_array_equal(result.teacher.labels, labels[i])
    assert segmenter.index == 20


@pytest.mark.parametrize(("preset", "stride", "least"), [("medium", 8, 0.9), ("fast", 4, 0.9)])
def test_dis_moves_labels(preset, stride, least):
    frames, labels = square_scene(24)
    segmenter = FlowPropagation(DIS(preset), Teacher(labels), MAKER, stride)
    predictions = [segmenter.step(frame).prediction for frame in frames]
    scores = [iou(p, label) for p, label in zip(predictions, labels, strict=True)]
    assert min(scores) > least
    assert scores[::stride] == [1] * len(scores[::stride])
    # Unmoved labels would be worse.
    assert iou(labels[0], labels[stride - 1]) < min(scores)


def test_flow_of_a_scene_at_rest_keeps_the_labels():
    frames, labels = square_scene(8, speed=(0, 0))
    segmenter = FlowPropagation(DIS("ultrafast"), Teacher(labels), MAKER, 16)
    for frame in frames:
        np.testing.assert_array_equal(segmenter.step(frame).prediction, labels[0])


def test_a_failing_teacher_leaves_the_index():
    frames, _ = square_scene(2)

    def fails(frame, index):
        raise UserError("no")

    segmenter = FlowPropagation(DIS("fast"), fails, MAKER, 1)
    with pytest.raises(UserError):
        segmenter.step(frames[0])
    assert segmenter.index == 0


# Methods


@pytest.mark.parametrize(
    ("name", "preset", "stride"), [("flow_slow", "medium", 8), ("flow_fast", "ultrafast", 16)]
)
def test_flow_rows(made, monkeypatch, name, preset, stride):
    presets = []
    monkeypatch.setattr("experiments.methods.flow.DIS", presets.append)
    config, segmenter = made(name)
    assert config is None  # there is no student
    assert presets == [preset]
    frame = np.zeros((4, 4, 3), np.uint8)
    asked = []

    segmenter._teacher = lambda frame, index: asked.append(index)
    segmenter._estimator = lambda *_: np.zeros((4, 4, 2), np.float32)
    monkeypatch.setattr(LabelMaker, "labels", lambda *_: np.zeros((4, 4), np.uint8))
    for _ in range(33):
        segmenter.step(frame)
    assert asked == list(range(0, 33, stride)) == list(range(0, 33, named(name).stride))

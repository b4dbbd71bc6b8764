"""Detections at smaller sizes: the share of each pixel that a mask covers decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher import scaling
from teacher.detections import Detections, from_box_masks


def detections(masks, origins):
    count = len(masks)
    boxes = np.tile(np.float32([[0.1, 0.2, 0.6, 0.7]]), (count, 1))
    numbers = np.arange(1, count + 1, dtype=np.int32)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    return Detections(boxes, numbers, scores, tuple(masks), np.int32(origins).reshape(-1, 2))


def whole(found, number, size):
    """The mask of an object on the whole frame."""
    frame = np.zeros(size, bool)
    (y, x), mask = found.origins[number], found.masks[number]
    frame[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return frame


def shares(before, after):
    """The share of each pixel before in each pixel after, of one side: [after, before]."""
    edges = np.arange(after + 1) * before / after
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(before)
    overlap = np.minimum(high, pixels + 1) - np.maximum(low, pixels)
    return np.clip(overlap, 0, None) * after / before


SIDES = st.integers(1, 40)


@given(st.data())
def test_a_pixel_belongs_if_half_of_it_does(data):
    before = data.draw(st.tuples(SIDES, SIDES))
    after = tuple(data.draw(st.integers(1, side)) for side in before)
    top, left = (data.draw(st.integers(0, side - 1)) for side in before)
    height = data.draw(st.integers(1, before[0] - top))
    width = data.draw(st.integers(1, before[1] - left))
    seed = data.draw(st.integers(0, 99))
    mask = np.random.default_rng(seed).random((height, width)) < 0.7
    one = detections([mask], [(top, left)])
    covered = shares(before[0], after[0]) @ whole(one, 0, before) @ shares(before[1], after[1]).T
    found = scaling.scaled(one, before, after)
    certain = abs(covered - 0.5) > 0.004  # cv2 counts in 255ths
    assert (whole(found, 0, after) == (covered >= 0.5))[certain].all()
    assert found.masks[0].dtype == bool
    assert found.masks[0].flags["C_CONTIGUOUS"]


def test_everything_but_masks_is_the_same():
    masks = [np.ones((9, 9), bool), np.zeros((0, 0), bool), np.ones((1, 1), bool)]
    before = detections(masks, [(3, 4), (40, 60), (0, 0)])
    after = scaling.scaled(before, (48, 64), (16, 16))
    for name in ("boxes", "classes", "scores"):
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes()
    assert [mask.any() for mask in after.masks] == [True, False, False]
    assert after.origins.dtype == np.int32
    assert len(scaling.scaled(detections([], []), (48, 64), (16, 16))) == 0


@pytest.mark.parametrize("after", [(240, 320), (180, 300), (101, 203)])
def test_masks_are_nearly_those_that_a_teacher_gives_at_that_size(after):
    before = (480, 640)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    disc = np.clip(1.5 - np.hypot(y, x), 0, 1)[None].repeat(3, 0)
    boxes = np.float32([[0.1, 0.1, 0.6, 0.5], [0.5, 0.3, 1.1, 0.9], [0.2, 0.6, 0.4, 0.8]])
    one, expected = (
        from_box_masks(boxes, [1, 3, 2], [0.9, 0.8, 0.7], disc, size) for size in (before, after)
    )
    found = scaling.scaled(one, before, after)
    for number in range(3):
        a, b = whole(found, number, after), whole(expected, number, after)
        assert (a & b).sum() / (a | b).sum() > 0.94

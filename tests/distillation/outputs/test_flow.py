"""Flow and warping, on motions that are known."""

import numpy as np
import pytest

from jitnet_tf.distillation.outputs import flow
from tests.materials import texture


def constant(dx, dy, size=(12, 16)):
    return np.broadcast_to(np.float32([dx, dy]), (*size, 2)).copy()


@pytest.mark.parametrize("start", [None, (3, 2)])
def test_dis_finds_a_shift(start):
    scene = texture((64 + 8, 96 + 8), 1)
    frame, other = scene[:64, :96], scene[2:66, 3:99]  # other[y, x] = frame[y + 2, x + 3]
    gray = [np.ascontiguousarray(picture[..., 1]) for picture in (other, frame)]
    begin = None if start is None else constant(*start, (64, 96))
    found = flow.DIS("ultrafast").of_gray(*gray, begin)
    assert (found.dtype, found.shape) == (np.float32, (64, 96, 2))
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), [3, 2], atol=0.3)
    if start is not None:
        np.testing.assert_array_equal(begin, constant(*start, (64, 96)))  # is not changed


def test_warp_takes_what_the_flow_points_to_and_background_from_outside():
    values = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)
    found = flow.warp(values, constant(2, 1))
    np.testing.assert_array_equal(found[:-1, :-2], values[1:, 2:])
    assert not found[-1].any()
    assert not found[:, -2:].any()


def test_resized_flow_is_in_pixels_of_the_new_size():
    found = flow.resize_flow(constant(3, -2), (36, 32))
    np.testing.assert_allclose(found, constant(6, -6, (36, 32)), rtol=1e-6)
    same = constant(3, -2)
    assert flow.resize_flow(same, (12, 16)) is same


def test_chain_adds_motions_where_they_are():
    second = constant(0, 0)
    second[:, 8:] = (1, 5)
    found = flow.chain(constant(4, 0), second)
    np.testing.assert_allclose(found[:, :4], constant(4, 0, (12, 4)), atol=1e-6)
    np.testing.assert_allclose(found[:, 4:12], constant(5, 5, (12, 8)), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 200), (16, 16), (33, 47), (16, 2000)])
def test_sizes_that_are_said_to_be_taken_are(size):
    blank = np.random.default_rng(0).integers(0, 255, size, np.uint8)
    if flow.estimates(size):
        assert flow.DIS("ultrafast").of_gray(blank, blank).shape == (*size, 2)
    else:
        assert min(size) < 48
    assert flow.estimates((48, 64))

"""PWC-Net's operations, with tensorflow-addons and without."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.methods import pwcnet_operations as ops

COSTS = [ops.correlation_cost, ops.plain_correlation_cost]
WARPS = [ops.dense_image_warp, ops.plain_dense_image_warp]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_gradients(function, *inputs):
    """The result, and the gradients of its randomly weighted sum by each input."""
    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = function(*inputs)
        total = tf.reduce_sum(result * normal(*result.shape, seed=9))
    return [x.numpy() for x in (result, *tape.gradient(total, inputs))]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_addons_are_used_if_they_install():
    assert (ops.addons() is not None) == (sys.version_info < (3, 12))


@pytest.mark.slow
def test_addons_are_imported_late_and_quietly():
    code = (
        "import sys; from experiments.methods import pwcnet_operations as ops; "
        "assert 'tensorflow_addons' not in sys.modules; "
        "ops.addons()"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:tensorflow_addons", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Addons" not in process.stderr


def test_without_addons(monkeypatch):
    # None in sys.modules makes an import fail, whatever is installed.
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    ops.addons.cache_clear()
    try:
        assert ops.addons() is None
        inputs = normal(1, 3, 4, 2), normal(1, 3, 4, 2, seed=1)
        np.testing.assert_array_equal(
            ops.correlation_cost(*inputs),
            ops.plain_correlation_cost(*inputs),
        )
        np.testing.assert_array_equal(
            ops.dense_image_warp(*inputs),
            ops.plain_dense_image_warp(*inputs),
        )
    finally:
        ops.addons.cache_clear()


def numpy_cost(first, second, radius):
    batch, height, width, _ = first.shape
    side = 2 * radius + 1
    volume = np.zeros((batch, height, width, side * side))
    for y, x, i, j in np.ndindex(height, width, side, side):
        there = y + i - radius, x + j - radius
        if 0 <= there[0] < height and 0 <= there[1] < width:
            product = first[:, y, x].astype(np.float64) * second[:, there[0], there[1]]
            volume[:, y, x, i * side + j] = product.mean(-1)
    return volume


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 1, 1, 4), (1, 12, 3, 1)])
@pytest.mark.parametrize("radius", [4, 1])
def test_cost_against_numpy(cost, shape, radius):
    first, second = normal(*shape), normal(*shape, seed=1)
    volume = cost(first, second, radius)
    assert volume.dtype == tf.float32
    assert volume.shape == (*shape[:3], (2 * radius + 1) ** 2)
    np.testing.assert_allclose(volume, numpy_cost(first, second, radius), atol=1e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_cost_peaks_at_the_displacement(cost):
    texture = normal(30, 40, 128)
    first, second = texture[5:25, 5:35], texture[5 - 3 : 25 - 3, 5 + 2 : 35 + 2]
    # first[y, x] = second[y + 3, x - 2]
    volume = cost(first[np.newaxis], second[np.newaxis])[0]
    found = np.argmax(volume[:-3, 2:], axis=-1)
    assert (found == (3 + 4) * 9 + (-2 + 4)).all()


def addons_cost(first, second):
    """The cost with addons' own gradient, which is right on one thread; see correlation_cost."""
    layer = ops.addons().layers.CorrelationCost(1, 4, 1, 1, 4, "channels_last")
    return layer([first, second])


@pytest.mark.parametrize("cost", [*COSTS, addons_cost] if ops.addons() else COSTS)
def test_costs_gradient_against_numpy(cost):
    first, second = normal(1, 3, 4, 2), normal(1, 3, 4, 2, seed=1)
    upstream = normal(1, 3, 4, 81, seed=9)  # see with_gradients
    expected = [np.zeros(first.shape), np.zeros(second.shape)]
    for y, x, i, j in np.ndindex(3, 4, 9, 9):
        there = y + i - 4, x + j - 4
        if 0 <= there[0] < 3 and 0 <= there[1] < 4:
            weight = upstream[0, y, x, 9 * i + j] / 2
            expected[0][0, y, x] += weight * second[0, there[0], there[1]]
            expected[1][0, there[0], there[1]] += weight * first[0, y, x]
    assert_equal(with_gradients(cost, first, second)[1:], expected)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_costs_are_one_function(seed):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, [4, 10, 10, 9]))
    inputs = normal(*shape, seed=seed), normal(*shape, seed=seed + 1)
    assert_equal(*(with_gradients(cost, *inputs) for cost in COSTS))


def numpy_warp(image, flow):
    batch, height, width, _ = image.shape
    result = np.zeros(image.shape)
    for b, y, x in np.ndindex(batch, height, width):
        at_y = np.clip(y - flow[b, y, x, 0], 0, height - 1)
        at_x = np.clip(x - flow[b, y, x, 1], 0, width - 1)
        top, left = min(int(at_y), height - 2), min(int(at_x), width - 2)
        low, right = at_y - top, at_x - left
        patch = image[b, top : top + 2, left : left + 2].astype(np.float64)
        result[b, y, x] = np.einsum("ijc,i,j->c", patch, [1 - low, low], [1 - right, right])
    return result


def flow_of(shape, seed):
    """Displacements of a few pixels, a third of them whole numbers."""
    random = np.random.default_rng(seed)
    flow = random.normal(0, 2, (*shape[:3], 2)).astype(np.float32)
    return np.where(random.random(flow.shape) < 0.3, np.round(flow), flow)


@pytest.mark.parametrize("warp", WARPS)
@pytest.mark.parametrize("shape", [(2, 6, 9, 3), (1, 2, 2, 1), (1, 2, 11, 4)])
def test_warp_against_numpy(warp, shape):
    image, flow = normal(*shape), flow_of(shape, 1)
    warped = warp(image, flow)
    assert warped.dtype == tf.float32
    assert warped.shape == shape
    np.testing.assert_allclose(warped, numpy_warp(image, flow), atol=1e-5)


@settings(max_examples=15)
@given(st.sampled_from([(1, 2, 2, 1), (3, 2, 9, 4), (2, 8, 5, 3)]), st.integers(0, 999))
def test_warps_are_one_function(shape, seed):
    inputs = normal(*shape, seed=seed), flow_of(shape, seed)
    assert_equal(*(with_gradients(warp, *inputs) for warp in WARPS))

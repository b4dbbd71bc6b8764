"""The fused head against TensorFlow's resizing, softmax and argmax, and against float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet_tf.student import fused_head, loss
from tests.materials import resizing

SIZE = (12, 7)
# Even, odd and mixed; of one and two pixels, which have no pixels between. Then
# one group of classes, two and three. Each combination is compiled anew.
CASES = [
    *((size, 3) for size in [(8, 12), (9, 7), (1, 1), (2, 1), (1, 6)]),
    *((SIZE, num_classes) for num_classes in (2, 9, fused_head.GROUP + 1, 40)),
]


def example(frame_size, num_classes, scale=3.0):
    """Labels, logits at half size and weights, some of them 0; every class occurs if it can."""
    random = np.random.default_rng([*frame_size, num_classes])
    half = fused_head.half_of(frame_size)
    labels = random.permutation(np.arange(frame_size[0] * frame_size[1]) % num_classes)
    labels = labels.reshape(frame_size).astype(np.uint8)
    logits = random.normal(0, scale, (*half, num_classes)).astype(np.float32)
    weights = random.choice([0, 1, 5], frame_size, p=[0.2, 0.5, 0.3]).astype(np.float32)
    return labels, logits, weights


def resized(logits, frame_size):
    """Resizes by TensorFlow: float32 [h, w, C] → [H, W, C]."""
    return tf.raw_ops.ResizeBilinear(images=logits[None], size=frame_size, align_corners=True)[0]


def resized_exactly(logits, frame_size):
    """The same in float64."""
    rows, columns = (resizing(*sides) for sides in zip(logits.shape, frame_size, strict=False))
    return np.einsum("yh,hwc,xw->yxc", rows, logits.astype(np.float64), columns)


def assert_greatest(ids, logits, rounding):
    """Checks that each pixel's class has its greatest logit, within rounding."""
    assert (ids.dtype, ids.shape) == (np.uint8, logits.shape[:2])
    chosen = np.take_along_axis(logits, ids[..., np.newaxis].astype(int), axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, logits.max(-1), rtol=0, atol=rounding)


def loss_and_gradient(loss, labels, logits, weights):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(tf.constant(labels), logits, tf.constant(weights))
    return value.numpy(), tape.gradient(value, logits).numpy()


def plain_loss(labels, logits, weights):
    """Computes `fused_head.weighted_cross_entropy` by TensorFlow's own operations."""
    return loss.weighted_cross_entropy(labels, resized(logits, tuple(labels.shape)), weights)


def exact_loss_and_gradient(labels, logits, weights):
    """The same in float64, with the gradient by hand."""
    z = resized_exactly(logits, labels.shape)
    z -= z.max(-1, keepdims=True)
    log_softmax = z - np.log(np.exp(z).sum(-1, keepdims=True))
    one_hot = np.eye(z.shape[-1])[labels]
    part = weights[..., np.newaxis] / labels.size
    rows, columns = (resizing(*sides) for sides in zip(logits.shape, labels.shape, strict=False))
    gradient = np.einsum("yh,yxc,xw->hwc", rows, part * (np.exp(log_softmax) - one_hot), columns)
    return -(part * one_hot * log_softmax).sum(), gradient


def test_half_size_equals_stride_2():
    assert fused_head.half_of((720, 1280)) == (360, 640)
    assert fused_head.half_of((61, 1)) == (31, 1)


# Class ids


@pytest.mark.parametrize(("frame_size", "num_classes"), CASES)
def test_class_ids(frame_size, num_classes):
    _, logits, _ = example(frame_size, num_classes)
    ids = fused_head.class_ids(tf.constant(logits), frame_size).numpy()
    assert_greatest(ids, resized_exactly(logits, frame_size), 1e-5)
    plain = resized(logits, frame_size).numpy()
    assert_greatest(ids, plain, 1e-5)
    first, second = -np.sort(-plain, axis=-1)[..., :2].transpose(2, 0, 1)
    clear = first - second > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(ids[clear], plain.argmax(-1)[clear])


@pytest.mark.parametrize("num_classes", [2, 40])
def test_the_first_of_equal_classes_wins(num_classes):
    """Also if equal classes are in different groups."""
    logits = np.repeat(example(SIZE, 1)[1], num_classes, axis=-1)
    assert not fused_head.class_ids(tf.constant(logits), SIZE).numpy().any()
    logits[..., 0] -= 1
    assert (fused_head.class_ids(tf.constant(logits), SIZE).numpy() == 1).all()


# Loss


@pytest.mark.parametrize(("frame_size", "num_classes"), CASES)
def test_loss_and_gradient(frame_size, num_classes):
    found = loss_and_gradient(fused_head.weighted_cross_entropy, *example(frame_size, num_classes))
    assert found[0].dtype == found[1].dtype == np.float32
    for reference in (
        loss_and_gradient(plain_loss, *example(frame_size, num_classes)),
        exact_loss_and_gradient(*example(frame_size, num_classes)),
    ):
        np.testing.assert_allclose(found[0], reference[0], rtol=1e-5, atol=1e-6)
        largest = np.abs(reference[1]).max()
        np.testing.assert_allclose(found[1], reference[1], rtol=0, atol=1e-5 * largest + 1e-9)


def test_examples_have_every_class_and_no_weight():
    """Checks the assumption of the tests above."""
    labels, _, weights = example(SIZE, 40)
    assert set(labels.ravel()) == set(range(40))
    assert set(weights.ravel()) == {0, 1, 5}


def test_pixels_without_weight_do_not_count():
    labels, logits, weights = example(SIZE, 9)
    other = np.where(weights == 0, (labels + 1) % 9, labels).astype(np.uint8)
    assert (other != labels).any()
    found = loss_and_gradient(fused_head.weighted_cross_entropy, labels, logits, weights)
    same = loss_and_gradient(fused_head.weighted_cross_entropy, other, logits, weights)
    assert found[0] == same[0]
    np.testing.assert_array_equal(found[1], same[1])
    nothing = np.zeros_like(weights)
    value, gradient = loss_and_gradient(fused_head.weighted_cross_entropy, labels, logits, nothing)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize(("frame_size", "num_classes"), [CASES[0], CASES[1], (SIZE, 40)])
def test_large_logits_stay_finite(frame_size, num_classes):
    labels, logits, weights = example(frame_size, num_classes)
    logits = np.where(logits > 0, 1e4, -1e4).astype(np.float32)
    value, gradient = loss_and_gradient(fused_head.weighted_cross_entropy, labels, logits, weights)
    expected, exact = exact_loss_and_gradient(labels, logits, weights)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # Differences of two nearly equal large logits are rounded to a thousandth.
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=1e-3 * np.abs(exact).max())
    ids = fused_head.class_ids(tf.constant(logits), frame_size).numpy()
    assert_greatest(ids, resized_exactly(logits, frame_size), 1e-2)


def test_gradient_is_scaled_by_the_upstream_gradient():
    labels, logits, weights = example(SIZE, 9)

    def squared(*arguments):
        return tf.square(fused_head.weighted_cross_entropy(*arguments))

    value, gradient = loss_and_gradient(fused_head.weighted_cross_entropy, labels, logits, weights)
    _, found = loss_and_gradient(squared, labels, logits, weights)
    np.testing.assert_allclose(found, 2 * value * gradient, rtol=1e-5)


# XLA and any size


@pytest.mark.parametrize(("frame_size", "num_classes"), [(SIZE, fused_head.GROUP + 1), CASES[1]])
def test_xla_computes_the_same(frame_size, num_classes):
    labels, logits, weights = example(frame_size, num_classes)

    @tf.function(jit_compile=True)
    def all_of_it(labels, logits, weights):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = fused_head.weighted_cross_entropy(labels, logits, weights)
        return fused_head.class_ids(logits, frame_size), loss, tape.gradient(loss, logits)

    ids, loss, gradient = all_of_it(labels, logits, weights)
    assert_greatest(ids.numpy(), resized_exactly(logits, frame_size), 1e-5)
    expected, exact = exact_loss_and_gradient(labels, logits, weights)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


@settings(max_examples=5)  # each size is compiled anew
@given(st.integers(1, 20), st.integers(1, 20))
def test_any_size(height, width):
    labels, logits, weights = example((height, width), 3)
    ids = fused_head.class_ids(tf.constant(logits), (height, width)).numpy()
    assert_greatest(ids, resized_exactly(logits, (height, width)), 1e-5)
    found = loss_and_gradient(fused_head.weighted_cross_entropy, labels, logits, weights)
    expected, exact = exact_loss_and_gradient(labels, logits, weights)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)
    largest = np.abs(exact).max()
    np.testing.assert_allclose(found[1], exact, rtol=0, atol=1e-5 * largest + 1e-9)

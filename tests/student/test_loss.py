"""The loss against numpy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.student.loss import weighted_cross_entropy


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def reference(labels, logits, weights):
    total = 0.0
    for index in np.ndindex(labels.shape):
        z = logits[index].astype(np.float64)
        log_sum = z.max() + np.log(np.exp(z - z.max()).sum())
        total += float(weights[index]) * (log_sum - z[labels[index]])
    return total / labels.size  # the number of pixels, whatever the weights add up to


def example(shape, num_classes, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, shape).astype(np.uint8)
    logits = random.normal(0, 3, (*shape, num_classes)).astype(np.float32)
    weights = np.where(random.random(shape) < 0.4, 5, 1).astype(np.float32)
    return labels, logits, weights


def loss(labels, logits, weights):
    return weighted_cross_entropy(
        tf.constant(labels), tf.constant(logits), tf.constant(weights)
    ).numpy()


@pytest.mark.parametrize("shape", [(7, 11), (1, 1), (3, 5, 4)])
@pytest.mark.parametrize("num_classes", [2, 9, 255])
def test_against_numpy(shape, num_classes):
    labels, logits, weights = example(shape, num_classes)
    value = loss(labels, logits, weights)
    assert value.dtype == np.float32
    assert value.shape == ()
    np.testing.assert_allclose(value, reference(labels, logits, weights), rtol=1e-5)


def test_by_hand():
    # Two equal logits cost log 2 a pixel; three pixels of weight 1 and one of 5, by 4 pixels.
    labels, weights = np.array([[0, 1, 1, 0]], np.uint8), np.array([[1, 1, 5, 1]], np.float32)
    assert loss(labels, np.zeros((1, 4, 2), np.float32), weights) == pytest.approx(
        8 * np.log(2) / 4, rel=1e-6
    )


def test_is_not_divided_by_the_sum_of_weights():
    labels, logits, weights = example((6, 6), 4)
    once = loss(labels, logits, weights)
    assert loss(labels, logits, 2 * weights) == pytest.approx(2 * once, rel=1e-5)


def test_pixels_without_weight_do_not_count():
    labels, logits, weights = example((4, 4), 3)
    weights[1:3] = 0
    other = labels.copy()
    other[1:3] = (labels[1:3] + 1) % 3
    assert loss(labels, logits, weights) == loss(other, logits, weights)


@pytest.mark.parametrize("label", [0, 1])
def test_large_logits_stay_finite(label):
    labels, weights = np.full((1, 1), label, np.uint8), np.ones((1, 1), np.float32)
    value = loss(labels, np.array([[[1e4, -1e4]]], np.float32), weights)
    assert value == pytest.approx(2e4 * label)


def test_gradient_against_numpy():
    labels, logits, weights = example((5, 6), 4)
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = weighted_cross_entropy(tf.constant(labels), variable, tf.constant(weights))
    expected = softmax(logits.astype(np.float64)) - np.eye(4)[labels]
    expected *= weights[..., None] / labels.size
    np.testing.assert_allclose(tape.gradient(value, variable), expected, rtol=1e-4, atol=1e-7)

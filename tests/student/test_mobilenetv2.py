"""The MobileNetV2 network: its encoder equals Keras', and it learns."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from experiments.speed import flops
from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.layers import EPSILON
from jitnet_tf.student.mobilenetv2 import build_mobilenetv2
from jitnet_tf.student.student import Student
from tests.student.networks import frames
from tests.student.networks import mobilenetv2 as network

# Odd at every stride: there Keras' padding is symmetric.
ODD = (65, 97)


def with_weights(model):
    """The layers that have weights, in the network's order."""
    return [layer for layer in model.layers if layer.weights]


def encoder_layers(model):
    return [x for x in with_weights(model) if x.name.startswith(("stem", "stage"))]


@functools.cache
def reference():
    """Keras' own network up to its last unit, with random normalization."""
    published = keras.applications.MobileNetV2(
        input_shape=(*ODD, 3), weights=None, include_top=False
    )
    random = np.random.default_rng(0)
    for layer in published.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = EPSILON
            gamma, variance = random.uniform(0.5, 1.5, (2, *layer.gamma.shape))
            beta, mean = random.normal(0, 0.3, (2, *layer.gamma.shape))
            layer.set_weights([gamma, beta, mean, variance])
    outputs = [
        published.get_layer(name).output
        for name in ("block_2_add", "block_12_add", "block_16_project_BN")
    ]
    return keras.Model(published.input, outputs)


def test_encoder_is_the_published_one():
    model, published = network(normalization="moving"), reference()
    ours, theirs = encoder_layers(model), with_weights(published)
    assert len(ours) == len(theirs) == 2 * (1 + 2 + 16 * 3)
    for here, there in zip(ours, theirs, strict=True):
        here.set_weights(there.get_weights())
    names = ("stage2_unit2_add", "stage5_unit3_add", "stage7_unit1_project_norm")
    encoder = keras.Model(model.input, [model.get_layer(name).output for name in names])
    picture = frames(1, *ODD)
    stride4, stride16, last = encoder(picture, training=False)
    expected = published(picture / np.float32(127.5) - 1, training=False)
    assert [x.shape[1:3] for x in (stride4, stride16, last)] == [(17, 25), (5, 7), (5, 7)]
    # With dilation, every second value of the last stages is the published one at stride 32.
    for have, want in zip((stride4, stride16, last[:, ::2, ::2]), expected, strict=True):
        assert np.std(want) > 0.1
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


def test_parameters():
    model = build_mobilenetv2(23)
    encoder = sum(flops.number_of(x.trainable_variables) for x in encoder_layers(model))
    # Keras' 2,257,984 without its last convolution and its untrained variables.
    assert encoder == 1_811_712
    assert encoder == flops.number_of(reference().trainable_variables)
    rest = 2 * (320 * 256) + 256 + 2 * 256  # encoder output; image-level features, biased
    rest += 512 * 256 + 2 * 256  # joined
    rest += 24 * 48 + 2 * 48  # from stride 4
    for before in (256 + 48, 64):
        rest += 9 * before + 2 * before + before * 64 + 2 * 64
    rest += 64 * 23 + 23
    assert flops.number_of(model.trainable_variables) == encoder + rest
    assert not model.non_trainable_variables


def test_interface_equals_jitnets():
    ours, jitnet = build_mobilenetv2(5), build_jitnet(5)
    assert (ours.input.dtype, ours.output.dtype) == (jitnet.input.dtype, jitnet.output.dtype)
    assert tuple(ours.output.shape) == tuple(jitnet.output.shape) == (None, None, None, 5)


def test_xla_computes_the_same_function():
    gathering = build_mobilenetv2(5, frame_size=(61, 83), xla=True)
    gathering.set_weights(network().get_weights())
    picture = frames(1, 61, 83)
    np.testing.assert_allclose(gathering(picture), network()(picture), atol=1e-3)


def test_every_layer_has_a_gradient():
    model, picture = network(), frames(1, 65, 97)
    labels = np.random.default_rng(1).integers(0, 5, (1, 65, 97))
    with tf.GradientTape() as tape:
        logits = model(picture, training=True)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all()
        if "kernel" in variable.name:
            assert np.abs(gradient).max() > 0, variable.name


def learned(model, size, steps):
    """Losses of updates on two blocks of color, and the final share of correct pixels."""
    student = Student(model, size)
    frame = np.random.default_rng(0).integers(90, 140, (*size, 3), dtype=np.uint8)
    labels = np.zeros(size, np.uint8)
    for class_id, color, left in ((1, (220, 40, 30), 8), (2, (20, 60, 230), 52)):
        window = np.s_[16:48, left : left + 28]
        frame[window], labels[window] = color, class_id
    weights = np.where(labels > 0, 5, 1).astype(np.float32)
    losses = [student.update(frame, labels, weights) for _ in range(steps)]
    return losses, (student.infer(frame) == labels).mean()


@pytest.mark.slow
def test_learns_a_frame_online():
    keras.utils.set_random_seed(0)
    size = (64, 96)
    losses, right = learned(build_mobilenetv2(3, frame_size=size), size, 25)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] / 4
    assert right > 0.9


@pytest.mark.slow
def test_learns_in_bfloat16():
    keras.utils.set_random_seed(0)
    size = (64, 96)
    model = build_mobilenetv2(3, frame_size=size, dtype="mixed_bfloat16")
    assert model.get_layer("stage3_unit1_expand").compute_dtype == "bfloat16"
    losses, _ = learned(model, size, 12)
    assert losses[-1] < losses[0] / 2

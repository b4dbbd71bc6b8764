"""JITNet: the paper's sizes, layers against numpy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from experiments.speed import flops
from jitnet_tf.student import layers
from jitnet_tf.student.architectures import half_resolution
from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.layers import FrameNormalization, InputNormalization, ResizeLike
from tests.materials import resizing
from tests.student.networks import frames, mobilenetv2
from tests.student.networks import jitnet as network

# Sizes


def expected_parameters(num_classes, m, units=1, skip=True, separable=False):
    """Counts the network of PAPER_NOTES, layer by layer."""
    floor = 8 if num_classes <= 8 else 16 if num_classes <= 16 else 32
    total = 0

    def depth(channels, least=8):
        return max(int(channels * m), least)

    def conv3x3(before, after, dense=True):  # no bias; scale and offset of the normalization
        kernel = 9 * before * after if dense else 9 * before + before * after
        return kernel + 2 * after

    def unit(before, after):
        count = 2 * before + conv3x3(before, after, not separable)
        count += 2 * (3 * after * after + after)  # 1×3 and 3×1, biased
        return count + (before * after + after if before != after else 0)

    def block(before, after):
        return unit(before, after) + (units - 1) * unit(after, after)

    total += conv3x3(3, depth(16)) + conv3x3(depth(16), depth(64))
    encoder = [depth(128), depth(128), depth(256)]
    for before, after in zip([depth(64), *encoder], encoder, strict=False):
        total += block(before, after)
    decoder = [depth(256, floor), depth(128, floor), depth(64, floor)]
    joined = [0, encoder[1], encoder[0]] if skip else [0, 0, 0]
    for before, after, more in zip([encoder[2], *decoder], decoder, joined, strict=False):
        total += block(before + more, after)
    heads = [depth(64, floor), depth(16, floor)]
    total += conv3x3(decoder[2], heads[0], not separable)
    total += conv3x3(heads[0], heads[1], not separable)
    return total + heads[1] * num_classes + num_classes


FULL_SIZE = [(0.5, 752_383, 15.2e9), (1.0, 2_981_063, 47.9e9)]


@pytest.mark.parametrize(("width", "parameters", "flop"), FULL_SIZE)
def test_parameters_and_flop_are_the_papers(width, parameters, flop):
    model = build_jitnet(23, width=width, frame_size=(720, 1280))
    assert flops.number_of(model.trainable_variables) == parameters
    assert model.output.shape[1:] == (720, 1280, 23)
    assert flops.of_model(model, (720, 1280)).total == pytest.approx(flop, rel=0.02)


def test_default_width_is_the_one_timed():
    assert flops.number_of(build_jitnet(23).trainable_variables) == 752_383


@pytest.mark.parametrize("num_classes", [8, 9, 16, 17])
def test_least_channels_follow_the_number_of_classes(num_classes):
    model = network(num_classes)
    assert flops.number_of(model.trainable_variables) == expected_parameters(num_classes, 0.25)
    least = {8: 8, 9: 16, 16: 16, 17: 32}[num_classes]
    # 16 · .25 = 4 channels, raised to 8, 16 and 32; 64 · .25 = 16 raised to 32 or left alone.
    assert model.get_layer("head2").output.shape[-1] == least
    assert model.get_layer("head1").output.shape[-1] == max(16, least)
    assert model.get_layer("decoder3_unit1_add").output.shape[-1] == max(16, least)
    assert model.get_layer("decoder2_unit1_add").output.shape[-1] == 32


OPTIONS = [
    {},
    {"skip": False},
    {"separable": True},
    {"units": 2},
    {"units": 2, "separable": True, "skip": False},
    {"normalization": "moving"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options):
    model = network(**options)
    counted = {k: v for k, v in options.items() if k != "normalization"}
    assert flops.number_of(model.trainable_variables) == expected_parameters(5, 0.25, **counted)
    moving = flops.number_of(model.non_trainable_variables)
    assert moving > 0 if options.get("normalization") == "moving" else moving == 0

    picture = frames(1, 33, 47)
    labels = np.random.default_rng(1).integers(0, 5, (1, 33, 47))
    with tf.GradientTape() as tape:
        logits = model(picture, training=True)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
    assert logits.shape == (1, 33, 47, 5)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        if "kernel" in variable.name:  # no layer is cut off from the loss
            assert np.abs(gradient).max() > 0, variable.name


def test_moving_normalization():
    layers = [
        layer
        for layer in network(normalization="moving").layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(layers) == len([x for x in network().layers if isinstance(x, FrameNormalization)])
    assert {(layer.momentum, layer.epsilon) for layer in layers} == {(0.9, 1e-5)}


def test_moving_normalization_at_inference_uses_moving_statistics():
    model, picture = network(normalization="moving"), frames(1, 33, 47)
    assert np.abs(model(picture, training=True) - model(picture, training=False)).max() > 0.01
    model = network()
    np.testing.assert_array_equal(model(picture, training=True), model(picture, training=False))


# Shapes


def test_sizes_of_the_layers():
    model = network(frame_size=(61, 83))
    # Each stride halves and rounds up.
    strides = {2: (31, 42), 4: (16, 21), 8: (8, 11), 16: (4, 6), 32: (2, 3)}
    names = {
        **{"stem1": 2, "stem2": 4, "encoder1_unit1_add": 8, "encoder2_unit1_add": 16},
        **{"encoder3_unit1_add": 32, "decoder1_unit1_add": 32, "join16": 16},
        **{"decoder2_unit1_add": 16, "join8": 8, "decoder3_unit1_add": 8},
        **{"resize4": 4, "resize2": 2, "head1": 2, "head2": 2},
    }
    for name, stride in names.items():
        assert tuple(model.get_layer(name).output.shape[1:3]) == strides[stride], name
    assert model.output.shape[1:] == (61, 83, 5)


# The network as a whole


def reference(model, picture, units=1, skip=True):
    """PAPER_NOTES' network in float64, by TensorFlow's plain operations and a model's weights."""
    names = {layer.name for layer in model.layers}

    def weights(name):
        return [v.numpy().astype(np.float64) for v in model.get_layer(name).weights]

    def conv(x, name, stride=1):
        kernel, *more = weights(name)
        pads = [[0, 0], *([side // 2] * 2 for side in kernel.shape[:2]), [0, 0]]
        if more and more[0].ndim == 4:  # depthwise, then pointwise
            strides = (1, stride, stride, 1)
            x = tf.nn.depthwise_conv2d(np.pad(x, pads), kernel, strides, "VALID")
            return tf.nn.conv2d(x, more[0], 1, "VALID").numpy()
        return tf.nn.conv2d(x, kernel, stride, pads).numpy() + sum(more)

    def normalize_relu(x, name):
        return np.maximum(normalized(x, *weights(f"{name}_norm")), 0)

    def unit(x, name, stride):
        before = normalize_relu(x, f"{name}_preact")
        shortcut = x[:, ::stride, ::stride]
        if f"{name}_shortcut" in names and weights(f"{name}_shortcut"):  # of another depth
            shortcut = conv(before, f"{name}_shortcut", stride)
        x = normalize_relu(conv(before, f"{name}_3x3", stride), f"{name}_3x3")
        return shortcut + conv(conv(x, f"{name}_1x3"), f"{name}_3x1")

    def block(x, name, stride=1):
        for i in range(units):
            x = unit(x, f"{name}_unit{i + 1}", stride if i == 0 else 1)
        return x

    def resize(x, like):
        rows, columns = (resizing(x.shape[i], like.shape[i]) for i in (1, 2))
        return np.einsum("yh,bhwc,xw->byxc", rows, x, columns)

    def join(x, encoded):
        x = resize(x, encoded)
        return np.concatenate([encoded, x], -1) if skip else x

    x = picture / 127.5 - 1
    stride2 = normalize_relu(conv(x, "stem1", 2), "stem1")
    stride4 = normalize_relu(conv(stride2, "stem2", 2), "stem2")
    stride8 = block(stride4, "encoder1", 2)
    stride16 = block(stride8, "encoder2", 2)
    stride32 = block(stride16, "encoder3", 2)
    x = block(stride32, "decoder1")
    x = block(join(x, stride16), "decoder2")
    x = block(join(x, stride8), "decoder3")
    x = resize(resize(x, stride4), stride2)
    x = normalize_relu(conv(x, "head1"), "head1")
    x = normalize_relu(conv(x, "head2"), "head2")
    return conv(resize(x, picture), "logits")


@pytest.mark.parametrize(
    "options", [{}, {"units": 2}, {"units": 2, "separable": True, "skip": False}], ids=str
)
@pytest.mark.parametrize("size", [(61, 83), (64, 96)])
def test_network_against_plain_operations(options, size):
    model, picture = network(**options), frames(1, *size)
    shape = {name: value for name, value in options.items() if name != "separable"}
    expected = reference(model, picture, **shape)
    assert expected.std() > 0.1
    np.testing.assert_allclose(model(picture), expected, atol=2e-3 * np.abs(expected).max())


def test_half_resolution_logits_resized_are_the_logits():
    model, picture = network(), frames(2, 61, 83)
    half = half_resolution(model)
    logits = half(picture)
    assert (logits.shape, logits.dtype) == ((2, 31, 42, 5), tf.float32)
    expected = np.einsum("yh,bhwc,xw->byxc", resizing(31, 61), logits, resizing(42, 83))
    np.testing.assert_allclose(model(picture), expected, atol=1e-4 * np.abs(expected).max())
    assert {id(v) for v in half.weights} == {id(v) for v in model.weights}


def test_networks_without_half_resolution():
    assert half_resolution(mobilenetv2(frame_size=(64, 64))) is None
    assert half_resolution(network(input_scale=0.5)) is None


def test_scaled_input_for_xla_is_equal():
    picture = frames(1, 61, 83).astype(np.float32)
    for scale in (0.3, 0.5, 0.75):
        plain, gathering = (layers.InputScaling(scale, xla)(picture) for xla in (False, True))
        assert plain.shape == (1, round(61 * scale), round(83 * scale), 3)
        np.testing.assert_allclose(gathering, plain, atol=1e-2)


# Layers


def test_frames_are_uint8_and_normalized_inside():
    model = network()
    assert model.input.dtype == "uint8"
    first = model.layers[1]
    assert isinstance(first, InputNormalization)
    colors = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    result = first(colors)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, (colors / 127.5) - 1, atol=1e-6)
    raw = InputNormalization("raw")(colors)
    np.testing.assert_array_equal(raw, colors)
    standardized = InputNormalization("standardized")(colors)
    mean, deviation = np.array([0.439, 0.413, 0.375]), np.array([0.243, 0.236, 0.234])
    np.testing.assert_allclose(standardized, (colors / 255 - mean) / deviation, atol=1e-5)


def test_input_normalization_in_bfloat16_keeps_each_level():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    result = InputNormalization(dtype="mixed_bfloat16")(levels)
    assert result.dtype == tf.bfloat16
    result = tf.cast(result, tf.float32).numpy().ravel()
    assert len(set(result)) == 256
    np.testing.assert_allclose(result, np.arange(256) / 127.5 - 1, atol=4e-3)


def resized(x, size):
    """Bilinear resizing with aligned corners, point by point."""
    (h, w), (H, W) = x.shape[:2], size
    result = np.zeros((H, W, x.shape[2]))
    for i in range(H):
        for j in range(W):
            y = i * (h - 1) / (H - 1) if H > 1 else 0
            z = j * (w - 1) / (W - 1) if W > 1 else 0
            y0, z0 = int(y), int(z)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            upper = x[y0, z0] * (1 - z + z0) + x[y0, z1] * (z - z0)
            lower = x[y1, z0] * (1 - z + z0) + x[y1, z1] * (z - z0)
            result[i, j] = upper * (1 - y + y0) + lower * (y - y0)
    return result


SIDE = st.integers(1, 9)


@settings(max_examples=40)
@given(SIDE, SIDE, SIDE, SIDE)
def test_resizing_aligns_corners(h, w, H, W):
    x = np.random.default_rng(h + 10 * w).normal(size=(2, h, w, 3)).astype(np.float32)
    result = ResizeLike()(tf.constant(x), tf.zeros((2, H, W, 1)))
    expected = [resized(frame.astype(np.float64), (H, W)) for frame in x]
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_resizing_to_a_size_known_only_at_run_time():
    free = tf.TensorSpec((None, None, None, 2))
    layer = ResizeLike()
    traced = tf.function(lambda x, like: layer(x, like), input_signature=[free, free])
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
    for size in ((5, 7), (6, 4)):
        result = traced(x, np.zeros((1, *size, 2), np.float32))
        np.testing.assert_allclose(result[0], resized(x[0], size), atol=1e-5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1, 1), (1, 1)),
        ((1, 1), (3, 5)),
        ((1, 5), (3, 9)),
        ((7, 1), (1, 3)),
        ((5, 7), (9, 13)),
        ((9, 7), (5, 1)),
        ((23, 40), (45, 80)),
    ],
)
def test_resizing_for_xla_is_the_same_function(before, after):
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(2, *before, 3)), tf.float32)
    weights = tf.constant(random.normal(size=(2, *after, 3)), tf.float32)
    outcomes = []
    for layer in (ResizeLike(), ResizeLike(xla=True)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = layer(x, tf.zeros((2, *after, 1)))
            loss = tf.reduce_sum(weights * result)
        outcomes.append((result, tape.gradient(loss, x)))
    for plain, gathered in zip(*outcomes, strict=True):
        np.testing.assert_allclose(gathered, plain, atol=1e-4)


def test_resizing_keeps_bfloat16():
    x = tf.cast(tf.random.normal((1, 3, 4, 2)), tf.bfloat16)
    result = ResizeLike(dtype="mixed_bfloat16")(x, tf.zeros((1, 6, 8, 1), tf.bfloat16))
    assert result.dtype == tf.bfloat16
    assert result.shape == (1, 6, 8, 2)


def normalization_example(batch, height=5, width=7):
    random = np.random.default_rng(batch)
    x = random.normal(30, 7, (batch, height, width, 4)).astype(np.float32)
    x[..., 2] *= 1e-3  # a channel of hardly any contrast: epsilon counts
    layer = FrameNormalization()
    layer(x)  # makes its weights
    layer.gamma.assign([1.5, -2.0, 0.5, 0.0])
    layer.beta.assign([0.25, -1.0, 3.0, 0.5])
    return layer, x


def normalized(x, gamma, beta):
    x = x.astype(np.float64)
    mean = x.mean((1, 2), keepdims=True)
    variance = ((x - mean) ** 2).mean((1, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


@pytest.mark.parametrize("batch", [1, 3])
def test_frame_normalization_against_numpy(batch):
    layer, x = normalization_example(batch)
    expected = normalized(x, layer.gamma.numpy(), layer.beta.numpy())
    np.testing.assert_allclose(layer(x), expected, atol=2e-3)
    assert layer(x).dtype == tf.float32


def test_one_frame_is_normalized_as_in_a_batch():
    layer, x = normalization_example(1)
    pair = np.concatenate([x, x])
    results = {}
    for name, value in (("fused", x), ("plain", pair)):
        value = tf.constant(value)
        with tf.GradientTape() as tape:
            tape.watch(value)
            result = layer(value)
            loss = tf.reduce_sum(tf.sin(result)) / len(value)
        gradients = tape.gradient(loss, [value, *layer.trainable_variables])
        results[name] = result[0], gradients[0][0] * len(value), *gradients[1:]
    for fused, plain in zip(results["fused"], results["plain"], strict=True):
        np.testing.assert_allclose(fused, plain, atol=1e-3 * np.abs(plain).max())


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (4, 4)])
def test_frame_normalization_without_contrast_gives_the_offset(batch, size):
    layer = FrameNormalization()
    x = tf.fill((batch, *size, 3), 7.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = layer(x)
    np.testing.assert_allclose(result, np.zeros((batch, *size, 3)), atol=1e-3)
    assert np.isfinite(tape.gradient(result, x)).all()


@pytest.mark.parametrize("batch", [1, 2])
def test_frame_normalization_keeps_bfloat16_and_float32_statistics(batch):
    layer, x = normalization_example(batch, 40, 40)
    x[..., 2] *= 1e3
    result = layer(tf.cast(x, tf.bfloat16))
    assert result.dtype == tf.bfloat16
    expected = normalized(x, layer.gamma.numpy(), layer.beta.numpy())
    # bfloat16 has eight bits: inputs of 30 ± 7 are rounded by up to .06, a hundredth of 7.
    np.testing.assert_allclose(tf.cast(result, tf.float32), expected, atol=0.15)
    assert {variable.dtype for variable in layer.trainable_variables} <= {"float32", tf.float32}


def test_few_channels_of_a_bfloat16_frame_are_normalized_as_in_float32():
    random = np.random.default_rng(0)
    x = tf.cast(random.normal(30, 7, (1, 9, 12, 8)), tf.bfloat16)
    layer = FrameNormalization()
    layer(x)
    layer.gamma.assign(random.normal(1, 0.3, 8))
    layer.beta.assign(random.normal(0, 1, 8))
    upstream = tf.cast(random.normal(size=x.shape), tf.bfloat16)
    outcomes = []
    for value in (x, tf.cast(x, tf.float32)):
        with tf.GradientTape() as tape:
            tape.watch(value)
            result = layer(value)
        assert result.dtype == value.dtype
        sources = [value, layer.gamma, layer.beta]
        outcomes.append([result, *tape.gradient(result, sources, tf.cast(upstream, value.dtype))])
    for narrow, wide in zip(*outcomes, strict=True):
        # Eight bits: one rounding has a relative error of 1/256 at most.
        np.testing.assert_allclose(tf.cast(narrow, tf.float32), wide, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [(5, 6), (6, 5), (4, 4), (7, 3), (1, 2), (1, 1)])
def test_shortcuts_keep_every_second_pixel(size, dtype):
    x = tf.random.stateless_normal((2, *size, 3), (0, 0))
    x = tf.cast(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        kept = layers.Subsample(dtype=dtype)(x)
    assert kept.dtype == x.dtype
    np.testing.assert_array_equal(kept, x[:, ::2, ::2])
    upstream = tf.cast(tf.random.stateless_normal(kept.shape, (0, 1)), dtype)
    expected = np.zeros_like(x)
    expected[:, ::2, ::2] = upstream
    np.testing.assert_array_equal(tape.gradient(kept, x, upstream), expected)

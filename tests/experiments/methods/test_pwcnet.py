"""experiments.methods.pwcnet against numpy, the published sizes, and displacements that are known."""

import functools

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from experiments.methods import pwcnet
from experiments.methods.pwcnet import PWCNet, Warp, build_pwcnet, load_weights, published_names
from jitnet_tf.base.errors import UserError
from tests.materials import write_no_npz

SIZE = (64, 64)


@functools.cache
def network(kind):
    """A network with random weights, the same one for all tests."""
    keras.utils.set_random_seed(0)
    model = build_pwcnet(kind, SIZE)
    random = np.random.default_rng(0)
    for layer in model.layers:  # as after training: offsets are not 0
        if layer.weights:
            layer.bias.assign(random.normal(0, 0.05, layer.bias.shape))
    return model


def published_shapes(kind):
    """Shapes of the published state_dict: [out, in, h, w], of deconvolutions [in, out, h, w].

    Written down from `PWCDCNet`; for the small one as the paper describes it.
    """
    shapes = {}

    def conv(name, before, after):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (after, before, 3, 3), (after,)

    def deconv(name, before):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (before, 2, 4, 4), (2,)

    before = 3
    for level, channels in enumerate([16, 32, 64, 96, 128, 196], 1):
        if kind == "small":
            parts = ["a", "b"]
        else:
            parts = ["a", "aa", "b"] if level < 6 else ["aa", "a", "b"]
        for part in parts:
            conv(f"conv{level}{part}.0", before, channels)
            before = channels
    # The cost volume, the first frame's features, the upsampled flow and features.
    inputs = {6: 81, 5: 81 + 128 + 4, 4: 81 + 96 + 4, 3: 81 + 64 + 4, 2: 81 + 32 + 4}
    for level, channels in inputs.items():
        for i, after in enumerate([128, 128, 96, 64, 32]):
            conv(f"conv{level}_{i}.0", channels, after)
            channels = channels + after if kind == "dense" else after
        conv(f"predict_flow{level}", channels, 2)
        deconv(f"deconv{level}", 2)
        if level > 2:
            deconv(f"upfeat{level}", channels)
    for i, after in enumerate([128, 128, 128, 96, 64, 32], 1):
        conv(f"dc_conv{i}.0", channels, after)
        channels = after
    conv("dc_conv7", channels, 2)
    return shapes


def state_dict(model):
    """A model's weights as PyTorch has them."""
    arrays = {name: variable.numpy() for name, variable in published_names(model).items()}
    return {n: a.transpose(3, 2, 0, 1) if a.ndim == 4 else a for n, a in arrays.items()}


# Sizes


@pytest.mark.parametrize(
    ("kind", "published", "applied"),
    # Sun et al.'s table has 8.75 M for the dense one: without the third convolution of each level
    # of the pyramid, which the released class has. Its 4.08 M is the small one's.
    [("dense", 9_374_340, 9_374_274), ("small", 4_080_070, 4_080_004)],
)
def test_parameters(kind, published, applied):
    shapes = published_shapes(kind)
    assert sum(np.prod(shape) for shape in shapes.values()) == published
    for part in ("weight", "bias"):
        del shapes[f"deconv2.{part}"]  # defined there, never applied
    assert network(kind).count_params() == applied
    variables = published_names(network(kind))
    assert {name: array.shape for name, array in state_dict(network(kind)).items()} == shapes
    assert len(network(kind).weights) == len(variables)


def test_the_papers_dense_network():
    third = sum(9 * c * c + c for c in (16, 32, 64, 96, 128, 196))
    assert round((9_374_340 - third) / 1e6, 2) == 8.75


@pytest.mark.parametrize("kind", ["dense", "small"])
def test_flows_of_five_levels(kind):
    flows = network(kind)([tf.zeros((2, *SIZE, 3))] * 2)
    assert [flow.shape for flow in flows] == [(2, 64 // s, 64 // s, 2) for s in (4, 8, 16, 32, 64)]
    assert all(flow.dtype == tf.float32 for flow in flows)


def test_context_network_is_dilated():
    dilations = [network("small").get_layer(f"dc_conv{i}").dilation_rate for i in range(1, 8)]
    assert dilations == [(d, d) for d in (1, 2, 4, 8, 16, 1, 1)]


@pytest.mark.parametrize(
    ("kind", "size"), [("large", SIZE), ("dense", (64, 100)), ("small", (720, 1280))]
)
def test_no_other_networks(kind, size):
    with pytest.raises(ValueError, match=r"kind is 'large'|not multiples of 64"):
        build_pwcnet(kind, size)


# Layers against numpy


def numpy_conv(x, weight, bias, stride=1, dilation=1):
    """PyTorch's Conv2d(padding=dilation) on x [C, H, W]; weight [out, in, 3, 3]."""
    reach = dilation
    padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach)])
    height, width = x.shape[1:]
    result = np.zeros((len(weight), -(-height // stride), -(-width // stride)))
    for i, j in np.ndindex(3, 3):
        rows = padded[:, i * dilation :, j * dilation :][:, :height:stride, :width:stride]
        result += np.einsum("oc,chw->ohw", weight[:, :, i, j], rows)
    return result + bias[:, np.newaxis, np.newaxis]


def numpy_deconv(x, weight, bias):
    """PyTorch's ConvTranspose2d(4, stride 2, padding 1) on x [C, H, W]; weight [in, out, 4, 4]."""
    _, height, width = x.shape
    result = np.zeros((weight.shape[1], 2 * height + 2, 2 * width + 2))
    for y, x_, i, j in np.ndindex(height, width, 4, 4):
        result[:, 2 * y + i, 2 * x_ + j] += x[:, y, x_] @ weight[:, :, i, j]
    return result[:, 1:-1, 1:-1] + bias[:, np.newaxis, np.newaxis]


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def images(count=2, size=SIZE, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def channels_first(x):
    return np.asarray(x, np.float64)[0].transpose(2, 0, 1)


@pytest.mark.parametrize("kind", ["dense", "small"])
def test_converted_weights_mean_what_they_meant(kind, tmp_path):
    random = np.random.default_rng(1)
    state = {
        name: random.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in published_shapes(kind).items()
    }
    np.savez(tmp_path / "weights.npz", **state)
    model = build_pwcnet(kind, SIZE)
    load_weights(model, tmp_path / "weights.npz")
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, state[name])

    inputs = [tf.constant(x[np.newaxis], tf.float32) for x in images()]
    layers = [model.get_layer(name) for name in ("predict_flow6", "deconv6", "upfeat6", "dc_conv4")]
    tensors = [x for layer in layers for x in (layer.input, layer.output)]
    found = [channels_first(x) for x in keras.Model(model.inputs, tensors)(inputs)]

    def weights(name):
        return state[f"{name}.weight"], state[f"{name}.bias"]

    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    close(found[1], numpy_conv(found[0], *weights("predict_flow6")))
    close(found[3], numpy_deconv(found[2], *weights("deconv6")))
    close(found[5], numpy_deconv(found[4], *weights("upfeat6")))
    close(found[7], numpy_conv(found[6], *weights("dc_conv4.0"), dilation=8))


def numpy_cost(first, second, radius=4):
    """[C, H, W] twice → [(2 · radius + 1)², H, W], rows of displacements downwards."""
    channels, height, width = first.shape
    side = 2 * radius + 1
    volume = np.zeros((side * side, height, width))
    for y, x, i, j in np.ndindex(height, width, side, side):
        there = y + i - radius, x + j - radius
        if 0 <= there[0] < height and 0 <= there[1] < width:
            volume[i * side + j, y, x] = first[:, y, x] @ second[:, there[0], there[1]] / channels
    return volume


def numpy_warp(image, flow):
    """image [C, H, W] at the pixels that flow [2, H, W], (dx, dy), leads to; 0 where outside."""
    _, height, width = image.shape
    result = np.zeros(image.shape)
    for y, x in np.ndindex(height, width):
        at_x, at_y = x + flow[0, y, x], y + flow[1, y, x]
        if 0 <= at_x <= width - 1 and 0 <= at_y <= height - 1:
            left, top = min(int(at_x), width - 2), min(int(at_y), height - 2)
            right, low = at_x - left, at_y - top
            patch = image[:, top : top + 2, left : left + 2]
            result[:, y, x] = np.einsum("cij,i,j->c", patch, [1 - low, low], [1 - right, right])
    return result


@pytest.mark.parametrize("kind", ["dense", "small"])
def test_from_frames_to_the_estimator_of_the_last_level(kind):
    """Pyramid, warp and cost volume in one, all of them for real and by numpy."""
    state = state_dict(network(kind))
    frames = images()
    pyramids = []
    for x in frames:
        x = x[..., ::-1].transpose(2, 0, 1) / 255  # BGR
        for level in (1, 2):
            for part in ("a", "aa", "b") if kind == "dense" else ("a", "b"):
                weight, bias = (state[f"conv{level}{part}.0.{w}"] for w in ("weight", "bias"))
                x = leaky(numpy_conv(x, weight, bias, stride=2 if part == "a" else 1))
        pyramids.append(x)
    estimator = keras.Model(network(kind).inputs, network(kind).get_layer("conv2_0").input)
    found = channels_first(estimator([tf.constant(x[np.newaxis], tf.float32) for x in frames]))
    cost, features, up_flow = found[:81], found[81:113], found[113:115]
    np.testing.assert_allclose(features, pyramids[0], rtol=1e-4, atol=1e-4)
    # 20 pixels of the frame are 5 of this level.
    warped = numpy_warp(pyramids[1], 5 * up_flow)
    np.testing.assert_allclose(cost, leaky(numpy_cost(pyramids[0], warped)), rtol=1e-3, atol=1e-4)
    assert 0 < np.mean(warped == 0) < 0.9  # some come from outside, not all


@settings(max_examples=15)
@given(st.sampled_from([(2, 2), (2, 9), (8, 5)]), st.sampled_from([1.0, 2.5]), st.integers(0, 999))
def test_warp_against_numpy(size, scale, seed):
    random = np.random.default_rng(seed)
    image = random.normal(size=(2, *size, 3)).astype(np.float32)
    # By eighths, which are exact: otherwise rounding decides what is just inside the image.
    flow = (random.integers(-20, 21, (2, *size, 2)) / 8).astype(np.float32)
    warped = Warp(scale)(image, flow).numpy()
    for i in range(2):
        expected = numpy_warp(image[i].transpose(2, 0, 1), scale * flow[i].transpose(2, 0, 1))
        np.testing.assert_allclose(warped[i].transpose(2, 0, 1), expected, atol=1e-5)


def test_warp_undoes_a_displacement():
    texture = np.random.default_rng(0).normal(size=(20, 30, 3)).astype(np.float32)
    frame, other = texture[4:16, 5:25], texture[4 + 2 : 16 + 2, 5 - 3 : 25 - 3]
    # frame[y, x] = other[y - 2, x + 3]
    flow = np.broadcast_to(np.float32([3, -2]), (1, 12, 20, 2))
    warped = Warp(1.0)(other[np.newaxis], flow)[0].numpy()
    np.testing.assert_allclose(warped[2:, :-3], frame[2:, :-3], atol=1e-6)
    assert not warped[:2].any()
    assert not warped[:, -3:].any()


# Weights that cannot be used


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def error_of(kind, path):
    with pytest.raises(UserError) as info:
        load_weights(network(kind), path)
    message = str(info.value)
    assert "\n" not in message
    assert repr(str(path)) in message
    return message


def test_weights_that_are_missing(tmp_path):
    message = error_of("small", tmp_path / "none.npz")
    assert "does not exist" in message
    assert "numpy.savez" in message


@pytest.mark.parametrize("content", ["text", "pickle", "npy", "truncated", "objects"])
def test_weights_that_are_no_npz(content, tmp_path):
    path = write_no_npz(tmp_path / "weights.npz", content, state_dict(network("small")))
    message = error_of("small", path)
    assert "is not an .npz of weights" in message
    assert "numpy.savez" in message


def test_weights_of_the_other_kind(tmp_path):
    path = save(tmp_path / "small.npz", state_dict(network("small")))
    assert "lacks conv1aa.0.bias and 11 more" in error_of("dense", path)
    path = save(tmp_path / "dense.npz", state_dict(network("dense")))
    assert "has the unknown conv1aa.0.bias and 11 more" in error_of("small", path)


def test_one_weight_too_many_or_too_few(tmp_path):
    state = state_dict(network("small"))
    path = save(tmp_path / "more.npz", {**state, "conv9.weight": np.zeros(3)})
    assert "has the unknown conv9.weight;" in error_of("small", path)
    del state["dc_conv7.bias"]
    assert "lacks dc_conv7.bias;" in error_of("small", save(tmp_path / "less.npz", state))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((32, 32, 3), np.float32),
        np.zeros((3, 3, 32, 2), np.float32),  # TensorFlow's layout
        np.zeros((2, 32, 3, 3), np.int64),
    ],
)
def test_weights_of_another_shape_or_type_change_nothing(array, tmp_path):
    state = state_dict(network("small"))
    changed = {name: value + 1 for name, value in state.items()}
    path = save(tmp_path / "weights.npz", {**changed, "dc_conv7.weight": array})
    message = error_of("small", path)
    assert f"dc_conv7.weight is {array.dtype} of shape {array.shape}" in message
    np.testing.assert_array_equal(
        state_dict(network("small"))["conv1a.0.weight"], state["conv1a.0.weight"]
    )


def test_weights_of_an_unused_layer_are_let_pass(tmp_path):
    state = state_dict(network("small"))
    unused = {"deconv2.weight": np.zeros((2, 2, 4, 4)), "deconv2.bias": np.zeros(2)}
    for wanted in (to_half(state), state):
        load_weights(network("small"), save(tmp_path / "weights.npz", {**wanted, **unused}))
        found = state_dict(network("small"))
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value)
    load_weights(network("small"), save(tmp_path / "half.npz", to_half(state)))


def to_half(state):
    return {name: array.astype(np.float16).astype(np.float32) for name, array in state.items()}


# The estimator


@pytest.mark.parametrize("path", [None, ""])
def test_no_weights(path):
    with pytest.raises(UserError, match=r"\(dense\) has no weights.*numpy\.savez.*--flow=dis"):
        PWCNet("dense", path, SIZE)


def test_frames_are_resized_and_the_flow_scaled_back(tmp_path):
    path = save(tmp_path / "weights.npz", state_dict(network("small")))
    estimator = PWCNet("small", path, (50, 120))
    frame, other = images(size=(50, 120))
    flow = estimator(frame, other)
    assert flow.dtype == np.float32
    assert flow.shape == (50, 120, 2)
    resized = [cv2.resize(x, (128, 64))[np.newaxis].astype(np.float32) for x in (frame, other)]
    expected = 20 * estimator.model(resized)[0][0].numpy()
    expected = cv2.resize(expected, (120, 50)) * [120 / 128, 50 / 64]
    np.testing.assert_allclose(flow, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"a frame is \(64, 120, 3\), not \(50, 120, 3\)"):
        estimator(frame, images(size=(64, 120))[0])


# Training


STEPS = 120
LEVEL_WEIGHTS = (1, 0.1, 0.01, 0.01, 0.01)  # of the losses at strides 4, 8, … 64


def displaced(seed, reach=8):
    """A textured frame, what it looks like displaced in four directions, and their flow.

    uint8 [64, 64, 3]; uint8 [4, 64, 64, 3]; float32 [4, 2].
    """
    random = np.random.default_rng(seed)
    texture = random.normal(size=(64 + 2 * reach, 64 + 2 * reach, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(texture, (0, 0), 2.5)
    texture = np.clip(127.5 + 90 * texture / texture.std(), 0, 255).astype(np.uint8)
    dx, dy = (reach, random.choice([0, reach]))  # along the axes, or along the diagonals
    flows = [(dx, dy), (-dy, dx), (-dx, -dy), (dy, -dx)]
    others = [texture[reach - dy :, reach - dx :][:64, :64] for dx, dy in flows]
    return texture[reach:-reach, reach:-reach], np.array(others), np.array(flows, np.float32)


def test_learns_to_see_displacements(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_pwcnet("small", SIZE)
    # PWC-Net trains for a million steps. To begin sooner: features about zero, of which the
    # estimators see the cost volumes alone.
    first = model.get_layer("conv1a")
    first.bias.assign(-0.5 * first.kernel.numpy().sum((0, 1, 2)))
    for level in range(2, 7):
        kernel = model.get_layer(f"conv{level}_0").kernel
        kernel.assign(kernel * np.where(np.arange(kernel.shape[2]) < 81, 16, 0)[:, np.newaxis])
        kernel = model.get_layer(f"predict_flow{level}").kernel
        kernel.assign(kernel * 0.5)
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(1e-3, STEPS, 0.0))
    optimizer.build(variables)

    @tf.function
    def update(frames, others, flow):
        target = flow[:, tf.newaxis, tf.newaxis] / pwcnet.FLOW_SCALE
        with tf.GradientTape() as tape:
            loss = 0.0
            for weight, found in zip(LEVEL_WEIGHTS, model([frames, others]), strict=True):
                loss += weight * tf.reduce_mean(tf.norm(found - target + 1e-8, axis=-1))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for step in range(STEPS):
        # One frame, and directions that add up to 0: no content and no mean to learn first.
        frame, others, flows = displaced(seed=step)
        update(tf.constant([frame] * 4, tf.float32), tf.constant(others, tf.float32), flows)

    # As a user's weights, through the estimator, on textures that it has not seen.
    estimator = PWCNet("small", save(tmp_path / "trained.npz", state_dict(model)), SIZE)
    errors, magnitudes = [], []
    for seed in range(10_000, 10_006):
        frame, others, flows = displaced(seed)
        for other, flow in zip(others, flows, strict=True):
            errors.append(np.linalg.norm(estimator(frame, other) - flow, axis=-1).mean())
            magnitudes.append(np.linalg.norm(flow))
    assert np.mean(errors) < np.mean(magnitudes) / 2

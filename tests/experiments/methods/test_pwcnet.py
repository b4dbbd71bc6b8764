"""PWC-Net: published names and sizes, golden flows, known displacements."""

import functools
import pathlib
import tempfile

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from experiments.methods.pwcnet import PWCNet, Warp, build_pwcnet, load_weights, published_names
from jitnet_tf.base.errors import UserError

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
def test_other_networks_are_refused(kind, size):
    with pytest.raises(ValueError, match=r"kind is 'large'|not multiples of 64"):
        build_pwcnet(kind, size)


# Converted weights


def numpy_conv(x, weight, bias, dilation=1):
    """PyTorch's Conv2d(padding=dilation) on x [C, H, W]; weight [out, in, 3, 3]."""
    padded = np.pad(x, [(0, 0), (dilation, dilation), (dilation, dilation)])
    height, width = x.shape[1:]
    result = np.zeros((len(weight), height, width))
    for i, j in np.ndindex(3, 3):
        rows = padded[:, i * dilation :, j * dilation :][:, :height, :width]
        result += np.einsum("oc,chw->ohw", weight[:, :, i, j], rows)
    return result + bias[:, np.newaxis, np.newaxis]


def numpy_deconv(x, weight, bias):
    """PyTorch's ConvTranspose2d(4, stride 2, padding 1) on x [C, H, W]; weight [in, out, 4, 4]."""
    _, height, width = x.shape
    result = np.zeros((weight.shape[1], 2 * height + 2, 2 * width + 2))
    for y, x_, i, j in np.ndindex(height, width, 4, 4):
        result[:, 2 * y + i, 2 * x_ + j] += x[:, y, x_] @ weight[:, :, i, j]
    return result[:, 1:-1, 1:-1] + bias[:, np.newaxis, np.newaxis]


def images(count=2, size=SIZE, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def channels_first(x):
    return np.asarray(x, np.float64)[0].transpose(2, 0, 1)


# Of each of the five flows: mean, deviation, and the lower left pixel. They are of the code whose
# pyramid, warping and cost volume agreed with an implementation in numpy.
GOLDEN = {
    "dense": [
        [-0.15002, 0.23045, -0.18275, 0.027923],
        [-0.20676, 0.33692, -0.092179, -0.18525],
        [-0.052251, 0.25125, -0.21001, -0.15001],
        [0.0090556, 0.076618, -0.031856, 0.0093569],
        [-0.054269, 0.040067, -0.094336, -0.014202],
    ],
    "small": [
        [0.054817, 0.083261, 0.020611, 0.048115],
        [0.12637, 0.078559, 0.030064, 0.047439],
        [-0.03842, 0.035139, -0.038438, -0.084587],
        [-0.0097426, 0.013666, -0.016987, -0.0072274],
        [-0.00070895, 0.014889, -0.015598, 0.014181],
    ],
}


@functools.cache
def converted(kind):
    """A network with converted weights, and these weights as PyTorch has them."""
    random = np.random.default_rng(1)
    state = {
        name: random.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in published_shapes(kind).items()
    }
    model = build_pwcnet(kind, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        load_weights(model, save(pathlib.Path(folder, "weights.npz"), state))
    return model, state


@pytest.mark.parametrize("kind", GOLDEN)
def test_flows_from_converted_weights(kind):
    model, state = converted(kind)
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, state[name])
    flows = model([x[np.newaxis].astype(np.float32) for x in images()])
    for flow, expected in zip(flows, GOLDEN[kind], strict=True):
        flow = flow.numpy()
        found = [flow.mean(), flow.std(), *flow[0, -1, 0]]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_layers_with_converted_weights():
    """Compares one layer of each kind with PyTorch's definition."""
    model, state = converted("small")
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


@settings(max_examples=15)
@given(st.sampled_from([(2, 2), (2, 9), (8, 5)]), st.sampled_from([1.0, 2.5]), st.integers(0, 999))
def test_warp_against_numpy(size, scale, seed):
    random = np.random.default_rng(seed)
    image = random.normal(size=(2, *size, 3)).astype(np.float32)
    # Multiples of 1/8 are exact: otherwise rounding decides which pixels are inside the image.
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


# Files


def save(path, arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(("of", "kind"), [("small", "dense"), ("dense", "small")])
def test_weights_of_the_other_kind_are_refused(of, kind, tmp_path):
    path = save(tmp_path / "weights.npz", state_dict(network(of)))
    with pytest.raises(UserError, match=r"conv1aa\.0\.bias and 11 more"):
        load_weights(network(kind), path)


def test_weights_of_an_unused_layer_are_ignored(tmp_path):
    state = state_dict(network("small"))
    unused = {"deconv2.weight": np.zeros((2, 2, 4, 4)), "deconv2.bias": np.zeros(2)}
    load_weights(network("small"), save(tmp_path / "weights.npz", {**state, **unused}))
    found = state_dict(network("small"))
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value)


# The estimator


@pytest.mark.parametrize("path", [None, ""])
def test_missing_weights_are_refused(path):
    with pytest.raises(UserError, match=r"--pwcnet_dense.*--flow=dis"):
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

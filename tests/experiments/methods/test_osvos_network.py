"""OSVOS: published names and sizes, a golden output, fine-tuning."""

import math

import cv2
import numpy as np
import pytest
import tensorflow as tf

from experiments.methods import osvos_network
from experiments.methods.osvos_network import (
    OSVOS,
    Fuse,
    Upsample,
    balanced_cross_entropy,
    build_osvos,
    load_weights,
    published_names,
)
from jitnet_tf.distillation.training import DivergedError
from tests.materials import square_scene

SIZE = (48, 64)


def published_shapes():
    """Shapes of the published state_dict, [out, in, h, w], written down from class OSVOS."""
    shapes, before = {}, 3

    def conv(name, before, after, side):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (after, before, side, side), (after,)

    # Places of the convolutions in each stage; a pool is before them in all but the first.
    for stage, (places, channels) in enumerate(
        [((0, 2), 64), ((1, 3), 128), ((1, 3, 5), 256), ((1, 3, 5), 512), ((1, 3, 5), 512)]
    ):
        for place in places:
            conv(f"stages.{stage}.{place}", before, channels, 3)
            before = channels
        if stage:
            i = stage - 1
            conv(f"side_prep.{i}", channels, 16, 3)
            conv(f"score_dsn.{i}", 16, 1, 1)
            side = 2 ** (stage + 1)
            shapes[f"upscale.{i}.weight"] = (16, 16, side, side)
            shapes[f"upscale_.{i}.weight"] = (1, 1, side, side)
    conv("fuse", 64, 1, 1)
    return shapes


@pytest.fixture(scope="module")
def state():
    """A state_dict like the published one, without upsampling, with random weights."""
    random, arrays = np.random.default_rng(1), {}
    for name, shape in published_shapes().items():
        if not name.startswith("upscale"):
            scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 1
            arrays[name] = random.normal(0, scale, shape).astype(np.float32)
    return arrays


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    return save(tmp_path_factory.mktemp("weights") / "parent.npz", state)


@pytest.fixture(scope="module")
def model():
    return build_osvos()


@pytest.fixture(scope="module")
def shared_network():
    return OSVOS(SIZE)


@pytest.fixture
def network(shared_network):
    """A network with new random weights."""
    shared_network.start(keeps_weights=False)
    return shared_network


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def picture(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def half():
    """A mask of the left half."""
    mask = np.zeros(SIZE, bool)
    mask[:, : SIZE[1] // 2] = True
    return mask


# The network


def test_names_shapes_and_parameters(model):
    wanted = {n: s for n, s in published_shapes().items() if not n.startswith("upscale")}
    names = published_names(model)
    assert len(names) == len(model.weights)
    found = {}
    for name, variable in names.items():
        shape = tuple(variable.shape)
        found[name] = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
    assert found == wanted
    # VGG-16's convolutions, and the layers beside them.
    assert model.count_params() == 14_714_688 + sum(
        np.prod(shape) for name, shape in wanted.items() if not name.startswith("stages")
    )


# Of each of the five outputs: mean, deviation, and the pixels (0, 0), (10, 17) and (-1, -1). They
# are of the code that agreed, on these weights, with the published forward pass in numpy.
GOLDEN = {
    (21, 35): [
        [75.862, 58.288, 15.975, 43.233, 37.243],
        [-161.43, 55.281, -40.668, -269.76, -66.505],
        [-124.46, 80.427, -36.201, -116.89, -148.41],
        [68.223, 27.134, 47.964, 93.505, -1.7912],
        [-207.75, 122.45, -83.095, -166.43, -61.406],
    ],
    (32, 48): [
        [66.374, 57.373, 6.8496, 94.598, -11.27],
        [-211.41, 93.337, -26.342, -312.49, -17.002],
        [-185.43, 106.03, -48.598, -236.64, -58.558],
        [70.951, 32.562, 7.3807, 88.65, 11.139],
        [-198.54, 146.9, -64.245, -265.89, -34.169],
    ],
}


@pytest.mark.parametrize("size", GOLDEN)
def test_outputs_from_converted_weights(model, weights, size):
    """Also at sizes that no pool divides."""
    load_weights(model, weights)
    outputs = model(picture(size)[np.newaxis].astype(np.float32))
    assert len(outputs) == 5
    for output, expected in zip(outputs, GOLDEN[size], strict=True):
        assert output.shape == (1, *size, 1)
        x = output.numpy()[0, ..., 0]
        found = [x.mean(), x.std(), x[0, 0], x[10, 17], x[-1, -1]]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.01)


def test_upsampling_is_bilinear():
    """One pixel becomes a pyramid, cropped centrally; so do the pixels of each channel in Fuse."""
    pixel = np.zeros((1, 3, 4, 1), np.float32)
    pixel[0, 1, 2] = 1
    found = Upsample(4)(pixel, tf.zeros((1, 10, 15, 3))).numpy()[0, ..., 0]
    ramp = np.float32([1, 3, 5, 7, 7, 5, 3, 1]) / 8
    expected = np.zeros((16, 20))
    expected[4:12, 8:16] = np.outer(ramp, ramp)
    np.testing.assert_allclose(found, expected[3:13, 2:17], atol=1e-6)


def test_fusion_is_a_convolution_of_upsampled_features():
    random = np.random.default_rng(2)
    image = tf.zeros((1, 16, 16, 3))
    sides = [random.normal(size=(1, 16 >> i, 16 >> i, 16)).astype(np.float32) for i in (1, 2, 3, 4)]
    fuse = Fuse()
    found = fuse(sides, image).numpy()
    kernel = fuse.kernel.numpy()[0, 0, :, 0]
    expected = fuse.bias.numpy()[0]
    for i, side in enumerate(sides):
        for channel in range(16):
            up = Upsample(2 ** (i + 1))(side[..., channel : channel + 1], image).numpy()
            expected = expected + kernel[16 * i + channel] * up
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_upsampling_may_be_in_the_file(model, state, tmp_path):
    shapes = published_shapes()
    unused = {name: np.ones(shapes[name]) for name in shapes if name not in state}
    load_weights(model, save(tmp_path / "more.npz", {**state, **unused}))
    np.testing.assert_array_equal(published_names(model)["fuse.bias"], state["fuse.bias"])


# The loss


def published_loss(mask, logits):
    """`class_balanced_cross_entropy_loss`, in float64."""
    probability = 1 / (1 + np.exp(-logits))
    positive, total = mask.sum(), mask.size
    of_positive = -(mask * np.log(probability)).sum()
    of_negative = -((1 - mask) * np.log(1 - probability)).sum()
    return (total - positive) / total * of_positive + positive / total * of_negative


def test_the_published_loss():
    random = np.random.default_rng(3)
    mask = (random.random((1, 9, 11, 1)) < 0.2).astype(np.float32)
    logits = random.normal(0, 4, mask.shape).astype(np.float32)
    found = float(balanced_cross_entropy(mask, logits))
    assert found == pytest.approx(published_loss(mask, logits.astype(float)), rel=1e-5)


def test_the_loss_by_hand():
    """One pixel of four in the foreground, all undecided: 3/4 · ln 2 and 1/4 · 3 · ln 2."""
    mask, logits = np.float32([1, 0, 0, 0]), np.zeros(4, np.float32)
    assert float(balanced_cross_entropy(mask, logits)) == pytest.approx(1.5 * math.log(2))


# Fine-tuning


def test_an_update_as_published(state, weights, monkeypatch):
    """Two steps by hand: rates of kernels, offsets and the fusion; decay; momentum."""
    monkeypatch.setattr(osvos_network, "LEARNING_RATE", 1e-7)
    monkeypatch.setattr(osvos_network, "WEIGHT_DECAY", 1e4)
    network = OSVOS(SIZE, weights)
    frame, mask = picture(), np.zeros(SIZE, bool)
    mask[10:30, 20:50] = True
    names = published_names(network.model)
    chosen = ["stages.0.0.weight", "stages.4.5.bias", "side_prep.2.weight", "fuse.weight"]
    rates = {"stages.4.5.bias": 2, "fuse.weight": 0.01}
    velocity = dict.fromkeys(chosen, 0.0)
    # One image, as the order of several is random.
    monkeypatch.setattr(network, "_augmented", lambda frame, mask: [(frame, mask)])
    for _ in range(2):
        variables = [names[name] for name in chosen]
        before = {name: names[name].numpy() for name in chosen}
        with tf.GradientTape() as tape:
            logits = network.model(frame[np.newaxis].astype(np.float32))[-1]
            target = mask[np.newaxis, ..., np.newaxis].astype(np.float32)
            loss = balanced_cross_entropy(target, logits)
        gradients = tape.gradient(loss, variables)
        losses = network.fine_tune(frame, mask, steps=1, seconds=math.inf)
        assert losses == [pytest.approx(float(loss), rel=1e-4)]
        for name, gradient in zip(chosen, gradients, strict=True):
            decay = 0 if name.endswith("bias") else 1e4 * before[name]
            rate = 1e-7 * rates.get(name, 1)
            velocity[name] = 0.9 * velocity[name] - rate * (gradient.numpy() + decay)
            moved = names[name].numpy() - before[name]
            scale = np.abs(velocity[name]).max()
            # Next to an offset of 1, float32 rounds such a step by a few percent.
            np.testing.assert_allclose(moved / scale, velocity[name] / scale, atol=0.03)
    # Weights that the loss does not reach stay.
    for name in ("score_dsn.0.weight", "score_dsn.3.bias"):
        value = state[name].transpose(2, 3, 1, 0) if state[name].ndim == 4 else state[name]
        np.testing.assert_array_equal(names[name], value)


def test_augmented_images(network):
    frame, mask = picture(seed=2), np.zeros(SIZE, bool)
    mask[8:24, 40:] = True
    images = network._augmented(frame, mask)
    assert [p.shape[:2] for p, _ in images[::2]] == [(24, 32), (38, 51), (48, 64)]
    for (there, target), (mirrored, mirrored_target) in zip(images[::2], images[1::2], strict=True):
        assert (there.dtype, target.dtype) == (np.uint8, bool)
        assert there.shape[:2] == target.shape
        np.testing.assert_array_equal(mirrored, there[:, ::-1])
        np.testing.assert_array_equal(mirrored_target, target[:, ::-1])
        assert target.mean() == pytest.approx(mask.mean(), abs=0.02)
    np.testing.assert_array_equal(images[4][0], frame)
    np.testing.assert_array_equal(images[4][1], mask)


@pytest.mark.slow
def test_random_weights_learn_a_square():
    frames, labels = square_scene(9)
    network = OSVOS(labels[0].shape)
    losses = network.fine_tune(frames[0], labels[0] > 0, steps=60, seconds=math.inf)
    assert len(losses) == 60
    assert np.mean(losses[-6:]) < np.mean(losses[:6]) / 5
    for index in (0, 8):
        found = network.segment(frames[index])
        assert (found.dtype, found.shape) == (bool, labels[index].shape)
        wanted = labels[index] > 0
        assert (found & wanted).sum() / (found | wanted).sum() > 0.7


@pytest.mark.parametrize("side", [False, True])
def test_masks_of_one_class_train_nothing(network, side):
    before, mask = arrays(network), np.full(SIZE, side)
    target = mask[np.newaxis, ..., np.newaxis].astype(np.float32)
    assert float(balanced_cross_entropy(target, tf.random.normal(target.shape))) == 0
    assert network.fine_tune(picture(), mask, 9, math.inf, lambda: pytest.fail("a step")) == []
    assert all(is_same(before, arrays(network)))


def test_the_network_may_run_at_another_size():
    network = OSVOS((60, 90), scale=0.5)
    seen = []
    network._infer = lambda frame: seen.append(frame) or tf.fill((30, 45), 5.0)
    found = network.segment(picture((60, 90)))
    assert seen[0].shape == (30, 45, 3)
    assert (found.shape, found.all()) == ((60, 90), True)
    expected = cv2.resize(picture((60, 90)), (45, 30), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(seen[0], expected)


def test_threshold_of_the_foreground_is_the_published_one(network, monkeypatch):
    limit = math.log(162 / (255 - 162))
    logits = np.full(SIZE, limit - 0.01, np.float32)
    logits[:, 32:] = limit + 0.01
    monkeypatch.setattr(network, "_infer", lambda frame: tf.constant(logits))
    np.testing.assert_array_equal(network.segment(picture()), logits > limit)


def arrays(network):
    return [variable.numpy() for variable in network._state()]


def is_same(some, others):
    return [np.array_equal(a, b) for a, b in zip(some, others, strict=True)]


def test_training_starts_afresh_or_continues(network):
    initial = arrays(network)
    network.fine_tune(picture(), half(), steps=2, seconds=math.inf)
    tuned, count = arrays(network), len(network.model.weights)
    for part in (slice(count), slice(count, None)):  # the weights and what Adam holds
        assert not all(is_same(initial[part], tuned[part]))
    network.start(keeps_weights=True)
    assert all(is_same(tuned, arrays(network)))
    network.start(keeps_weights=False)
    assert all(is_same(initial, arrays(network)))


@pytest.mark.slow
def test_from_published_weights_momentum_starts_anew(weights):
    network = OSVOS(SIZE, weights)
    initial, count = arrays(network), len(network.model.weights)
    network.fine_tune(picture(), half(), steps=2, seconds=math.inf)
    tuned = arrays(network)
    assert not all(is_same(initial[:count], tuned[:count]))
    assert not all(is_same(initial[count:], tuned[count:]))
    network.start(keeps_weights=True)
    kept = arrays(network)
    assert all(is_same(tuned[:count], kept[:count]))
    assert all(is_same(initial[count:], kept[count:]))


@pytest.mark.slow
def test_a_new_network_is_the_same_with_the_same_seed(network):
    """Warming up changes nothing."""
    assert all(is_same(arrays(OSVOS(SIZE)), arrays(network)))


@pytest.mark.parametrize(("steps", "seconds", "expected"), [(2, 60, 2), (9, 0.2, 1), (9, 0, 0)])
def test_steps_and_seconds_bound_it(network, monkeypatch, steps, seconds, expected):
    """Each step takes a quarter of a second."""
    called = []
    monkeypatch.setattr(osvos_network.time, "perf_counter", lambda: 0.25 * len(called))
    mask, on_step = half(), lambda: called.append(1)
    assert len(network.fine_tune(picture(), mask, steps, seconds, on_step)) == expected
    assert len(called) == expected


def test_divergence_is_an_error(network):
    published_names(network.model)["fuse.bias"].assign([np.nan])
    with pytest.raises(DivergedError, match=r"diverged at step 1 .*nan"):
        network.fine_tune(picture(), half(), steps=3, seconds=math.inf)

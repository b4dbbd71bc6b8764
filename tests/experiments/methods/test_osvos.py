"""experiments.methods.osvos and its network against numpy, the published sizes, and known scenes."""

import hashlib
import math
import time
import types

import cv2
import numpy as np
import pytest
import tensorflow as tf

from experiments.methods import osvos
from experiments.methods.osvos import OSVOS, OneShotSegmentation, balanced_cross_entropy
from experiments.methods.osvos_network import build_osvos, load_weights, published_names
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.distiller import DivergedError
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.detections import Detections
from tests.materials import square_scene, write_no_npz

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


def bilinear(side):
    """The published filter of an upsampling, [side, side]."""
    ramp = 1 - abs(np.arange(side) - (side - 1) / 2) / (side / 2)
    return np.outer(ramp, ramp)


@pytest.fixture(scope="module")
def state():
    """A state_dict as it is published, of weights with which a picture makes a difference."""
    random, arrays = np.random.default_rng(1), {}
    for name, shape in published_shapes().items():
        if name.startswith("upscale"):
            value = np.zeros(shape)
            value[range(shape[0]), range(shape[0])] = bilinear(shape[2])
        elif len(shape) == 4:
            value = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            value = random.normal(0, 1, shape)
        arrays[name] = value.astype(np.float32)
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
    """From random weights, as if it were new."""
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
    # VGG-16's convolutions, as is well known, and what is beside them.
    assert model.count_params() == 14_714_688 + sum(
        np.prod(shape) for name, shape in wanted.items() if not name.startswith("stages")
    )


def numpy_conv(x, weight, bias):
    """PyTorch's Conv2d with a padding that keeps the size; x [C, H, W]."""
    reach, (height, width) = weight.shape[2] // 2, x.shape[1:]
    padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))
    rows = windows.transpose(1, 2, 0, 3, 4).reshape(height * width, -1)
    result = rows @ weight.reshape(len(weight), -1).T + bias
    return result.T.reshape(-1, height, width)


def numpy_pool(x):
    """PyTorch's MaxPool2d(2, 2, ceil_mode=True)."""
    height, width = (side + side % 2 for side in x.shape[1:])
    wide = np.full((len(x), height, width), -np.inf)
    wide[:, : x.shape[1], : x.shape[2]] = x
    return wide.reshape(len(x), height // 2, 2, width // 2, 2).max((2, 4))


def numpy_upscale(x, weight, size):
    """PyTorch's ConvTranspose2d(kernel 2f, stride f) with its weights, and the central crop."""
    side = weight.shape[2]
    factor, (_, height, width) = side // 2, x.shape
    result = np.zeros((weight.shape[1], (height + 1) * factor, (width + 1) * factor))
    for row, column in np.ndindex(height, width):
        window = np.s_[:, row * factor :, column * factor :]
        result[window][:, :side, :side] += np.einsum("i,iohw->ohw", x[:, row, column], weight)
    top, left = ((have - want) // 2 for have, want in zip(result.shape[1:], size, strict=True))
    return result[:, top : top + size[0], left : left + size[1]]


def numpy_osvos(frame, state):
    """The published forward pass: logits [H, W] of four stages and the result's."""

    def conv(x, name):
        return numpy_conv(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = frame[..., ::-1].astype(float) - (104.00699, 116.66877, 122.67892)
    x, size = x.transpose(2, 0, 1), frame.shape[:2]
    outputs, sides = [], []
    for stage, places in enumerate([(0, 2), (1, 3), (1, 3, 5), (1, 3, 5), (1, 3, 5)]):
        x = numpy_pool(x) if stage else x
        for place in places:
            x = np.maximum(conv(x, f"stages.{stage}.{place}"), 0)
        if stage:
            i = stage - 1
            side = conv(x, f"side_prep.{i}")
            sides.append(numpy_upscale(side, state[f"upscale.{i}.weight"], size))
            score = conv(side, f"score_dsn.{i}")
            outputs.append(numpy_upscale(score, state[f"upscale_.{i}.weight"], size)[0])
    return [*outputs, conv(np.concatenate(sides), "fuse")[0]]


@pytest.mark.parametrize("size", [(21, 35), (32, 48)])
def test_the_published_network_with_converted_weights(model, state, weights, size):
    """Also at sizes that no pool divides."""
    load_weights(model, weights)
    frame = picture(size)
    found = model(frame[np.newaxis].astype(np.float32))
    expected = numpy_osvos(frame, state)
    assert len(found) == len(expected) == 5
    for logits, wanted in zip(found, expected, strict=True):
        assert logits.shape == (1, *size, 1)
        scale = np.abs(wanted).max()
        assert scale > 1
        np.testing.assert_allclose(logits[0, ..., 0] / scale, wanted / scale, atol=2e-5)


# Weights that cannot be used


def error_of(model, path):
    with pytest.raises(UserError) as info:
        load_weights(model, path)
    message = str(info.value)
    assert "\n" not in message
    assert repr(str(path)) in message
    return message


def test_weights_that_are_missing(model, tmp_path):
    message = error_of(model, tmp_path / "none.npz")
    assert "does not exist: it should be OSVOS's weights; convert PyTorch's by" in message


@pytest.mark.parametrize("content", ["text", "pickle", "npy", "truncated", "objects"])
def test_weights_that_are_no_npz(model, content, tmp_path):
    whole = {"fuse.weight": np.zeros((1, 64, 1, 1))}
    path = write_no_npz(tmp_path / "weights.npz", content, whole)
    message = error_of(model, path)
    assert "is not an .npz of weights" in message
    assert "numpy.savez" in message


def test_one_weight_too_many_or_too_few(model, state, tmp_path):
    empty = {name: np.zeros(0, np.float32) for name in state}  # names are looked at first
    more = save(tmp_path / "more.npz", {**empty, "features.0.weight": np.zeros(3)})
    assert "has the unknown features.0.weight;" in error_of(model, more)
    del empty["stages.0.0.bias"], empty["fuse.weight"]
    assert "lacks fuse.weight and 1 more;" in error_of(model, save(tmp_path / "l.npz", empty))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 64), np.float32), "fuse.weight is float32 of shape (1, 64)"),
        (np.zeros((1, 1, 64, 1), np.float32), "of shape (1, 1, 64, 1)"),  # TensorFlow's layout
        (np.zeros((1, 64, 1, 1), np.int64), "fuse.weight is int64"),
        (np.full((1, 64, 1, 1), np.nan, np.float32), "fuse.weight is not finite"),
    ],
)
def test_weights_of_another_shape_or_type_change_nothing(model, state, array, said, tmp_path):
    before = [variable.numpy() for variable in model.weights]
    changed = {name: value + 1 for name, value in state.items()}
    path = save(tmp_path / "weights.npz", {**changed, "fuse.weight": array})
    assert said in error_of(model, path)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_upsampling_may_be_left_out_of_the_file(model, state, weights, tmp_path):
    """It is fixed."""
    trained = {name: value for name, value in state.items() if not name.startswith("upscale")}
    load_weights(model, save(tmp_path / "less.npz", trained))
    np.testing.assert_array_equal(published_names(model)["fuse.bias"], state["fuse.bias"])


def test_origin(tmp_path):
    path = tmp_path / "parent.npz"
    path.write_bytes(b"abc")
    assert osvos.origin(str(path), 5) == f"parent.npz, sha256 {hashlib.sha256(b'abc').hexdigest()}"
    assert osvos.origin(None, 5) == "random, seed 5"


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
    monkeypatch.setattr(osvos, "LEARNING_RATE", 1e-7)
    monkeypatch.setattr(osvos, "WEIGHT_DECAY", 1e4)
    network = OSVOS(SIZE, weights)
    frame, mask = picture(), np.zeros(SIZE, bool)
    mask[10:30, 20:50] = True
    names = published_names(network.model)
    chosen = ["stages.0.0.weight", "stages.4.5.bias", "side_prep.2.weight", "fuse.weight"]
    rates = {"stages.4.5.bias": 2, "fuse.weight": 0.01}
    velocity = dict.fromkeys(chosen, 0.0)
    # One picture, or chance would decide which is learned.
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
            # Next to an offset of 1, float32 rounds such a step by a few per cent.
            np.testing.assert_allclose(moved / scale, velocity[name] / scale, atol=0.03)
    # What the loss does not reach keeps its value.
    for name in ("score_dsn.0.weight", "score_dsn.3.bias"):
        value = state[name].transpose(2, 3, 1, 0) if state[name].ndim == 4 else state[name]
        np.testing.assert_array_equal(names[name], value)


def test_pictures_to_learn_from(network):
    frame, mask = picture(seed=2), np.zeros(SIZE, bool)
    mask[8:24, 40:] = True
    pictures = network._augmented(frame, mask)
    assert [p.shape[:2] for p, _ in pictures[::2]] == [(24, 32), (38, 51), (48, 64)]
    for (there, target), (mirrored, mirrored_target) in zip(
        pictures[::2], pictures[1::2], strict=True
    ):
        assert (there.dtype, target.dtype) == (np.uint8, bool)
        assert there.shape[:2] == target.shape
        np.testing.assert_array_equal(mirrored, there[:, ::-1])
        np.testing.assert_array_equal(mirrored_target, target[:, ::-1])
        assert target.mean() == pytest.approx(mask.mean(), abs=0.02)
    np.testing.assert_array_equal(pictures[4][0], frame)
    np.testing.assert_array_equal(pictures[4][1], mask)


def test_from_random_weights_it_learns_a_square_and_finds_it_again():
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
def test_from_a_mask_of_one_side_there_is_nothing_to_learn(network, side):
    before, mask = arrays(network), np.full(SIZE, side)
    target = mask[np.newaxis, ..., np.newaxis].astype(np.float32)
    assert float(balanced_cross_entropy(target, tf.random.normal(target.shape))) == 0
    assert network.fine_tune(picture(), mask, 9, math.inf, lambda: pytest.fail("a step")) == []
    assert all(is_same(before, arrays(network)))


def test_the_scale_of_the_network_is_not_that_of_the_result():
    network = OSVOS((60, 90), scale=0.5)
    seen = []
    network._infer = lambda frame: seen.append(frame) or tf.fill((30, 45), 5.0)
    found = network.segment(picture((60, 90)))
    assert seen[0].shape == (30, 45, 3)
    assert (found.shape, found.all()) == ((60, 90), True)
    expected = cv2.resize(picture((60, 90)), (45, 30), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(seen[0], expected)


def test_a_pixel_is_foreground_from_the_published_probability_on(network, monkeypatch):
    limit = math.log(162 / (255 - 162))
    logits = np.full(SIZE, limit - 0.01, np.float32)
    logits[:, 32:] = limit + 0.01
    monkeypatch.setattr(network, "_infer", lambda frame: tf.constant(logits))
    np.testing.assert_array_equal(network.segment(picture()), logits > limit)


def arrays(network):
    return [variable.numpy() for variable in network._state()]


def is_same(some, others):
    return [np.array_equal(a, b) for a, b in zip(some, others, strict=True)]


def test_a_start_afresh_and_one_that_goes_on(network):
    initial = arrays(network)
    network.fine_tune(picture(), half(), steps=2, seconds=math.inf)
    tuned, count = arrays(network), len(network.model.weights)
    for part in (slice(count), slice(count, None)):  # the weights and what Adam holds
        assert not all(is_same(initial[part], tuned[part]))
    network.start(keeps_weights=True)
    assert all(is_same(tuned, arrays(network)))
    network.start(keeps_weights=False)
    assert all(is_same(initial, arrays(network)))


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


def test_a_new_network_is_the_same_with_the_same_seed(network):
    """And warming up has left no trace."""
    assert all(is_same(arrays(OSVOS(SIZE)), arrays(network)))


@pytest.mark.parametrize(("steps", "seconds", "expected"), [(2, 60, 2), (9, 0.2, 1), (9, 0, 0)])
def test_steps_and_seconds_bound_it(network, steps, seconds, expected):
    called = []

    def on_step():
        called.append(time.sleep(0.25))

    mask = half()
    assert len(network.fine_tune(picture(), mask, steps, seconds, on_step)) == expected
    assert len(called) == expected


def test_it_tells_that_it_diverged(network):
    published_names(network.model)["fuse.bias"].assign([np.nan])
    with pytest.raises(DivergedError, match=r"OSVOS diverged at step 1 of .* \(loss nan\): try"):
        network.fine_tune(picture(), half(), steps=3, seconds=math.inf)


# A stream


class Network:
    """Notes what it is asked for; finds the upper half."""

    def __init__(self, steps=3):
        self.steps = steps
        self.calls = []

    def start(self, keeps_weights):
        self.calls.append(("start", keeps_weights))

    def fine_tune(self, frame, mask, steps, seconds, on_step):
        self.calls.append(("fine_tune", frame, mask, steps, seconds))
        for _ in range(self.steps):
            on_step()
        return [0.5] * self.steps

    def segment(self, frame):
        self.calls.append(("segment", frame))
        found = np.zeros(frame.shape[:2], bool)
        found[: len(found) // 2] = True
        return found


MAKER = LabelMaker(class_groups("lvs"))
DOG = MAKER.groups.names.index("dog")


def teacher(frame, index):
    """Says that a dog fills the left half, and a person the lower right quarter."""
    height, width = frame.shape[:2]
    masks = np.ones((height, width // 2), bool), np.ones((height // 2, width // 2), bool)
    origins = np.int32([[0, 0], [height // 2, width // 2]])
    boxes = np.float32([[0, 0, 1, 0.5], [0.5, 0.5, 1, 1]])
    return Detections(boxes, np.int32([18, 1]), np.float32([0.9, 0.9]), masks, origins)


def segmentation(network, **changes):
    values = {"stride": 4, "keeps_weights": True, "steps": 5, "seconds": 9.0, **changes}
    return OneShotSegmentation(network, teacher, MAKER, DOG, **values)


@pytest.mark.parametrize("keeps_weights", [True, False])
def test_every_interval_begins_with_a_fine_tuning(keeps_weights):
    network, progress = Network(), []
    segmenter = segmentation(
        network, keeps_weights=keeps_weights, on_step=lambda: progress.append(1)
    )
    frames = [picture(seed=seed) for seed in range(9)]
    results = [segmenter.step(frame) for frame in frames]
    for i, result in enumerate(results):
        assert (result.index, result.stride) == (i, 4)
        assert result.frame is frames[i]
        # Its own word, also where the teacher has just been asked.
        assert result.prediction.dtype == np.uint8
        assert (result.prediction[:24] == DOG).all()
        assert not result.prediction[24:].any()
        assert result.is_teacher_frame == (i % 4 == 0)
        assert result.losses == ([0.5] * 3 if i % 4 == 0 else [])
        learns = {"teacher", "labels", "update"} if i % 4 == 0 else set()
        assert set(result.seconds) == {"infer", *learns}
    assert set(np.unique(results[0].labels)) == {0, 1, DOG}
    asked = [call[0] for call in network.calls]
    learning = ["start", "fine_tune", "segment"]
    assert asked == [*learning, *["segment"] * 3] * 2 + learning
    assert {call[1] for call in network.calls if call[0] == "start"} == {keeps_weights}
    tuned = [call for call in network.calls if call[0] == "fine_tune"]
    for (_, frame, mask, steps, seconds), i in zip(tuned, (0, 4, 8), strict=True):
        assert frame is frames[i]
        assert mask[:, :32].all()
        assert not mask[:, 32:].any()  # the person is background
        assert (steps, seconds) == (5, 9.0)
    assert len(progress) == 3 * 5  # what was cut off, too


def test_a_teacher_that_fails_leaves_the_place():
    network = Network()
    segmenter = segmentation(network)
    segmenter._teacher = lambda frame, index: (_ for _ in ()).throw(UserError("no"))
    with pytest.raises(UserError):
        segmenter.step(picture())
    assert (segmenter.index, network.calls) == (0, [])


def test_made_of_settings(monkeypatch):
    made = []
    monkeypatch.setattr(osvos, "OSVOS", lambda *values: made.append(values) or Network())
    settings = types.SimpleNamespace(
        osvos_weights="w.npz", osvos_scale=0.5, osvos_steps=7, osvos_seconds=3.0, seed=2
    )
    context = types.SimpleNamespace(
        settings=settings,
        frame_size=SIZE,
        teacher=teacher,
        label_maker=MAKER,
        stream=types.SimpleNamespace(classes=("dog",)),
        on_step=lambda: None,
    )
    segmenter = osvos.make(context, 30, keeps_weights=False)
    assert made == [(SIZE, "w.npz", 0.5, 2)]
    result = segmenter.step(picture())
    assert set(np.unique(result.prediction)) == {0, DOG}
    assert result.stride == 30
    calls = segmenter._network.calls
    assert calls[0] == ("start", False)
    assert calls[1][3:] == (7, 3.0)

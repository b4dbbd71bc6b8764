"""The student: SGD against numpy, attempts, state to the last bit; JITNet and other networks."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.distillation import metrics
from jitnet_tf.labels import ClassGroups
from jitnet_tf.student import devices, initial_weights, weights
from jitnet_tf.student.architectures import build_network, updated_variables
from jitnet_tf.student.build import build_student
from jitnet_tf.student.jitnet import JITNet, build_jitnet
from jitnet_tf.student.loss import weighted_cross_entropy
from jitnet_tf.student.student import Student, score_in_graph

SIZE = (64, 96)
CLASSES = 3
GROUPS = ClassGroups({"red": ("dog",), "blue": ("cat",)})


def scene(shift=0):
    """A frame, labels and weights: a red and a blue block on grey noise."""
    frame = np.random.default_rng(shift).integers(90, 140, (*SIZE, 3), dtype=np.uint8)
    labels = np.zeros(SIZE, np.uint8)
    for class_id, color, left in ((1, (220, 40, 30), 8), (2, (20, 60, 230), 52)):
        window = np.s_[16:48, left + shift : left + shift + 28]
        frame[window], labels[window] = color, class_id
    return frame, labels, np.where(labels > 0, 5, 1).astype(np.float32)


def jitnet(seed=0, xla=False, **options):
    keras.utils.set_random_seed(seed)
    model = build_jitnet(CLASSES, **{"width": 0.25, "frame_size": SIZE, **options}, xla=xla)
    return Student(model, SIZE, xla=xla)


def train(trained, steps, start=0):
    """Updates on a stream of scenes; the losses."""
    return [trained.update(*scene(i % 5)) for i in range(start, start + steps)]


def weights_of(trained):
    """All of its weights, one after the other."""
    return np.concatenate([v.numpy().ravel() for v in trained.model.trainable_variables])


def assert_same_state(a, b, equal=True):
    assert list(a) == list(b)
    different = [name for name in a if a[name].tobytes() != b[name].tobytes()]
    assert not different if equal else different


@pytest.fixture(scope="module")
def traced():
    """Students and how they began: two of one seed, and one that normalises by moving averages."""
    made = [jitnet(), jitnet(), jitnet(normalization="moving")]
    return [(trained, trained.get_state()) for trained in made]


@pytest.fixture
def students(traced):
    """Two students of one seed as they began."""
    for trained, state in traced:
        trained.set_state(state)
    return traced[0][0], traced[1][0]


@pytest.fixture
def moving(traced):
    """A student whose normalisation has moving averages, as it began."""
    trained, state = traced[2]
    trained.set_state(state)
    return trained


def test_learns_a_frame(students):
    learner = students[0]
    frame, labels, weights = scene()
    losses = [learner.update(frame, labels, weights) for _ in range(25)]
    assert losses[-1] < losses[0] / 4
    assert all(np.isfinite(losses))
    prediction = learner.infer(frame)
    assert (prediction.dtype, prediction.shape) == (np.uint8, SIZE)
    assert (prediction == labels).mean() > 0.9


@pytest.mark.parametrize(
    "options",
    [{}, {"normalization": "moving"}, pytest.param({"xla": True}, marks=pytest.mark.slow)],
)
def test_an_attempt_is_an_inference_and_below_the_threshold_an_update(options):
    attempting, other = (jitnet(**options) for _ in range(2))
    start = weights_of(other)
    for i, change in enumerate((1e-9, 0.0, 1e-9, 0.1)):
        frame, labels, weights = scene(i)
        expected = other.infer(frame)
        counts = metrics.confusion(labels, expected, CLASSES)
        accuracy = metrics.mean_iou(counts)
        trial = attempting.attempt(frame, labels, weights, accuracy + change)
        np.testing.assert_array_equal(trial.prediction, expected)
        np.testing.assert_array_equal(trial.confusion, counts)
        assert (trial.prediction.dtype, trial.confusion.dtype) == (np.uint8, np.int64)
        assert trial.updated == (change > 0)  # an accuracy equal to the threshold needs none
        if trial.updated:
            assert trial.loss == pytest.approx(other.update(frame, labels, weights), rel=1e-6)
        # XLA rounds otherwise where it compiles inference and update together.
        difference = np.linalg.norm(weights_of(attempting) - weights_of(other))
        learned = np.linalg.norm(weights_of(other) - start)
        assert difference <= (1e-3 if options.get("xla") else 1e-5) * learned
        attempting.set_state(other.get_state())


@pytest.mark.parametrize(("present", "threshold", "updates"), [(0, 1.0, False), (1, 0.0, False)])
def test_attempts_without_objects_and_thresholds_of_zero(students, present, threshold, updates):
    """A frame without any object, in labels and prediction, has an accuracy of 1."""
    trained = students[0]
    state = {name: np.zeros_like(value) for name, value in trained.get_state().items()}
    state["weights/logits/bias"] = np.float32([1, 0, 0])  # background everywhere
    trained.set_state(state)
    frame, labels, weights = scene(0)
    trial = trained.attempt(frame, present * labels, weights, threshold)
    assert trial.updated == updates
    assert metrics.mean_iou(trial.confusion) == (0.0 if present else 1.0)


@settings(max_examples=50)
@given(
    st.integers(2, 9),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=64),
    st.floats(0, 1),
)
def test_the_score_in_the_graph_is_that_of_metrics(classes, pixels, threshold):
    pixels = np.array(pixels, np.uint8) % classes
    labels, prediction = pixels[:, :1], pixels[:, 1:]
    counts, wanted = score_in_graph(
        tf.constant(labels), tf.constant(prediction), classes, threshold
    )
    expected = metrics.confusion(labels, prediction, classes)
    np.testing.assert_array_equal(counts, expected)
    accuracy = metrics.mean_iou(expected)
    if abs(accuracy - threshold) > 1e-12:
        assert bool(wanted) == (accuracy < threshold)
    # Also at the threshold itself: numpy adds up to seven numbers one after the other.
    if len(np.setdiff1d(pixels, [0])) <= 7:
        assert not score_in_graph(labels, prediction, classes, accuracy)[1]


def test_one_seed_makes_equal_students(students):
    first, second = students
    assert_same_state(first.get_state(), second.get_state())
    assert train(first, 4) == train(second, 4)
    assert_same_state(first.get_state(), second.get_state())
    np.testing.assert_array_equal(first.infer(scene(7)[0]), second.infer(scene(7)[0]))


def test_another_seed_makes_another_student(students):
    keras.utils.set_random_seed(1)
    other = build_jitnet(CLASSES, width=0.25).trainable_variables[0]
    assert (other.numpy() != students[0].model.trainable_variables[0].numpy()).all()


@pytest.mark.parametrize("kind", ["frame", "moving"])
def test_goes_on_from_its_state_bit_for_bit(students, moving, kind):
    trained = students[0] if kind == "frame" else moving
    train(trained, 2)
    state = trained.get_state()
    copy = {name: value.copy() for name, value in state.items()}
    losses = train(trained, 3, start=2)
    later = trained.get_state()
    assert_same_state(state, copy)  # what get_state gave is no view of the variables
    assert_same_state(later, copy, equal=False)
    other = students[1] if kind == "frame" else moving
    train(other, 1, start=4)  # somewhere else altogether
    other.set_state(copy)
    assert train(other, 3, start=2) == losses
    assert_same_state(other.get_state(), later)


def test_momentum_is_part_of_the_state(students):
    trained, other = students
    train(trained, 3)
    state = trained.get_state()
    other.set_state(state)
    other.set_state({n: v * (not n.startswith("momentum/")) for n, v in state.items()})
    train(trained, 1)
    train(other, 1)
    assert_same_state(trained.get_state(), other.get_state(), equal=False)


def test_state_has_every_variable(moving):
    state = moving.get_state()
    trainable = moving.model.trainable_variables
    assert len(state) == len(moving.model.weights) + len(trainable)
    assert sum(value.size for value in state.values()) == sum(
        int(np.prod(v.shape)) for v in [*moving.model.weights, *trainable]
    )
    assert sum("moving_" in name for name in state) == len(moving.model.non_trainable_variables)


def test_state_of_another_network_is_refused(students):
    trained = students[0]
    state = trained.get_state()
    name = next(iter(state))
    with pytest.raises(KeyError):
        trained.set_state({n: v for n, v in state.items() if n != name})
    with pytest.raises(ValueError, match="hape"):
        trained.set_state({**state, name: np.zeros((1, 2, 3), np.float32)})
    with pytest.raises(KeyError):  # a network of more layers
        trained.set_state({**state, "weights/encoder1_unit2_3x3/kernel": np.zeros(3)})
    trained.set_state(state)
    assert_same_state(trained.get_state(), state)


def test_weights_of_another_network_are_refused(students, moving):
    def take(trained, state):
        weights.assign(weights.named(trained.model), weights_in(state))

    trained = students[0]
    state = trained.get_state()
    with pytest.raises(KeyError):  # its moving averages would go nowhere
        take(trained, moving.get_state())
    with pytest.raises(KeyError):
        take(moving, state)
    with pytest.raises(KeyError):  # one of two units has all that one of one unit has, and more
        take(trained, {**state, "weights/decoder1_unit2_3x3/kernel": np.zeros(3)})
    with pytest.raises(ValueError, match="hape"):  # of four classes
        take(trained, {**state, "weights/logits/bias": np.zeros(4, np.float32)})


def weights_in(state):
    """Those of a state's arrays that are weights, not momentum."""
    return {k: v for k, v in state.items() if k.startswith(weights.PREFIX)}


def test_weights_alone(students):
    trained, other = students
    train(trained, 2)
    state, before = trained.get_state(), other.get_state()
    weights.assign(weights.named(other.model), weights_in(state))
    for name, value in other.get_state().items():
        expected = state if name.startswith("weights/") else before
        np.testing.assert_array_equal(value, expected[name])


def test_warming_up_changes_nothing(students, moving):
    for trained in (students[0], moving):
        train(trained, 1)
        state = trained.get_state()
        trained.warm_up(scene(3)[0])
        assert_same_state(trained.get_state(), state)


def test_inference_changes_nothing(moving):
    state = moving.get_state()
    moving.infer(scene(2)[0])
    assert_same_state(moving.get_state(), state)


def test_training_moves_the_averages(moving):
    before = moving.get_state()
    train(moving, 1)
    after = moving.get_state()
    moved = [name for name in before if (before[name] != after[name]).any()]
    assert any("moving_mean" in name for name in moved)
    assert any("moving_variance" in name for name in moved)


def test_every_layer_learns(students):
    before = students[0].get_state()
    train(students[0], 1)
    after = students[0].get_state()
    kernels = [name for name in before if name.endswith("kernel")]
    assert len(kernels) > 20
    assert all((before[name] != after[name]).any() for name in kernels)


def test_steps_are_traced_once(students, moving):
    for trained in (*students, moving):
        train(trained, 2)
        for i in range(3):
            frame = scene(i)[0]
            trained.infer(frame)
            trained.infer(np.asfortranarray(frame))
        assert trained._infer.experimental_get_tracing_count() == 1
        assert trained._update.experimental_get_tracing_count() == 1


def test_another_size_is_an_error_not_another_trace(students):
    with pytest.raises((TypeError, ValueError)):
        students[0].infer(np.zeros((32, 96, 3), np.uint8))
    assert students[0]._infer.experimental_get_tracing_count() == 1


def test_inference_and_loss_are_the_models_own(students):
    trained = students[0]
    frame, labels, weights = scene(1)
    logits = trained.model(frame[np.newaxis], training=True)[0]
    np.testing.assert_array_equal(trained.infer(frame), np.argmax(logits, -1))
    expected = float(weighted_cross_entropy(labels, logits, tf.constant(weights)))
    loss = trained.update(frame, labels, weights)
    assert type(loss) is float
    assert loss == pytest.approx(expected, rel=1e-4)  # before the step


def test_bfloat16_is_for_what_lies_between():
    trained = jitnet(dtype=devices.dtype_policy("bfloat16"))
    assert trained.model.get_layer("encoder1_unit1_3x3").compute_dtype == "bfloat16"
    assert {value.dtype for value in trained.get_state().values()} == {np.dtype(np.float32)}
    frame, labels, weights = scene()
    logits = trained.model(frame[np.newaxis])
    assert logits.dtype == tf.float32
    losses = [trained.update(frame, labels, weights) for _ in range(12)]
    assert losses[-1] < losses[0] / 2
    assert trained.infer(frame).dtype == np.uint8
    assert {value.dtype for value in trained.get_state().values()} == {np.dtype(np.float32)}


def test_dtype_policies(monkeypatch):
    for fast, automatic in ((True, "mixed_bfloat16"), (False, "float32")):
        monkeypatch.setattr(devices, "computes_bfloat16_fast", lambda fast=fast: fast)
        assert devices.dtype_policy("auto") == automatic
        assert devices.dtype_policy("float32") == "float32"
        assert devices.dtype_policy("bfloat16") == "mixed_bfloat16"
    with pytest.raises(KeyError):
        devices.dtype_policy("float16")


@pytest.mark.slow
def test_compiled_by_xla_it_learns_the_same(students):
    plain, compiled = students[0], jitnet(xla=True)
    before = weights_of(plain)
    np.testing.assert_array_equal(weights_of(compiled), before)
    assert train(compiled, 2) == pytest.approx(train(plain, 2), rel=1e-4)
    learned = weights_of(plain)
    # Weights a millionth off differ by as much as 1e-4 here.
    difference = np.linalg.norm(weights_of(compiled) - learned)
    assert difference < 1e-3 * np.linalg.norm(learned - before)
    assert (compiled.infer(scene(2)[0]) == plain.infer(scene(2)[0])).mean() > 0.99


# Class ids and loss from logits at half size

ODD = (61, 83)


def odd_scene(shift):
    """`scene`, cut to an odd size."""
    return [np.ascontiguousarray(array[: ODD[0], : ODD[1]]) for array in scene(shift)]


@pytest.fixture(scope="module", params=["frame", "moving"])
def fused_and_plain(request):
    """Two students of the same weights: one works at half size, the other at full size."""
    made = []
    for fused in (True, False):
        keras.utils.set_random_seed(0)
        options = {"width": 0.25, "frame_size": ODD, "normalization": request.param}
        made.append(Student(build_jitnet(CLASSES, **options), ODD, fused=fused))
    return made, made[0].get_state()


def assert_learned_the_same(students, before):
    """That all of what training changes is the same, within rounding that training amplifies."""
    states = [trained.get_state() for trained in students]
    for name, at_first in before.items():
        fused, plain = (state[name] for state in states)
        step = max(np.abs(plain - at_first).max(), np.abs(at_first).max() * 1e-3)
        np.testing.assert_allclose(fused, plain, rtol=0, atol=0.02 * step + 1e-6, err_msg=name)


def test_at_half_size_it_sees_and_learns_the_same(fused_and_plain):
    students, before = fused_and_plain
    for trained in students:
        trained.set_state(before)
    fused, plain = students
    losses = [[trained.update(*odd_scene(i)) for i in range(3)] for trained in students]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert len(set(losses[0])) == 3
    assert_learned_the_same(students, before)
    fused.set_state(plain.get_state())
    frame = odd_scene(4)[0]
    logits = plain.model(frame[np.newaxis], training=False)[0].numpy()
    second, first = np.sort(logits, axis=-1)[..., -2:].transpose(2, 0, 1)
    clear = first - second > 1e-4 * np.abs(logits).max()
    assert clear.mean() > 0.98
    ids = fused.infer(frame)
    assert len(np.unique(ids)) > 1
    np.testing.assert_array_equal(ids[clear], plain.infer(frame)[clear])


def test_at_half_size_it_learns_the_same_from_a_batch(fused_and_plain):
    students, before = fused_and_plain
    batch = [np.stack(arrays) for arrays in zip(odd_scene(0), odd_scene(3), strict=True)]
    losses = []
    for trained in students:
        trained.set_state(before)
        losses.append([trained.train(*batch) for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert_learned_the_same(students, before)


# Other networks


def linear(frame_size, initial):
    """Logits that are the frame's colors by a matrix: one variable."""
    frames = keras.Input((*frame_size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(frames)
    layer = keras.layers.Conv2D(initial.shape[1], 1, use_bias=False)
    built = keras.Model(frames, layer(x))
    layer.set_weights([initial[np.newaxis, np.newaxis]])
    return built


def gradient(matrix, frame, labels, weights):
    """Of the weighted cross-entropy, by hand, in float64."""
    x = frame.astype(np.float64).reshape(-1, 3) / 255
    z = x @ matrix
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    error = (p - np.eye(matrix.shape[1])[labels.ravel()]) * weights.reshape(-1, 1)
    return x.T @ error / labels.size


@pytest.mark.parametrize(("rate", "momentum"), [(0.01, 0.9), (0.5, 0.6), (0.3, 0.0)])
def test_sgd_with_momentum_by_hand(rate, momentum):
    random = np.random.default_rng(0)
    w = random.normal(size=(3, 4)).astype(np.float32)
    trained = Student(linear((5, 6), w), (5, 6), learning_rate=rate, momentum=momentum)
    w, v = w.astype(np.float64), np.zeros((3, 4))
    start = w.copy()
    for _ in range(3):
        frame = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        labels = random.integers(0, 4, (5, 6)).astype(np.uint8)
        weights = np.where(labels > 0, 5, 1).astype(np.float32)
        v = momentum * v - rate * gradient(w, frame, labels, weights)
        w = w + v
        trained.update(frame, labels, weights)
        np.testing.assert_allclose(
            trained.model.trainable_variables[0][0, 0], w, rtol=1e-5, atol=1e-6
        )
    assert np.abs(w - start).max() > 1e-3  # more than what would go unnoticed


def test_training_on_a_batch_by_hand():
    """The gradient of a batch is the mean of its frames' gradients; the momentum is shared."""
    random = np.random.default_rng(1)
    w = random.normal(size=(3, 4)).astype(np.float32)
    trained = Student(linear((5, 6), w), (5, 6), learning_rate=0.5, momentum=0.6)
    w, v = w.astype(np.float64), np.zeros((3, 4))
    for step, size in enumerate((3, 1, 3)):
        rate = 0.5 / (step + 1)
        trained.set_learning_rate(rate)
        frames = random.integers(0, 256, (size, 5, 6, 3), dtype=np.uint8)
        labels = random.integers(0, 4, (size, 5, 6)).astype(np.uint8)
        weights = np.where(labels > 0, 5, 1).astype(np.float32)
        batch = list(zip(frames, labels, weights, strict=True))
        v = 0.6 * v - rate * np.mean([gradient(w, *example) for example in batch], axis=0)
        w = w + v
        loss = trained.train(frames, labels, weights)
        assert type(loss) is float
        np.testing.assert_allclose(
            trained.model.trainable_variables[0][0, 0], w, rtol=1e-5, atol=1e-6
        )


def test_a_batch_of_one_is_an_update(students):
    trained, other = students
    losses = train(trained, 3)
    batches = [tuple(array[np.newaxis] for array in scene(i)) for i in range(3)]
    assert [other.train(*batch) for batch in batches] == pytest.approx(losses, rel=1e-5)
    np.testing.assert_allclose(weights_of(other), weights_of(trained), rtol=1e-3, atol=1e-5)


def test_loss_of_a_batch_is_the_mean_before_the_step(students):
    trained, other = students
    batch = [scene(0), scene(3)]
    loss = trained.train(*(np.stack(arrays) for arrays in zip(*batch, strict=True)))
    state, each = other.get_state(), []
    for example in batch:
        other.set_state(state)
        each.append(other.update(*example))
    assert loss == pytest.approx(np.mean(each), rel=1e-4)


def test_a_learning_rate_of_nothing_teaches_nothing(students):
    trained = students[0]
    usual = float(trained.optimizer.learning_rate)
    before = weights_of(trained)
    trained.set_learning_rate(0.0)
    train(trained, 1)
    np.testing.assert_array_equal(weights_of(trained), before)
    trained.set_learning_rate(usual)
    train(trained, 1)
    assert (weights_of(trained) != before).any()


def test_defaults_are_the_papers():
    optimizer = Student(linear((2, 2), np.ones((3, 2), "f")), (2, 2)).optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert optimizer.momentum == 0.9
    assert not optimizer.nesterov


def nested():
    """A network with a network inside, and layers of the same kind in that."""
    inner = keras.Sequential(
        [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Conv2D(4, 3, padding="same")]
    )
    frames = keras.Input((None, None, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(frames)
    x = keras.layers.BatchNormalization()(inner(x))
    return keras.Model(frames, keras.layers.Conv2D(CLASSES, 1)(x))


def test_any_network_that_maps_frames_to_logits():
    keras.utils.set_random_seed(0)
    trained = Student(nested(), SIZE)
    losses = train(trained, 5)
    assert losses[-1] < losses[0]
    state = trained.get_state()
    assert len(state) == len(trained.model.weights) + len(trained.model.trainable_variables)
    after = train(trained, 2)
    expected = trained.get_state()
    other = Student(nested(), SIZE)
    # The layers' automatic names go on counting; the order is what they share.
    other.set_state(dict(zip(other.get_state(), state.values(), strict=True)))
    assert train(other, 2) == after
    for value, wanted in zip(other.get_state().values(), expected.values(), strict=True):
        np.testing.assert_array_equal(value, wanted)


# From a configuration


def config(network, **values):
    network = StudentConfig(width=0.25, **network)
    return RunConfig(video="v", teacher="t", logdir="l", student=network, **values)


def test_a_configurations_student():
    wanted = config({"skip": False}, init="random", learning_rate=0.25, momentum=0.5, seed=5)
    made = build_student(wanted, GROUPS, SIZE)
    assert float(made.optimizer.learning_rate) == 0.25
    assert made.optimizer.momentum == 0.5
    assert made.frame_size == SIZE
    assert made.model.output.shape[1:] == (*SIZE, CLASSES)
    keras.utils.set_random_seed(5)
    same = build_jitnet(CLASSES, width=0.25, skip=False)
    for a, b in zip(same.weights, made.model.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_initial_weights_from_a_run(tmp_path, moving):
    """Weights to the last bit; no momentum."""
    state = moving.get_state()
    options = StudentConfig(width=0.25, normalization="moving")
    checkpoint.save(tmp_path, state, initial_weights.describe(GROUPS, options))
    wanted = config({"normalization": "moving"}, init=str(tmp_path))
    made = build_student(wanted, GROUPS, SIZE).get_state()
    for name, value in made.items():
        np.testing.assert_array_equal(value, state[name] if name.startswith("weights/") else 0)


def test_another_architecture():
    wanted = RunConfig(init="random", student=StudentConfig(architecture="mobilenetv2"))
    made = build_student(wanted, GROUPS, SIZE)
    assert made.model.name == "mobilenetv2"
    assert made.infer(scene()[0]).shape == SIZE


# What else can update it, and what else it can update


def one_layer():
    """A network of one 1×1 convolution without bias on pixels / 255."""
    frames = keras.Input((*SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(frames)
    return keras.Model(frames, keras.layers.Conv2D(CLASSES, 1, use_bias=False, name="c")(x))


def test_adam_by_hand():
    """Kingma & Ba 2015, algorithm 1, with Keras's ε beside the uncorrected deviation (their §2)."""
    keras.utils.set_random_seed(0)
    rate, beta1, beta2 = 0.01, 0.8, 0.999
    trained = Student(one_layer(), SIZE, learning_rate=rate, momentum=beta1, optimizer="adam")
    [kernel] = trained.model.trainable_variables
    w, m, v = kernel.numpy().astype(np.float64), 0.0, 0.0
    for t in range(1, 4):
        frame, labels, weights = scene(t)
        pixels = frame.reshape(-1, 3) / 255
        logits = pixels @ w[0, 0]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(p)), labels.ravel()] -= 1
        g = (pixels.T @ (p * weights.reshape(-1, 1)) / labels.size)[None, None]
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        corrected = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        w -= corrected * m / (np.sqrt(v) + 1e-7)
        trained.update(frame, labels, weights)
        np.testing.assert_allclose(kernel.numpy(), w, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_adam_goes_on_from_its_state_bit_for_bit():
    def made(seed):
        keras.utils.set_random_seed(seed)
        model = build_jitnet(CLASSES, width=0.25, frame_size=SIZE)
        return Student(model, SIZE, learning_rate=0.001, optimizer="adam")

    trained, other = made(0), made(1)
    train(trained, 3)
    state = trained.get_state()
    losses = train(trained, 2, start=3)
    other.set_state(state)
    assert train(other, 2, start=3) == losses
    assert_same_state(trained.get_state(), other.get_state())


@pytest.mark.parametrize(
    ("part", "moving"),
    [
        ("all", ("stem", "encoder", "decoder", "head", "logits")),
        ("decoder", ("decoder", "head", "logits")),
        ("last", ("logits",)),
    ],
)
def test_updates_of_a_part(part, moving):
    """By `update` and by `attempt`: those layers change, all of them, and no other."""
    keras.utils.set_random_seed(0)
    model = build_jitnet(CLASSES, width=0.25, frame_size=SIZE)
    trained = Student(model, SIZE, variables=updated_variables(model, part))
    for step in (trained.update, lambda *scene: trained.attempt(*scene, 2.0)):
        before = weights.arrays(weights.named(model))
        step(*scene())
        after = weights.arrays(weights.named(model))
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        expected = {name for name in before if name.split("/")[1].startswith(moving)}
        # A scale or an offset before a ReLU that is off everywhere has no gradient.
        assert changed <= expected
        assert {name for name in expected if name.endswith("kernel")} <= changed


def test_the_configurations_optimizer_and_layers():
    wanted = config({}, init="random", optimizer="adam", learning_rate=0.001, updated_layers="last")
    made = build_student(wanted, GROUPS, SIZE)
    assert isinstance(made.optimizer, keras.optimizers.Adam)
    before = weights.arrays(weights.named(made.model))
    made.update(*scene())
    after = weights.arrays(weights.named(made.model))
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed == ["weights/logits/kernel", "weights/logits/bias"]


class Subclassed(keras.Model):
    """A network that is not made of Keras's functions."""

    def __init__(self):
        super().__init__()
        self.layer = keras.layers.Conv2D(CLASSES, 1)

    def call(self, frames, training=False):
        return self.layer(tf.cast(frames, tf.float32) / 255)


def test_a_subclassed_model_learns():
    model = Subclassed()
    model(np.zeros((1, *SIZE, 3), np.uint8))
    trained = Student(model, SIZE)
    assert trained.attempt(*scene(), 2.0).updated
    assert trained.infer(scene()[0]).shape == SIZE


def test_the_decoder_of_a_network_whose_encoder_is_unknown():
    with pytest.raises(UserError, match="--updated_layers=decoder"):
        updated_variables(one_layer(), "decoder")


def network_of(**changes):
    """A network of JITNet's name, or one that is not what an architecture has to build."""
    options = {"name": "jitnet", "classes": CLASSES, "layer": "logits", "size": SIZE, **changes}
    frames = keras.Input((*SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255, name="stem")(frames)
    x = keras.layers.Conv2D(4, 1, name="encoder1")(x)
    x = keras.layers.Conv2D(options["classes"], 1, name=options["layer"])(x)
    if options["size"] != SIZE:
        x = keras.layers.MaxPooling2D(2)(x)
    return keras.Model(frames, x, name=options["name"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "other"}, "'other'"),
        ({"classes": 5}, "5 logits for 3 classes"),
        ({"layer": "last"}, "no layer 'logits'"),
        ({"size": None}, "32×48 logits"),
        ({"encoder": ("stem", "decode")}, "'decode'"),
    ],
)
def test_networks_that_break_the_contract_of_architectures(changes, expected, monkeypatch):
    encoder = changes.pop("encoder", ("stem", "encoder"))
    monkeypatch.setattr(JITNet, "encoder_layers", encoder)
    monkeypatch.setattr(JITNet, "build", lambda *_, **options: network_of(**changes))
    with pytest.raises(ValueError, match=expected):
        build_network(CLASSES, StudentConfig(), SIZE)


def test_a_network_that_keeps_the_contract(monkeypatch):
    monkeypatch.setattr(JITNet, "build", lambda *_, **options: network_of())
    assert build_network(CLASSES, StudentConfig(), SIZE).name == "jitnet"


# The ignored region

IGNORED = np.zeros(SIZE, bool)
IGNORED[:, 40:] = True  # a bit of the first block, all of the second


def ignoring_scene(shift=0):
    """A scene as the label maker gives it with the region."""
    frame, labels, weights = scene(shift)
    return frame, np.where(IGNORED, 0, labels).astype(np.uint8), weights * ~IGNORED


@pytest.mark.parametrize(
    "options",
    [{}, {"normalization": "moving"}, pytest.param({"xla": True}, marks=pytest.mark.slow)],
)
def test_the_ignored_region_is_neither_predicted_nor_scored_nor_learned(options):
    plain = jitnet(**options)
    ignoring = Student(plain.model, SIZE, xla=options.get("xla", False), ignored=IGNORED)
    train(plain, 3)
    before = plain.get_state()
    ignoring.set_state(before)  # with its momentum
    frame, labels, weights = ignoring_scene()
    whole = plain.infer(frame)
    assert whole[IGNORED].any()
    expected = np.where(IGNORED, 0, whole)
    np.testing.assert_array_equal(ignoring.infer(frame), expected)
    np.testing.assert_array_equal(ignoring.infer_with_logits(frame)[0], expected)
    counts = metrics.confusion(labels, whole, CLASSES, IGNORED)
    assert counts.sum() == (~IGNORED).sum()
    accuracy = metrics.mean_iou(counts)
    assert accuracy < 1
    # The graph decides by the same pixels.
    trial = ignoring.attempt(frame, labels, weights, accuracy)
    assert not trial.updated
    np.testing.assert_array_equal(trial.prediction, expected)
    np.testing.assert_array_equal(trial.confusion, counts)
    trial = ignoring.attempt(frame, labels, weights, accuracy + 1e-9)
    learned = weights_of(ignoring)
    plain.set_state(before)
    # Whatever is said to be there.
    loss = plain.update(frame, np.where(IGNORED, 2, labels).astype(np.uint8), weights)
    assert trial.loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(learned, weights_of(plain), atol=1e-5)

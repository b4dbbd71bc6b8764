"""The training step against numpy and on two devices; the learning rate."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.config import PretrainConfig, StudentConfig
from jitnet_tf.pretraining import training
from jitnet_tf.student import weights as network_weights
from jitnet_tf.student.architectures import half_resolution
from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.loss import weighted_cross_entropy

CROP, BATCH, CLASSES = 32, 4, 3
SMALL = {"width": 0.25}


def config(**values):
    values = {"crop": CROP, "batch_size": BATCH, "warmup": 0, "cooldown": 0.0, **values}
    return PretrainConfig(student=StudentConfig(width=0.25), **values)


def batch(seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (BATCH, CROP, CROP, 3), np.uint8)
    labels = rng.integers(0, CLASSES, (BATCH, CROP, CROP), np.uint8)
    return frames, labels, rng.uniform(1, 5, (BATCH, CROP, CROP)).astype(np.float32)


def trainer(seed=0, **values):
    keras.utils.set_random_seed(seed)
    strategy = tf.distribute.get_strategy()
    return training.Trainer(config(**values), CLASSES, strategy)


# The learning rate


def test_learning_rate_rises_holds_and_falls():
    wanted = config(steps=100, warmup=4, cooldown=0.2, learning_rate=1.0)
    rates = [training.learning_rate(step, wanted) for step in range(101)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(rates[4:81], 1)
    np.testing.assert_allclose(rates[80:], np.linspace(1, 0, 21))


def test_the_learning_rate_is_constant_without_cooldown():
    wanted = config(steps=10, learning_rate=0.1)
    assert {training.learning_rate(step, wanted) for step in range(10)} == {0.1}


def test_more_steps_change_no_learning_rate_before_it_falls():
    """A training can be prolonged until then."""
    few, many = config(steps=100, cooldown=0.2), config(steps=1000, cooldown=0.2)
    for step in range(80):
        assert training.learning_rate(step, few) == training.learning_rate(step, many)


# A step


@pytest.mark.slow
def test_a_step_is_adamw():
    """Loshchilov & Hutter 2019, with ε as at the end of §2 in Kingma & Ba 2015."""
    values = {"learning_rate": 0.01, "weight_decay": 0.1, "epsilon": 1e-3}
    made = trainer(**values, half_size_loss=False)
    reference = build_jitnet(CLASSES, **SMALL, frame_size=(CROP, CROP))
    variables = network_weights.named(reference)
    state = made.get_state()
    network_weights.assign(variables, {k: state[f"{training.TRAINED}{k}"] for k in variables})
    m = {name: 0.0 for name in variables}
    v = dict(m)
    for t in (1, 2):
        frames, labels, weights = batch(t)
        with tf.GradientTape() as tape:
            loss = weighted_cross_entropy(labels, reference(frames, training=True), weights)
        gradients = tape.gradient(loss, list(variables.values()))
        assert float(made.train(batch(t), t - 1)) == pytest.approx(float(loss), rel=1e-5)
        for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
            g, w = gradient.numpy(), variable.numpy()
            if name.split("/")[-1] not in ("bias", "gamma", "beta"):
                w = w - 0.01 * 0.1 * w
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            variable.assign(w - rate * m[name] / (np.sqrt(v[name]) + 1e-3))
    state = made.get_state()
    for name, variable in variables.items():
        trained = state[f"{training.TRAINED}{name}"]
        np.testing.assert_allclose(trained, variable.numpy(), atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_checkpoints_hold_averages_of_weights_that_learn():
    made = trainer(ema_decay=0.5, learning_rate=0.01)
    names = network_weights.named(made.averaged)
    average = {k: made.get_state()[f"{training.AVERAGED}{k}"] for k in names}
    losses = []
    for step in range(20):
        losses.append(float(made.train(batch(), step)))
        state = made.get_state()
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in average.items():
            trained = state[f"{training.TRAINED}{name}"]
            average[name] = decay * value + (1 - decay) * trained
            averaged = state[f"{training.AVERAGED}{name}"]
            np.testing.assert_allclose(averaged, average[name], atol=1e-6)
    for name, value in network_weights.restore_scale(network_weights.arrays(names)).items():
        np.testing.assert_array_equal(value, state[name])
    assert losses[-1] < 0.9 * losses[0]


# Half size


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_logits_half_resolution_resized_are_the_logits(size):
    model = build_jitnet(CLASSES, **SMALL)
    frames = np.random.default_rng(0).integers(0, 255, (2, *size, 3), np.uint8)
    half = half_resolution(model)(frames)
    assert half.shape[1:3] == tuple((side + 1) // 2 for side in size)
    resized = tf.raw_ops.ResizeBilinear(images=half, size=size, align_corners=True)
    np.testing.assert_allclose(resized, model(frames), atol=1e-4)


def test_labels_half_resolution_are_aligned_with_the_logits():
    """The corners are aligned, as in the bilinear resizing."""
    pixels = tf.constant(np.arange(32 * 33).reshape(1, 32, 33))
    taken = training.subsample(pixels, (16, 17)).numpy()[0]
    assert taken[0, 0] == 0
    assert taken[-1, -1] == 32 * 33 - 1
    rows, columns = np.divmod(taken, 33)
    np.testing.assert_allclose(rows[:, 0], np.arange(16) * 31 / 15, atol=0.5)
    np.testing.assert_array_equal(columns[0], np.arange(17) * 2)


# State


@pytest.mark.slow
def test_a_restored_state_trains_on_bit_for_bit():
    """Weights, averages and the optimizer's moments; another network's state is refused."""
    one, other = trainer(), trainer(seed=1)
    one.train(batch(0), 0)
    other.train(batch(7), 0)  # so that its moments differ, too
    other.set_state(one.get_state())
    for step in (1, 2):
        assert float(one.train(batch(step), step)) == float(other.train(batch(step), step))
    state = other.get_state()
    for name, value in one.get_state().items():
        np.testing.assert_array_equal(value, state[name])
    state["averaged/weights/logits/bias"] = np.zeros(5, np.float32)
    with pytest.raises(ValueError, match="averaged/weights/logits/bias has shape"):
        one.set_state(state)


# Devices


TWO_DEVICES = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import tensorflow as tf
from tests.pretraining import test_training as here
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(json.dumps(here.losses_on_two_devices_and_one()))
"""


def losses_on_two_devices_and_one():
    """Losses of some steps, and the greatest difference of the weights after them."""
    two = training.devices_strategy()
    assert two.num_replicas_in_sync == 2
    losses, states = [], []
    for strategy in (two, tf.distribute.MirroredStrategy(["CPU:0"])):
        keras.utils.set_random_seed(0)
        made = training.Trainer(config(learning_rate=0.001), CLASSES, strategy)
        batches = tf.data.Dataset.from_generator(
            lambda: map(batch, range(5)),
            output_signature=(
                tf.TensorSpec((BATCH, CROP, CROP, 3), tf.uint8),
                tf.TensorSpec((BATCH, CROP, CROP), tf.uint8),
                tf.TensorSpec((BATCH, CROP, CROP), tf.float32),
            ),
        )
        losses.append(
            [float(made.train(b, step)) for step, b in enumerate(made.distributed(batches))]
        )
        states.append(made.get_state())
    difference = max(np.abs(states[0][name] - states[1][name]).max() for name in states[0])
    return *losses, float(difference)


@pytest.mark.slow
def test_two_devices_train_as_one():
    """The same losses and weights for the same global batch, within rounding."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, json.dumps([p for p in sys.path if p])],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two, one, difference = json.loads(done.stdout.splitlines()[-1])
    assert len(two) == 5
    np.testing.assert_allclose(two, one, rtol=1e-5)
    assert max(one) > min(one) + 0.01
    assert difference < 1e-3

"""The gate against what defines it: the mode of a posterior."""

import numpy as np
import pytest

from jitnet_tf.distillation.outputs.gate import (
    EFFECTIVE,
    FEATURES,
    FORGET,
    PRECISION,
    PRIOR,
    Gate,
)
from tests.distillation.scripted import assert_same_state

MARGIN = FEATURES.index("margin")


def experience(seed, count=200, age=1.0):
    """Features in the ranges of a stream, the warped class being right where the margin is low."""
    generator = np.random.default_rng(seed)
    features = generator.random((count, len(FEATURES)), np.float32)
    features[:, 0], features[:, 1] = 1, age
    features[:, MARGIN] = generator.normal(0, 1, count)
    features[:, 4:6] = generator.random((count, 2)) > 0.5
    return features, features[:, MARGIN] < generator.normal(0, 0.2, count)


def posterior(mean, precision, features, is_right):
    """Gradient and curvature, by the formulas of logistic regression."""
    share = min(EFFECTIVE, len(is_right)) / len(is_right)
    start = FORGET * mean + (1 - FORGET) * PRIOR
    before = FORGET * precision + (1 - FORGET) * PRECISION * np.eye(len(FEATURES))
    x = features.astype(np.float64)

    def gradient(weights):
        p = np.exp(-np.logaddexp(0, -x @ weights))
        return before @ (weights - start) + share * x.T @ (p - is_right)

    def curvature(weights):
        p = np.exp(-np.logaddexp(0, -x @ weights))
        return before + share * x.T @ np.diag(p * (1 - p)) @ x

    return gradient, curvature


@pytest.mark.parametrize("age", [0.1, 4, 40, 600])
def test_the_gradient_at_the_mode_is_zero(age):
    """Also where the gate was sure and is wrong."""
    gate = Gate()
    for seed in range(6):
        before = gate.get_state()
        features, is_right = experience(seed, age=age)
        is_right ^= seed % 2 == 1
        gate.learn(features, is_right)
        gradient, curvature = posterior(before["mean"], before["precision"], features, is_right)
        after = gate.get_state()
        np.testing.assert_allclose(gradient(after["mean"]), 0, atol=1e-5 * max(age, 1))
        expected = curvature(after["mean"])
        np.testing.assert_allclose(after["precision"], expected, atol=1e-3 * expected.max())


def agreement(gate, seed):
    features, is_right = experience(seed, 1000)
    return np.mean((gate.log_odds(features) > 0) == is_right)


def test_it_learns_which_way_a_feature_points():
    gate = Gate()
    features, is_right = experience(0)
    for _ in range(40):
        gate.learn(features, is_right)
    learned = agreement(gate, 99)
    assert learned > 0.8
    for _ in range(40):
        gate.learn(features, ~is_right)
    assert agreement(gate, 99) < learned - 0.25


def test_a_frame_counts_as_a_few_pixels_however_large():
    one, other = Gate(), Gate()
    features, is_right = experience(0, 100)
    one.learn(features, is_right)
    other.learn(np.tile(features, (7, 1)), np.tile(is_right, 7))
    np.testing.assert_allclose(
        one.get_state()["mean"], other.get_state()["mean"], rtol=1e-5, atol=1e-5
    )


def test_no_experience_changes_nothing():
    gate = Gate()
    gate.learn(np.zeros((0, len(FEATURES)), np.float32), np.zeros(0, bool))
    assert_same_state(gate.get_state(), Gate().get_state())
    np.testing.assert_array_equal(gate.get_state()["mean"], PRIOR)


def test_state_round_trip():
    gate, again = Gate(), Gate()
    gate.learn(*experience(1))
    again.set_state(gate.get_state())
    for one in (gate, again):
        one.learn(*experience(2))
    assert_same_state(gate.get_state(), again.get_state())
    found = again.log_odds(experience(3)[0])
    assert (found.dtype, found.shape) == (np.float32, (200,))


COUNT = len(FEATURES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", np.zeros(COUNT + 1)),
        ("mean", np.full(COUNT, np.nan)),
        ("mean", np.array(["x"] * COUNT)),
        ("precision", np.eye(COUNT - 1)),
        ("precision", np.full((COUNT, COUNT), np.inf)),
        ("precision", np.zeros((COUNT, COUNT))),
        ("precision", -np.eye(COUNT)),
        ("precision", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_states_are_refused(name, value):
    state = Gate().get_state()
    state[name] = value
    if value is None:
        del state[name]
    with pytest.raises((KeyError, ValueError)):
        Gate().set_state(state)

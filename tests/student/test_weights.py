"""Weights that change without changing the network's function."""

import numpy as np
import pytest
from tensorflow import keras

from jitnet_tf.student import weights
from jitnet_tf.student.jitnet import build_jitnet


@pytest.mark.parametrize(
    "options",
    [{}, {"normalization": "moving"}, {"separable": True}, {"units": 2, "skip": False}],
)
def test_restored_scale(options):
    """Kernels before a normalization get he_normal's scale; the network's function is unchanged."""
    keras.utils.set_random_seed(0)
    model = build_jitnet(5, width=0.25, **options)
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(variable.numpy() * random.uniform(1, 4) + random.uniform(0, 0.1))
    picture = random.integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    logits = model(picture).numpy()
    variables = weights.named(model)
    before = weights.arrays(variables)
    after = weights.restore_scale(before)
    weights.assign(variables, after)
    # ε has more effect where a kernel was larger.
    np.testing.assert_allclose(model(picture), logits, atol=2e-3 * np.abs(logits).max())
    scaled = {name for name in before if not np.array_equal(before[name], after[name])}
    kernels = {name for name in scaled if name.endswith("kernel")}
    layers = {name.split("/")[1] for name in kernels}
    assert {"stem1", "stem2", "head1", "head2", "encoder1_unit1_3x3"} <= layers
    assert all(name.startswith(("stem", "head")) or name.endswith("_3x3") for name in layers)
    for name in kernels:
        fan_in = np.prod(after[name].shape[:-1])
        np.testing.assert_allclose(np.sqrt(np.mean(after[name] ** 2)), np.sqrt(2 / fan_in), 1e-5)
    others = {name.split("/")[-1] for name in scaled - kernels}
    moving = options.get("normalization") == "moving"
    assert others == ({"moving_mean", "moving_variance"} if moving else set())


def test_a_kernel_of_zeros_stays_zero():
    state = {"weights/a/kernel": np.zeros((3, 3, 2, 4), "f"), "weights/a_norm/gamma": np.ones(4)}
    assert not weights.restore_scale(state)["weights/a/kernel"].any()

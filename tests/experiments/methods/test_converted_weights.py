"""Loading weights in PyTorch's layouts."""

import numpy as np
import pytest
import tensorflow as tf

from experiments.methods import converted_weights
from jitnet_tf.base.errors import UserError
from tests.materials import write_no_npz

STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1),
    "conv.bias": np.float32([1, 2, 3, 4]),
}


@pytest.fixture
def variables():
    return {
        "conv.weight": tf.Variable(tf.zeros((2, 1, 3, 4))),
        "conv.bias": tf.Variable(tf.zeros(4)),
    }


@pytest.fixture
def refused(variables, tmp_path):
    """Loads a file, which must be refused without changing variables; returns the message."""

    def load(path):
        with pytest.raises(UserError) as error:
            converted_weights.load(path, variables, "a network", unused={"spare"})
        message = str(error.value)
        assert "\n" not in message
        assert repr(str(path)) in message
        assert not any(variable.numpy().any() for variable in variables.values())
        return message

    return load


@pytest.mark.parametrize("more", [{}, {"spare": np.zeros(3)}])
def test_weights_load(variables, more, tmp_path):
    np.savez(tmp_path / "w.npz", **STATE, **more)
    converted_weights.load(tmp_path / "w.npz", variables, "a network", unused={"spare"})
    np.testing.assert_array_equal(variables["conv.bias"], STATE["conv.bias"])
    kernel = variables["conv.weight"].numpy()
    for out, into, y in np.ndindex(4, 3, 2):
        assert kernel[y, 0, into, out] == STATE["conv.weight"][out, into, y, 0]


def test_weights_in_half_precision_load(variables, tmp_path):
    np.savez(tmp_path / "w.npz", **{n: array.astype(np.float16) for n, array in STATE.items()})
    converted_weights.load(tmp_path / "w.npz", variables, "a network")
    np.testing.assert_array_equal(variables["conv.bias"], STATE["conv.bias"])


def test_a_missing_file_is_refused(refused, tmp_path):
    message = refused(tmp_path / "none.npz")
    assert "a network" in message
    assert "numpy.savez" in message


@pytest.mark.parametrize("content", ["text", "pickle", "npy", "truncated", "objects"])
def test_other_files_are_refused(refused, content, tmp_path):
    path = write_no_npz(tmp_path / "w.npz", content, STATE)
    assert "numpy.savez" in refused(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"conv.bias": None}, "conv.bias;"),
        ({"conv.bias": None, "conv.weight": None}, "conv.bias and 1 more"),
        ({"conv9.weight": np.zeros(3)}, "conv9.weight"),
        ({"conv.weight": np.zeros((4, 3, 2), np.float32)}, "float32 of shape (4, 3, 2)"),
        ({"conv.weight": np.zeros((2, 1, 3, 4), np.float32)}, "(2, 1, 3, 4)"),  # TensorFlow's
        ({"conv.weight": np.zeros((4, 3, 2, 1), np.int64)}, "conv.weight is int64"),
        ({"conv.bias": np.float32([1, 2, np.nan, 4])}, "conv.bias is not finite"),
    ],
)
def test_weights_of_another_network_are_refused(refused, changes, named, tmp_path):
    arrays = {n: array for n, array in {**STATE, **changes}.items() if array is not None}
    np.savez(tmp_path / "w.npz", **arrays)
    assert named in refused(tmp_path / "w.npz")

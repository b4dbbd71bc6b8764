"""Weights by name, as checkpoints hold them, the same in every Keras version."""

import numpy as np

PREFIX = "weights/"


def named(model):
    """Returns the weights of a Keras model: {'weights/LAYER/WEIGHT': variable}."""
    # Not above: the commands read names of this module before they import TensorFlow.
    from jitnet_tf.base import compat

    weights = {}
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{PREFIX}{layer.name}/{compat.weight_name(variable)}"
            while name in weights:  # a network used as a layer has several kernels
                name += "'"
            weights[name] = variable
    return weights


def arrays(variables):
    """Converts {name: variable} to {name: numpy array}."""
    return {name: variable.numpy() for name, variable in variables.items()}


def assign(variables, state):
    """Sets variables from arrays of the same names and shapes; all or none.

    Raises:
      KeyError: a name is only on one side.
      ValueError: a shape differs, or an array is none of numbers.
    """
    if different := sorted(variables.keys() ^ state.keys()):
        raise KeyError(f"{different[0]} and {len(different) - 1} more are only on one side")
    values = {name: np.asarray(array) for name, array in state.items()}
    for name, variable in variables.items():
        if values[name].dtype.kind not in "fiu":
            raise ValueError(f"{name} holds no numbers, but {values[name].dtype}")
        if values[name].shape != tuple(variable.shape):
            raise ValueError(f"{name} has shape {values[name].shape}, not {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(values[name])


def restore_scale(state):
    """Scales kernels that a normalization follows to the size that they were initialized with.

    The network computes the same, but for ε. How far a step of gradient descent turns such a kernel
    falls with the square of its size (van Laarhoven 2017, "L2 Regularization versus Batch and
    Weight Normalization"), and pretraining makes them up to three times as large: online, at a
    learning rate that suits freshly initialized kernels, the student would hardly move.

    state: the arrays of `named`'s weights of a network of this package. Returns others.
    """
    restored = dict(state)
    for name, value in state.items():
        layer, _, weight = name.rpartition("/")
        last = "pointwise_kernel" if f"{layer}/pointwise_kernel" in state else weight
        if weight != last or not weight.endswith("kernel") or f"{layer}_norm/gamma" not in state:
            continue
        inputs = np.prod(value.shape[:2] if weight == "depthwise_kernel" else value.shape[:-1])
        he_normal = np.sqrt(2 / inputs)
        scale = he_normal / max(np.sqrt(np.mean(np.square(value))), np.finfo(np.float32).tiny)
        restored[name] = (scale * value).astype(value.dtype)
        for statistic, power in (("moving_mean", 1), ("moving_variance", 2)):
            if (moving := f"{layer}_norm/{statistic}") in state:
                restored[moving] = (scale**power * state[moving]).astype(value.dtype)
    return restored

"""A network's weights by name: as checkpoints hold them, in any Keras version."""

import numpy as np

from jitnet_tf import compat

PREFIX = "weights/"


def named(model):
    """The weights of a Keras model: {'weights/LAYER/WEIGHT': variable}."""
    weights = {}
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{PREFIX}{layer.name}/{compat.weight_name(variable)}"
            while name in weights:  # a network as a layer has many a kernel
                name += "'"
            weights[name] = variable
    return weights


def arrays(variables):
    """{name: variable} as {name: numpy array}."""
    return {name: variable.numpy() for name, variable in variables.items()}


def assign(variables, state):
    """Sets variables from arrays of the same names and shapes; all or none.

    Raises:
      KeyError: a name is only on one side.
      ValueError: a shape differs.
    """
    if different := sorted(variables.keys() ^ state.keys()):
        raise KeyError(f"{different[0]} and {len(different) - 1} more are only on one side")
    values = {name: np.asarray(array) for name, array in state.items()}
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape):
            raise ValueError(f"{name} has shape {values[name].shape}, not {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(values[name])

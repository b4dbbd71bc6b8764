"""States of parts in the state of a whole, as arrays whose names have a prefix."""

import numpy as np


def prefixed(prefix, state):
    """Returns {name: array} with `prefix` before every name.

    Raises TypeError for what is not an array of numbers or a number: a checkpoint holds no objects.
    """
    for name, array in state.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(
                f"the state {prefix}{name} is not an array: give each array a name of its own, "
                "such as 0/frame, 1/frame"
            )
    return {prefix + name: array for name, array in state.items()}


def with_prefix(prefix, state):
    """Returns the arrays whose names have the prefix, without it."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }

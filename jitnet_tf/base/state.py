"""States of parts in the state of a whole, as arrays whose names have a prefix."""


def prefixed(prefix, state):
    """Returns {name: array} with `prefix` before every name."""
    return {prefix + name: array for name, array in state.items()}


def with_prefix(prefix, state):
    """Returns the arrays whose names have the prefix, without it."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }

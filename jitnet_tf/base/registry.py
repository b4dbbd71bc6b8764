"""Registries: names of interchangeable parts and where they are defined."""

import importlib


def load(registry, name):
    """Imports the part that `name` stands for.

    registry: name → "module:attribute"; modules are imported on first use, because most of them
    need TensorFlow. Raises KeyError for an unknown name.
    """
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)

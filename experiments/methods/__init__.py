"""The methods that experiments compare, by name: a method is what segments a stream.

METHODS are the rows of Table 2, OTHERS those of other tables. Any other settings of the student are
a method by their own name (see `jitnet.variant`), as is flow at any stride: 'flow_20'.

The registry imports no TensorFlow, which flags, --help and reports do not need. So the networks of
PWC-Net and OSVOS are modules of their own, which `make` and `check` import.
"""

import dataclasses
import re

from experiments.methods import base
from experiments.methods.base import Context, Method
from experiments.methods.first_annotation import FirstAnnotation
from experiments.methods.flow import Flow, TeacherAlone
from experiments.methods.jitnet import (
    DEFAULTS,
    FLAG_FILES,
    FixedStride,
    NeverAdapted,
    Preset,
    Variant,
    distiller,
    variant,
)
from experiments.methods.oracle import Oracle
from experiments.methods.osvos import OneShot
from jitnet_tf.base.errors import UserError

__all__ = [
    "DEFAULTS",
    "METHODS",
    "OTHERS",
    "PRESETS",
    "SETTINGS",
    "Context",
    "Method",
    "check",
    "define_flags",
    "distiller",
    "named",
    "select",
    "settings_of",
]

PRESETS = {
    name: Preset(f"Preset {name}", FLAG_FILES / f"{name}.flags")
    for name in ("saving", "balanced", "accurate")
}
METHODS = {
    "never_adapted": NeverAdapted("Never adapted"),
    "oracle": Oracle("Offline oracle"),
    "flow_slow": Flow("Flow slow", stride=8, dis_preset="medium", pwcnet_kind="dense"),
    "flow_fast": Flow("Flow fast", stride=16, dis_preset="ultrafast", pwcnet_kind="small"),
    "fixed_stride": FixedStride("Fixed stride, 0.8"),
    "jitnet_0.7": Variant("JITNet 0.7", [("accuracy_threshold", "0.7")]),
    "jitnet_0.8": Variant("JITNet 0.8", [("accuracy_threshold", "0.8")]),
    "jitnet_0.9": Variant("JITNet 0.9", [("accuracy_threshold", "0.9")]),
    **PRESETS,
}
OTHERS = {
    "teacher": TeacherAlone("Teacher"),
    "first_annotation": FirstAnnotation("First annotation"),
    "osvos_a": OneShot("OSVOS A", keeps_weights=True),
    "osvos_b": OneShot("OSVOS B", keeps_weights=False),
}


def named(name):
    """Returns the Method of a name: of METHODS, of OTHERS, flow at a stride, or a variant.

    Raises:
      ValueError: there is no such method.
      UserError: a variant's value is invalid, or a preset cannot be read.
    """
    if method := METHODS.get(name) or OTHERS.get(name):
        return method
    if found := re.fullmatch(r"flow_([1-9]\d{0,5})", name):
        stride = int(found[1])
        return Flow(f"Flow, stride {stride}", stride, dis_preset="ultrafast", pwcnet_kind="small")
    return variant(name, PRESETS)


# The names of all settings.
SETTINGS = tuple(
    {s: None for m in (*METHODS.values(), *OTHERS.values(), named(DEFAULTS)) for s in m.settings}
)


def define_flags(names, settings=None):
    """Defines the flags of methods, a flag a setting.

    names: of the methods. settings: names of those that get a flag. None: all.
    """
    base.define_flags([named(name) for name in names], settings)


def settings_of(name, values=()):
    """Returns a method's own settings, {name: value}, out of values by name; others are ignored."""
    method = named(name)
    return dataclasses.asdict(method.take(dict(values)))


def check(values, names):
    """UserError where a method of `names` cannot run with these settings, {name: value}."""
    for method in map(named, names):
        method.check(method.take(values))


def select(names, streams, known=tuple(METHODS), variants=False):
    """Splits the names of methods and streams in --only: (methods, streams).

    Without a method it returns all of `known`, without a stream all streams.

    Args:
      names: of --only.
      streams: Streams.
      known: the names of the command's methods.
      variants: accept any other method; these come last, in the order of `names`.

    Raises:
      UserError: a name of neither, or of both.
    """
    listed = [stream.name for stream in streams]
    others = []
    for name in names:
        if name in known and name in listed:
            raise UserError(f"--only: {name!r} is both a method and a stream: rename the stream")
        if name not in known and name not in listed:
            if not (variants and _is_method(name)):
                method = f"neither a method ({', '.join(known)}) nor" if known else "not"
                raise UserError(f"--only: {name!r} is {method} a stream ({', '.join(listed)})")
            others.append(name)
    methods = [name for name in known if name in names] + others
    chosen = [stream for stream in streams if stream.name in names]
    return methods or list(known), chosen or list(streams)


def _is_method(name):
    try:
        return bool(named(name))
    except ValueError:
        return False

"""Initial weights: `--init`."""

import dataclasses
import hashlib
import pathlib

import numpy as np

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.state import with_prefix
from jitnet_tf.config import StudentConfig
from jitnet_tf.config.names import PRETRAINED, RANDOM
from jitnet_tf.student import weights
from jitnet_tf.student.base import CLASS_LAYER

# MODEL_CARD.md beside them says what they were trained on.
PRETRAINED_FILE = pathlib.Path(__file__).parents[1] / "data" / "pretrained.npz"
PRETRAINED_SHA256 = "47656e00b94c87066ae72cb7afbf74d012c400ae4ea3275e38b5f38e9560f6ac"
# The student in the checkpoint of a run, whose distiller is one of its parts.
IN_RUNS = "distiller/student/"
# Options of a student that its weights do not depend on.
WEIGHT_INDEPENDENT = ("precision", "input_scale")


def load(init):
    """Reads the checkpoint that 'pretrained', a folder or a file names: see `checkpoint.load`."""
    if init != PRETRAINED:
        return checkpoint.load(init)
    try:
        found = hashlib.sha256(PRETRAINED_FILE.read_bytes()).hexdigest()
    except OSError as error:
        found = error.strerror
    if found != PRETRAINED_SHA256:
        raise UserError(
            f"the weights that come with jitnet_tf are damaged ({PRETRAINED_FILE}: {found}): "
            "install it again, or give --init=random"
        )
    return checkpoint.load(PRETRAINED_FILE)


def describe(groups, student):
    """Returns checkpoint metadata that lets other runs start from it, as JSON values.

    groups: ClassGroups. student: a StudentConfig.
    """
    return {
        "classes": list(groups.names),
        "groups": {name: list(members) for name, members in groups.groups.items()},
        "student": dataclasses.asdict(student),
    }


def start(variables, init, groups, student):
    """Sets a network's initial weights; 'random' leaves them.

    If the classes differ, those of the same name and members (background is one) keep their part
    of the last layer, and the others' stays random. The number of classes also decides how wide the
    last layers are at least: they keep the channels that both networks have.

    Args:
      variables: the network's, see `weights.named`.
      init: see `load`; or 'random'.
      groups: the network's ClassGroups.
      student: its StudentConfig.

    Raises:
      UserError: there are no such weights, or they are of a network with other options.
    """
    if init == RANDOM:
        return
    arrays, progress = load(init)
    wanted = describe(groups, student)
    _check_options(init, progress.get("student"), wanted["student"])
    arrays = with_prefix(IN_RUNS, arrays) or arrays
    taken = {name: value for name, value in arrays.items() if name.startswith(weights.PREFIX)}
    try:
        if any(progress[what] != wanted[what] for what in ("classes", "groups")):
            taken = _adapted(variables, taken, _common_classes(progress, wanted))
        weights.assign(variables, taken)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"--init={init} does not fit this network ({' '.join(str(error).split())[:200]})"
        ) from None


def _check_options(init, found, wanted):
    """Raises UserError naming the option that differs. found: None in checkpoints without."""
    if found is None:
        return
    try:  # options missing from older checkpoints have their defaults
        found = dataclasses.asdict(StudentConfig.from_values(found))
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"--init={init} holds a student of another version of jitnet_tf ({error}): give other "
            "weights or --init=random"
        ) from None
    for name, value in found.items():
        if name not in WEIGHT_INDEPENDENT and value != wanted.get(name):
            option = f"--{name}={value}"
            if isinstance(value, bool):
                option = f"--{name}" if value else f"--no{name}"
            raise UserError(
                f"--init={init} holds a student of {option}, not {wanted.get(name)}: give "
                f"{option}, --init=random, or weights that jitnet_tf.pretrain made so"
            )


def _common_classes(progress, wanted):
    """Returns the class ids of the same classes there and here: pairs (old, new)."""
    same = [(0, 0)]
    for new, name in enumerate(wanted["classes"]):
        if new and set(progress["groups"].get(name, ())) == set(wanted["groups"][name]):
            same.append((progress["classes"].index(name), new))
    return np.array(same)


def _adapted(variables, arrays, common):
    """Returns weights of a network with other classes, made to fit `variables`."""
    adapted = {}
    for name, variable in variables.items():
        value, old = variable.numpy(), arrays[name]
        overlap = tuple(map(slice, map(min, zip(value.shape, old.shape, strict=True))))
        if name.startswith(f"{weights.PREFIX}{CLASS_LAYER}/"):
            inputs = overlap[:-1]
            value[(*inputs, common[:, 1])] = old[(*inputs, common[:, 0])]
        else:
            value[overlap] = old[overlap]
        adapted[name] = value
    return adapted

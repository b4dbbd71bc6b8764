"""Flags from configurations: their definition, their values, and what --resume makes of them.

python -m jitnet_tf.flags > docs/options.md
"""

import dataclasses
import os
import typing

from absl import flags

from jitnet_tf.base import options
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import FREE, MOVED, Option
from jitnet_tf.config import FleetConfig, PretrainConfig, RunConfig, StudentConfig
from jitnet_tf.config.names import GROUPS, RUN
from jitnet_tf.runs import directory
from jitnet_tf.video import parse_size
from teacher import split_spec

FLAGS = flags.FLAGS
# Flags of both commands that are no options of a configuration.
START = {
    "resume": Option("Continue what is in --logdir from its checkpoint.", RUN),
    "overwrite": Option("Replace what is in --logdir, and existing outputs.", RUN),
}


def options_of(kind):
    """Returns name → (field, type, Option) of a configuration and its student, by group."""
    found = {}
    has_student = any(field.name == "student" for field in dataclasses.fields(kind))
    for part in (kind, StudentConfig) if has_student else (kind,):
        types = typing.get_type_hints(part)
        for field, about in options.options(part):
            found[field.name] = (field, types[field.name], about)
    order = {group: place for place, group in enumerate(GROUPS)}
    return dict(sorted(found.items(), key=lambda item: order[item[1][2].group]))


def define_flags(kind):
    """Defines the flags of a configuration, and --resume and --overwrite."""
    for name, (field, of_type, about) in options_of(kind).items():
        options.define_flag(name, field.default, of_type, about)
    for name, about in START.items():
        options.define_flag(name, False, bool, about)


def value_of(kind, name):
    """Returns a flag's value as the configuration holds it. UserError for an invalid frame size."""
    return _of_flag(kind, name, FLAGS[name].value)


def parsed(kind, name, text):
    """Returns the value of an option as its flag would have it, of a text.

    Raises:
      UserError: the flag would not take it.
    """
    try:
        return _of_flag(kind, name, FLAGS[name].parser.parse(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"{name}={text!r} is invalid ({error})") from None


def _of_flag(kind, name, value):
    """Returns a parsed flag's value as the configuration holds it."""
    field, _, about = options_of(kind)[name]
    if value is None:
        return field.default
    if isinstance(value, list):
        return tuple(value)
    if name == "frame_size":
        return parse_size(value)
    # A word of the flag, or a camera's index, stays one even where a file has that name.
    is_index = name == "video" and value.isdigit()
    if about.is_path and value not in about.words and not is_index:
        return absolute(value)
    return value


def absolute(spec):
    """Returns a path, or a teacher's prefix and path, made absolute if it exists.

    A resumed run then finds its files from any folder. A printf pattern exists if its folder does.
    """
    prefix, path = split_spec(spec)
    folder = os.path.dirname(path) or "."
    exists = os.path.exists(path) or (not prefix and "%" in path and os.path.isdir(folder))
    return prefix + os.path.abspath(path) if exists else spec


def values(kind):
    """Returns the flags as arguments of a configuration of this kind."""
    student = [field.name for field, _ in options.options(StudentConfig)]
    given = {name: value_of(kind, name) for name in options_of(kind)}
    made = StudentConfig(**{name: given.pop(name) for name in student})
    return {**given, "student": made}


def resumed_config(kind):
    """Returns the configuration of what is in --logdir, to continue it.

    Raises:
      UserError: there is none, or a flag contradicts it.
    """
    if FLAGS.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if not FLAGS.logdir:
        raise UserError("--resume needs the run's --logdir")
    config = directory.load_config(FLAGS.logdir, kind)
    present = [name for name in options_of(kind) if FLAGS[name].present and name != "logdir"]
    return resumed(config, {name: value_of(kind, name) for name in present})


def resumed(config, given, advice="leave the flag out, or start another run"):
    """Returns the configuration of a run or pretraining as options have it go on.

    config: as the run has it. given: name → value. advice: for the message.

    Raises:
      UserError: an option contradicts it.
    """
    known, changes = config.flat(), {}
    about = {name: about for name, (_, _, about) in options_of(type(config)).items()}
    for name, value in given.items():
        if about[name].resume == FREE or (about[name].resume == MOVED and known[name] is not None):
            changes[name] = value
        elif not _is_same(about[name], value, known[name]):
            has = f"no --{name}" if known[name] is None else f"--{name}={known[name]}"
            wanted = "none" if value is None else value
            raise UserError(
                f"--resume: the run in {config.logdir!r} has {has}, not {wanted}: {advice}"
            )
    return dataclasses.replace(config, **changes)


def _is_same(about, value, known):
    if value is None or known is None or not (about.is_path or about.is_output):
        return value == known
    return os.path.abspath(value) == os.path.abspath(known)


def markdown():
    """Returns docs/options.md: every option of runs and pretrainings, from their fields."""
    lines = [
        "# Options",
        "",
        "Every flag of `python -m jitnet_tf.distill` and `python -m jitnet_tf.pretrain`, and those",
        "that `python -m jitnet_tf.fleet` has beside distill's; each command prints its own with",
        "`--help`. Flags are written `--name=value`; `--flagfile=FILE` reads more from a file.",
    ]
    commands = ("distill", RunConfig), ("pretrain", PretrainConfig), ("fleet", FleetConfig)
    for command, kind in commands:
        groups = {}
        listed = [(name, field.default, o) for name, (field, _, o) in options_of(kind).items()]
        start = () if kind is FleetConfig else START.items()  # it has those of distill, too
        for name, default, about in [*listed, *((name, False, o) for name, o in start)]:
            default = ",".join(default) if isinstance(default, tuple) else default
            default = "" if default in (None, "") else f"`{default}`"
            row = f"| `--{name}` | {default} | {about.bounds} | {about.help} |"
            groups.setdefault(about.group, []).append(row)
        for group, rows in groups.items():
            lines += ["", f"## {command}: {group}", ""]
            lines += ["| flag | default | allowed | meaning |", "|-|-|-|-|", *rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")

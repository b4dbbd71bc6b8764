"""The text of --help: every flag of a command, in groups."""

import textwrap

from absl import flags

WIDTH = 100
COLUMN = 32  # where the explanations begin
OTHERS = "Flags"  # the heading of flags without one
FOREIGN = ("absl", "tensorflow")  # packages that define flags of their own
FLAGFILE = (
    "--flagfile=FILE",
    "Read flags from a file, one --name=value a line. Flags after it on the command line win.",
)


def text(about, flag_values=flags.FLAGS):
    """Returns the help: the command's docstring, and its flags by group.

    Flags are listed in the order of their definition, under the `heading` that whoever defined them
    has set as an attribute, with default, choices and bounds. Those that
    absl and TensorFlow define for every program are left out, except --flagfile.
    """
    groups = {}
    for module, defined in flag_values.flags_by_module_dict().items():
        if module.partition(".")[0] in FOREIGN:
            continue
        for flag in defined:
            group = groups.setdefault(getattr(flag, "heading", OTHERS), {})
            group[flag.name] = (_usage(flag), _explanation(flag))
    groups.setdefault("Flags from a file", {})["flagfile"] = FLAGFILE
    parts = [about.strip()] if about else []
    for heading, rows in groups.items():
        lines = [line for usage, explanation in rows.values() for line in _row(usage, explanation)]
        parts.append("\n".join((f"{heading}:", *lines)))
    return "\n\n".join(parts) + "\n"


def _usage(flag):
    if flag.boolean:
        return f"--[no]{flag.name}"
    default = "" if flag.default is None else flag.default_as_str.strip("'")
    return f"--{flag.name}={default}"


def _explanation(flag):
    if flag.boolean:
        return f"{flag.help} (default: {'yes' if flag.default else 'no'})"
    if choices := getattr(flag.parser, "enum_values", None):
        # absl begins the help of an enumeration with its choices.
        explanation = flag.help.removeprefix(f"<{'|'.join(choices)}>: ")
        return f"{explanation} ({', '.join(choices)})"
    bounds = _bounds(flag.parser)
    return f"{flag.help} ({bounds})" if bounds else flag.help


def _bounds(parser):
    lower, upper = getattr(parser, "lower_bound", None), getattr(parser, "upper_bound", None)
    if lower is not None and upper is not None:
        return f"{lower} to {upper}"
    if lower is not None:
        return f"at least {lower}"
    return "" if upper is None else f"at most {upper}"


def _row(usage, explanation):
    """Returns the lines of a flag; a long usage has one of its own."""
    indent, usage = " " * COLUMN, f"  {usage}"
    lines = textwrap.wrap(explanation, WIDTH, initial_indent=indent, subsequent_indent=indent)
    if len(usage) + 2 > COLUMN or not lines:
        return [usage, *lines]
    return [usage.ljust(COLUMN) + lines[0].lstrip(), *lines[1:]]

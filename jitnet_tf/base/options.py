"""Options: dataclass fields that know their help text, bounds, choices and rules for resuming."""

import dataclasses
import math
import os
import typing
import unicodedata

from absl import flags

from jitnet_tf.base import durations
from jitnet_tf.base.credentials import without_credentials
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path

# --resume refuses another value, takes it, or takes another path to the same thing, which the run
# then checks.
FIXED, FREE, MOVED = "fixed", "free", "moved"


@dataclasses.dataclass(frozen=True)
class Option:
    """Everything about an option but its name, type and default, which are the field's.

    Attributes:
      help: one or two sentences, with units.
      group: heading in --help and docs/options.md.
      choices: allowed values; empty: any.
      at_least, above, at_most, below: bounds of a number.
      is_duration: seconds, which the flag also takes as 10min or 24h; see `durations`.
      is_path: a file, folder or teacher, which is made absolute so that a resumed run finds it.
      is_output: a file or folder that is written.
      words: values of a path option that are no paths.
      resume: FIXED, FREE or MOVED.
      aliases: names in configurations that older versions wrote.
      value_aliases: values in such configurations → today's.
      only_for: the architecture that alone has the option.
      infinite: infinity is a value, too.
      reason: why the bounds are there, for the message.
    """

    help: str
    group: str
    choices: tuple = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    is_duration: bool = False
    is_path: bool = False
    is_output: bool = False
    words: tuple[str, ...] = ()
    resume: str = FIXED
    aliases: tuple[str, ...] = ()
    value_aliases: dict = dataclasses.field(default_factory=dict)
    only_for: str | None = None
    infinite: bool = False
    reason: str = ""

    def admits(self, value):
        """Returns whether a value is within bounds and choices; NaN never is."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float):
            return not self.bounds
        return (
            (math.isfinite(value) or (self.infinite and value == math.inf))
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    @property
    def bounds(self):
        """The allowed values in words, or '' for any."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        words = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        return " and ".join(f"{word} {x}" for word, x in words.items() if x is not None)


def option(default, help, group, **details):
    """A dataclass field that is an option: see `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(help, group, **details)})


def options(kind):
    """Yields (field, Option) of a dataclass, or of an instance of one."""
    for field in dataclasses.fields(kind):
        if "option" in field.metadata:
            yield field, field.metadata["option"]


def check(config):
    """Raises UserError for a value of a dataclass that its option does not admit."""
    types = typing.get_type_hints(type(config))
    for field, about in options(config):
        value = getattr(config, field.name)
        if value is None and field.default is None:
            continue
        if not about.admits(value):
            infinite = isinstance(value, float) and not math.isfinite(value)
            bounds = " and ".join(filter(None, (about.bounds, "finite" if infinite else "")))
            reason = f" ({about.reason})" if about.reason else ""
            raise UserError(f"--{field.name}={value} is invalid: it has to be {bounds}{reason}")
        if not _is_of(value, types[field.name]):  # in a damaged file: flags have types
            raise UserError(f"--{field.name}={value!r:.100} is invalid: it is of another type")


def _is_of(value, kind):
    """Returns whether a value is of the type of a field; a text also has to fit a file's name."""
    if kinds := [kind for kind in typing.get_args(kind) if kind not in (type(None), ...)]:
        if typing.get_origin(kind) is tuple:
            return isinstance(value, tuple) and all(_is_of(each, kinds[0]) for each in value)
        return any(_is_of(value, each) for each in kinds)
    if kind is float:
        return type(value) in (int, float)
    if kind is str and type(value) is str:
        try:
            return b"\0" not in os.fsencode(value)
        except UnicodeEncodeError:  # half a character
            return False
    return type(value) is kind


def check_texts(config):
    """Raises UserError for a text of a dataclass that a line of a flag file cannot hold."""
    for field, _ in options(config):
        text = getattr(config, field.name)
        if not isinstance(text, str):
            continue
        if text != text.strip() or any(unicodedata.category(letter) == "Cc" for letter in text):
            raise UserError(
                f"--{field.name}={without_credentials(text)!r} is invalid: it has a line break or "
                "another control character, or a space at an end; rename the file"
            )


def define_flag(name, default, of_type, about):
    """Defines the absl flag of an option, to be shown under its group in --help.

    Only types and choices are checked by absl, bounds by `check`. of_type: the field's type.
    """
    text = f"{about.help} ({about.bounds})" if about.bounds and not about.choices else about.help
    define = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
    kinds = [kind for kind in (of_type, *typing.get_args(of_type)) if kind in define]
    if about.choices:
        flags.DEFINE_enum(name, default, about.choices, text)
    elif about.is_duration:
        flags.DEFINE(durations.Parser(), name, default, text)
    elif isinstance(default, tuple):
        flags.DEFINE_list(name, default, text)
    elif kinds:
        define[kinds[0]](name, default, text)
    elif about.is_path or about.is_output:
        define_path(name, default or None, text)
    else:
        flags.DEFINE_string(name, default or None, text)
    flags.FLAGS[name].heading = about.group


def todays(kind, name, value):
    """Returns today's name and value of an option that an older version may have written."""
    for field, about in options(kind):
        if name == field.name or name in about.aliases:
            known = isinstance(value, str) and value in about.value_aliases
            return field.name, about.value_aliases[value] if known else value
    return name, value


def from_values(kind, values):
    """Makes a dataclass from values by name, also by the names that older versions used.

    Raises TypeError for unknown names.
    """
    pairs = [todays(kind, name, value) for name, value in dict(values).items()]
    if len(dict(pairs)) < len(pairs):
        raise TypeError("an option is there twice, by an old name and a new one")
    return kind(**dict(pairs))

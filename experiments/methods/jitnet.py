"""The product's student: online by thresholds, presets or any settings, at a fixed stride, frozen.

A student is the product's own (`build.make_distiller`) with its defaults, except for the settings
that a row is named for.
"""

import dataclasses
import functools
import pathlib
import typing

import numpy as np
from absl import flags

from experiments.methods.base import Method, OnlineSettings, StudentSettings, setting
from jitnet_tf.base import options
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.config.names import INPUT, NO_FUSION, RUN
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch
from jitnet_tf.student import weights

DEFAULTS = "defaults"
# Settings of the LabelMaker that the student learns from; those that are a method's settings, too;
# and those that the protocol sets.
OF_LABELS = ("score_threshold", "box_weight", "box_dilation", "hesitation")
OF_SETTINGS = ("init", "seed", "shown")
OF_PROTOCOL = (
    *("class_groups", "evaluated_classes"),
    *("teacher_classes", "teacher_signature", "teacher_input"),
)
FLAG_FILES = pathlib.Path(__file__).parents[2] / "flags"


def distiller(context, **changes):
    """Returns the product's Distiller for a Context; changes: fields of RunConfig that differ."""
    from jitnet_tf.distillation.build import make_distiller  # imports TensorFlow

    of_settings = dataclasses.asdict(context.settings)
    common = {name: of_settings[name] for name in OF_SETTINGS if name in of_settings}
    config = RunConfig(**{**common, **changes})
    of_labels = {name: getattr(config, name) for name in OF_LABELS}
    label_maker = dataclasses.replace(context.label_maker, **of_labels)
    return make_distiller(config, label_maker, context.teacher, context.frame_size)


class FrozenStudent(Segmenter):
    """A student that never changes and asks no teacher.

    student: a `student.Student`.
    """

    def __init__(self, student):
        self.student = student
        self.index = 0

    def step(self, frame):
        """Segments the next frame, uint8 RGB [H, W, 3]. Returns a FrameResult."""
        watch = Stopwatch()
        with watch("infer"):
            prediction = self.student.infer(frame)
        seconds = watch.seconds
        result = FrameResult(
            self.index, frame, prediction, seconds=seconds, latency=seconds["infer"]
        )
        self.index += 1
        return result

    def warm_up(self, frame):
        """Runs the student once."""
        self.student.warm_up(frame)


class NeverAdapted(Method):
    """The initial student, frozen."""

    settings_class = StudentSettings
    is_jitnet = True

    def make(self, context):
        """Returns the student, which is never trained."""
        return FrozenStudent(distiller(context).student)


class JITNet(Method):
    """Algorithm 1. changes: fields of RunConfig that differ from the product's defaults."""

    settings_class = OnlineSettings
    stages = ("infer", "flow", "fuse")  # the latter two with --fusion alone
    is_jitnet = True

    def __init__(self, title, **changes):
        super().__init__(title)
        self.changes = changes

    def make(self, context):
        """Returns a Distiller with these options."""
        return distiller(context, **self.changes)


@dataclasses.dataclass(frozen=True)
class FixedStrideSettings(OnlineSettings):
    """Settings of FixedStride."""

    fixed_stride: int = setting(
        16, "Frames between teacher frames of the row with a fixed stride.", at_least=1
    )


class FixedStride(Method):
    """Algorithm 1 with one stride."""

    settings_class = FixedStrideSettings
    is_jitnet = True

    def make(self, context):
        """Returns a Distiller with a stride that does not change."""
        stride = context.settings.fixed_stride
        return distiller(context, min_stride=stride, max_stride=stride)


@dataclasses.dataclass(frozen=True)
class VariantSettings(OnlineSettings):
    """Settings of a Variant.

    Attributes:
      noise: Gaussian noise on every initial kernel, as a part of the kernel's standard deviation.
        It shows how much of a result is chance where initial weights come from a file.
      preset: the settings in the flag file that it is based on, which may be edited; or None.
    """

    noise: float = 0.0
    preset: str | None = None


class Variant(JITNet):
    """Algorithm 1 with any settings; see `variant`.

    Args:
      title: its heading.
      settings: pairs of name and text; names are fields of RunConfig and StudentConfig.
      preset: the Preset that they change, or None.

    Raises:
      ValueError: there is no such setting, or a text is no value of it.
      UserError: a value is invalid.
    """

    settings_class = VariantSettings

    def __init__(self, title, settings, preset=None):
        base = dict(preset.changes) if preset else {"student": StudentConfig()}
        super().__init__(title, **changed(base, settings))
        self._preset = preset

    @property
    def is_jitnet(self):
        """True if its network is the default one, and alone makes what is shown."""
        is_alone = self.changes.get("fusion", NO_FUSION) == NO_FUSION
        return is_alone and self.changes["student"] == StudentConfig()

    def take(self, values):
        """Returns its VariantSettings; see `Method.take`."""
        preset = self._preset.text if self._preset else None
        return super().take({**values, "preset": preset})

    def make(self, context):
        """Returns a Distiller with these options, with noise on its weights if asked for."""
        made, settings = super().make(context), context.settings
        if settings.noise:
            state = perturbed(made.student.get_state(), settings.noise, settings.seed)
            made.student.set_state(state)
        return made


class Preset(Variant):
    """A flag file of the product, with any seed; it is read when its settings are needed.

    title: its heading. path: of the flag file.
    """

    def __init__(self, title, path):
        Method.__init__(self, title)
        self._path = path
        self._preset = self

    @functools.cached_property
    def text(self):
        """Its settings as a variant's name. UserError if the file cannot be read."""
        return ",".join(f"{name}={value}" for name, value in self._settings)

    @functools.cached_property
    def changes(self):
        """The fields of RunConfig that it sets. UserError if the file cannot be read."""
        try:
            return changed({"student": StudentConfig()}, self._settings)
        except (ValueError, UserError) as error:
            raise UserError(f"{self._path} is no preset of experiments: {error}") from None

    @property
    def _settings(self):
        try:
            lines = flags.FlagValues().read_flags_from_files([f"--flagfile={self._path}"])
        except (OSError, flags.Error) as error:
            raise UserError(f"{self._path} cannot be read ({error})") from None
        return [_setting(line.lstrip("-")) for line in lines]


def _setting(line):
    """Returns a flag file's name=value, name or noname as a pair of name and text."""
    name, sign, text = line.partition("=")
    if not sign:
        text = str(not name.startswith("no"))
        name = name.removeprefix("no")
    return name, text


def variant(name, presets):
    """Returns the Method of a list of settings: 'max_updates=4', 'width=1.0,skip=False'.

    Settings are fields of RunConfig and of StudentConfig; 'defaults' changes none. The first one
    may be a preset's name: 'balanced,max_updates=0'. 'None' is no value, where there may be none;
    'triggers=cut+novelty' gives two.
    presets: {name: Preset}.

    Raises:
      ValueError: the name is not such a list.
      UserError: a value is invalid.
    """
    first, *others = name.split(",")
    if first in presets and others:
        return Variant(name, [text.partition("=")[::2] for text in others], presets[first])
    texts = [] if name == DEFAULTS else [first, *others]
    return Variant(name, [text.partition("=")[::2] for text in texts])


def changed(changes, settings):
    """Returns fields of RunConfig, {name: value}, changed by settings; see `Variant`."""
    found, student = dict(changes), {}
    for given, text in settings:
        for kind, values in ((RunConfig, found), (StudentConfig, student)):
            name, value = options.todays(kind, given, text)
            if name in (types := _types(kind)):
                values[name] = _value(types[name], value)
                break
        else:
            raise ValueError(f"{given!r} is not a setting of a student")
    found["student"] = dataclasses.replace(found["student"], **student)
    RunConfig(**found)  # checks the values
    return found


def _types(kind):
    """Returns the types of a configuration's settings by name."""
    types = typing.get_type_hints(kind)
    return {
        field.name: types[field.name]
        for field, about in options.options(kind)
        if about.group not in (INPUT, RUN) and field.name not in OF_PROTOCOL
    }


def _value(of_type, text):
    """Returns the value that a text stands for: of bool, int, float, str, a tuple, or one or None.

    Parts of a tuple are joined by + in a method's name, by commas in a flag file.
    """
    parts = typing.get_args(of_type)
    if typing.get_origin(of_type) is tuple:
        return tuple(text.replace("+", ",").split(",")) if text else ()
    if text == "None" and type(None) in parts:
        return None
    of_type = next(iter(parts), of_type)
    return bool(["False", "True"].index(text)) if of_type is bool else of_type(text)


def perturbed(state, noise, seed):
    """Returns a student's state with noise on its kernels; see `VariantSettings`."""
    generator = np.random.default_rng(seed)
    return {
        name: value + noise * value.std() * generator.standard_normal(value.shape, np.float32)
        if name.startswith(weights.PREFIX) and value.ndim > 1
        else value
        for name, value in state.items()
    }

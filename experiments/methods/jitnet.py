"""The product's student: online by thresholds or any other settings, at a fixed stride, frozen.

A student is the product's own (`build.make_distiller`) with its defaults, except for the settings
that a row is named for.
"""

import dataclasses

import numpy as np

from experiments.methods.base import Method, OnlineSettings, StudentSettings, setting
from jitnet_tf.base import options
from jitnet_tf.config import INPUT, RUN, RunConfig, StudentConfig
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch
from jitnet_tf.student import weights

DEFAULTS = "defaults"


def distiller(context, **changes):
    """Returns the product's Distiller for a Context; changes: fields of RunConfig that differ."""
    from jitnet_tf.distillation.build import make_distiller  # imports TensorFlow

    settings = context.settings
    config = RunConfig(**{"init": settings.init, "seed": settings.seed, **changes})
    label_maker = dataclasses.replace(
        context.label_maker, box_weight=config.box_weight, box_dilation=config.box_dilation
    )
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
    is_jitnet = True

    def __init__(self, title, **changes):
        super().__init__(title)
        self._changes = changes

    def make(self, context):
        """Returns a Distiller with these options."""
        return distiller(context, **self._changes)


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
    """

    noise: float = 0.0


class Variant(JITNet):
    """Algorithm 1 with any settings; see `variant`."""

    settings_class = VariantSettings

    @property
    def is_jitnet(self):
        """True if its network is the default one."""
        return self._changes["student"] == StudentConfig()

    def make(self, context):
        """Returns a Distiller with these options, with noise on its weights if asked for."""
        made, settings = super().make(context), context.settings
        if settings.noise:
            state = perturbed(made.student.get_state(), settings.noise, settings.seed)
            made.student.set_state(state)
        return made


def variant(name):
    """Returns the Method of a list of settings: 'max_updates=4', 'width=1.0,skip=False'.

    Settings are fields of RunConfig and of StudentConfig; 'defaults' changes none.

    Raises:
      ValueError: the name is not such a list.
      UserError: a value is invalid.
    """
    changes, student = {}, {}
    for text in [] if name == DEFAULTS else name.split(","):
        given, _, value = text.partition("=")
        is_known = False
        for kind, found in ((RunConfig, changes), (StudentConfig, student)):
            field, value = options.todays(kind, given, value)
            default = {
                f.name: f.default
                for f, about in options.options(kind)
                if about.group not in (INPUT, RUN)
            }.get(field)
            if isinstance(default, bool):
                found[field] = bool(["False", "True"].index(value))
            elif isinstance(default, int | float | str):
                found[field] = type(default)(value)
            is_known |= field in found
        if not is_known:
            raise ValueError(f"{given!r} is not a setting of a student")
    changes["student"] = StudentConfig(**student)
    RunConfig(**changes)  # checks the values
    return Variant(name, **changes)


def perturbed(state, noise, seed):
    """Returns a student's state with noise on its kernels; see `VariantSettings`."""
    generator = np.random.default_rng(seed)
    return {
        name: value + noise * value.std() * generator.standard_normal(value.shape, np.float32)
        if name.startswith(weights.PREFIX) and value.ndim > 1
        else value
        for name, value in state.items()
    }

"""Base classes of methods: settings, the flags made of them, and the context of a stream."""

import dataclasses
import functools
import pathlib
import typing
from collections.abc import Callable

from jitnet_tf.base import options
from jitnet_tf.base.errors import UserError
from jitnet_tf.config.names import PRETRAINED, RANDOM, SHOWN, TEACHER_SHOWN
from jitnet_tf.student import initial_weights
from teacher import TeacherOptions, class_names, saved_model_folder
from teacher.class_names import COCO
from teacher.options import HELP as TEACHER_HELP
from teacher.options import RANGES

# A field of Settings that is a flag: default, help text, choices and bounds.
setting = functools.partial(options.option, group="Methods")


@dataclasses.dataclass(frozen=True)
class Settings:
    """A method's settings. Names are those of flags and of the keys in a result's "settings"."""

    def check(self):
        """UserError where a value is invalid or names a missing file."""
        options.check(self)


@dataclasses.dataclass(frozen=True)
class TeacherSettings(Settings):
    """Settings of a method with teacher frames.

    Attributes:
      teacher: a live teacher. None: the stream's recording, which holds the time it took.
      timed_teacher: a teacher that is run for its time alone, beside the stream's recording.
      teacher_classes, teacher_signature, teacher_input: TeacherOptions of either.
    """

    teacher: str | None = setting(
        None,
        "SavedModel folder or zoo:NAME of a teacher to run live on teacher frames, which measures "
        "its time. Default: the recordings, with the times in them.",
        is_path=True,
    )
    timed_teacher: str | None = setting(
        None,
        "SavedModel folder or zoo:NAME of a teacher to run on teacher frames for its time alone; "
        "their labels are the recordings'.",
        is_path=True,
    )
    teacher_classes: str | None = setting(
        None, f"Of --teacher. {TEACHER_HELP['teacher_classes']} Default: {COCO}.", is_path=True
    )
    teacher_signature: str | None = setting(
        None, f"Of --teacher. {TEACHER_HELP['teacher_signature']}"
    )
    teacher_input: str | None = setting(
        None, f"Of --teacher. {TEACHER_HELP['teacher_input']}", choices=RANGES
    )

    def check(self):
        """UserError also if the live teacher's SavedModel or its names are missing or unknown."""
        super().check()
        if self.teacher and self.timed_teacher:
            raise UserError("--teacher and --timed_teacher exclude each other: leave one out")
        if self.live_teacher:
            saved_model_folder(self.live_teacher)
            class_names.read(self.teacher_options.classes)

    @property
    def live_teacher(self):
        """The teacher that runs on teacher frames, for its labels or its time; or None."""
        return self.teacher or self.timed_teacher

    @property
    def teacher_options(self):
        """The TeacherOptions of the live teacher."""
        return TeacherOptions(
            self.teacher_classes or COCO, self.teacher_signature, self.teacher_input
        )


@dataclasses.dataclass(frozen=True)
class SeedSettings(Settings):
    """Settings of a method with anything random."""

    seed: int = setting(0, "Seed of initial weights, batches and augmentation.", at_least=0)


@dataclasses.dataclass(frozen=True)
class StudentSettings(SeedSettings):
    """Settings of a method with the product's student."""

    init: str = setting(
        PRETRAINED, "Initial weights of the students; see jitnet_tf.distill.", is_path=True
    )

    def check(self):
        """UserError also if the initial weights cannot be read."""
        super().check()
        if self.init != RANDOM:
            initial_weights.load(self.init)


@dataclasses.dataclass(frozen=True)
class OnlineSettings(StudentSettings, TeacherSettings):
    """Settings of a student that learns from a teacher online.

    Attributes:
      shown: the same in all rows of a table; flow has no prediction of its own on teacher frames.
    """

    shown: str = setting(
        TEACHER_SHOWN,
        "What students show on teacher frames: the teacher's labels, as flow does, or their own "
        "prediction after the updates.",
        choices=SHOWN,
    )


@dataclasses.dataclass(frozen=True)
class Context:
    """Everything that a method is made from.

    Attributes:
      settings: the method's own Settings.
      label_maker: a LabelMaker.
      teacher: a `teacher.Teacher`.
      recording: a Recording of the teacher on every frame.
      frame_size: (H, W) in pixels.
      frames: number of frames of the stream.
      open_source: () → the stream's video, opened once more.
      scratch: folder for temporary files.
      on_step: called after each step of a preparation.
      stream: the `streams.Stream`.
    """

    settings: Settings
    label_maker: object
    teacher: object
    recording: object
    frame_size: tuple[int, int]
    frames: int
    open_source: Callable
    scratch: pathlib.Path
    on_step: Callable
    stream: object


class Method:
    """One way to segment a stream: a row or column of a table.

    Attributes:
      title: its heading.
      settings_class: the dataclass of its settings.
      stages: the stages of FrameResult.seconds that make up inference.
      has_speedup: its whole cost occurs during the run.
      is_jitnet: the paper states its cost.
    """

    settings_class = Settings
    stages = ("infer",)
    has_speedup = True
    is_jitnet = False

    def __init__(self, title):
        self.title = title

    @property
    def settings(self):
        """The names of its settings, a tuple."""
        return tuple(field.name for field in dataclasses.fields(self.settings_class))

    @property
    def asks_teacher(self):
        """True if it has teacher frames."""
        return "teacher" in self.settings

    def take(self, values):
        """Returns its Settings from {name: value}; ignores names of other methods."""
        names = self.settings
        return self.settings_class(**{n: value for n, value in values.items() if n in names})

    def check(self, settings):
        """UserError where it cannot run with these Settings."""
        settings.check()

    def make(self, context):
        """Returns the Segmenter of a Context's stream."""
        raise NotImplementedError

    def preparation(self, settings, frames):
        """Returns the number of steps it takes besides its frames, for the progress bar."""
        return 0

    def origin(self, settings):
        """Returns the weights it starts from, in words; '' without any."""
        return settings.init if "init" in self.settings else ""


def define_flags(methods, names=None):
    """Defines a flag for each setting of methods that is an option.

    methods: Method objects. names: of the settings that get a flag. None: all.
    """
    found = {}
    for method in methods:
        types = typing.get_type_hints(method.settings_class)
        for field, about in options.options(method.settings_class):
            found[field.name] = (field.name, field.default, types[field.name], about)
    for name, details in found.items():
        if names is None or name in names:
            options.define_flag(*details)

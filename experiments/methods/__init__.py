"""What is compared: what segments a stream, and under which settings.

All students are the product's own (`run.make_distiller`), with its defaults; only what a row is
named for differs. METHODS are the rows of Table 2; OTHERS those of other tables; and any other
settings of the student are a method by their own name: see `variant`.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np

from experiments.methods import first_annotation, flow, oracle
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.student import initial_weights, weights
from teacher import saved_model_folder

FLOW_STRIDES = {"flow_slow": 8, "flow_fast": 16}  # §5.4
OSVOS_STRIDE = 30  # §5.5


@dataclasses.dataclass(frozen=True)
class Settings:
    """What holds for all rows; a result of other settings is not mixed with these.

    Attributes:
      teacher: what to run live on teacher frames, so that its time is measured as well; None: the
        stream's recording, with the time that it took when recorded.
      init: initial weights of every student; see `jitnet_tf.distill --init`.
      seed: of initial weights and batches.
      noise: added to every initial kernel of a variant, Gaussian, of this part of its deviation:
        how much a result owes to chance where initial weights come from a file.
      oracle_steps, oracle_epochs: the oracle takes as many training steps of BATCH_SIZE frames as
        the larger of the two asks for; an epoch is all of its frames once.
      annotation_updates: of the student that learns the first annotation alone.
      fixed_stride: frames between the teacher frames of the row of that name.
      flow: 'dis' or 'pwcnet'.
      pwcnet_dense, pwcnet_small: converted weights; see `pwcnet.load_weights`.
      osvos_weights: converted weights; see `osvos_network.load_weights`. None: random ones.
      osvos_steps, osvos_seconds: of its fine-tuning on a teacher frame; what ends first, counts.
      osvos_scale: of frames on their way into it.
    """

    teacher: str | None = None
    init: str = initial_weights.PRETRAINED
    seed: int = 0
    noise: float = 0.0
    oracle_steps: int = 500
    oracle_epochs: int = 5
    annotation_updates: int = first_annotation.UPDATES
    fixed_stride: int = 16
    flow: str = "dis"
    pwcnet_dense: str | None = None
    pwcnet_small: str | None = None
    osvos_weights: str | None = None
    osvos_steps: int = 500
    osvos_seconds: float = 30.0
    osvos_scale: float = 1.0


SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method is made for.

    Attributes:
      settings: Settings.
      label_maker: a LabelMaker.
      teacher: see `distiller.Teacher`.
      recording: the teacher on every frame.
      frame_size: (H, W).
      frames: of the stream.
      open_source: opens the stream's video once more.
      scratch: folder for what is needed only meanwhile.
      on_step: to call now and then during long preparations.
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


class NeverAdapted:
    """A schedule that never asks the teacher: the student stays as it is."""

    stride = 0

    def teacher_due(self, t):
        """No."""
        return False


def distiller(context, **changes):
    """The product's Distiller with its defaults, but for these fields of RunConfig."""
    from jitnet_tf.runs.run import make_distiller  # imports TensorFlow

    settings = context.settings
    config = RunConfig("", "", "", **{"init": settings.init, "seed": settings.seed, **changes})
    label_maker = dataclasses.replace(
        context.label_maker, box_weight=config.box_weight, box_dilation=config.box_dilation
    )
    return make_distiller(config, label_maker, context.teacher, context.frame_size)


def _jitnet(threshold):
    return lambda context: distiller(context, accuracy_threshold=threshold)


def _fixed_stride(context):
    stride = context.settings.fixed_stride
    return distiller(context, min_stride=stride, max_stride=stride)


def _frozen(student, context):
    return Distiller(student, context.teacher, context.label_maker, NeverAdapted())


def _never_adapted(context):
    return _frozen(distiller(context).student, context)


def _oracle(context):
    student, settings = distiller(context).student, context.settings
    with (
        context.open_source() as source,
        oracle.TrainingFrames(
            source,
            context.recording,
            context.label_maker,
            context.frames,
            context.scratch,
            context.on_step,
        ) as frames,
    ):
        oracle.train(
            student,
            frames,
            oracle_steps(settings, context.frames),
            RunConfig("", "", "").learning_rate,
            settings.seed,
            context.on_step,
        )
    return _frozen(student, context)


def _teacher(context):
    # A flow that is never estimated.
    return flow.FlowPropagation(None, context.teacher, context.label_maker, 1)


def _first_annotation(context):
    stream = context.stream
    student = distiller(context, learning_rate=first_annotation.LEARNING_RATE).student
    with context.open_source() as source:
        frame = next(source)
    first_annotation.teach(
        student,
        frame,
        first_annotation.read(stream.video, 0, context.frame_size),
        context.label_maker.groups.groups[stream.classes[0]][0],
        context.label_maker,
        context.settings.annotation_updates,
        context.on_step,
    )
    return _frozen(student, context)


def _flow(stride, dis_preset, pwcnet_kind):
    def make(context):
        settings = context.settings
        if settings.flow == "pwcnet":
            from experiments.methods.pwcnet import PWCNet

            weights = getattr(settings, f"pwcnet_{pwcnet_kind}")
            estimator = PWCNet(pwcnet_kind, weights, context.frame_size)
        else:
            estimator = flow.DIS(dis_preset)
        return flow.FlowPropagation(estimator, context.teacher, context.label_maker, stride)

    return make


def _osvos(keeps_weights):
    def make(context):
        from experiments.methods import osvos  # imports TensorFlow

        return osvos.make(context, OSVOS_STRIDE, keeps_weights)

    return make


STUDENT = ("init", "seed")
TAUGHT = ("teacher", *STUDENT)


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
      title: its heading.
      make: Context → what has step(frame) and `index`.
      settings: the Settings that bear on it.
      stages: of FrameResult.seconds that make up inference.
      has_speedup: whether what it costs is all in the run.
      is_jitnet: whether it costs what the paper says of JITNet.
    """

    title: str
    make: Callable
    settings: tuple[str, ...] = STUDENT
    stages: tuple[str, ...] = ("infer",)
    has_speedup: bool = True
    is_jitnet: bool = True

    @property
    def asks_teacher(self):
        """Whether there are teacher frames."""
        return "teacher" in self.settings


def _flow_method(title, stride, dis_preset, pwcnet_kind):
    make = _flow(stride, dis_preset, pwcnet_kind)
    settings = ("teacher", "flow", f"pwcnet_{pwcnet_kind}")
    return Method(title, make, settings, ("flow", "warp"), is_jitnet=False)


def _osvos_method(title, keeps_weights):
    settings = ("osvos_weights", "osvos_steps", "osvos_seconds", "osvos_scale")
    return Method(title, _osvos(keeps_weights), ("teacher", "seed", *settings), is_jitnet=False)


METHODS = {
    "never_adapted": Method("Never adapted", _never_adapted),
    "oracle": Method(
        "Offline oracle",
        _oracle,
        (*STUDENT, "oracle_steps", "oracle_epochs"),
        has_speedup=False,
    ),
    "flow_slow": _flow_method("Flow slow", FLOW_STRIDES["flow_slow"], "medium", "dense"),
    "flow_fast": _flow_method("Flow fast", FLOW_STRIDES["flow_fast"], "ultrafast", "small"),
    "fixed_stride": Method("Fixed stride, 0.8", _fixed_stride, (*TAUGHT, "fixed_stride")),
    "jitnet_0.7": Method("JITNet 0.7", _jitnet(0.7), TAUGHT),
    "jitnet_0.8": Method("JITNet 0.8", _jitnet(0.8), TAUGHT),
    "jitnet_0.9": Method("JITNet 0.9", _jitnet(0.9), TAUGHT),
}
# Of tables other than Table 2.
OTHERS = {
    "teacher": Method("Teacher", _teacher, ("teacher",), ("labels",), has_speedup=False),
    "first_annotation": Method(
        "First annotation", _first_annotation, (*STUDENT, "annotation_updates"), has_speedup=False
    ),
    "osvos_a": _osvos_method("OSVOS A", keeps_weights=True),
    "osvos_b": _osvos_method("OSVOS B", keeps_weights=False),
}
DEFAULTS = "defaults"


def named(name):
    """The Method of a name: of METHODS, of OTHERS, or a `variant`. ValueError where it is none."""
    return METHODS.get(name) or OTHERS.get(name) or variant(name)


def variant(name):
    """The student with other settings, named by them: 'max_updates=4', 'width=1.0,skip=False'.

    Settings are fields of RunConfig and of StudentConfig; 'defaults' changes none.

    Raises:
      ValueError: the name is no such list.
    """
    changes, student = {}, {}
    for setting in [] if name == DEFAULTS else name.split(","):
        field, _, text = setting.partition("=")
        for kind, found in ((RunConfig, changes), (StudentConfig, student)):
            default = {f.name: f.default for f in dataclasses.fields(kind)}.get(field)
            if isinstance(default, bool):
                found[field] = bool(["False", "True"].index(text))
            elif isinstance(default, int | float | str):
                found[field] = type(default)(text)
        if field not in changes | student:
            raise ValueError(f"{field!r} is no setting of a student")
    changes["student"] = StudentConfig(**student)
    RunConfig("", "", "", **changes)  # or it makes no sense

    def make(context):
        made, settings = distiller(context, **changes), context.settings
        if settings.noise:
            made.student.set_state(
                perturbed(made.student.get_state(), settings.noise, settings.seed)
            )
        return made

    return Method(name, make, (*TAUGHT, "noise"))


def perturbed(state, noise, seed):
    """A student's state with noise on its kernels; see `Settings`."""
    generator = np.random.default_rng(seed)
    return {
        name: value + noise * value.std() * generator.standard_normal(value.shape, np.float32)
        if name.startswith(weights.PREFIX) and value.ndim > 1
        else value
        for name, value in state.items()
    }


def relevant(settings, method):
    """The settings that bear on a method, as name → value."""
    return {name: getattr(settings, name) for name in named(method).settings}


def preparation(settings, method, frames):
    """How many steps a method takes beside its frames, on a stream of so many of them."""
    if method == "oracle":
        return frames + oracle_steps(settings, frames)
    if method.startswith("osvos"):  # not before its first frame, but by far the most of its time
        return math.ceil(frames / OSVOS_STRIDE) * settings.osvos_steps
    return settings.annotation_updates if method == "first_annotation" else 0


def oracle_steps(settings, frames):
    """The oracle's training steps on a stream of so many frames."""
    epoch = frames / oracle.FRAME_DISTANCE / oracle.BATCH_SIZE
    return max(settings.oracle_steps, round(settings.oracle_epochs * epoch))


def check(settings, names):
    """UserError where the methods `names` cannot run: no checkpoint in init, no weights of flow."""
    used = {setting for name in names for setting in named(name).settings}
    if "init" in used and settings.init != initial_weights.RANDOM:
        initial_weights.load(settings.init)
    if settings.teacher and "teacher" in used:
        saved_model_folder(settings.teacher)
    if settings.flow == "pwcnet":
        from experiments.methods.pwcnet import PWCNet  # imports TensorFlow

        for kind in ("dense", "small"):
            if f"pwcnet_{kind}" in used:
                PWCNet(kind, getattr(settings, f"pwcnet_{kind}"), (64, 64))
    if "osvos_weights" in used and settings.osvos_weights:
        from experiments.methods.osvos_network import (  # imports TensorFlow
            build_osvos,
            load_weights,
        )

        load_weights(build_osvos(), settings.osvos_weights)


def select(names, streams, known=tuple(METHODS)):
    """Splits names of methods and streams, as --only gives them: (methods, streams).

    No method among them means all of `known`, no stream all streams.

    Raises:
      UserError: a name of neither, or of both.
    """
    listed = [stream.name for stream in streams]
    for name in names:
        if name not in known and name not in listed:
            raise UserError(
                f"--only: {name!r} is neither a method ({', '.join(known)}) nor a stream "
                f"({', '.join(listed)})"
            )
        if name in known and name in listed:
            raise UserError(f"--only: {name!r} is both a method and a stream: rename the stream")
    methods = [name for name in known if name in names]
    chosen = [stream for stream in streams if stream.name in names]
    return methods or list(known), chosen or list(streams)

"""The rows of Table 2: what segments a stream, and under which settings.

All students are the product's own (`run.make_distiller`), with its defaults; only what a row is
named for differs.
"""

import dataclasses
from collections.abc import Callable

from experiments import flow, oracle
from jitnet_tf import checkpoint
from jitnet_tf.config import RunConfig
from jitnet_tf.distiller import Distiller
from jitnet_tf.errors import UserError

FLOW_STRIDES = {"flow_slow": 8, "flow_fast": 16}  # §5.4


@dataclasses.dataclass(frozen=True)
class Settings:
    """What holds for all rows; a result of other settings is not mixed with these.

    Attributes:
      init: initial weights of every student; see `jitnet_tf.distill --init`.
      seed: of initial weights and batches.
      oracle_steps: training steps of the oracle, BATCH_SIZE frames each.
      fixed_stride: frames between the teacher frames of the row of that name.
      flow: 'dis' or 'pwcnet'.
      pwcnet_dense, pwcnet_small: converted weights; see `pwcnet.load_weights`.
    """

    init: str = "random"
    seed: int = 0
    oracle_steps: int = 500
    fixed_stride: int = 16
    flow: str = "dis"
    pwcnet_dense: str | None = None
    pwcnet_small: str | None = None


SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method is made for.

    Attributes:
      settings: Settings.
      label_maker: a LabelMaker.
      teacher: a Recording.
      frame_size: (H, W).
      frames: of the stream.
      open_source: opens the stream's video once more.
      on_step: to call now and then during long preparations.
    """

    settings: Settings
    label_maker: object
    teacher: object
    frame_size: tuple[int, int]
    frames: int
    open_source: Callable
    on_step: Callable


class NeverAdapted:
    """A schedule that never asks the teacher: the student stays as it is."""

    stride = 0

    def teacher_due(self, t):
        """No."""
        return False


def _distiller(context, **changes):
    from jitnet_tf.run import make_distiller  # imports TensorFlow

    settings = context.settings
    config = RunConfig("", "", "", init=settings.init, seed=settings.seed, **changes)
    return make_distiller(config, context.label_maker, context.teacher, context.frame_size)


def _jitnet(threshold):
    return lambda context: _distiller(context, accuracy_threshold=threshold)


def _fixed_stride(context):
    stride = context.settings.fixed_stride
    return _distiller(context, min_stride=stride, max_stride=stride)


def _frozen(student, context):
    return Distiller(student, context.teacher, context.label_maker, NeverAdapted())


def _never_adapted(context):
    return _frozen(_distiller(context).student, context)


def _oracle(context):
    student, config = _distiller(context).student, RunConfig("", "", "")
    with (
        context.open_source() as source,
        oracle.TrainingFrames(
            source, context.teacher, context.label_maker, context.frames
        ) as frames,
    ):
        oracle.train(
            student,
            frames,
            context.settings.oracle_steps,
            config.learning_rate,
            context.settings.seed,
            context.on_step,
        )
    return _frozen(student, context)


def _flow(stride, dis_preset, pwcnet_kind):
    def make(context):
        settings = context.settings
        if settings.flow == "pwcnet":
            from experiments.pwcnet import PWCNet

            weights = getattr(settings, f"pwcnet_{pwcnet_kind}")
            estimator = PWCNet(pwcnet_kind, weights, context.frame_size)
        else:
            estimator = flow.DIS(dis_preset)
        return flow.FlowPropagation(estimator, context.teacher, context.label_maker, stride)

    return make


STUDENT = ("init", "seed")


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
      title: its heading.
      make: Context → what has step(frame) and `index`.
      settings: the Settings that bear on it.
      stages: of FrameResult.seconds that make up inference.
    """

    title: str
    make: Callable
    settings: tuple[str, ...] = STUDENT
    stages: tuple[str, ...] = ("infer",)


def _flow_method(title, stride, dis_preset, pwcnet_kind):
    make = _flow(stride, dis_preset, pwcnet_kind)
    return Method(title, make, ("flow", f"pwcnet_{pwcnet_kind}"), ("flow", "warp"))


METHODS = {
    "never_adapted": Method("Never adapted", _never_adapted),
    "oracle": Method("Offline oracle", _oracle, (*STUDENT, "oracle_steps")),
    "flow_slow": _flow_method("Flow slow", FLOW_STRIDES["flow_slow"], "medium", "dense"),
    "flow_fast": _flow_method("Flow fast", FLOW_STRIDES["flow_fast"], "ultrafast", "small"),
    "fixed_stride": Method("Fixed stride", _fixed_stride, (*STUDENT, "fixed_stride")),
    "jitnet_0.7": Method("JITNet 0.7", _jitnet(0.7)),
    "jitnet_0.8": Method("JITNet 0.8", _jitnet(0.8)),
    "jitnet_0.9": Method("JITNet 0.9", _jitnet(0.9)),
}


def relevant(settings, method):
    """The settings that bear on a method, as name → value."""
    return {name: getattr(settings, name) for name in METHODS[method].settings}


def preparation(settings, method):
    """How many steps a method takes before its first frame."""
    return settings.oracle_steps if method == "oracle" else 0


def check(settings, names):
    """UserError where the methods `names` cannot run: no checkpoint in init, no weights of flow."""
    if settings.init != "random":
        checkpoint.load(settings.init)
    if settings.flow == "pwcnet":
        from experiments.pwcnet import check_weights

        for kind in ("dense", "small"):
            if any(f"pwcnet_{kind}" in METHODS[name].settings for name in names):
                check_weights(kind, getattr(settings, f"pwcnet_{kind}"))


def select(names, streams):
    """Splits names of methods and streams, as --only gives them: (methods, streams).

    No method among them means all methods, no stream all streams.

    Raises:
      UserError: a name of neither, or of both.
    """
    known = [stream.name for stream in streams]
    for name in names:
        if name not in METHODS and name not in known:
            raise UserError(
                f"--only: {name!r} is neither a method ({', '.join(METHODS)}) nor a stream "
                f"({', '.join(known)})"
            )
        if name in METHODS and name in known:
            raise UserError(f"--only: {name!r} is both a method and a stream: rename the stream")
    methods = [name for name in METHODS if name in names]
    chosen = [stream for stream in streams if stream.name in names]
    return methods or list(METHODS), chosen or list(streams)

"""The flags of a student's configuration, and what `--resume` makes of them."""

import dataclasses
import os

from absl import flags

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import INPUT_NORMALIZATIONS, STUDENTS, StudentConfig
from jitnet_tf.runs import directory
from teacher import split_spec

FLAGS = flags.FLAGS


def define_label_flags(defaults):
    """Defines the flags of what the student learns; defaults: a configuration."""
    flags.DEFINE_string(
        "class_groups",
        defaults.class_groups,
        "Classes: 'lvs' (the paper's eight), 'coco' (all 80), or a file of lines such as "
        "'auto = car, bus, truck'.",
    )
    flags.DEFINE_float(
        "score_threshold", defaults.score_threshold, "Confidence from which an instance is a label."
    )
    flags.DEFINE_float(
        "box_weight", defaults.box_weight, "Loss weight inside boxes (EastGit0: 10)."
    )
    flags.DEFINE_float(
        "box_dilation",
        defaults.box_dilation,
        "Part of its size that a box grows by on every side (ShadowTutor: .075).",
    )


def define_student_flags(defaults):
    """Defines the flags of the student and of how it is computed; defaults: a configuration."""
    s = StudentConfig()
    flags.DEFINE_string(
        "init",
        defaults.init,
        "Initial weights: 'pretrained' (they come with this package), 'random', the folder of an "
        "earlier run or pretraining, or a checkpoint file. Where its classes are others, all but "
        "the last layer.",
    )
    flags.DEFINE_integer("seed", defaults.seed, "Seed of all that is random.", lower_bound=0)
    flags.DEFINE_enum("student", s.student, STUDENTS, "Architecture of the student.")
    flags.DEFINE_float("width", s.width, "Channel multiplier of JITNet.")
    flags.DEFINE_integer("units", s.units, "Residual units in each of its blocks.")
    flags.DEFINE_bool("skip", s.skip, "Skip connections from encoder to decoder.")
    flags.DEFINE_bool("separable", s.separable, "Depthwise separable 3×3 convolutions.")
    flags.DEFINE_enum(
        "normalization",
        s.normalization,
        ["frame", "moving"],
        "Normalise by each frame's own statistics, or by moving averages.",
    )
    flags.DEFINE_float(
        "input_scale",
        s.input_scale,
        "Scale of frames on their way into the student; its class maps keep the frames' size.",
    )
    flags.DEFINE_enum(
        "input_normalization",
        s.input_normalization,
        INPUT_NORMALIZATIONS,
        "Pixels as the student's first layer gets them: centred, -1…1; raw, 0…255 (the paper's "
        "authors); standardised, by mean and deviation of each color (EastGit0).",
    )
    flags.DEFINE_enum(
        "precision",
        s.precision,
        ["float32", "bfloat16", "auto"],
        "Arithmetic between weights and logits; auto: bfloat16 where hardware has units for it.",
    )
    flags.DEFINE_enum(
        "xla",
        defaults.xla,
        ["auto", "on", "off"],
        "Compile by XLA; auto: on a GPU, and elsewhere only class ids and loss; off: not these.",
    )


def absolute(spec):
    """A path, or a teacher's prefix and path, made absolute where it exists.

    A resumed run finds its files from any folder.
    """
    prefix, path = split_spec(spec)
    return prefix + os.path.abspath(path) if os.path.exists(path) else spec


def values(kind, given):
    """The flags as arguments of a configuration.

    kind: the configuration's class, whose fields have the flags' names. given: (name, flag's
    value) → the field's value.
    """
    student_fields = _fields(StudentConfig)
    student = {name: given(name, FLAGS[name].value) for name in student_fields}
    fields = (name for name in _fields(kind) if name != "student")
    others = {name: given(name, FLAGS[name].value) for name in fields}
    return {**others, "student": StudentConfig(**student)}


def _fields(kind):
    return [field.name for field in dataclasses.fields(kind)]


def config_to_resume(kind):
    """The configuration, a `kind`, of what is in --logdir, to go on with. Raises UserError."""
    if FLAGS.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if not FLAGS.logdir:
        raise UserError("--resume needs the run's --logdir")
    return directory.load_config(FLAGS.logdir, kind)


def check_unchanged(config, given, *free):
    """UserError for a flag that contradicts the configuration to go on with.

    given: as for `values`. free: flags that do not bear on what was done so far.
    """
    for name, known in {**config.flat(), "logdir": FLAGS.logdir}.items():
        if not FLAGS[name].present or name in free:
            continue
        value = given(name, FLAGS[name].value)
        if value != known:
            raise UserError(
                f"--resume: the run in {FLAGS.logdir!r} has --{name}={known}, not {value}: leave "
                "the flag out, or start another run"
            )

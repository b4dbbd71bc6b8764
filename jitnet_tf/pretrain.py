"""Trains a student on annotated photographs, from which runs of distillation then start.

    python -m jitnet_tf.pretrain --annotations=instances_train2017.json --images=train2017 \\
        --validation_annotations=instances_val2017.json --validation_images=val2017 \\
        --logdir=runs/pretraining
    python -m jitnet_tf.pretrain --labels=labels --images=pictures --logdir=runs/pretraining
    python -m jitnet_tf.pretrain --photographs=photos --teacher=path/to/saved_model --holdout=.1 \\
        --logdir=runs/pretraining
    python -m jitnet_tf.distill --init=runs/pretraining --video=street.mp4 …

Interrupted, `--resume --logdir=…` goes on. `--flagfile=flags/pretrain_authors.flags` is the recipe
of the paper's authors.
"""

import dataclasses
import sys

from absl import flags

from jitnet_tf.base import checkpoint, command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import PretrainConfig
from jitnet_tf.flags import (
    absolute,
    check_unchanged,
    config_to_resume,
    define_label_flags,
    define_student_flags,
    values,
)
from jitnet_tf.labels import PRESETS
from jitnet_tf.runs.summary import percent
from jitnet_tf.student import initial_weights

FLAGS = flags.FLAGS
# Photographs, and the one or other thing that labels them.
LABELLED = {
    "images": ("annotations", "labels"),
    "photographs": ("teacher",),
    "validation_images": ("validation_annotations", "validation_labels"),
}
PATHS = (*LABELLED, *(name for names in LABELLED.values() for name in names), "init")
PATHS += ("class_groups",)
WORDS = {
    "init": (initial_weights.RANDOM, initial_weights.PRETRAINED),
    "class_groups": tuple(PRESETS),
}
SHOWN_PROBLEMS = 10


def define_flags():
    """Defines this command's flags; their names are the fields of PretrainConfig."""
    d = PretrainConfig("")
    # What to learn from.
    flags.DEFINE_string("annotations", None, "Detections in COCO's format, .json.")
    flags.DEFINE_string(
        "labels",
        None,
        "Or a folder of PNGs of class ids, named as the photographs are: some/name.png for "
        "some/name.jpg. Id 255 does not count.",
    )
    flags.DEFINE_list(
        "label_classes",
        d.label_classes,
        "Names of the ids 0, 1, … of folders of labels without a classes.json. Names of no class "
        "of the student are background; 'ignore' does not count.",
    )
    flags.DEFINE_string("images", None, "Folder of the photographs of --annotations or --labels.")
    flags.DEFINE_string("photographs", None, "Folder of photographs without annotations.")
    flags.DEFINE_string(
        "teacher",
        None,
        "What labels --photographs: SavedModel folder, zoo:NAME, or annotated:FILE, which "
        "teacher.annotate wrote.",
    )
    flags.DEFINE_float(
        "photographs_rate",
        d.photographs_rate,
        "Share of --photographs among the samples, where there are --annotations, too.",
    )
    flags.DEFINE_float(
        "holdout", d.holdout, "Part of the photographs kept from training, to judge it on."
    )
    flags.DEFINE_string("validation_annotations", None, "As --annotations, to judge it on.")
    flags.DEFINE_string("validation_labels", None, "Or as --labels, to judge it on.")
    flags.DEFINE_string("validation_images", None, "Folder of their photographs.")
    flags.DEFINE_string("logdir", None, "Folder for everything that is written.")
    flags.DEFINE_bool("resume", False, "Go on with what is in --logdir from its checkpoint.")
    flags.DEFINE_bool("overwrite", False, "Replace the pretraining in --logdir.")
    define_label_flags(d)
    define_student_flags(d)
    # How the photographs are varied.
    flags.DEFINE_integer("crop", d.crop, "Side of the square crops in pixels.")
    flags.DEFINE_float("min_scale", d.min_scale, "Least scale of a photograph before cropping.")
    flags.DEFINE_float("max_scale", d.max_scale, "Greatest scale of a photograph.")
    flags.DEFINE_float("stretch", d.stretch, "Greatest change of the aspect, a ratio.")
    flags.DEFINE_bool("flip", d.flip, "Mirror every other crop.")
    flags.DEFINE_float(
        "color", d.color, "Greatest relative change of brightness, contrast and saturation."
    )
    # How it is trained.
    flags.DEFINE_integer("steps", d.steps, "Steps of training in all.")
    flags.DEFINE_integer("batch_size", d.batch_size, "Crops a step, on all devices together.")
    flags.DEFINE_bool(
        "half_size_loss",
        d.half_size_loss,
        "Compare every second row and column of JITNet's labels: a quarter faster.",
    )
    flags.DEFINE_float("learning_rate", d.learning_rate, "Of AdamW, at its greatest.")
    flags.DEFINE_float("epsilon", d.epsilon, "Of AdamW.")
    flags.DEFINE_float("weight_decay", d.weight_decay, "Of AdamW.")
    flags.DEFINE_integer("warmup", d.warmup, "Steps over which the learning rate rises.")
    flags.DEFINE_float(
        "cooldown", d.cooldown, "Part of the steps, the last, over which it falls to 0."
    )
    flags.DEFINE_float("ema_decay", d.ema_decay, "Decay of the moving average of the weights.")
    flags.DEFINE_integer("checkpoint_every", d.checkpoint_every, "Steps between checkpoints.")
    flags.DEFINE_integer("validate_every", d.validate_every, "Steps between validations.")


def given(name, value):
    """A flag's value as PretrainConfig holds it."""
    if name == "label_classes":
        return tuple(value)
    is_word = value in WORDS.get(name, ())
    return absolute(value) if name in PATHS and value and not is_word else value


def new_config(logdir):
    """The PretrainConfig that the flags describe; UserError where they cannot be meant so."""
    if not logdir:
        raise UserError("--logdir is missing: give a folder for everything that is written")
    for photographs, labels in LABELLED.items():
        given_labels = [name for name in labels if FLAGS[name].value is not None]
        if len(given_labels) != (FLAGS[photographs].value is not None):
            either = " or ".join(f"--{name}" for name in labels)
            raise UserError(f"--{photographs} and {either} go together: give one each, or none")
    if FLAGS.images is None and FLAGS.photographs is None:
        raise UserError("nothing to learn from: give --images or --photographs, or both")
    if FLAGS.label_classes and FLAGS.labels is None and FLAGS.validation_labels is None:
        raise UserError("--label_classes is for --labels or --validation_labels: leave it out")
    return PretrainConfig(**{**values(PretrainConfig, given), "logdir": logdir})


def resumed_config():
    """The PretrainConfig of what is in --logdir; UserError for a flag that contradicts it."""
    config = config_to_resume(PretrainConfig)
    check_unchanged(config, given, "steps")
    steps = FLAGS.steps if FLAGS["steps"].present else config.steps
    return dataclasses.replace(config, logdir=FLAGS.logdir, steps=steps)


def main(argv):
    """See the module."""
    del argv
    config = resumed_config() if FLAGS.resume else new_config(FLAGS.logdir)
    # Only now: TensorFlow takes seconds, which a mistyped flag should not.
    command_line.import_tensorflow()
    from jitnet_tf.pretraining import session

    summary = session.run(config, resume=FLAGS.resume, overwrite=FLAGS.overwrite)
    print(report(summary))
    print(f"watch it with       tensorboard --logdir={config.logdir}")
    print(f"start from it with  --init={config.logdir}")
    if summary["complete"]:
        print(f"pass on             {config.logdir}/{checkpoint.WEIGHTS}")
    if not summary["complete"]:
        print(f"stopped early; go on with --resume --logdir={config.logdir}")
        sys.exit(command_line.EXIT_INTERRUPTED)


def report(summary):
    """The summary as lines of text."""
    lines = [f"{summary['steps']} steps in {summary['seconds']:.0f} s"]
    if "validation" in summary:
        validation = summary["validation"]
        lines.append(f"mean IoU on held-out photographs  {percent(validation['mean_iou'])}")
        lines += [f"  {name:<32}{percent(iou)}" for name, iou in validation["class_iou"].items()]
    problems = summary["problems"]
    lines += [f"skipped {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    if problems:
        lines.append(f"{len(problems)} photographs skipped in all")
    return "\n".join(lines)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

"""Trains a student on labeled images, from which distillations then start.

    python -m jitnet_tf.pretrain --annotations=instances_train2017.json --images=train2017 \\
        --validation_annotations=instances_val2017.json --validation_images=val2017 \\
        --logdir=runs/pretraining
    python -m jitnet_tf.pretrain --labels=labels --images=images --logdir=runs/pretraining
    python -m jitnet_tf.pretrain --unlabeled_images=photos --teacher=path/to/saved_model \\
        --holdout=.1 --logdir=runs/pretraining
    python -m jitnet_tf.distill --init=runs/pretraining --video=street.mp4 …

Interrupted, `--resume --logdir=…` continues. `--flagfile=flags/pretrain_authors.flags` is the
recipe of the paper's authors.
"""

import sys

from absl import flags

from jitnet_tf.base import checkpoint, command_line, shell
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import PretrainConfig
from jitnet_tf.flags import define_flags as define_flags_of
from jitnet_tf.flags import resumed_config, values
from jitnet_tf.runs import directory
from jitnet_tf.runs.summary import percent

FLAGS = flags.FLAGS
# Images, and the alternatives that label them.
LABELS_OF = {
    "images": ("annotations", "labels"),
    "unlabeled_images": ("teacher",),
    "validation_images": ("validation_annotations", "validation_labels"),
}
SHOWN_PROBLEMS = 10


def define_flags():
    """Defines the flags, one for each option of PretrainConfig."""
    define_flags_of(PretrainConfig)


def new_config():
    """Returns the PretrainConfig that the flags describe. UserError where they make no sense."""
    given = values(PretrainConfig)
    if not given["logdir"]:
        raise UserError("--logdir is missing: give a folder for everything that is written")
    for images, labels in LABELS_OF.items():
        given_labels = [name for name in labels if given[name] is not None]
        if len(given_labels) != (given[images] is not None):
            either = " or ".join(f"--{name}" for name in labels)
            raise UserError(f"--{images} and {either} go together: give one each, or none")
    if given["images"] is None and given["unlabeled_images"] is None:
        raise UserError("nothing to learn from: give --images or --unlabeled_images, or both")
    if given["label_classes"] and given["labels"] is None and given["validation_labels"] is None:
        raise UserError("--label_classes is for --labels or --validation_labels: leave it out")
    return PretrainConfig(**given)


def main():
    """Runs or resumes a pretraining and prints its report."""
    config = resumed_config(PretrainConfig) if FLAGS.resume else new_config()
    # Only now: TensorFlow takes seconds to import, and flag errors should not.
    command_line.import_tensorflow()
    from jitnet_tf.pretraining import session

    summary = session.run(config, resume=FLAGS.resume, overwrite=FLAGS.overwrite)
    print(report(summary))
    print(f"watch it with       tensorboard {shell.flag('logdir', config.logdir)}")
    print(f"start from it with  {shell.flag('init', config.logdir)}")
    if summary["complete"]:
        print(f"pass on             {config.logdir}/{checkpoint.WEIGHTS}")
    else:
        print(f"stopped early; continue with {directory.resume_flags(config)}")
        sys.exit(command_line.EXIT_INTERRUPTED)


def report(summary):
    """The summary as lines of text."""
    lines = [f"{summary['steps']} steps in {summary['seconds']:.0f} s"]
    if "validation" in summary:
        validation = summary["validation"]
        lines.append(f"mean IoU on held-out images  {percent(validation['mean_iou'])}")
        lines += [f"  {name:<32}{percent(iou)}" for name, iou in validation["class_iou"].items()]
    problems = summary["problems"]
    lines += [f"note: {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"{len(problems)} such notes in all, see {directory.SUMMARY}")
    return "\n".join(lines)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

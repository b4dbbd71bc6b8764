"""Checks before a run writes anything: paths, sinks, classes."""

from jitnet_tf.base.errors import UserError
from jitnet_tf.runs import directory
from jitnet_tf.sinks.registry import SINKS
from jitnet_tf.student import initial_weights
from teacher import split_spec


def check_paths_distinct(config):
    """Raises UserError if a RunConfig would write over its input."""
    directory.check_paths_distinct(
        {
            "video": config.video,
            "teacher": split_spec(config.teacher)[1],
            "reference": config.reference,
            "init": config.init,
        },
        {"logdir": config.logdir, "output": config.overlay_path, "masks": config.masks},
    )


def check_sink_names(further):
    """Raises ValueError if sinks beside the product's own have no name, or one that is taken."""
    names = [*SINKS, *(getattr(sink, "name", None) for sink in further)]
    if None in names or len(set(names)) < len(names):
        raise ValueError(f"sinks need names of their own: {names}")


def check_classes(config, groups, progress):
    """Raises UserError for unknown classes to evaluate, or classes other than a checkpoint's."""
    for name in config.evaluated_classes:
        if name not in groups.names[1:]:
            raise UserError(
                f"--evaluated_classes: {name!r} is not among {', '.join(groups.names[1:])}"
            )
    now = initial_weights.describe(groups, config.student)["groups"]
    if progress.get("groups", now) != now:
        raise UserError(
            f"--resume: the class groups in {config.class_groups!r} are no longer those of the "
            "run: start another run"
        )


def check_max_frames(config, progress):
    """Raises UserError if a run to resume has taken more frames than it is to take."""
    if config.max_frames is not None and config.max_frames < progress["frames"]:
        raise UserError(
            f"--max_frames={config.max_frames}: {progress['frames']} are done already: give a "
            "greater number, or leave the flag out"
        )

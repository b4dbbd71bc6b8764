"""Checks before a run writes anything: paths, sinks, classes."""

from jitnet_tf.base.errors import UserError
from jitnet_tf.config.names import ASYNC
from jitnet_tf.runs import directory
from jitnet_tf.sinks.registry import SINKS
from jitnet_tf.student import initial_weights
from teacher import Teacher, split_spec
from teacher.python_function import CallableTeacher


def check_paths_distinct(config):
    """Raises UserError if a RunConfig would write over its input."""
    directory.check_paths_distinct(
        {
            "video": config.video,
            "teacher": split_spec(config.teacher)[1],
            "reference": config.reference,
            "init": config.init,
            "ignore_mask": config.ignore_mask,
        },
        {
            "logdir": config.logdir,
            "output": config.overlay_path,
            "masks": config.masks,
            "export_dir": config.export_dir,
        },
    )


def check_sink_names(further):
    """Raises ValueError if sinks beside the product's own have no name, or one that is taken."""
    names = [*SINKS, *(getattr(sink, "name", None) for sink in further)]
    if None in names or len(set(names)) < len(names):
        raise ValueError(f"sinks need names of their own: {names}")


def own_teacher(config, teacher):
    """Returns a caller's own teacher as a Teacher; None for the one that config.teacher names.

    Raises:
      UserError: both are given, or neither, or the teacher does not run as the configuration says.
    """
    if teacher is None and not config.teacher:
        raise UserError(
            "the teacher is missing: give its name in RunConfig(teacher=…), or Run(…, teacher=…), "
            "as the program did that started the run"
        )
    if teacher is None:
        return None
    if config.teacher:
        raise UserError(
            f"RunConfig(teacher={config.teacher!r}) and Run(…, teacher=…): give only one of them"
        )
    config.teacher_options.check_unused("a teacher in Python")
    if config.teacher_mode == ASYNC and not hasattr(teacher, "ask"):
        raise UserError(
            "teacher_mode='async' is for teachers that a process of their own opens by name: leave "
            "it out with a teacher in Python"
        )
    is_teacher = Teacher in type(teacher).__mro__  # a protocol, which isinstance does not take
    return teacher if is_teacher else CallableTeacher(teacher)


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

"""The distiller of a configuration."""

from jitnet_tf.base import registry
from jitnet_tf.config.names import ASYNC, CUT, GATE, TEACHER_FRAME, TEACHER_SHOWN, UPDATE_POLICIES
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.outputs.fused import FusedOutput
from jitnet_tf.distillation.outputs.student import StudentOutput
from jitnet_tf.distillation.schedules.budget import BudgetSchedule
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.schedules.triggers import CutTrigger, NoveltyTrigger
from jitnet_tf.student.build import build_student


def make_distiller(config, label_maker, teacher, frame_size):
    """Makes student, schedule, update policy and output as a RunConfig describes them.

    See `Distiller`. teacher: a `ProcessTeacher` if config.teacher_mode is ASYNC.
    """
    ignored = label_maker.ignored
    student = build_student(config, label_maker.groups, frame_size, ignored)
    num_classes = len(label_maker.groups.names)
    return Distiller(
        student,
        teacher,
        label_maker,
        make_schedule(config),
        registry.load(UPDATE_POLICIES, config.update_policy).of(config, frame_size, num_classes),
        make_output(config, student, frame_size, num_classes, ignored),
        [CutTrigger(ignored) if name == CUT else NoveltyTrigger() for name in config.triggers],
        shows_teacher=config.shown == TEACHER_SHOWN,
        looks_ahead=config.lookahead,
        asynchronous=config.teacher_mode == ASYNC,
        max_staleness=config.max_staleness,
    )


def make_schedule(config):
    """Makes the paper's schedule, or one with a budget."""
    limits = {
        "accuracy_threshold": config.accuracy_threshold,
        "max_updates": config.max_updates,
        "min_stride": config.min_stride,
        "max_stride": config.max_stride,
    }
    if config.teacher_budget:
        return BudgetSchedule(**limits, budget=config.teacher_budget)
    return Schedule(**limits, from_teacher_frame=config.stride_from == TEACHER_FRAME)


def make_output(config, student, frame_size, num_classes, ignored=None):
    """Makes the output: the student's prediction, or the one fused with warped labels."""
    if config.fusion == GATE:
        return FusedOutput(
            student, frame_size, num_classes, config.infer_every, config.seed, ignored
        )
    return StudentOutput(student)

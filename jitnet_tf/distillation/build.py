"""The distiller of a configuration."""

from jitnet_tf.base import registry
from jitnet_tf.config import ASYNC, UPDATE_POLICIES
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.schedule import Schedule
from jitnet_tf.student.build import build_student


def make_distiller(config, label_maker, teacher, frame_size):
    """Makes student, schedule and update policy as a RunConfig describes them; see `Distiller`.

    teacher: a `ProcessTeacher` if config.teacher_mode is ASYNC.
    """
    schedule = Schedule(
        config.accuracy_threshold, config.max_updates, config.min_stride, config.max_stride
    )
    return Distiller(
        build_student(config, label_maker.groups, frame_size),
        teacher,
        label_maker,
        schedule,
        registry.load(UPDATE_POLICIES, config.update_policy).of(config),
        asynchronous=config.teacher_mode == ASYNC,
        max_staleness=config.max_staleness,
    )

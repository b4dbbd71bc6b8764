"""Shared fixtures of the tests of methods."""

import numpy as np
import pytest

from experiments.methods import Context, named
from jitnet_tf.distillation import build
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.labels import LabelMaker, class_groups


class Student:
    """Predicts one class everywhere."""

    def infer(self, frame):
        return np.ones(frame.shape[:2], np.uint8)


@pytest.fixture
def made(monkeypatch):
    """Makes a method by name with a fake student; returns (its RunConfig or None, segmenter)."""
    configs = []

    def make_distiller(config, label_maker, teacher, frame_size):
        configs.append(config)
        schedule = Schedule(
            config.accuracy_threshold, config.max_updates, config.min_stride, config.max_stride
        )
        return Distiller(made.student, teacher, label_maker, schedule)

    monkeypatch.setattr(build, "make_distiller", make_distiller)

    def made(name, **settings):
        configs.clear()
        method, label_maker = named(name), LabelMaker(class_groups("lvs"))
        context = Context(
            method.take(settings), label_maker, "teacher", "recording", (64, 96), 9, *4 * [None]
        )
        segmenter = method.make(context)
        return (configs or [None])[0], segmenter

    made.student = Student()
    return made

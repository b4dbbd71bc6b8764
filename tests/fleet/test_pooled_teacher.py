"""A stream's end of the pool, with a dispatcher that answers when told to."""

import concurrent.futures
import threading

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install .[fleet]")

from jitnet_tf.fleet import pooled_teacher
from jitnet_tf.fleet.dispatch import Question
from jitnet_tf.fleet.pooled_teacher import PooledTeacher, StoppedError
from teacher.base import TeacherError

FRAME = np.zeros((4, 6, 3), np.uint8)


class Method:
    """A method of an actor's handle: calls return what has `future`."""

    def __init__(self):
        self.calls, self.futures = [], []

    def remote(self, *arguments):
        self.calls.append(arguments)
        self.futures.append(concurrent.futures.Future())
        return self

    def future(self):
        return self.futures[-1]


class Dispatcher:
    def __init__(self):
        self.ask, self.describe = Method(), Method()


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(pooled_teacher.ray, "put", lambda frame: "kept")
    return Dispatcher()


def opened(pool, stopping=None):
    """A PooledTeacher, whose description is there already."""
    answer = concurrent.futures.Future()
    answer.set_result((({1: "person"}, ["a note"]), None))
    pool.describe.future = lambda: answer
    return PooledTeacher("gate", "model", pool, stopping or threading.Event(), budget=0.04)


def test_names_and_problems_are_the_pools(pool):
    teacher = opened(pool)
    assert (teacher.names, teacher.problems) == ({1: "person"}, ["a note"])
    assert pool.describe.calls == [("gate",)]
    assert (teacher.precomputed, teacher.local) == (False, None)


def test_answers_come_with_the_teachers_time(pool):
    teacher = opened(pool)
    answer = teacher.ask(FRAME, 7)
    assert pool.ask.calls == [(Question("gate", ["kept"], 7, None, 0.04),)]
    assert not answer.done()
    pool.ask.futures[0].set_result(((("detections", 0.25), ["another"]), None))
    assert answer.result() == ("detections", 0.25)
    assert teacher.problems == ["another"]


def test_errors_of_the_teacher_and_of_ray_are_raised(pool):
    teacher = opened(pool)
    answers = [teacher.ask(FRAME, index) for index in (0, 8, 16)]
    pool.ask.futures[0].set_result((None, TeacherError("bad", 0)))
    pool.ask.futures[1].set_exception(RuntimeError("lost"))
    pool.ask.futures[2].cancel()
    pool.ask.futures[2].set_running_or_notify_cancel()
    for answer, kind in zip(
        answers, (TeacherError, RuntimeError, concurrent.futures.CancelledError), strict=True
    ):
        with pytest.raises(kind):
            answer.result()


def test_the_loss_of_accuracy_goes_with_the_next_question(pool, monkeypatch):
    """Also if that is asked in the step in which the training on the last one ends."""
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(pooled_teacher.time, "monotonic", lambda: next(clock))
    teacher = opened(pool)
    teacher.ask(FRAME, 0)
    teacher.ask(FRAME, 9)
    teacher.learned(0, None, 0.9)
    teacher.learned(9, 0.5, 0.9)  # .4 in 10 seconds
    teacher.ask(FRAME, 18)
    decays = [question.decay for (question,) in pool.ask.calls]
    assert decays == [None, None, pytest.approx(0.04)]
    teacher.learned(18, 0.5, 0.9)
    teacher.learned(0, 0.1, 0.9)  # long forgotten


@pytest.mark.parametrize("opening", [True, False])
def test_waiting_ends_when_the_stream_is_to_stop(pool, opening):
    stopping = threading.Event()
    teacher = None if opening else opened(pool, stopping)
    timer = threading.Timer(0.1, stopping.set)
    timer.start()
    with pytest.raises(StoppedError):
        PooledTeacher("gate", "model", pool, stopping, 1.0) if opening else teacher(FRAME, 0)
    timer.join()

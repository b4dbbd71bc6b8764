"""The asynchronous distiller against traces worked out by hand; answers come when told to."""

import threading

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.config.names import ASYNC
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.training import DivergedError
from jitnet_tf.runs.summary import Statistics
from tests.distillation.scripted import (
    MAKER,
    PERSON,
    SIZE,
    TEACHER_SECONDS,
    ScriptedStudent,
    frame,
    prediction,
)


def student_of(script, losses=None):
    """Finds on new frames as many pixels as it has had updates."""
    student = ScriptedStudent(script, lambda: len(student.updated_with), losses)
    return student


def distiller_of(student, max_staleness=64, **options):
    schedule = Schedule(**{"min_stride": 2, "max_stride": 8, "max_updates": 2, **options})
    return Distiller(
        student, student, MAKER, schedule, asynchronous=True, max_staleness=max_staleness
    )


def steps(distiller, student, first, end, answers=()):
    """Takes frames first…end - 1; `answers`: before which frame which request is answered."""
    results, logs = [], []
    for t in range(first, end):
        if t in dict(answers):
            student.answer(dict(answers)[t])
        student.log.clear()
        results.append(distiller.step(frame(t)))
        logs.append(" ".join(student.log))
    return results, logs


# δ from 2 to 8, at most 2 updates a teacher frame, threshold .8
SCRIPT = [3, 5, 9, 8, 2, 10]
ANSWERS = {3: 0, 6: 5, 8: 7}
LOGS = [
    "I0 T0",  # the first frame always
    "I1",
    "I2",  # due again, but one is in flight
    "I3 A0 U0",  # answered: training is on the frame that was asked about
    "I4 A0 U0",
    "I5 A0 T5",  # the most updates; .9 > .8: δ = 4, which have passed since 0
    "I6 A5",  # .8 is enough to need no update, and not for a longer stride: δ = 2
    "I7 T7",  # two frames after 5
    "I8 A7 U7",
    "I9 A7",  # δ = 4: not before 11
    "I10",
    "I11 T11",
    "I12",
]


@pytest.fixture
def trace():
    student = student_of(SCRIPT)
    results, logs = steps(distiller_of(student), student, 0, len(LOGS), ANSWERS.items())
    assert next(student.script, None) is None, "fewer attempts than worked out"
    return student, results, logs


def test_a_stream_worked_out(trace):
    _, results, logs = trace
    assert logs == LOGS
    assert [result.index for result in results] == list(range(len(LOGS)))
    assert [result.stride for result in results] == [2, 2, 2, 2, 2, 4, 2, 2, 2, 4, 4, 4, 4]
    assert [r.index for r in results if r.teacher] == [5, 6, 9]
    trained = [result.teacher for result in results if result.teacher]
    assert [t.index for t in trained] == [0, 5, 7]
    assert [t.staleness for t in trained] == [3, 1, 1]
    assert [t.accuracy_before for t in trained] == [0.3, 0.8, 0.2]
    assert [t.accuracy_after for t in trained] == [0.9, 0.8, 1.0]
    assert [t.losses for t in trained] == [(1, 1 / 2), (), (1 / 3,)]
    assert [int(t.confusion[1, 1]) for t in trained] == [3, 8, 2]
    # No prediction had the help of the teacher's labels of its own frame.
    assert not any(result.is_teacher_frame for result in results)


def test_the_teacher_part_is_of_the_teachers_frame(trace):
    student, results, _ = trace
    for result, k in zip([r for r in results if r.teacher], (9, 8, 10), strict=True):
        np.testing.assert_array_equal(result.frame, frame(result.index))
        np.testing.assert_array_equal(result.teacher.frame, frame(result.teacher.index))
        np.testing.assert_array_equal(result.teacher.prediction, prediction(k))
        np.testing.assert_array_equal(result.teacher.labels, prediction(10))
    for t, (seen, labels, weights) in zip((0, 0, 7), student.updated_with, strict=True):
        np.testing.assert_array_equal(seen, frame(t))
        np.testing.assert_array_equal(labels, prediction(10))
        np.testing.assert_array_equal(weights, MAKER.weights(PERSON, SIZE))


def test_training_under_way_is_not_reported(trace):
    for result in (trace[1][3], trace[1][4], trace[1][10]):
        assert (result.teacher, result.updates) == (None, 0)


def test_predictions_are_from_before_the_updates_of_their_step(trace):
    updates = [0, 0, 0, 0, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    for result, k in zip(trace[1], updates, strict=True):
        np.testing.assert_array_equal(result.prediction, prediction(k))


def test_stages_are_timed(trace):
    _, results, _ = trace
    assert set(results[2].seconds) == {"infer"}
    assert set(results[3].seconds) == {"infer", "labels", "update"}
    assert set(results[4].seconds) == {"infer", "update"}
    assert set(results[5].seconds) == {"infer", "trial", "teacher"}
    assert results[5].seconds["teacher"] == TEACHER_SECONDS
    assert all(result.latency == result.seconds["infer"] for result in results)


def test_statistics_count_teacher_frames_when_training_has_ended(trace):
    """The stream ends after each of its frames in turn."""
    _, results, _ = trace
    expected = {3: (0, 0, None, 0), 5: (0, 0, None, 0), 6: (1, 2, 3, 3), 7: (2, 2, 2, 3)}
    expected |= {9: (2, 2, 2, 3), 10: (3, 3, 5 / 3, 3), 13: (3, 3, 5 / 3, 3)}
    for end, (teacher_frames, updates, mean, most) in expected.items():
        statistics = Statistics(teacher_mode=ASYNC)
        for result in results[:end]:
            statistics.add(result)
        summary = statistics.summary()
        assert (summary["frames"], summary["teacher_frames"]) == (end, teacher_frames)
        assert (summary["updates"], summary["staleness"]) == (updates, {"mean": mean, "max": most})
        seconds = TEACHER_SECONDS if teacher_frames else None
        assert summary["teacher_seconds_per_frame"] == seconds


def test_a_late_answer_is_not_asked_for_again():
    student = student_of([9])
    _, logs = steps(distiller_of(student), student, 0, 60)
    assert logs == ["I0 T0", *(f"I{t}" for t in range(1, 60))]


def test_an_answer_is_waited_for_at_max_staleness():
    student = student_of([9])
    distiller = distiller_of(student, max_staleness=3)
    steps(distiller, student, 0, 3)
    frame_is_segmented = threading.Event()
    student.on_infer = lambda t: frame_is_segmented.set()

    def answer_late():
        frame_is_segmented.wait()
        student.answer(0)

    thread = threading.Thread(target=answer_late)
    thread.start()
    [result], logs = steps(distiller, student, 3, 4)
    thread.join()
    assert logs == ["I3 A0"]
    assert (result.teacher.staleness, result.teacher.index) == (3, 0)
    assert "wait" in result.seconds
    assert result.latency == result.seconds["infer"]


def test_nothing_waits_before_max_staleness():
    student = student_of([])
    results, _ = steps(distiller_of(student, max_staleness=9), student, 0, 9)
    assert all(set(result.seconds) == {"infer"} for result in results)


def test_max_staleness_of_one_is_the_next_frame():
    student = student_of([9, 9])
    distiller = distiller_of(student, max_staleness=1, max_stride=2)
    distiller.step(frame(0))
    results, logs = steps(distiller, student, 1, 4, {1: 0, 3: 2}.items())
    assert logs == ["I1 A0", "I2 T2", "I3 A2"]
    assert [r.teacher.staleness if r.teacher else None for r in results] == [1, None, 1]
    assert "wait" in results[0].seconds


def test_a_teacher_that_fails_leaves_the_stream_before_the_frame():
    student = student_of([9])
    distiller = distiller_of(student)
    steps(distiller, student, 0, 2)
    before = distiller.get_state()
    student.requests[0].set_exception(UserError("it failed"))
    for _ in range(2):
        with pytest.raises(UserError, match="it failed"):
            distiller.step(frame(2))
        assert distiller.get_state() == before
    assert not student.updated_with


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_divergence_names_the_teachers_frame(loss):
    student = student_of([3, 3], losses=iter([0.5, loss]))
    distiller = distiller_of(student)
    steps(distiller, student, 0, 3, {2: 0}.items())
    with pytest.raises(DivergedError, match=r"frame 0 .*--learning_rate"):
        distiller.step(frame(3))


@pytest.mark.parametrize(
    ("place", "since", "asked"),
    [
        (0, -1, 0),  # nothing was asked yet
        (2, -1, 2),  # in flight
        (4, -1, 4),  # training under way
        (6, -1, 6),  # in flight again
        (7, 2, 7),  # idle: the stride, 2, has passed
        (10, 3, 11),  # idle: the stride is 4
        (11, 4, 11),
    ],
)
def test_continues_from_saved_state(place, since, asked):
    student = student_of(SCRIPT)
    distiller = distiller_of(student)
    steps(distiller, student, 0, place, ANSWERS.items())
    state = distiller.get_state()
    assert int(state["since_request"]) == since
    again = student_of([])
    resumed = distiller_of(again)
    resumed.set_state(state)
    assert resumed.schedule.stride == distiller.schedule.stride
    results, _ = steps(resumed, again, place, 13)
    assert list(again.requests) == [asked]
    assert [result.index for result in results] == list(range(place, 13))
    assert len(again.updated_with) == len(student.updated_with)

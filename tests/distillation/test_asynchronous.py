"""jitnet_tf.distillation.asynchronous: traces worked out by hand, with a teacher that answers when told to."""

import concurrent.futures
import json
import threading
import time

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import ASYNC
from jitnet_tf.distillation.asynchronous import AsynchronousDistiller
from jitnet_tf.distillation.distiller import DivergedError
from jitnet_tf.distillation.schedule import Schedule
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.runs.summary import Statistics
from teacher.detections import from_box_masks

SIZE = (10, 20)
# Ten pixels of person. A prediction of k of them has IoU k / 10 with the labels.
PERSON = from_box_masks([[0.2, 0.25, 0.3, 0.75]], [1], [0.9], np.ones((1, 4, 4)), SIZE)
MAKER = LabelMaker(class_groups("lvs"))
TEACHER_SECONDS = 0.25


def prediction(k):
    labels = np.zeros(SIZE, np.uint8)
    labels[2, 5 : 5 + k] = 1
    return labels


def frame(t):
    return np.full((*SIZE, 3), t, np.uint8)


class Stage:
    """A student and a teacher that write down what they are asked, with the frame.

    rehearsals: tenths of IoU that the student reaches on frames that it sees again; on new ones it
    finds as many pixels as it has had updates.
    """

    def __init__(self, rehearsals, losses=None):
        self.rehearsals = iter(rehearsals)
        self.losses = losses
        self.log = []
        self.updated_with = []
        self.requests = {}
        self.on_infer = lambda t: None
        self._newest = -1

    def infer(self, frame):
        t = int(frame[0, 0, 0])
        self.log.append(f"I{t}")
        self.on_infer(t)
        if t > self._newest:
            self._newest = t
            return prediction(len(self.updated_with))
        return prediction(next(self.rehearsals))

    def update(self, frame, labels, weights):
        self.log.append(f"U{frame[0, 0, 0]}")
        self.updated_with.append((frame, labels, weights))
        return next(self.losses) if self.losses else 1 / len(self.updated_with)

    def attempt(self, frame, labels, weights, wants_update):
        return self.update(frame, labels, weights) if wants_update(self.infer(frame)) else None

    def set_state(self, arrays):
        self._newest = arrays["newest"]

    def ask(self, frame, index):
        assert all(request.done() for request in self.requests.values()), "two at once"
        assert frame[0, 0, 0] == index
        self.log.append(f"T{index}")
        self.requests[index] = concurrent.futures.Future()
        return self.requests[index]

    def answer(self, index):
        self.requests[index].set_result((PERSON, TEACHER_SECONDS))


def distiller_of(stage, max_staleness=64, **options):
    schedule = Schedule(**{"min_stride": 2, "max_stride": 8, "max_updates": 2, **options})
    return AsynchronousDistiller(stage, stage, MAKER, schedule, max_staleness)


def steps(distiller, stage, first, end, answers=()):
    """Takes frames first…end - 1; `answers`: before which frame which request is answered."""
    results, logs = [], []
    for t in range(first, end):
        if t in dict(answers):
            stage.answer(dict(answers)[t])
        stage.log.clear()
        results.append(distiller.step(frame(t)))
        logs.append(" ".join(stage.log))
    return results, logs


# δ from 2 to 8, at most 2 updates a lesson, threshold .8
REHEARSALS = [3, 5, 9, 8, 2, 10]
ANSWERS = {3: 0, 6: 5, 8: 7}
LOGS = [
    "I0 T0",  # the first frame always
    "I1",
    "I2",  # due again, but one is in flight
    "I3 I0 U0",  # answered: the lesson is on the frame that was asked about
    "I4 I0 U0",
    "I5 I0 T5",  # the most updates; .9 > .8: δ = 4, which have passed since 0
    "I6 I5",  # .8 is enough to learn nothing, and not for a longer stride: δ = 2
    "I7 T7",  # two frames after 5
    "I8 I7 U7",
    "I9 I7",  # δ = 4: not before 11
    "I10",
    "I11 T11",
    "I12",
]


@pytest.fixture
def trace():
    stage = Stage(REHEARSALS)
    results, logs = steps(distiller_of(stage), stage, 0, len(LOGS), ANSWERS.items())
    assert next(stage.rehearsals, None) is None, "fewer rehearsals than worked out"
    return stage, results, logs


def test_a_stream_worked_out(trace):
    _, results, logs = trace
    assert logs == LOGS
    assert [result.index for result in results] == list(range(len(LOGS)))
    assert [result.stride for result in results] == [2, 2, 2, 2, 2, 4, 2, 2, 2, 4, 4, 4, 4]
    taught = [result for result in results if result.is_teacher_frame]
    assert [r.index for r in taught] == [5, 6, 9]
    assert [r.teacher_index for r in taught] == [0, 5, 7]
    assert [r.staleness for r in taught] == [3, 1, 1]
    assert [r.updates for r in taught] == [2, 0, 1]
    assert [r.accuracy_before for r in taught] == [0.3, 0.8, 0.2]
    assert [r.accuracy_after for r in taught] == [0.9, 0.8, 1.0]
    assert [r.losses for r in taught] == [[1, 1 / 2], [], [1 / 3]]
    assert [int(r.confusion[1, 1]) for r in taught] == [3, 8, 2]


def test_what_is_told_is_of_the_teachers_frame(trace):
    stage, results, _ = trace
    for result, k in zip([r for r in results if r.is_teacher_frame], (9, 8, 10), strict=True):
        np.testing.assert_array_equal(result.frame, frame(result.index))
        np.testing.assert_array_equal(result.teacher_frame, frame(result.teacher_index))
        np.testing.assert_array_equal(result.teacher_prediction, prediction(k))
        np.testing.assert_array_equal(result.labels, prediction(10))
    for t, (seen, labels, weights) in zip((0, 0, 7), stage.updated_with, strict=True):
        np.testing.assert_array_equal(seen, frame(t))
        np.testing.assert_array_equal(labels, prediction(10))
        np.testing.assert_array_equal(weights, MAKER.weights(PERSON, SIZE))


def test_what_other_frames_say(trace):
    for result in (trace[1][3], trace[1][4], trace[1][10]):  # lessons under way are not reported
        assert not result.is_teacher_frame
        assert (result.updates, result.staleness) == (0, 0)
        names = ("labels", "confusion", "accuracy_before", "accuracy_after")
        for name in (*names, "teacher_index", "teacher_frame", "teacher_prediction"):
            assert getattr(result, name) is None


def test_predictions_are_from_before_the_step_s_update(trace):
    updates = [0, 0, 0, 0, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    for result, k in zip(trace[1], updates, strict=True):
        np.testing.assert_array_equal(result.prediction, prediction(k))


def test_time_is_told_by_stage(trace):
    _, results, _ = trace
    assert set(results[2].seconds) == {"infer"}
    assert set(results[3].seconds) == {"infer", "labels", "rehearse", "score", "update"}
    assert set(results[4].seconds) == {"infer", "rehearse", "score", "update"}
    assert set(results[5].seconds) == {"infer", "rehearse", "score", "teacher"}
    assert results[5].seconds["teacher"] == TEACHER_SECONDS
    assert all(result.latency == result.seconds["infer"] for result in results)


def test_statistics_count_whole_lessons(trace):
    """The stream ends after each of its frames in turn."""
    _, results, _ = trace
    expected = {3: (0, 0, None, 0), 5: (0, 0, None, 0), 6: (1, 2, 3, 3), 7: (2, 2, 2, 3)}
    expected |= {9: (2, 2, 2, 3), 10: (3, 3, 5 / 3, 3), 13: (3, 3, 5 / 3, 3)}
    for end, (lessons, updates, mean, most) in expected.items():
        statistics = Statistics(teacher_mode=ASYNC)
        for result in results[:end]:
            statistics.add(result)
        summary = statistics.summary()
        assert (summary["frames"], summary["teacher_frames"]) == (end, lessons)
        assert (summary["updates"], summary["staleness"]) == (updates, {"mean": mean, "max": most})
        assert summary["teacher_seconds_per_frame"] == (TEACHER_SECONDS if lessons else None)


def test_nothing_is_asked_twice_however_late_the_answer():
    stage = Stage([9])
    _, logs = steps(distiller_of(stage), stage, 0, 60)
    assert logs == ["I0 T0", *(f"I{t}" for t in range(1, 60))]


def test_the_bound_is_waited_for():
    stage = Stage([9])
    distiller = distiller_of(stage, max_staleness=3)
    steps(distiller, stage, 0, 3)
    frame_is_segmented = threading.Event()
    stage.on_infer = lambda t: frame_is_segmented.set()

    def answer_late():
        frame_is_segmented.wait()
        time.sleep(0.05)
        stage.answer(0)

    thread = threading.Thread(target=answer_late)
    thread.start()
    [result], logs = steps(distiller, stage, 3, 4)
    thread.join()
    assert logs == ["I3 I0"]
    assert (result.staleness, result.teacher_index) == (3, 0)
    assert result.seconds["wait"] > 0
    assert result.latency == result.seconds["infer"]


def test_before_the_bound_nothing_waits():
    stage = Stage([])
    results, _ = steps(distiller_of(stage, max_staleness=9), stage, 0, 9)
    assert all(set(result.seconds) == {"infer"} for result in results)


def test_a_bound_of_one_is_the_next_frame():
    stage = Stage([9, 9])
    distiller = distiller_of(stage, max_staleness=1, max_stride=2)
    distiller.step(frame(0))
    answers = {1: 0, 3: 2}
    results, logs = steps(distiller, stage, 1, 4, answers.items())
    assert logs == ["I1 I0", "I2 T2", "I3 I2"]
    assert [result.staleness for result in results] == [1, 0, 1]
    assert "wait" in results[0].seconds


def test_a_teacher_that_fails_leaves_the_stream_before_the_frame():
    stage = Stage([9])
    distiller = distiller_of(stage)
    steps(distiller, stage, 0, 2)
    before = distiller.progress()
    stage.requests[0].set_exception(UserError("it failed"))
    for _ in range(2):
        with pytest.raises(UserError, match="it failed"):
            distiller.step(frame(2))
        assert distiller.progress() == before
    assert not stage.updated_with


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_divergence_names_the_teachers_frame(loss):
    stage = Stage([3, 3], losses=iter([0.5, loss]))
    distiller = distiller_of(stage)
    steps(distiller, stage, 0, 3, {2: 0}.items())
    with pytest.raises(DivergedError, match=r"diverged at frame 0 .*lower --learning_rate"):
        distiller.step(frame(3))


@pytest.mark.parametrize(
    ("place", "since", "asked"),
    [
        (0, None, 0),  # nothing was asked yet
        (2, None, 2),  # in flight
        (4, None, 4),  # a lesson under way
        (6, None, 6),  # in flight again
        (7, 2, 7),  # idle: the stride, 2, has passed
        (10, 3, 11),  # idle: the stride is 4
        (11, 4, 11),
    ],
)
def test_goes_on_from_a_saved_place(place, since, asked):
    stage = Stage(REHEARSALS)
    distiller = distiller_of(stage)
    steps(distiller, stage, 0, place, ANSWERS.items())
    progress = json.loads(json.dumps(distiller.progress()))
    assert progress == {
        "frames": place,
        "stride": distiller.schedule.stride,
        "since_request": since,
    }
    again = Stage([])
    resumed = distiller_of(again)
    resumed.set_state({"newest": place - 1}, progress)
    assert resumed.schedule.stride == progress["stride"]
    results, _ = steps(resumed, again, place, 13)
    assert list(again.requests) == [asked]
    assert [result.index for result in results] == list(range(place, 13))

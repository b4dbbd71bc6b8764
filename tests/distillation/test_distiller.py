"""Algorithm 1 on a scripted student, against traces worked out by hand."""

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.policies.base import UpdatePolicy
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.training import DivergedError
from tests.distillation.scripted import (
    MAKER,
    NOBODY,
    PERSON,
    SIZE,
    ScriptedStudent,
    frame,
    prediction,
)


def distiller_of(student, policy=None, **options):
    schedule = Schedule(**{"min_stride": 2, "max_stride": 8, "max_updates": 2, **options})
    return Distiller(student, student.teacher, MAKER, schedule, policy)


def distill(student, frames, **options):
    """Runs so many frames; checks that the script was used up."""
    distiller = distiller_of(student, **options)
    results = [distiller.step(frame(t)) for t in range(frames)]
    assert next(student.script, None) is None, "fewer predictions than worked out"
    return results


def teacher_frames(results):
    return [result.teacher for result in results if result.teacher]


def test_scripted_labels():
    np.testing.assert_array_equal(MAKER.labels(PERSON, SIZE), prediction(10))


def test_a_stream_worked_out():
    # δ from 2 to 8, at most 2 updates a frame, threshold .8
    # fmt: off
    script = [
        3, 5, 9,        # t = 0: two updates, the most; .9 > .8 though: δ = 4
        1, 2, 3,        # 1, 2, 3
        8,              # 4: .8 is enough to train no more, and not for a longer stride: δ = 2
        4,              # 5
        2, 8,           # 6: one update; again .8: δ = 2, the least
        4,              # 7
        10,             # 8: δ = 4
        5, 5, 5,        # 9, 10, 11
        9,              # 12: δ = 8
        5, 5, 5,        # 13, 14, 15
        10,             # 16: δ = 8, the most
        6, 6, 6, 6, 6, 6, 6,  # 17 … 23
        0, 1, 2,        # 24: two updates, still bad: δ = 4
        7, 7, 7,        # 25, 26, 27
        0, 9,           # 28: one update: δ = 8
        7,              # 29
    ]
    # fmt: on
    student = ScriptedStudent(script)
    results = distill(student, 30)

    assert " ".join(student.log) == (
        "T0 A0 U0 A0 U0 A0 I1 I2 I3 T4 A4 I5 T6 A6 U6 A6 I7 T8 A8 I9 I10 I11 T12 A12 I13 I14 "
        "I15 T16 A16 I17 I18 I19 I20 I21 I22 I23 T24 A24 U24 A24 U24 A24 I25 I26 I27 T28 A28 U28 "
        "A28 I29"
    )
    assert [r.index for r in results if r.is_teacher_frame] == [0, 4, 6, 8, 12, 16, 24, 28]
    assert [r.updates for r in results if r.teacher] == [2, 0, 1, 0, 0, 0, 2, 1]
    # fmt: off
    assert [result.stride for result in results] == [
        4, 4, 4, 4, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 8, 8,
    ]
    # fmt: on
    trained = teacher_frames(results)
    assert [t.accuracy_before for t in trained] == [0.3, 0.8, 0.2, 1.0, 0.9, 1.0, 0.0, 0.0]
    assert [t.accuracy_after for t in trained] == [0.9, 0.8, 0.8, 1.0, 0.9, 1.0, 0.2, 0.9]


def test_the_papers_defaults_worked_out():
    # A student that is bad on the first frame whatever is done, then good:
    # 9 attempts and 8 updates at 0, δ stays 8; good at 8 → 16, at 16 → 32, at 32 → 64, at 64.
    script = [5] * 9 + [0] * 7 + [9] + [0] * 7 + [9] + [0] * 15 + [9] + [0] * 31 + [9]
    student = ScriptedStudent(script)
    distiller = Distiller(student, student.teacher, MAKER, Schedule())
    results = [distiller.step(frame(t)) for t in range(65)]
    assert [(r.index, r.updates, r.stride) for r in results if r.teacher] == [
        *((0, 8, 8), (8, 0, 16), (16, 0, 32), (32, 0, 64), (64, 0, 64))
    ]
    assert student.log[:18] == ["T0", *["A0", "U0"] * 8, "A0"]


def test_a_teacher_frame_shows_the_prediction_after_the_updates():
    results = distill(ScriptedStudent([3, 5, 9, 4]), 2)
    np.testing.assert_array_equal(results[0].prediction, prediction(9))
    np.testing.assert_array_equal(results[1].prediction, prediction(4))


def test_confusion_is_of_the_prediction_before_the_updates():
    [trained] = teacher_frames(distill(ScriptedStudent([3, 5, 9]), 1))
    assert trained.confusion[1, 1] == 3
    assert trained.confusion[1, 0] == 7
    assert trained.confusion[0, 0] == 190
    assert trained.confusion.sum() == 200
    assert trained.confusion.shape == (9, 9)


def test_a_frame_without_a_teacher():
    result = distill(ScriptedStudent([9, 4]), 2)[1]
    assert (result.teacher, result.reference) == (None, None)
    assert not result.is_teacher_frame
    assert (result.index, result.updates) == (1, 0)
    np.testing.assert_array_equal(result.frame, frame(1))


def test_updates_get_the_frame_and_the_teachers_labels_and_weights():
    student = ScriptedStudent([3, 5, 9, 0, 3, 10])
    trained = teacher_frames(distill(student, 3, max_stride=2))
    assert len(student.updated_with) == 3
    for at, (seen, labels, weights) in zip((0, 0, 2), student.updated_with, strict=True):
        np.testing.assert_array_equal(seen, frame(at))
        np.testing.assert_array_equal(labels, prediction(10))
        np.testing.assert_array_equal(weights, MAKER.weights(PERSON, SIZE))
        assert weights.max() == 5
    assert [float(seen[0, 0, 0]) for seen in student.teacher_saw] == [0, 2]
    np.testing.assert_array_equal(trained[1].labels, prediction(10))
    assert [t.losses for t in trained] == [(1, 1 / 2), (1 / 3,)]


def test_an_empty_frame_predicted_empty_is_right():
    student = ScriptedStudent([0], seen=NOBODY)
    [result] = distill(student, 1)
    assert (result.teacher.accuracy_before, result.updates, result.stride) == (1.0, 0, 4)
    assert student.log == ["T0", "A0"]


def test_an_object_predicted_on_an_empty_frame_is_wrong():
    [trained] = teacher_frames(distill(ScriptedStudent([1, 1, 0], seen=NOBODY), 1))
    assert (trained.accuracy_before, trained.accuracy_after) == (0.0, 1.0)
    assert len(trained.losses) == 2


def test_without_updates_the_stride_still_adapts():
    # 0: bad, δ = 2; 2: good, δ = 4; 4: bad, δ = 2; 6: good, δ = 4
    student = ScriptedStudent([5, 5, 9, 5, 5, 5, 9])
    results = distill(student, 7, max_updates=0, max_stride=4)
    assert not student.updated_with
    assert [r.index for r in results if r.teacher] == [0, 2, 4, 6]
    assert [r.stride for r in results] == [2, 2, 4, 4, 2, 2, 4]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_divergence_names_frame_and_flag(loss):
    student = ScriptedStudent([9, 9, 3, 3], losses=iter([0.5, loss, 0.5]))
    distiller = distiller_of(student, max_stride=2, max_updates=8)
    for t in range(2):
        distiller.step(frame(t))
    with pytest.raises(DivergedError, match=r"frame 2 .*--learning_rate"):
        distiller.step(frame(2))
    assert issubclass(DivergedError, UserError)
    assert student.log[-4:] == ["A2", "U2", "A2", "U2"]  # and nothing after the bad one


def test_continues_from_saved_state():
    script = [3, 5, 9, 1, 2, 3, 8, 4, 2, 8, 4, 10]
    whole = [(r.stride, r.updates) for r in distill(ScriptedStudent(script), 9)]
    first = distiller_of(ScriptedStudent(script))
    for t in range(3):
        first.step(frame(t))
    student = ScriptedStudent(script[5:])
    second = distiller_of(student)
    second.set_state(first.get_state())
    assert len(student.updated_with) == 2  # the student's own state is a part of it
    results = [second.step(frame(t)) for t in range(3, 9)]
    assert [(r.stride, r.updates) for r in results] == whole[3:]
    assert [r.index for r in results] == [3, 4, 5, 6, 7, 8]
    assert [entry for entry in student.log if entry[0] == "T"] == ["T4", "T6", "T8"]


class TwicePolicy(UpdatePolicy):
    """Attempts twice whatever the accuracy, and counts the frames."""

    def __init__(self):
        self.frames = 0

    def train(self, student, example, schedule):
        for threshold in (1.1, 0.0):
            yield student.attempt(example.frame, example.labels, example.weights, threshold)
        self.frames += 1

    def get_state(self):
        return {"frames": np.array(self.frames)}

    def set_state(self, state):
        self.frames = int(state["frames"])


def test_a_policy_of_ones_own_and_its_state():
    student = ScriptedStudent([9, 10, 5, 10, 10])
    distiller = distiller_of(student, TwicePolicy(), max_stride=2)
    results = [distiller.step(frame(t)) for t in range(3)]
    assert [r.updates for r in results] == [1, 0, 1]
    state = distiller.get_state()
    assert sorted(state) == sorted(
        ["hurried", "index", "stride", "since_request", "student/updates", "policy/frames"]
    )
    resumed = distiller_of(ScriptedStudent([]), TwicePolicy())
    resumed.set_state(state)
    assert (resumed.policy.frames, resumed.index) == (2, 3)


def test_stages_are_timed():
    results = distill(ScriptedStudent([3, 9, 4]), 2)
    assert set(results[0].seconds) == {"teacher", "labels", "trial", "update"}
    assert set(results[1].seconds) == {"infer"}
    for result in results:  # the frame waits for all of it
        assert result.latency == sum(result.seconds.values())
        assert all(seconds >= 0 for seconds in result.seconds.values())


def test_the_teacher_part_is_of_the_frame_itself():
    [first, _] = distill(ScriptedStudent([3, 9, 4]), 2)
    assert first.teacher.frame is first.frame
    assert (first.teacher.index, first.teacher.staleness) == (0, 0)
    np.testing.assert_array_equal(first.teacher.prediction, first.prediction)


class Unending(UpdatePolicy):
    """Ends on an update, or makes no attempt."""

    def __init__(self, attempts):
        self.attempts = attempts

    def train(self, student, example, schedule):
        for _ in range(self.attempts):
            yield student.attempt(example.frame, example.labels, example.weights, 1.1)


class Goes(UpdatePolicy):
    """Goes on after an attempt without an update."""

    def train(self, student, example, schedule):
        for _ in range(2):
            yield student.attempt(example.frame, example.labels, example.weights, 0.0)


@pytest.mark.parametrize("policy", [Unending(0), Unending(1), Goes()])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_policy_has_to_end_on_its_first_attempt_without_an_update(policy, asynchronous):
    student = ScriptedStudent([3] * 9)
    teacher = student if asynchronous else student.teacher
    distiller = Distiller(student, teacher, MAKER, Schedule(), policy, asynchronous=asynchronous)

    def run():
        for t in range(3):
            distiller.step(frame(t))
            if t == 0 and asynchronous:
                student.answer(0)

    with pytest.raises(RuntimeError, match="policy"):
        run()


def test_strides_from_the_latest_teacher_frame_worked_out():
    # δ from 2 to 12: t mod δ would ask at 24 and 48; after 2 → 4 → 8 → 12 it asks at 26 and 38.
    script = [9, 0, 9, *[0] * 3, 9, *[0] * 7, 9, *[0] * 11, 5, *[0] * 5, 9]
    student = ScriptedStudent(script)
    results = distill(
        student, 33, min_stride=1, max_stride=12, max_updates=0, from_teacher_frame=True
    )
    # δ: 1 → 2 at 0; 4 at 2; 8 at 6; 12 at 14; 6 at 26; 12 at 32
    assert [r.index for r in results if r.teacher] == [0, 2, 6, 14, 26, 32]
    assert [r.stride for r in results if r.teacher] == [2, 4, 8, 12, 6, 12]


def test_strides_from_the_latest_teacher_frame_resume():
    options = {"max_updates": 0, "min_stride": 3, "from_teacher_frame": True}
    first = distiller_of(ScriptedStudent([5] * 9), **options)
    for t in range(5):
        first.step(frame(t))
    student = ScriptedStudent([5] * 9)
    second = distiller_of(student, **options)
    second.set_state(first.get_state())
    for t in range(5, 10):
        second.step(frame(t))
    assert " ".join(student.log) == "I5 T6 A6 I7 I8 T9 A9"


def test_a_teacher_frame_can_show_the_teachers_labels():
    student = ScriptedStudent([3, 5, 9, 4])
    schedule = Schedule(min_stride=2, max_stride=8, max_updates=2)
    distiller = Distiller(student, student.teacher, MAKER, schedule, shows_teacher=True)
    first, second = (distiller.step(frame(t)) for t in range(2))
    np.testing.assert_array_equal(first.prediction, prediction(10))
    np.testing.assert_array_equal(first.teacher.prediction, prediction(9))
    np.testing.assert_array_equal(second.prediction, prediction(4))
    assert (first.teacher.accuracy_before, first.teacher.accuracy_shown) == (0.3, 0.3)


def test_without_objects_nothing_is_known_of_the_accuracy_shown():
    [empty] = teacher_frames(distill(ScriptedStudent([0], seen=NOBODY), 1))
    assert (empty.accuracy_before, empty.accuracy_shown) == (1.0, None)
    [wrong] = teacher_frames(distill(ScriptedStudent([2], seen=NOBODY), 1, max_updates=0))
    assert wrong.accuracy_shown == 0.0

"""Replay on a scripted student, against traces worked out by hand."""

import numpy as np
import pytest

from jitnet_tf.config import RunConfig
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.policies.base import Example
from jitnet_tf.distillation.policies.replay import ReplayPolicy
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.training import DivergedError
from tests.distillation.scripted import (
    CLASSES,
    MAKER,
    SIZE,
    ScriptedStudent,
    assert_same_state,
    frame,
    prediction,
)


def distiller_of(student, capacity=16, seed=0, asynchronous=False, **options):
    schedule = Schedule(**{"min_stride": 2, "max_stride": 2, "max_updates": 4, **options})
    teacher = student if asynchronous else student.teacher
    policy = ReplayPolicy(SIZE, CLASSES, capacity, seed)
    return Distiller(student, teacher, MAKER, schedule, policy, asynchronous=asynchronous)


def run(student, frames, **options):
    distiller = distiller_of(student, **options)
    return [distiller.step(frame(t)) for t in range(frames)], distiller


def test_every_other_update_is_on_an_earlier_frame():
    # fmt: off
    script = [
        3, 5, 9,  # t = 0: nothing to replay yet
        1,        # 1
        2, 4, 5,  # 2: four updates, the most, two of them replays
        1,        # 3
        9,        # 4: good: none
    ]
    # fmt: on
    student = ScriptedStudent(script)
    results, _ = run(student, 5)
    assert " ".join(student.log) == ("T0 A0 U0 A0 U0 A0 I1 T2 A2 U2 R0 A2 U2 R0 A2 I3 T4 A4")
    assert [r.updates for r in results] == [2, 0, 4, 0, 0]
    trained = results[2].teacher
    assert trained.losses == (1 / 3, 1 / 4, 1 / 5, 1 / 6)  # replays are counted
    assert (trained.accuracy_before, trained.accuracy_after) == (0.2, 0.5)
    np.testing.assert_array_equal(results[2].prediction, prediction(5))
    assert set(results[2].seconds) == {"teacher", "labels", "trial", "update"}
    seen, labels, _ = student.updated_with[3]
    np.testing.assert_array_equal(seen, frame(0))
    np.testing.assert_array_equal(labels, prediction(10))


@pytest.mark.parametrize(
    ("most", "log"),
    [
        (0, "T2 A2"),
        (1, "T2 A2 U2 A2"),
        (2, "T2 A2 U2 R0 A2"),
        (3, "T2 A2 U2 R0 A2 U2 A2"),
        (5, "T2 A2 U2 R0 A2 U2 R0 A2 U2 A2"),
    ],
)
def test_updates_and_replays_together_are_the_most_allowed(most, log):
    student = ScriptedStudent([0] * 20)
    results, _ = run(student, 3, max_updates=most)
    assert " ".join(student.log).endswith(log)
    assert results[2].updates == most


def draws(count, earlier, seed=0):
    """The frames replayed on a hopeless student, after so many updates elsewhere."""
    student = ScriptedStudent([0] * 1000)
    student.updated_with = [None] * earlier
    _, distiller = run(student, count, seed=seed, max_updates=8)
    return [entry for entry in student.log if entry[0] == "R"], distiller


def test_draws_depend_on_seed_frame_and_update_alone():
    found, _ = draws(21, earlier=0)
    assert found == draws(21, earlier=5)[0]
    assert found != draws(21, earlier=0, seed=1)[0]
    assert len(set(found)) > 4
    of_last = found[-4:]  # four of eight updates
    assert len(set(of_last)) > 1


def test_only_earlier_frames_are_replayed():
    student = ScriptedStudent([0] * 1000)
    run(student, 31, capacity=2)
    at = None
    for entry in student.log:
        if entry[0] == "T":
            at = int(entry[1:])
        if entry[0] == "R":
            assert int(entry[1:]) in (at - 2, at - 4)


@pytest.mark.parametrize("place", [1, 6, 7, 12])
def test_resumes_exactly(place):
    script = np.random.default_rng(0).integers(0, 11, 300).tolist()
    student = ScriptedStudent(script, infers=lambda: 0)
    distiller = distiller_of(student, capacity=3)
    for t in range(place):
        distiller.step(frame(t))
    state = distiller.get_state()
    rest = list(student.script)
    again = ScriptedStudent(rest, infers=lambda: 0)
    resumed = distiller_of(again, capacity=3)
    resumed.set_state(state)
    student.script = iter(rest)
    student.log.clear()
    one = [distiller.step(frame(t)).teacher for t in range(place, 20)]
    other = [resumed.step(frame(t)).teacher for t in range(place, 20)]
    assert student.log == again.log
    assert [t and t.losses for t in one] == [t and t.losses for t in other]
    assert_same_state(distiller.get_state(), resumed.get_state())


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_replay_that_diverges_names_the_teacher_frame(loss):
    student = ScriptedStudent([9, 1, 2, 2], losses=iter([0.5, loss]))
    distiller = distiller_of(student)
    distiller.step(frame(0))
    distiller.step(frame(1))
    with pytest.raises(DivergedError, match=r"frame 2 .*--learning_rate"):
        distiller.step(frame(2))
    assert student.log[-2:] == ["U2", "R0"]


def test_an_asynchronous_teachers_frames_are_replayed_one_update_a_frame():
    student = ScriptedStudent([9, 2, 9], infers=lambda: 0)
    distiller = distiller_of(student, asynchronous=True)
    logs = []
    for t, answered in enumerate([None, 0, None, 2, None, None]):
        if answered is not None:
            student.answer(answered)
        student.log.clear()
        distiller.step(frame(t))
        logs.append(" ".join(student.log))
    assert logs == ["I0 T0", "I1 A0", "I2 T2", "I3 A2 U2", "I4 R0", "I5 A2 T5"]


def test_options():
    config = RunConfig(video="v", teacher="t", replay_memory=2, seed=3, update_policy="replay")
    policy = ReplayPolicy.of(config, SIZE, CLASSES)
    student = ScriptedStudent([])
    for t in range(4):
        student.script = iter([9])
        list(policy.train(student, _example(t), Schedule()))
    assert sorted(policy.get_state()) == [
        f"{t}/{part}" for t in (2, 3) for part in ("frame", "labels", "weights")
    ]


def _example(t):
    return Example(t, frame(t), prediction(10), np.ones(SIZE, np.float32))

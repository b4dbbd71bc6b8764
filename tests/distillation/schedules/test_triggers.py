"""Triggers, alone and in a distiller."""

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.schedules.budget import BudgetSchedule
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.distillation.schedules.triggers import (
    CUT_SIZE,
    SETTLED_FRAMES,
    CutTrigger,
    NoveltyTrigger,
    Trigger,
)
from tests.distillation.scripted import MAKER, ScriptedStudent, frame
from tests.materials import texture

SCENES = [texture((48, 64), 1, 0, 80), texture((48, 64), 2, 170, 255)]


def test_cuts():
    trigger = CutTrigger()
    fired = [trigger.fires(SCENES[t // 3 % 2], None) for t in range(9)]
    assert fired == [False, False, False, True, False, False, True, False, False]


def test_a_dark_scene_is_no_cut():
    trigger = CutTrigger()
    darker = (SCENES[1] * 0.95).astype(np.uint8)
    assert not any(trigger.fires(picture, None) for picture in (SCENES[1], darker))


def test_the_last_frame_is_restored():
    trigger, again = CutTrigger(), CutTrigger()
    again.set_state(trigger.get_state())
    assert not again.fires(SCENES[0], None)
    trigger.fires(SCENES[0], None)
    again.set_state(trigger.get_state())
    assert again.fires(SCENES[1], None)


def test_novelty_is_a_rise():
    trigger = NoveltyTrigger()
    assert not any(trigger.fires(frame(0), share) for share in [0.5] * 20)
    assert trigger.fires(frame(0), 0.95)
    trigger.asked()
    assert not any(trigger.fires(frame(0), 0.95) for _ in range(SETTLED_FRAMES + 9))


def test_novelty_needs_a_mean():
    trigger = NoveltyTrigger()
    assert not trigger.fires(frame(0), None)
    assert not any(trigger.fires(frame(0), share) for share in (0.0, 1.0))


def test_novelty_is_restored():
    trigger, again = NoveltyTrigger(), NoveltyTrigger()
    for _ in range(SETTLED_FRAMES):
        trigger.fires(frame(0), 0.1)
    again.set_state(trigger.get_state())
    assert again.fires(frame(0), 0.9)


@pytest.mark.parametrize(
    ("trigger", "state"),
    [
        (CutTrigger, {"last": np.zeros((2, 2, 3), np.int16)}),
        (CutTrigger, {"last": np.zeros((*CUT_SIZE[::-1], 3), np.float64)}),
        (NoveltyTrigger, {"total": np.array(1.0)}),
        (NoveltyTrigger, {"total": np.array(np.nan), "frames": np.array(3)}),
        (NoveltyTrigger, {"total": np.array(4.0), "frames": np.array(3)}),
        (NoveltyTrigger, {"total": np.array(-1.0), "frames": np.array(3)}),
    ],
)
def test_damaged_states_are_refused(trigger, state):
    with pytest.raises((KeyError, ValueError)):
        trigger().set_state(state)


class At(Trigger):
    """Fires on given frames, and counts those seen."""

    def __init__(self, *places):
        self.places, self.seen = places, 0

    def fires(self, frame, disagreement):
        self.seen += 1
        return int(frame[0, 0, 0]) in self.places

    def get_state(self):
        return {"seen": np.array(self.seen)}

    def set_state(self, state):
        self.seen = int(state["seen"])


def distiller_of(student, *triggers):
    schedule = BudgetSchedule(budget=0.1, min_stride=4, max_stride=64)
    return Distiller(student, student.teacher, MAKER, schedule, triggers=triggers)


def asked(student):
    return [int(entry[1:]) for entry in student.log if entry[0] == "T"]


def test_a_trigger_asks_as_soon_as_it_is_affordable():
    student = ScriptedStudent([9] * 99)
    distiller = distiller_of(student, At(2, 23, 24))
    for t in range(28):
        distiller.step(frame(t))
    # 2 has to wait for the budget, as the stride does; 23 is paid by frame 20, 24 is not.
    assert asked(student)[:2] == [0, 10]
    assert len(asked(student)) == 3


def test_a_trigger_that_has_fired_waits_in_a_checkpoint():
    for triggers in ((), (At(2),)):
        first = distiller_of(ScriptedStudent([9] * 9), *triggers)
        for t in range(5):
            first.step(frame(t))
        student = ScriptedStudent([9] * 9)
        resumed = distiller_of(student, *triggers)
        resumed.set_state(first.get_state())
        resumed.schedule.stride = 50
        for t in range(5, 13):
            resumed.step(frame(t))
        assert asked(student) == ([10] if triggers else [])


def test_a_trigger_sees_a_frame_once_although_the_teacher_fails():
    student = ScriptedStudent([9] * 9)
    trigger = At()
    distiller = distiller_of(student, trigger)
    answer = distiller.teacher

    def fail(frame, index):
        raise UserError("it failed")

    distiller.teacher = fail
    for _ in range(2):
        with pytest.raises(UserError, match="it failed"):
            distiller.step(frame(0))
    distiller.teacher = answer
    distiller.step(frame(0))
    assert trigger.seen == 1


@pytest.mark.parametrize("from_teacher_frame", [False, True])
def test_the_first_frame_after_a_gap_is_a_teacher_frame(from_teacher_frame):
    student = ScriptedStudent([9] * 99)
    schedule = Schedule(min_stride=8, from_teacher_frame=from_teacher_frame)
    distiller = Distiller(student, student.teacher, MAKER, schedule)
    for t in range(8):
        if t == 3:
            distiller.after_gap()
        distiller.step(frame(t))
    assert asked(student) == [0, 3]


def test_a_gap_spends_no_more_than_the_budget():
    student = ScriptedStudent([9] * 99)
    distiller = distiller_of(student)
    for t in range(40):
        if t in (3, 20, 22, 24, 26):
            distiller.after_gap()
        distiller.step(frame(t))
    # 3 waits until the budget allows it; of the others it allows two.
    assert asked(student)[:3] == [0, 10, 20]
    assert len(asked(student)) <= 1 + 0.1 * 40


def test_a_gap_waits_in_a_checkpoint():
    first = distiller_of(ScriptedStudent([9] * 9))
    for t in range(5):
        first.step(frame(t))
    first.after_gap()
    student = ScriptedStudent([9] * 9)
    resumed = distiller_of(student)
    resumed.set_state(first.get_state())
    resumed.schedule.stride = 50
    for t in range(5, 13):
        resumed.step(frame(t))
    assert asked(student) == [10]


@pytest.mark.parametrize(
    ("triggers", "older", "expected"),
    [((), {}, []), ((At(99),), {"triggers/fired": np.array(True)}, [10])],
)
def test_checkpoints_of_versions_without_gaps_are_resumed(triggers, older, expected):
    first = distiller_of(ScriptedStudent([9] * 9), *triggers)
    for t in range(5):
        first.step(frame(t))
    state = {**first.get_state(), **older}
    del state["hurried"]
    student = ScriptedStudent([9] * 9)
    resumed = distiller_of(student, *triggers)
    resumed.set_state(state)
    resumed.schedule.stride = 50
    for t in range(5, 13):
        resumed.step(frame(t))
    assert asked(student) == expected


def test_cuts_in_the_ignored_region_are_none():
    """And the others are as visible as without a region."""
    ignored = np.zeros(SCENES[0].shape[:2], bool)
    ignored[:, 21:] = True
    inside, outside = SCENES[0].copy(), SCENES[0].copy()
    inside[ignored], outside[~ignored] = SCENES[1][ignored], SCENES[1][~ignored]
    for scene, fires in ((inside, False), (outside, True)):
        trigger, sees_all = CutTrigger(ignored), CutTrigger()
        assert not trigger.fires(SCENES[0], None)
        assert not sees_all.fires(SCENES[0], None)
        assert trigger.fires(scene, None) == fires
        assert sees_all.fires(inside, None)  # else this would test nothing


def test_the_ignored_region_has_no_part_in_a_thumbnail():
    """Nor at its border, where a pixel of the thumbnail is both."""
    random = np.random.default_rng(0)
    size = (100, 150)
    ignored = random.integers(0, 2, size).astype(bool)
    first, second = (random.integers(0, 256, (*size, 3), np.uint8) for _ in range(2))
    second[~ignored] = first[~ignored]
    one, other = CutTrigger(ignored), CutTrigger(ignored)
    one.fires(first, None)
    other.fires(second, None)
    np.testing.assert_array_equal(one.get_state()["last"], other.get_state()["last"])


def test_a_region_of_nothing_changes_no_cut():
    """Thumbnails round otherwise by a level."""
    nothing = np.zeros(SCENES[0].shape[:2], bool)
    trigger, plain = CutTrigger(nothing), CutTrigger()
    for t in range(9):
        picture = SCENES[t // 3 % 2]
        assert trigger.fires(picture, None) == plain.fires(picture, None)

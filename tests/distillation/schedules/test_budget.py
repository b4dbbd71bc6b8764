"""The schedule with a budget: its limits for any stream, and a trace worked out by hand."""

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.schedules import budget as module
from jitnet_tf.distillation.schedules.budget import BudgetSchedule
from tests.distillation.scripted import MAKER, ScriptedStudent, assert_same_state, frame

ACCURACIES = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 1.0]))


def shown(accuracy):
    return types.SimpleNamespace(accuracy_shown=accuracy, accuracy_after=1.0)


def drive(schedule, frames, accuracies, hurries=lambda t: False):
    """The teacher frames of a stream; hurries: whether a trigger fires."""
    asked = []
    for t in range(frames):
        due = schedule.teacher_due(t)
        if due or (hurries(t) and schedule.affordable(t)):
            schedule.ask(t)
            schedule.adapt(shown(accuracies[len(asked) % len(accuracies)]))
            asked.append(t)
    return asked


def assert_within_budget(asked, frames, budget, window):
    is_asked = np.isin(np.arange(frames), asked)
    so_far = np.concatenate([[0], np.cumsum(is_asked)])
    ends = np.arange(1, frames + 1)
    starts = np.maximum(ends - window, 0)
    in_window = so_far[ends] - so_far[starts]
    assert (in_window <= budget * (ends - starts) + 1 + 1e-9).all()


@given(
    st.floats(0.02, 0.9),
    st.lists(ACCURACIES, min_size=1, max_size=20),
    st.integers(1, 20),
    st.integers(0, 60),
    st.integers(0, 3),
)
def test_the_share_of_the_window_is_never_above_the_budget_by_more_than_a_frame(
    budget, accuracies, least, more, rush
):
    schedule = BudgetSchedule(min_stride=least, max_stride=least + more, budget=budget)
    hurries = lambda t: rush and t % rush == 0  # noqa: E731
    frames = 600
    asked = drive(schedule, frames, accuracies, hurries)
    assert_within_budget(asked, frames, budget, schedule.window)
    assert asked[0] == 0
    assert type(schedule.stride) is int
    assert least <= schedule.stride <= least + more
    assert all(np.diff(asked) >= least)


@given(st.lists(ACCURACIES, min_size=1, max_size=20))
def test_strides_stay_within_their_limits(accuracies):
    schedule = BudgetSchedule(min_stride=5, max_stride=30, budget=0.1)
    for t, accuracy in enumerate(accuracies):
        schedule.ask(t)
        schedule.adapt(shown(accuracy))
        assert type(schedule.stride) is int
        assert 5 <= schedule.stride <= 30


def test_worked_out(monkeypatch):
    for name, value in (("MEMORY", 0.5), ("WIDEST", 2.0), ("LEAST_ERROR", 0.02)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "CREDIT_WEIGHT", 1.0)
    monkeypatch.setattr(module, "EMPTY_FACTOR", 1.5)
    schedule = BudgetSchedule(min_stride=1, max_stride=64, budget=0.1)
    trace = []
    # fmt: off
    accuracies = {
        0: 0.5,    # mean error .5, no credit: 10
        10: 1.0,   # error .02 at least, mean .26: √13, at most twice: 20
        30: 0.74,  # error .26 as the mean; three frames of the four asked are due: 10 / 2
        35: None,  # half a frame of credit: 15 / 1.5
        45: 0.0,   # error 1, mean .63: 10 · √.63 / 1.5
        50: 0.5,   # no credit; error .5, mean .565: 10 · √1.13
    }
    # fmt: on
    for t in range(51):
        if schedule.teacher_due(t):
            schedule.ask(t)
            schedule.adapt(shown(accuracies[t]))
            trace.append((t, schedule.stride))
    assert trace == [(0, 10), (10, 20), (30, 5), (35, 10), (45, 5), (50, 11)]


def test_an_empty_frame_is_no_evidence():
    schedule = BudgetSchedule(budget=0.1)
    schedule.ask(0)
    schedule.adapt(shown(0.5))
    before = float(schedule.get_state()["mean_error"])
    schedule.ask(10)
    schedule.adapt(shown(None))
    assert float(schedule.get_state()["mean_error"]) == before


def test_a_hopeless_stream_is_asked_about_no_more_often():
    """As often as one on which all goes well: nothing is gained where nothing helps."""
    asked = [
        drive(BudgetSchedule(budget=0.05, min_stride=2), 2000, [accuracy])
        for accuracy in (0.0, 0.9)
    ]
    assert asked[0] == asked[1]
    assert len(asked[0]) == pytest.approx(0.05 * 2000, abs=2)


def test_the_teacher_is_asked_where_errors_are_above_the_streams_mean():
    """Good and bad scenes of 60 frames in turn."""
    schedule = BudgetSchedule(budget=0.05, min_stride=2)
    asked = []
    for t in range(3000):
        if schedule.teacher_due(t):
            schedule.ask(t)
            schedule.adapt(shown(0.3 if t // 60 % 2 else 0.95))
            asked.append(t)
    bad = sum(t // 60 % 2 for t in asked)
    assert bad > 1.2 * (len(asked) - bad)


@pytest.mark.parametrize("place", [1, 7, 40, 333])
def test_state_round_trip(place):
    accuracies = np.random.default_rng(0).random(50).tolist()
    schedule, again = (BudgetSchedule(budget=0.1, min_stride=2) for _ in range(2))
    drive(schedule, place, accuracies)
    again.set_state(schedule.get_state())
    again.stride, again.last = schedule.stride, schedule.last  # the distiller's to save
    assert_same_state(again.get_state(), schedule.get_state())
    for t in range(place, 600):
        due = schedule.teacher_due(t)
        assert due == again.teacher_due(t)
        if due:
            for one in (schedule, again):
                one.ask(t)
                one.adapt(shown(accuracies[t % 50]))
    assert again.stride == schedule.stride


def test_the_windows_frames_alone_are_kept():
    schedule = BudgetSchedule(budget=0.5, min_stride=2, max_stride=2)
    asked = drive(schedule, 5000, [0.5])
    kept = schedule.get_state()["asked"]
    assert len(kept) <= module.WINDOW + 1
    assert kept[-1] == asked[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean_error", np.nan),
        ("mean_error", -0.5),
        ("mean_error", 0.0),
        ("mean_error", np.inf),
        ("asked", [3, 2]),
        ("asked", [-1, 2]),
        ("asked", [1, 1]),
        ("asked", [0.5]),
        ("asked", 4),
        ("asked", [[1, 2]]),
        ("asked", None),
    ],
    ids=str,
)
def test_damaged_states_are_refused(name, value):
    schedule = BudgetSchedule()
    schedule.ask(0)
    state = schedule.get_state()
    state[name] = np.array(value)
    if value is None:
        del state[name]
    with pytest.raises((KeyError, ValueError)):
        BudgetSchedule().set_state(state)


@pytest.mark.parametrize("delay", [1, 5, 30])
def test_an_asynchronous_teachers_requests_are_within_the_budget(delay):
    student = ScriptedStudent([9] * 400, infers=lambda: 0)
    schedule = BudgetSchedule(budget=0.1, min_stride=2)
    distiller = Distiller(student, student, MAKER, schedule, asynchronous=True)
    for t in range(250):
        if t - delay in student.requests:
            student.answer(t - delay)
        distiller.step(frame(t))
    asked = list(student.requests)
    assert_within_budget(asked, 250, 0.1, schedule.window)
    assert len(asked) >= 250 / max(delay, 25)


def test_a_gap_while_the_student_trains_on_a_frame():
    """An asynchronous run notes the gap, and adapts to the frame from before it."""
    whole, gone = (BudgetSchedule(min_stride=2, budget=0.1) for _ in range(2))
    for schedule in (whole, gone):
        schedule.ask(0)
    gone.last = None  # as `Distiller.after_gap` does
    for schedule in (whole, gone):
        schedule.adapt(shown(0.5))
    assert gone.stride == whole.stride
    assert gone.teacher_due(12)

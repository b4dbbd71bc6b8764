"""The schedule against traces of Algorithm 1 worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.distillation.schedules.paper import Schedule

GOOD, EQUAL, BAD = 0.9, 0.8, 0.5  # against the threshold of .8


def teacher_frames(schedule, frames, accuracies):
    """Lines 2, 3 and 14–17 alone: [(t, δ afterwards)] of the frames at which the teacher is due."""
    accuracies = iter(accuracies)
    trace = []
    for t in range(frames):
        if schedule.teacher_due(t):
            schedule.adapt_stride(next(accuracies))
            trace.append((t, schedule.stride))
    assert next(accuracies, None) is None, "the teacher was due less often than worked out"
    return trace


def updates(schedule, accuracies):
    """Lines 5–13 alone: how often the student is trained if it scores these accuracies in turn."""
    for count, accuracy in enumerate(accuracies):
        if accuracy >= schedule.update_threshold(count):
            return count
    raise AssertionError("training did not stop where worked out")


def test_defaults_are_the_papers():
    schedule = Schedule()
    assert (schedule.max_updates, schedule.min_stride, schedule.max_stride) == (8, 8, 64)
    assert schedule.accuracy_threshold == 0.8
    assert schedule.stride == 8  # line 1


def test_stride_doubles_up_to_the_maximum():
    # fmt: off
    assert teacher_frames(Schedule(), 256, [GOOD] * 6) == [
        (0, 16), (16, 32), (32, 64), (64, 64), (128, 64), (192, 64)
    ]
    # fmt: on


def test_stride_stays_at_the_minimum_for_a_bad_student():
    # fmt: off
    assert teacher_frames(Schedule(), 41, [BAD] * 6) == [
        (0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8)
    ]
    # fmt: on


def test_mixed_trace():
    # A frame is due where t is a multiple of the stride in force: at 32, with 16 from there on,
    # the next is 48; at 160, with 32 → 16, it is 176, not 192.
    # fmt: off
    worked_out = [
        (0, GOOD, 16), (16, GOOD, 32), (32, BAD, 16), (48, BAD, 8), (56, BAD, 8), (64, GOOD, 16),
        (80, GOOD, 32), (96, GOOD, 64), (128, EQUAL, 32), (160, EQUAL, 16), (176, EQUAL, 8),
        (184, EQUAL, 8), (192, GOOD, 16),
    ]
    # fmt: on
    trace = teacher_frames(Schedule(), 200, [accuracy for _, accuracy, _ in worked_out])
    assert trace == [(t, stride) for t, _, stride in worked_out]


def test_next_teacher_frame_is_a_multiple_of_the_stride_not_a_stride_away():
    # From 24 with δ = 16: t ≡ 0 (mod 16) is 32, eight frames on (EastGit0's t + δ would be 40).
    worked_out = [(0, BAD, 8), (8, BAD, 8), (16, BAD, 8), (24, GOOD, 16), (32, GOOD, 32)]
    trace = teacher_frames(Schedule(), 64, [accuracy for _, accuracy, _ in worked_out])
    assert trace == [(t, stride) for t, _, stride in worked_out]


def test_strides_that_are_no_powers_of_two():
    # 8 → 16 → 32 → 50 (not 64) → 25 → 12 (12.5) → 8 (not 6) → 16
    # Due next: multiples of 50 after 32, of 25 after 50, of 12 after 75, of 8 after 84.
    # fmt: off
    worked_out = [
        (0, GOOD, 16), (16, GOOD, 32), (32, GOOD, 50), (50, BAD, 25), (75, BAD, 12), (84, BAD, 8),
        (88, GOOD, 16), (96, GOOD, 32), (128, GOOD, 50), (150, GOOD, 50), (200, EQUAL, 25),
    ]
    # fmt: on
    schedule = Schedule(max_stride=50)
    trace = teacher_frames(schedule, 225, [accuracy for _, accuracy, _ in worked_out])
    assert trace == [(t, stride) for t, _, stride in worked_out]
    assert type(schedule.stride) is int


def test_odd_minimum():
    # 3 → 6 → 10 (not 12) → 5 → 3 (not 2)
    # fmt: off
    worked_out = [
        (0, GOOD, 6), (6, GOOD, 10), (10, BAD, 5), (15, BAD, 3), (18, BAD, 3), (21, GOOD, 6),
    ]
    # fmt: on
    schedule = Schedule(min_stride=3, max_stride=10)
    trace = teacher_frames(schedule, 24, [accuracy for _, accuracy, _ in worked_out])
    assert trace == [(t, stride) for t, _, stride in worked_out]


@pytest.mark.parametrize("accuracy", [GOOD, EQUAL, BAD])
def test_equal_strides_make_a_fixed_rate(accuracy):
    schedule = Schedule(min_stride=5, max_stride=5)
    assert teacher_frames(schedule, 20, [accuracy] * 4) == [(0, 5), (5, 5), (10, 5), (15, 5)]


def test_a_stride_of_one_asks_the_teacher_on_every_frame():
    schedule = Schedule(min_stride=1, max_stride=1)
    assert [schedule.teacher_due(t) for t in range(4)] == [True] * 4


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([GOOD], 0),
        ([EQUAL], 0),  # line 9 asks for less than the threshold
        ([0.79, EQUAL], 1),
        ([0.1, 0.79, 0.81], 2),
        ([0.1, 0.2, 0.3, 0.79], 3),  # u_max: the fourth check finds it still too low
        ([0.7, 0.6, 0.5, 0.4], 3),
        ([0.1, 0.2, 0.79, GOOD], 3),
    ],
)
def test_update_counts(accuracies, expected):
    assert updates(Schedule(max_updates=3), accuracies) == expected


def test_eight_updates_by_default():
    assert updates(Schedule(), [BAD] * 9) == 8


def test_no_updates_allowed():
    assert updates(Schedule(max_updates=0), [0.0]) == 0


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_accuracy_at_a_threshold_on_the_edge_neither_trains_nor_lengthens(threshold):
    schedule = Schedule(accuracy_threshold=threshold, stride=32)
    assert threshold >= schedule.update_threshold(0)
    schedule.adapt_stride(threshold)
    assert schedule.stride == 16


def test_a_given_stride_is_gone_on_with():
    schedule = Schedule(stride=32)
    assert schedule.stride == 32
    assert teacher_frames(schedule, 96, [GOOD, GOOD]) == [(0, 64), (64, 64)]


ACCURACIES = st.one_of(st.floats(0, 1), st.just(EQUAL))


@given(st.lists(ACCURACIES, max_size=30), st.integers(1, 40), st.integers(0, 100))
def test_stride_stays_an_integer_within_its_limits(accuracies, least, more):
    schedule = Schedule(min_stride=least, max_stride=least + more)
    assert schedule.stride == least
    for accuracy in accuracies:
        before = schedule.stride
        schedule.adapt_stride(accuracy)
        assert type(schedule.stride) is int
        assert least <= schedule.stride <= least + more
        assert schedule.stride >= before if accuracy > 0.8 else schedule.stride <= before


@given(st.lists(ACCURACIES, min_size=1, max_size=30), st.integers(1, 20), st.integers(0, 50))
def test_the_teacher_is_never_away_for_longer_than_the_stride(accuracies, least, more):
    schedule = Schedule(min_stride=least, max_stride=least + more)
    last = 0
    for t in range(300):
        if schedule.teacher_due(t):
            assert t - last <= schedule.stride
            last = t
            schedule.adapt_stride(accuracies[t % len(accuracies)])
    assert 300 - last <= schedule.stride

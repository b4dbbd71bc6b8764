"""The paper's saturated rows, and the costs of a run's stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.methods import named
from experiments.reports import costs
from experiments.reports.costs import Costs


def test_the_papers_saturated_rows():
    """Table 2 and 3: a stream on which every 8th frame is a teacher frame with 8 updates."""
    assert costs.speedup(30_000, 3_750, 8 * 3_750, costs.PAPER_MS) == pytest.approx(4.07, abs=0.005)
    # 26250·7 + 3750·300 + 30000·30 = 2208750 ms beside 9000000 ms
    assert costs.speedup(30_000, 3_750, 30_000, costs.PAPER_MS) == pytest.approx(9000 / 2208.75)
    # 26250·15.2 + 3750·1390 + 30000·42 = 6871500 GFLOP beside 41700000
    assert costs.speedup(30_000, 3_750, 30_000, costs.PAPER_GFLOP) == pytest.approx(41700 / 6871.5)


def test_the_papers_costs():
    """Checks the values of Table 1."""
    assert Costs(300, 7, 30) == costs.PAPER_MS
    assert Costs(1390, 15.2, 42) == costs.PAPER_GFLOP


@pytest.mark.parametrize(
    ("teacher_frames", "updates", "expected"),
    [
        (0, 0, 10 / 2),  # never adapted: the ratio of the two networks
        (100, 0, 1),  # the teacher on every frame
        (50, 0, 1000 / (100 + 500)),
        (50, 25, 1000 / (100 + 500 + 75)),
    ],
)
def test_speedup_by_hand(teacher_frames, updates, expected):
    cost = Costs(teacher=10, infer=2, update=3)
    assert costs.speedup(100, teacher_frames, updates, cost) == pytest.approx(expected)


COST = st.floats(0.001, 1e4)


@given(st.integers(0, 999), st.integers(0, 8000), COST, COST, COST, st.floats(0.01, 100))
def test_speedup_has_no_unit_and_falls_with_work(teacher_frames, updates, a, b, c, unit):
    cost = Costs(a, b, c)
    value = costs.speedup(1000, teacher_frames, updates, cost)
    same = costs.speedup(1000, teacher_frames, updates, Costs(a * unit, b * unit, c * unit))
    assert same == pytest.approx(value)
    assert costs.speedup(1000, teacher_frames, updates + 1, cost) < value
    if a > b:
        assert costs.speedup(1000, teacher_frames + 1, updates, cost) < value


def summary(**changes):
    return {
        "frames": 100,
        "teacher_frames": 10,
        "updates": 30,
        "teacher_seconds_per_frame": 0.5,
        "teacher_mode": "sync",
        "seconds": {"infer": 1.8, "trial": 0.2, "update": 1.5, "labels": 9.0, "decode": 9.0},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        ({}, 90),  # a student tries teacher frames, and infers all others
        ({"teacher_mode": "async"}, 100),
        ({"seconds": {"infer": 1.8, "update": 1.5}}, 100),  # OSVOS
        ({"teacher_frames": 0, "updates": 0, "seconds": {"infer": 1.8}}, 100),  # frozen
        # Results of older versions: the forward passes of all attempts, unless asynchronous.
        ({"seconds": {"infer": 1.8, "score": 0.1, "update": 1.5}}, 130),
        ({"seconds": {"infer": 1.8, "score": 0.1, "update": 1.5, "rehearse": 0.2}}, 100),
    ],
)
def test_frames_that_a_student_infers(changes, calls):
    made = summary(**changes)
    assert costs.calls(made, "infer") == calls
    found = costs.measured(made, ("infer",))
    assert found.teacher == 0.5
    assert found.infer == pytest.approx(1.8 / calls)
    if made["updates"]:
        assert found.update == pytest.approx(1.5 / 30)


def test_a_fused_output_is_part_of_inference():
    """Of 90 frames between teacher frames, also where the student skips some."""
    stages = {"infer": 4.5, "trial": 0.5, "flow": 1.8, "fuse": 0.9, "update": 8.0}
    ran = {"infer": 55, "trial": 10, "flow": 100, "fuse": 55, "update": 10}
    made = summary(seconds=stages, stage_frames=ran)
    found = costs.measured(made, named("balanced").stages)
    assert found.infer == pytest.approx(7.2 / 90)


def test_flow_is_estimated_on_frames_without_a_teacher():
    seconds = {"flow": 1.8, "warp": 0.9, "teacher": 9.0}
    found = costs.measured(summary(updates=0, seconds=seconds), ("flow", "warp"))
    assert found == Costs(0.5, pytest.approx(2.7 / 90), 0)


def test_stages_that_never_ran_cost_nothing():
    """A stream of teacher frames alone."""
    found = costs.measured(summary(teacher_frames=100, updates=0, seconds={}), ("flow", "warp"))
    assert found == Costs(0.5, 0, 0)


def test_costs_are_unknown_if_the_teachers_time_is():
    assert costs.measured(summary(teacher_seconds_per_frame=None), ("infer",)) is None


@pytest.mark.parametrize("stage", costs.STAGES)
def test_every_stage_has_a_count(stage):
    assert 0 < costs.calls(summary(), stage) <= 100

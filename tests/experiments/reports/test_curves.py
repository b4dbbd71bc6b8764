"""Curves of the frontier: their methods, values at budgets, and spread, from results by hand."""

import pytest

from experiments import methods
from experiments.reports import curves
from experiments.reports.curves import BASE, Frontier
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from tests.builders import made_result, write_result

BUDGETS = (0.02, 0.05, 0.08)
KNOWN = curves.curves(BUDGETS)
PAPER, FLOW, FROZEN, PRESETS = KNOWN.values()


def result(stream="a", method=BASE, iou=0.5, teacher=0.05, **summary):
    """A result with this mean IoU on student frames."""
    summary = {"mean_iou_student_only": iou, "teacher_fraction": teacher, **summary}
    return made_result(stream, method, 0.9, summary=summary)


def value(*by_seed, **changes):
    """A Frontier of results, a list a seed."""
    return Frontier(KNOWN, [Results(results) for results in by_seed], **changes)


# Methods


def test_every_method_counts_alike_and_holds_its_budget():
    students = [m for c in (PAPER, FROZEN, PRESETS) for m in c.points.values()]
    assert {methods.settings_of(method)["shown"] for method in students} == {"teacher"}
    for curve in (FROZEN, PRESETS):
        for budget in BUDGETS:
            changes = methods.named(curve.points[curve.at[budget]]).changes
            assert changes["teacher_budget"] == budget
            assert "shown" not in changes
    for method in PAPER.points.values():
        changes = methods.named(method).changes
        allowed = {"student", "accuracy_threshold", "min_stride", "max_stride"}
        assert changes.keys() <= allowed
    strides = [methods.named(method).stride for method in FLOW.points.values()]
    assert strides == [50, 20, 12]  # never fewer teacher frames than the budget
    assert BASE in PAPER.points.values()


def test_a_frozen_student_is_balanced_without_updates():
    balanced = methods.PRESETS["balanced"].changes
    for budget in BUDGETS:
        frozen = methods.named(FROZEN.points[FROZEN.at[budget]]).changes
        changes = {"teacher_budget": budget, "max_updates": 0}
        assert frozen == {**balanced, **changes}


def test_a_preset_stands_at_its_own_budget(monkeypatch):
    same = methods.PRESETS["balanced"].changes
    for name, budget in (("saving", 0.02), ("balanced", 0.04), ("accurate", None)):
        changes = {**same, "max_updates": 4, "teacher_budget": budget}
        monkeypatch.setattr(methods.PRESETS[name], "changes", changes)
    found = curves.curves(BUDGETS)["presets"]
    assert found.at == {0.02: "saving", 0.05: "5 %", 0.08: "8 %"}
    assert list(found.points) == ["saving", "5 %", "8 %", "balanced", "accurate"]
    assert found.points["saving"] == "saving"
    assert found.points["5 %"] == "balanced,teacher_budget=0.05"


# Values


def test_values_are_means_over_streams_and_one_a_seed():
    found = value(
        [result("a", iou=0.5), result("b", iou=0.7)],
        [result("a", iou=0.6), result("b", iou=0.8)],
        [result("a", iou=0.9)],  # unfinished
    )
    assert found.values(BASE, ["a", "b"], curves.student_iou) == pytest.approx([60, 70])
    assert found.values(BASE, ["a"], curves.student_iou) == pytest.approx([50, 60, 90])
    assert found.values("flow_20", ["a"], curves.student_iou) == []


def test_values_of_a_result():
    found = result(updates=4, teacher_seconds_per_frame=0.5)
    assert curves.student_iou(found) == pytest.approx(50)
    assert curves.all_iou(found) == pytest.approx(90)
    assert curves.updates(found) == pytest.approx(0.4)
    # Two calls of the teacher at .5 s, and 1.6 s of all stages, on ten frames.
    assert curves.milliseconds(found) == pytest.approx(1000 * (2 * 0.5 + 1.6) / 10)
    assert curves.flicker(found) == pytest.approx(12.5)
    assert curves.milliseconds(result(teacher_seconds_per_frame=None)) is None
    assert curves.measured_speedup(found) is None
    assert curves.measured_speedup(result(teacher_time="measured")) == 2.5
    assert curves.student_iou(result(iou=None)) == 0


def test_ratios_are_of_the_same_seed():
    other = PRESETS.points["accurate"]
    seconds = [{"seconds": {"infer": s}, "teacher_seconds_per_frame": 0.0} for s in (1, 2, 4, 16)]
    found = value(
        [result(**seconds[0]), result(method=other, **seconds[1])],
        [result(**seconds[2]), result(method=other, **seconds[3])],
        [result(method=other, **seconds[3])],
    )
    assert found.ratios(other, BASE, ["a"], curves.milliseconds) == pytest.approx([2, 4])


def of_paper(*points):
    """Results of Algorithm 1 with these (teacher frames, mean IoU)."""
    chosen = list(PAPER.points.values())[: len(points)]
    return [
        result(method=method, teacher=share, iou=iou)
        for method, (share, iou) in zip(chosen, points, strict=True)
    ]


@pytest.mark.parametrize(
    ("budget", "expected", "is_beyond"),
    [
        *((0.02, 40, False), (0.03, 45, False), (0.04, 50, False), (0.05, 60, False)),
        *((0.06, 70, False), (0.01, 40, True), (0.08, 70, True)),
    ],
)
def test_a_line_is_interpolated_by_teacher_frames(budget, expected, is_beyond):
    """Its points are in no order of teacher frames."""
    found = value(of_paper((0.04, 0.5), (0.06, 0.7), (0.02, 0.4)))
    values, beyond = found.at(PAPER, budget, ["a"], curves.student_iou)
    assert values == pytest.approx([expected])
    assert beyond == is_beyond


def test_each_seed_has_a_line_of_its_own():
    two = of_paper((0.02, 0.4), (0.06, 0.8)), of_paper((0.02, 0.4), (0.04, 0.7))
    found = value(*two, of_paper((0.03, 0.1)))  # the third is a point, no line
    values, is_beyond = found.at(PAPER, 0.05, ["a"], curves.student_iou)
    assert values == pytest.approx([70, 70])
    assert is_beyond  # of the second
    assert found.at(PAPER, 0.05, ["b"], curves.student_iou) == ([], False)


def test_other_curves_are_taken_at_their_budget():
    found = value([result(method="flow_20", iou=0.6), result(method="flow_12", iou=0.8)])
    assert found.at(FLOW, 0.05, ["a"], curves.student_iou) == (pytest.approx([60]), False)
    assert found.at(FLOW, 0.02, ["a"], curves.student_iou) == ([], False)


def test_curves_without_results_are_left_out():
    assert list(value([result(method="flow_20")]).curves) == ["flow"]
    with pytest.raises(UserError, match="no results"):
        value([], [])


def test_results_of_all_seeds_are_read(tmp_path):
    for seed, iou in enumerate((0.5, 0.6)):
        for stream in "ab":
            write_result(tmp_path / f"seed{seed}", result(stream, iou=iou))
        write_result(tmp_path / f"seed{seed}", result("a", "oracle"))  # not of the frontier
    found = Frontier.load(tmp_path, KNOWN, {"b"})
    assert list(found.first.streams) == ["b"]
    assert found.values(BASE, ["b"], curves.student_iou) == pytest.approx([50, 60])
    assert found.first.methods() == [BASE]
    with pytest.raises(UserError, match="no results"):
        Frontier.load(tmp_path / "none", KNOWN)

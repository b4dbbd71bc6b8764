"""The figures of a run worked out by hand, their state and the report."""

import dataclasses
import json
import types

import numpy as np
import pytest

from jitnet_tf.distillation.metrics import StreamScore
from jitnet_tf.distillation.result import FrameResult, Score, TeacherFrame
from jitnet_tf.runs.report import table
from jitnet_tf.runs.summary import Statistics, stage_counts

NAMES = ("background", "person", "car")


FRAME = np.zeros((2, 2, 3), np.uint8)
MAP = np.zeros((2, 2), np.uint8)


def result(
    updates=None,
    accuracy=None,
    reference=None,
    staleness=0,
    seen=MAP + 1,
    categories=(),
    **seconds,
):
    """A frame's result; of a teacher frame that came so late if it has updates."""
    made = FrameResult(9, FRAME, MAP, 8, seconds)
    if updates is not None:
        made.teacher = TeacherFrame(
            9 - staleness,
            FRAME,
            seen,
            MAP,
            categories=categories,
            accuracy_before=accuracy,
            losses=(0.5,) * updates,
            staleness=staleness,
        )
    if reference is not None:
        made.reference = Score(MAP, np.array(reference))
    return made


def saturated(inferences, **options):
    """The paper's saturated row: 30 000 frames, every 8th a teacher frame with 8 updates.

    inferences: their cost on a teacher frame, in inferences.
    """
    statistics = Statistics(**options)
    for i in range(30_000):
        if i % 8:
            statistics.add(result(infer=0.007, decode=0.004))
        else:
            trial = 0.007 * inferences
            statistics.add(result(8, 0.75, teacher=0.3, trial=trial, update=8 * 0.03, decode=0.004))
    return statistics


@pytest.mark.parametrize(
    ("inferences", "speedup"),
    [
        # The paper's model: 300·30000 / (26250·7 + 3750·300 + 30000·30) = 9000 / 2208.75
        (0, 4.0747),
        # With the student on teacher frames, too: 9000 / (30000·.007 + 1125 + 900)
        (1, 4.0268),
        # As in Algorithm 1, again after each update: 9000 / (60000·.007 + 1125 + 900)
        (9, 3.6810),
    ],
)
def test_speedup_of_the_papers_saturated_row(inferences, speedup):
    statistics = saturated(inferences)
    assert statistics.speedup == pytest.approx(speedup, abs=1e-4)
    assert statistics.teacher_seconds == pytest.approx(0.3)
    assert statistics.teacher_fraction == 0.125
    assert statistics.updates == 30_000
    assert statistics.accuracy == 0.75


def test_speedup_counts_computation_alone():
    statistics = Statistics()
    statistics.add(result(1, 0.5, teacher=4.0, labels=1.0, trial=1.5, update=1.5))
    statistics.add(result(infer=2.0, decode=9.0, output=9.0))
    assert statistics.speedup == pytest.approx(2 * 4 / (4 + 1 + 1.5 + 1.5 + 2))


def test_replayed_teacher_counts_with_its_recorded_time():
    statistics = Statistics(None, recorded_teacher_seconds=0.5, replayed=True)
    statistics.add(result(0, 1.0, teacher=0.001, infer=0.1))
    statistics.add(result(infer=0.1))
    assert statistics.speedup == pytest.approx(2 * 0.5 / (0.5 + 0.2))
    summary = statistics.summary()
    assert (summary["teacher_time"], summary["teacher_seconds_per_frame"]) == ("recorded", 0.5)
    assert "1.4× (teacher's time as recorded)" in table({**summary, "problems": []})


def test_a_teacher_knows_its_time_or_is_timed():
    recording = types.SimpleNamespace(precomputed=True, mean_seconds=0.5)
    unknown = types.SimpleNamespace(precomputed=True, mean_seconds=None)
    live = types.SimpleNamespace(precomputed=False, mean_seconds=None)
    for teacher, seconds in ((recording, 0.5), (unknown, None), (live, 2)):
        statistics = Statistics.of(teacher, teacher_mode="async")
        statistics.add(result(0, 1.0, staleness=1, teacher=2))
        assert (statistics.teacher_seconds, statistics.asynchronous) == (seconds, True)
        assert statistics.replayed == (seconds != 2)


def test_replayed_teacher_of_unknown_time_has_no_speedup():
    statistics = Statistics(None, recorded_teacher_seconds=None, replayed=True)
    statistics.add(result(0, 1.0, teacher=0.001, infer=0.1))
    summary = statistics.summary()
    assert (summary["speedup"], summary["teacher_seconds_per_frame"]) == (None, None)
    assert "speedup over the teacher  –" in table({**summary, "problems": []})


def test_accuracy_is_over_the_teacher_frames_on_which_a_student_was_scored():
    """Flow has no student: its teacher frames say nothing of accuracy, not that it is 0."""
    statistics = Statistics()
    statistics.add(result(0, teacher=0.5))
    assert (statistics.teacher_frames, statistics.accuracy) == (1, None)
    assert statistics.summary()["accuracy_before_update"] is None
    assert statistics.progress() == "accuracy –, teacher 100.0 %, 0 updates"
    assert "accuracy before update    –" in table({**statistics.summary(), "problems": []})
    statistics.add(result(1, 0.5))
    statistics.add(result(1, 0.0))
    statistics.add(result())
    assert (statistics.teacher_frames, statistics.scored_teacher_frames) == (3, 2)
    assert statistics.accuracy == 0.25
    other = Statistics()
    other.set_state(json.loads(json.dumps(statistics.get_state())))
    assert other.accuracy == 0.25


def test_an_asynchronous_run_without_teacher_frames_is_a_problem():
    statistics = Statistics(teacher_mode="async")
    assert statistics.problems == []
    statistics.add(result())
    [problem] = statistics.problems
    assert "--teacher_mode=sync" in problem
    statistics.add(result(0, 1.0, staleness=1, teacher=2, seen=MAP + 1))
    assert statistics.problems == []


@pytest.mark.parametrize(
    ("categories", "said"),
    [((), "--score_threshold"), (("chair", "tv", "chair"), "chair (4), tv (2)")],
)
def test_a_teacher_that_labels_nothing_is_a_problem_until_it_does(categories, said):
    statistics = Statistics()
    assert statistics.problems == []
    for _ in range(2):
        statistics.add(result(0, 1.0, seen=MAP, categories=categories))
        statistics.add(result())
    [problem] = statistics.problems
    assert "any of its 2 frames" in problem
    assert said in problem
    assert "of the classes: 0" in table({**statistics.summary(), "problems": []})
    other = Statistics()
    other.set_state(json.loads(json.dumps(statistics.get_state())))
    assert other.problems == [problem]
    other.add(result(0, 1.0))
    assert other.problems == []
    assert other.summary()["labeled_teacher_frames"] == 1


def scored():
    """Three frames against a reference; cars are on two, and on one that is no teacher frame."""
    statistics = Statistics(StreamScore(NAMES))
    first = [[50, 0, 0], [0, 40, 0], [0, 0, 10]]
    second = [[80, 0, 0], [10, 10, 0], [0, 0, 0]]
    third = [[90, 0, 0], [0, 0, 0], [5, 0, 5]]
    statistics.add(result(3, 0.25, first, teacher=0.75, trial=0.1, update=0.9, labels=0.05))
    statistics.add(result(reference=second, infer=0.1))
    statistics.add(result(reference=third, infer=0.1))
    statistics.wall_seconds = 6.0
    return statistics


def test_summary_without_reference():
    statistics = Statistics()
    statistics.add(result(2, 0.5, teacher=0.3, infer=0.03))
    statistics.add(result(infer=0.01))
    summary = statistics.summary()
    expected = {
        "frames": 2,
        "teacher_frames": 1,
        "teacher_fraction": 0.5,
        "updates": 2,
        "accuracy_before_update": 0.5,
        "teacher_seconds_per_frame": 0.3,
        "teacher_time": "measured",
    }
    assert {name: summary[name] for name in expected} == expected
    assert summary["seconds"]["teacher"] == 0.3
    assert summary["seconds"]["infer"] == pytest.approx(0.04)
    assert {"processing_fps", "speedup"} < summary.keys()
    assert not any("iou" in name or "reference" in name for name in summary)


def test_summary_with_reference():
    summary = scored().summary()
    person, car = 50 / 60, 15 / 20
    assert summary["per_class_iou"] == pytest.approx({"person": person, "car": car})
    assert summary["mean_iou"] == pytest.approx((person + car) / 2)
    assert summary["mean_iou_student_only"] == pytest.approx((10 / 20 + 5 / 10) / 2)
    assert summary["reference_frames_with"] == {"person": 2, "car": 2}
    assert summary["processing_fps"] == 0.5
    assert json.loads(json.dumps(summary)) == summary


def timed(time, dropped=0, lag=None):
    made = result()
    made.time, made.duration, made.dropped, made.lag = time, 0.5, dropped, lag
    return made


def test_rate_of_the_source_is_that_of_its_times():
    statistics = Statistics(wall_seconds=10.0)
    for time in (0.0, 0.5, 9.5):
        statistics.add(timed(time))
    summary = statistics.summary()
    assert (summary["video_seconds"], summary["source_fps"]) == (10.0, 0.3)
    assert summary["processing_fps"] == 0.3
    assert not {"dropped_frames", "lag"} & summary.keys()
    assert "dropped" not in statistics.progress()
    assert "10.0 s, 0.3 frames a second" in table({**summary, "problems": []})


def test_drops_and_lag_of_a_live_stream_go_on_from_their_state():
    before = Statistics()
    before.add(timed(0.0, dropped=100, lag=1.5))  # 100 while the run was opened
    before.add(timed(0.5, dropped=9, lag=0.5))
    statistics = Statistics()
    statistics.set_state(json.loads(json.dumps(before.get_state())))
    statistics.add(timed(1.0, dropped=50, lag=1.0))
    summary = statistics.summary()
    assert summary["dropped_frames"] == 159
    assert summary["lag"] == {"mean": 1.0, "max": 1.5}
    assert summary["source_fps"] == 12 / 1.5
    assert "159 dropped, lag 1.0 s" in statistics.progress()
    found = rows(table({**summary, "problems": []}))
    assert found["dropped for newer frames"] == "159 (98.1 %)"
    assert found["lag"] == "1.00 s in the mean, at most 1.50 s"


def test_a_state_of_a_version_without_gaps_is_restored():
    before = Statistics()
    before.add(timed(0.0, dropped=100, lag=1.5))
    state = before.get_state()
    statistics = Statistics()
    statistics.set_state({n: v for n, v in state.items() if n not in ("gaps", "gap_seconds")})
    assert statistics.get_state() == state


def test_nothing_yet():
    summary = Statistics(StreamScore(NAMES)).summary()
    assert (summary["frames"], summary["processing_fps"], summary["speedup"]) == (0, 0, None)
    assert summary["mean_iou"] is None
    assert "mean IoU, all frames      –" in table({**summary, "problems": []})


@pytest.mark.parametrize("with_reference", [True, False])
def test_goes_on_from_its_state(with_reference):
    statistics = scored() if with_reference else saturated(1)
    state = json.loads(json.dumps(statistics.get_state()))
    other = Statistics(StreamScore(NAMES) if with_reference else None)
    other.add(result(1, 0.1, np.ones((3, 3), int) if with_reference else None, elsewhere=1.0))
    other.set_state(state)
    assert other.summary() == statistics.summary()
    assert other.progress() == statistics.progress()
    for each in (other, statistics):
        more = [[1, 2, 3], [4, 5, 6], [7, 8, 9]] if with_reference else None
        each.add(result(5, 0.5, more, teacher=0.2, new=1.0))
    assert other.summary() == statistics.summary()
    assert other.get_state() == statistics.get_state()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frames", "5"),
        ("updates", -1),
        ("wall_seconds", float("nan")),
        ("seconds", {"infer": None}),
        ("all_frames", [[1]]),
        ("student_frames", [[0.5] * 3] * 3),
    ],
)
def test_a_damaged_state_is_refused(name, value):
    statistics = scored()
    state = statistics.get_state()
    other = Statistics(StreamScore(NAMES))
    with pytest.raises((KeyError, ValueError, TypeError)):
        other.set_state({**state, name: value})


def asynchronous():
    """Ten frames of .1 s and two teacher frames, one with three updates; both late."""
    statistics = Statistics(StreamScore(NAMES), teacher_mode="async")
    right, wrong = [[9, 0, 0], [0, 1, 0], [0, 0, 0]], [[9, 0, 0], [1, 0, 0], [0, 0, 0]]
    for i in range(10):
        seconds = {"update": 0.6} if i in (2, 3, 4) else {}
        ended = {5: (3, 0.5), 8: (0, 1.0)}.get(i, (None, None))
        if i in (5, 8):
            seconds |= {"trial": 0.2, "teacher": 2.0}
        if i == 8:
            seconds["wait"] = 1.5
        reference, staleness = right if i < 6 else wrong, {5: 2, 8: 7}.get(i, 0)
        statistics.add(result(*ended, reference, staleness, infer=0.1, **seconds))
    return statistics


def test_summary_of_an_asynchronous_teacher():
    summary = asynchronous().summary()
    assert (summary["teacher_mode"], summary["staleness"]) == ("async", {"mean": 4.5, "max": 7})
    assert (summary["teacher_frames"], summary["updates"]) == (2, 3)
    # No frame's prediction had its labels.
    assert summary["mean_iou"] == summary["mean_iou_student_only"] == 0.6
    # All the work, whatever of it was at the same time; what is waited for is the teacher's.
    assert summary["speedup"] == pytest.approx(10 * 2 / (2 * 2 + 10 * 0.1 + 2 * 0.2 + 3 * 0.6))
    found = rows(table({**summary, "problems": []}))
    assert found["labels came after"] == "4.5 frames in the mean, at most 7"
    assert found["seconds in infer"] == "1.0, 10 × 100.0 ms"
    assert found["seconds in trial"] == "0.4, 2 × 200.0 ms"
    assert found["seconds in update"] == "1.8, 3 × 600.0 ms"
    assert found["seconds in teacher"] == "4.0, 2 × 2000.0 ms"


def test_an_asynchronous_teacher_that_never_answered():
    statistics = Statistics(teacher_mode="async")
    statistics.add(result(infer=0.1))
    summary = statistics.summary()
    assert summary["staleness"] == {"mean": None, "max": 0}
    assert "labels came after" not in table({**summary, "problems": []})


def test_staleness_goes_on_from_its_state():
    statistics = asynchronous()
    other = Statistics(StreamScore(NAMES), teacher_mode="async")
    other.set_state(json.loads(json.dumps(statistics.get_state())))
    assert other.summary() == statistics.summary()
    assert other.get_state() == statistics.get_state()


def test_a_synchronous_teacher_has_no_staleness():
    statistics = scored()
    assert statistics.summary()["teacher_mode"] == "sync"
    assert not any("stale" in name for name in {**statistics.summary(), **statistics.get_state()})
    assert "labels came after" not in rows(table({**statistics.summary(), "problems": []}))


def test_progress():
    assert scored().progress() == "mean IoU 79.2 %, teacher 33.3 %, 3 updates"
    assert saturated(1).progress() == "accuracy 75.0 %, teacher 12.5 %, 30000 updates"


def rows(text):
    """Name → value of a report's lines."""
    return dict(map(str.strip, line.split("  ", 1)) for line in map(str.strip, text.splitlines()))


def test_table_with_reference():
    text = table({**scored().summary(), "problems": ["frame 3 is damaged"]})
    *lines, note = text.splitlines()
    assert note == "note: frame 3 is damaged"
    found = rows("\n".join(lines))
    expected = {
        "frames": "3",
        "teacher frames": "1 (33.3 %)",
        "updates": "3",
        "accuracy before update": "25.0 %",
        "mean IoU, all frames": "79.2 %",
        "mean IoU, student only": "50.0 %",
        "IoU person": "83.3 %, on 2 frames",
        "IoU car": "75.0 %, on 2 frames",
        "processed a second": "0.5",
        "speedup over the teacher": "1.1×",  # 3·.75 / (.75 + .05 + .1 + .9 + .2)
    }
    assert {name: found[name] for name in expected} == expected
    assert "750.0 ms" in found["seconds in teacher"]
    assert "50.0 ms" in found["seconds in labels"]
    assert "2 × 100.0 ms" in found["seconds in infer"]  # each frame without a teacher
    assert "1 × 100.0 ms" in found["seconds in trial"]  # each teacher frame
    assert "3 × 300.0 ms" in found["seconds in update"]
    starts = {len(line) - len(line[26:].lstrip()) for line in lines}
    assert len(starts) == 1  # one column


def test_table_without_reference():
    found = rows(table({**saturated(9).summary(), "problems": []}))
    assert found["teacher frames"] == "3750 (12.5 %)"
    assert found["accuracy before update"] == "75.0 %"
    expected = {"infer": "183.8, 26250 × 7.0 ms", "trial": "236.2, 3750 × 63.0 ms"}
    expected |= {"update": "900.0, 30000 × 30.0 ms", "decode": "120.0, 30000 × 4.0 ms"}
    assert {stage: found[f"seconds in {stage}"] for stage in expected} == expected
    assert found["speedup over the teacher"] == "3.7×"
    assert not any("IoU" in name for name in found)


def shown_as(accuracy, stages):
    made = result(updates=0, accuracy=0.5)
    made.teacher = dataclasses.replace(made.teacher, accuracy_shown=accuracy)
    made.seconds = dict.fromkeys(stages, 0.01)
    return made


def test_accuracy_shown_budget_and_stages():
    statistics = Statistics(teacher_budget=0.5)
    assert statistics.summary()["accuracy_shown"] is None
    for made in (
        shown_as(0.5, ("infer", "flow", "fuse")),
        shown_as(None, ("infer", "flow", "fuse")),
        shown_as(1.0, ("infer", "flow", "fuse")),
        result(infer=0.01),
    ):
        statistics.add(made)
    statistics.add(FrameResult(4, FRAME, MAP, 8, {"flow": 0.01}))
    summary = statistics.summary()
    assert summary["accuracy_shown"] == 0.75  # an empty frame is no evidence
    assert (summary["teacher_budget"], summary["budget_used"]) == (0.5, 1.2)
    assert summary["stage_frames"]["fuse"] == 3
    assert summary["stage_frames"]["flow"] == 4
    assert stage_counts(summary)["infer"] == 4
    assert stage_counts(summary)["flow"] == 4
    again = Statistics(teacher_budget=0.5)
    again.set_state(json.loads(json.dumps(statistics.get_state())))
    assert again.summary() == summary

"""Evaluation of streams with known scores."""

import json
import types

import cv2
import numpy as np
import pytest

from experiments.methods import flow, named, oracle, settings_of
from experiments.protocol import evaluation, stability
from experiments.protocol.evaluation import KEPT_DISTANCE, Timeline, evaluate, frame_accuracy
from experiments.reports import costs
from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation import metrics
from jitnet_tf.labels import class_groups
from jitnet_tf.student.build import build_student
from teacher import Teacher, TeacherOptions
from teacher.recorded import Recording
from tests.materials import square_scene, write_square_stream, write_teacher

COUNT = 24


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A square that moves by a pixel a frame, both ways."""
    return write_square_stream(tmp_path_factory.mktemp("moving"), "moving", COUNT)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("still"), "still", COUNT, (0, 0))


def evaluated(stream, method, folder, frames=COUNT, **settings):
    """The result, as it reads back from JSON, and the kept predictions by frame."""
    steps = []
    result = evaluate(stream, frames, method, settings, folder, lambda: steps.append(1))
    taken = named(method).take(settings)
    assert len(steps) == frames + named(method).preparation(taken, frames)
    kept = {int(p.stem): cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in folder.glob("*.png")}
    assert sorted(kept) == list(range(0, frames, KEPT_DISTANCE))
    back = json.loads(json.dumps(result))
    # All figures of one run agree.
    summary, seconds = back["summary"], back["timeline"]
    assert (summary["frames"], back["method"]) == (frames, method)
    assert back["settings"] == settings_of(method, settings)
    assert sum(second["updates"] for second in seconds) == summary["updates"]
    tp, fp, fn = (sum(second[name][0] for second in seconds) for name in ("tp", "fp", "fn"))
    assert tp / (tp + fp + fn) == pytest.approx(summary["mean_iou"])
    labels = square_scene(COUNT, (0, 0) if stream.name == "still" else (1, 1))[1]
    for index, prediction in kept.items():
        expected = metrics.class_iou(metrics.confusion(labels[index], prediction, 9))[1]
        assert back["frame_iou"][str(index)] == pytest.approx(expected, abs=5e-5)
    return back, kept


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[9, 0, 0], [0, 0, 0], [0, 0, 0]], None),  # nothing to see
        ([[5, 4, 0], [0, 0, 0], [0, 0, 0]], None),  # nor here, whatever the prediction
        ([[5, 0, 0], [1, 3, 0], [0, 0, 0]], 0.75),
        ([[5, 2, 0], [0, 0, 0], [1, 0, 1]], 0.25),  # a class that only the prediction has: 0
        ([[5, 0, 3], [0, 4, 0], [0, 0, 0]], 1.0),  # over the classes evaluated alone
    ],
)
def test_accuracy_of_a_frame(counts, expected):
    ids = [1] if expected == 1.0 else [1, 2]
    assert frame_accuracy(np.array(counts), ids) == expected


@pytest.mark.slow
def test_a_live_teacher_is_timed_in_the_run(still, tmp_path, monkeypatch):
    """Its detections equal the recorded ones; its time is measured, not the recorded 0.5 s."""
    asked, closed = [], []

    class Live(Teacher):
        def __init__(self, spec, options):
            assert (spec, options) == ("live", TeacherOptions(signature="raw"))
            self._recording = Recording(still.recording)

        def __call__(self, frame, index):
            asked.append(index)
            return self._recording(frame, index)

        def close(self):
            closed.append(self._recording.close())

    monkeypatch.setattr(evaluation, "open_teacher", Live)
    result, _ = evaluated(
        still, "flow_slow", tmp_path / "live", teacher="live", teacher_signature="raw"
    )
    assert asked == [0, 0, 8, 16]  # once to warm up
    assert len(closed) == 1
    assert result["summary"]["mean_iou"] == 1
    assert result["summary"]["teacher_time"] == "measured"
    assert result["summary"]["teacher_seconds_per_frame"] < 0.5
    result, _ = evaluated(still, "flow_slow", tmp_path / "recorded")
    assert result["summary"]["teacher_seconds_per_frame"] == 0.5
    asked.clear()
    evaluated(still, "never_adapted", tmp_path / "never", teacher="live")
    assert asked == []


def test_a_teacher_run_for_its_time_gives_no_labels(still, tmp_path):
    """A SavedModel that finds two persons and cars anywhere; the labels are the recorded ones."""
    model = str(write_teacher(tmp_path / "model"))
    result, _ = evaluated(still, "flow_8", tmp_path / "timed", timed_teacher=model)
    summary = result["summary"]
    assert summary["mean_iou"] == 1
    assert summary["teacher_time"] == "measured"
    seconds = summary["seconds"]["teacher"] / summary["teacher_frames"]
    assert summary["teacher_seconds_per_frame"] == pytest.approx(seconds) != 0.5
    per_frame = costs.seconds_per_frame(summary)
    assert summary["speedup"] == pytest.approx(seconds / per_frame)
    assert result["settings"]["timed_teacher"] == model


# Seconds


def frame_result(index, counts, updates=0):
    return types.SimpleNamespace(
        index=index, reference=types.SimpleNamespace(confusion=np.array(counts)), updates=updates
    )


def test_timeline_by_hand():
    first = [[50, 1, 2], [3, 20, 4], [5, 6, 9]]
    second = [[60, 0, 0], [10, 30, 0], [0, 0, 0]]
    timeline = Timeline(2.0, [2, 1])
    for index, counts, updates in ((0, first, 3), (1, second, 0), (2, first, 8)):
        timeline.add(frame_result(index, counts, updates))
    # Class 2, then class 1: hits, the rest of its column, the rest of its row.
    assert timeline.to_json() == [
        {"tp": [9, 50], "fp": [6, 7], "fn": [11, 17], "updates": 3},
        {"tp": [9, 20], "fp": [6, 7], "fn": [11, 7], "updates": 8},
    ]


def test_timeline_of_few_frames_a_second():
    timeline = Timeline(0.5, [1])
    for index in range(2):
        timeline.add(frame_result(index, [[1, 0], [0, 1]], 1))
    assert [row["updates"] for row in timeline.to_json()] == [1, 0, 1]
    assert [row["tp"] for row in timeline.to_json()] == [[1], [0], [1]]


@pytest.mark.parametrize("fps", [25, 29.97, 12.5])
def test_timeline_counts_every_frame(fps):
    timeline = Timeline(fps, [1])
    for index in range(200):
        timeline.add(frame_result(index, [[1, 2], [3, 4]], index % 3))
    rows = timeline.to_json()
    assert len(rows) == int(199 / fps) + 1
    assert sum(row["updates"] for row in rows) == sum(index % 3 for index in range(200))
    for name, each in (("tp", 4), ("fp", 2), ("fn", 3)):
        assert sum(row[name][0] for row in rows) == 200 * each


# Flow


@pytest.mark.parametrize(("method", "stride"), [("flow_slow", 8), ("flow_fast", 16)])
def test_flow_of_a_scene_at_rest_is_perfect(still, tmp_path, method, stride):
    result, kept = evaluated(still, method, tmp_path)
    summary = result["summary"]
    assert (summary["mean_iou"], summary["mean_iou_student_only"]) == (1, 1)
    assert summary["teacher_frames"] == -(-COUNT // stride)
    assert (summary["updates"], summary["accuracy_before_update"]) == (0, None)
    assert summary["per_class_iou"] == {"person": 1}
    assert summary["reference_frames_with"] == {"person": COUNT}
    assert (summary["teacher_seconds_per_frame"], summary["teacher_time"]) == (0.5, "recorded")
    assert result["flicker"] == {"prediction": 0, "teacher": 0}
    assert set(result["frame_iou"].values()) == {1}
    assert result["timeline"] == [{"tp": [COUNT * 28 * 28], "fp": [0], "fn": [0], "updates": 0}]
    assert (result["fps"], result["frames"], result["problems"]) == (25, COUNT, [])
    assert result["recorded"]["frame_size"] == [64, 96]
    assert result["stream"]["classes"] == ["person"]
    assert set(kept[20].ravel()) == {0, 1}
    assert json.loads((tmp_path / "classes.json").read_text())["1"] == "person"
    spent = sum(summary["seconds"][stage] for stage in ("labels", "flow", "warp"))
    saved = COUNT * 0.5 / (summary["teacher_frames"] * 0.5 + spent)
    assert summary["speedup"] == pytest.approx(saved)


def test_flow_follows_motion(moving, tmp_path):
    slow, _ = evaluated(moving, "flow_slow", tmp_path / "slow")
    fast, _ = evaluated(moving, "flow_fast", tmp_path / "fast")
    # The IoU of labels that stay for 0…7 frames.
    labels = square_scene(8)[1]
    pairs = [(labels[0] & label, labels[0] | label) for label in labels]
    stuck = sum(a.sum() for a, _ in pairs) / sum(b.sum() for _, b in pairs)
    assert stuck < 0.75
    assert slow["summary"]["mean_iou"] > 0.95
    assert fast["summary"]["mean_iou"] < slow["summary"]["mean_iou"]
    for result in (slow, fast):
        summary = result["summary"]
        assert summary["mean_iou_student_only"] < summary["mean_iou"]  # the teacher's are right
        assert result["flicker"]["teacher"] < 0.05


def test_flow_of_known_motion_is_perfect(moving, tmp_path, monkeypatch):
    """Tests everything but the estimator, exactly."""
    frames = square_scene(COUNT)[0]

    def number(picture):
        return int(np.argmin([np.abs(picture.astype(int) - frame).sum() for frame in frames]))

    def true_flow(frame, other):
        now, then = number(frame), number(other)
        moved = np.zeros((64, 96, 2), np.float32)
        moved[4 + then : 32 + then, 4 + then : 32 + then] = 100  # uncovered: from elsewhere
        moved[4 + now : 32 + now, 4 + now : 32 + now] = then - now
        return moved

    monkeypatch.setattr(flow, "DIS", lambda preset: true_flow)
    result, _ = evaluated(moving, "flow_fast", tmp_path)
    assert result["summary"]["mean_iou"] == result["summary"]["mean_iou_student_only"] == 1


# The start


@pytest.mark.slow
def test_the_start_is_scored_on_its_own(moving, tmp_path, monkeypatch):
    """Scores equal those of a run over these frames alone."""
    monkeypatch.setattr(evaluation, "START_FRAMES", 3)
    result, _ = evaluated(moving, "jitnet_0.8", tmp_path / "whole")
    start, _ = evaluated(moving, "jitnet_0.8", tmp_path / "start", frames=3)
    assert result["start_iou"] == start["summary"]["mean_iou"] == start["start_iou"]
    assert result["start_iou"] != result["summary"]["mean_iou"]


# Students


@pytest.mark.slow
def test_never_adapted_is_the_initial_student(moving, tmp_path):
    result, kept = evaluated(moving, "never_adapted", tmp_path, seed=3)
    student = build_student(RunConfig(seed=3), class_groups("lvs"), (64, 96))
    labels = square_scene(COUNT)[1]
    flicker = stability.Flicker(9)
    hits = union = 0
    with video.open_source(moving.video) as source:
        for index, (frame, label) in enumerate(zip(source, labels, strict=True)):
            prediction = student.infer(frame)
            if index in kept:
                np.testing.assert_array_equal(kept[index], prediction)
            hits += ((prediction == 1) & (label == 1)).sum()
            union += ((prediction == 1) | (label == 1)).sum()
            flicker.add(
                types.SimpleNamespace(
                    index=index,
                    frame=frame,
                    prediction=prediction,
                    reference=types.SimpleNamespace(labels=label),
                )
            )
    summary = result["summary"]
    assert summary["mean_iou"] == summary["mean_iou_student_only"] == pytest.approx(hits / union)
    assert (summary["teacher_frames"], summary["updates"]) == (0, 0)
    assert summary["teacher_fraction"] == 0
    assert result["flicker"]["prediction"] == stability.flicker(flicker.prediction, [1])
    assert result["flicker"]["teacher"] == stability.flicker(flicker.reference, [1])


@pytest.mark.slow
def test_the_oracle_is_accurate_on_its_stream(moving, tmp_path, monkeypatch):
    trained = []

    def train(student, frames, *arguments):
        trained.append((frames.count, arguments[:3]))
        oracle_train(student, frames, *arguments)

    oracle_train = oracle.train
    monkeypatch.setattr(oracle, "train", train)
    result, kept = evaluated(moving, "oracle", tmp_path, oracle_steps=40, init="random")
    assert trained == [(5, (40, 0.01, 0))]
    summary = result["summary"]
    assert summary["mean_iou"] > 0.9
    assert min(result["frame_iou"].values()) > 0.8  # on frames between the training frames, too
    # It is frozen: the teacher is never asked.
    assert (summary["teacher_frames"], summary["updates"]) == (0, 0)
    assert set(summary["seconds"]) == {"decode", "infer", "reference"}
    assert (kept[8] == 1).sum() == pytest.approx(28 * 28, rel=0.15)


@pytest.mark.slow
def test_jitnet_learns_the_stream(moving, tmp_path):
    result, _ = evaluated(moving, "jitnet_0.8", tmp_path)
    summary = result["summary"]
    assert 0 < summary["updates"] <= 8 * summary["teacher_frames"]
    assert summary["teacher_frames"] in (2, 3)  # the stride is 8, and 16 once it is good enough
    assert summary["accuracy_before_update"] is not None
    assert {"teacher", "labels", "infer", "update"} < set(summary["seconds"])


def test_a_part_of_the_stream(moving, tmp_path):
    result, kept = evaluated(moving, "flow_fast", tmp_path, frames=9)
    assert result["summary"]["frames"] == 9
    assert sorted(kept) == [0, 4, 8]


def test_masks_of_an_interrupted_evaluation_are_replaced(still, tmp_path):
    evaluated(still, "flow_fast", tmp_path, frames=20)
    _, kept = evaluated(still, "flow_fast", tmp_path, frames=9)
    assert sorted(kept) == [0, 4, 8]


def test_other_files_in_the_mask_folder_are_kept(still, tmp_path):
    (tmp_path / "000000.png").write_text("a picture")
    with pytest.raises(UserError, match="holds other files"):
        evaluate(still, COUNT, "flow_fast", {}, tmp_path)
    assert (tmp_path / "000000.png").read_text() == "a picture"


def test_recordings_of_another_video_are_refused(still, tmp_path):
    other = square_scene(4)[0][0][::-1]
    path = tmp_path / "other.png"
    cv2.imwrite(str(path), other)
    stream = type(still)("x", "c", ("person",), str(path), still.recording, None)
    with pytest.raises(UserError, match="is of another video"):
        evaluate(stream, 1, "flow_fast", {}, tmp_path / "masks")

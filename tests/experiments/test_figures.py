"""Figures 3, 4 and 5 from results by hand, or by flow on a small stream."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import figure3, figure4, figure5, methods
from experiments.protocol import evaluation, jobs
from experiments.reports import figures
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from jitnet_tf.sinks.mask_writer import MaskWriter
from jitnet_tf.sinks.palette import palette
from tests.builders import made_result
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

COUNT = 30


def second(tp, fp, fn, updates=0):
    return {"tp": tp, "fp": fp, "fn": fn, "updates": updates}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of two streams: flow as it is, and a "student" that predicts every pixel a person."""
    folder = tmp_path_factory.mktemp("results")
    for name, speed in (("slow", (0, 1)), ("fast", (1, 2))):
        stream = write_square_stream(folder, name, COUNT, speed)
        place = jobs.folder(folder, name, "flow_fast")
        result = evaluation.evaluate(stream, COUNT, "flow_fast", {}, place / jobs.MASKS)
        save(place, result)
        student = {**result, "method": "jitnet_0.9", "frame_iou": {}}
        for index in map(int, result["frame_iou"]):
            student["frame_iou"][index] = round(0.5 - index / 1000, 4)  # ever worse
        student["summary"] = {**result["summary"], "mean_iou": 0.5}
        place = jobs.folder(folder, name, "jitnet_0.9")
        save(place, student)
        writer = MaskWriter(place / jobs.MASKS, ["background", "person"])
        for index in student["frame_iou"]:
            writer.write(index, np.ones((64, 96), np.uint8))
    return folder


def save(place, result):
    place.mkdir(parents=True, exist_ok=True)
    (place / jobs.RESULT).write_text(json.dumps({**result, "jobs": 1}))


def test_intervals_sum_before_they_divide():
    timeline = [
        second([10, 0], [0, 0], [10, 0], 3),
        second([30, 0], [0, 0], [10, 5], 1),
        second([1, 1], [1, 1], [0, 0], 0),
    ]
    iou, updates = figure4.intervals(timeline, 2)
    # Person 40 of 60; the second class 0 of 5. Then 1 of 2 each, in an interval cut short.
    assert iou == pytest.approx([(40 / 60 + 0) / 2, 0.5])
    assert updates.tolist() == [4, 0]


def test_intervals_without_any_class_have_no_accuracy():
    iou, updates = figure4.intervals([second([0], [0], [0], 2)], 30)
    assert np.isnan(iou).tolist() == [True]
    assert updates.tolist() == [2]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 50))
def test_intervals_count_every_update(updates, seconds):
    timeline = [second([1], [0], [0], u) for u in updates]
    iou, sums = figure4.intervals(timeline, seconds)
    assert sum(sums) == sum(updates)
    assert len(iou) == -(-len(updates) // seconds)


@given(st.dictionaries(st.integers(0, 500), st.floats(0, 1), min_size=1))
def test_rules(scores):
    worst, median, best = (figures.choose(scores, rule) for rule in figures.RULES)
    assert scores[worst] == min(scores.values())
    assert scores[best] == max(scores.values())
    below = sum(value <= scores[median] for value in scores.values())
    above = sum(value >= scores[median] for value in scores.values())
    assert min(below, above) >= len(scores) // 2


def test_the_earlier_of_equal_frames_is_taken():
    assert figures.choose({8: 0.5, 4: 0.5}, "worst") == 4


def test_sequences_keep_clear_of_teacher_frames():
    scores = {index: index / 100 for index in range(0, 40, 4)}
    means = figure5.sequences(scores, 16)
    assert means == pytest.approx({4: 0.08, 20: 0.24})


def test_sequences_need_every_frame():
    assert figure5.sequences({4: 1, 12: 1}, 16) == {}


def test_figure5_takes_the_stream_in_the_middle():
    students, flows = (0.9, 0.7, 0.5), (0.8, 0.2, 0.6)  # .1, .5 and -.1 ahead
    found = {}
    for stream, student, flow in zip("abc", students, flows, strict=True):
        found[stream, "s"] = {"summary": {"mean_iou": student}}
        found[stream, "flow_fast"] = {"summary": {"mean_iou": flow}}
    assert figure5.middle_stream(found, "s") == "a"
    with pytest.raises(UserError, match="other and flow_fast"):
        figure5.middle_stream(found, "other")


def test_figures_show_the_kept_predictions(results):
    [stream] = [r["stream"] for r in Results.load(results) if r["method"] == "flow_fast"][:1]
    pictures = figures.Pictures(results, stream, [0, 4])
    frame = pictures.frame(4)
    assert (pictures.teacher(4) != pictures.teacher(0)).any()
    person = palette()[1]
    # The student predicts a person at every pixel: half frame, half color everywhere.
    everything = cv2.addWeighted(frame, 0.5, np.broadcast_to(person, frame.shape).copy(), 0.5, 0)
    inside = np.s_[8:-8, 8:-8]
    assert (pictures.method(4, "jitnet_0.9")[inside] == everything[inside]).all()


@pytest.mark.parametrize("module", [figure3, figure4, figure5])
def test_figures_become_png(results, module, tmp_path, capsys):
    arguments = [f"--results={results}", f"--output={tmp_path}/deep/figure.png"]
    if module is figure4:
        arguments += ["--methods=jitnet_0.9,flow_fast", "--bin_seconds=1"]
        arguments += [f"--logdir={tmp_path}/events"]
    assert run_command(module, *arguments) == 0
    picture = cv2.imread(f"{tmp_path}/deep/figure.png")
    assert min(picture.shape[:2]) > 100
    assert picture.std() > 10  # neither blank nor black
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["figure.png"]


def test_figure4_for_tensorboard(results, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    arguments = [f"--results={results}", f"--output={tmp_path}/f.png", f"--logdir={tmp_path}/tb"]
    for seconds in (2, 1):  # the second call replaces what the first left
        bins = f"--bin_seconds={seconds}"
        assert run_command(figure4, *arguments, "--methods=flow_fast", bins) == 0
    events = EventAccumulator(str(tmp_path / "tb" / "flow_fast")).Reload()
    assert sorted(events.Tags()["tensors"]) == [
        "mean IoU/fast",
        "mean IoU/slow",
        "updates/fast",
        "updates/slow",
    ]
    points = events.Tensors("mean IoU/slow")
    assert [point.step for point in points] == [0, 1]  # 30 frames at 25 a second
    result = jobs.load(jobs.folder(results, "slow", "flow_fast") / jobs.RESULT)
    expected, _ = figure4.intervals(result["timeline"], 1)
    logged = [float(make_ndarray(point.tensor_proto)) for point in points]
    assert logged == pytest.approx(expected.tolist())


def test_figure4_from_json_alone(results, tmp_path):
    for path in results.glob(f"*/flow_fast/{jobs.RESULT}"):
        result = jobs.load(path)
        result["stream"]["video"] = result["stream"]["recording"] = "gone"
        save(tmp_path / path.parent.relative_to(results), result)
    arguments = [f"--results={tmp_path}", f"--output={tmp_path}/f.png", "--methods=flow_fast"]
    assert run_command(figure4, *arguments) == 0


def test_streams_can_be_chosen(results):
    found = Results.load(results)
    assert list(figures.results_of(found, ["flow_fast"], ["slow"])) == [("slow", "flow_fast")]


def test_any_method_can_be_shown():
    made = Results([made_result("a", "max_updates=4"), made_result("a", "oracle")])
    assert list(figures.results_of(made, ["max_updates=4"], [])) == [("a", "max_updates=4")]


ALL = ",".join(methods.METHODS)


@pytest.mark.parametrize(
    ("module", "arguments", "named"),
    [
        (figure3, ["--output=f.jpg"], "--output=f.jpg"),
        (figure3, ["--output=folder.png"], "--output=folder.png"),
        (figure3, ["--output=f.png", "--method=magic"], "'magic'"),
        (figure3, ["--output=f.png", "--method=max_updates=4"], "no result of max_updates=4"),
        (figure3, ["--output=f.png", "--streams=none"], "'none' has no result of jitnet_0.9"),
        (figure3, ["--output=f.png", "--method=oracle"], "no result of oracle"),
        (figure3, ["--output=f.png", "--results=nowhere"], "'nowhere'"),
        (figure4, ["--output=f.png"], "no result of jitnet_0.8"),
        (figure4, ["--output=f.png", "--methods=flow_fast,oracle"], "no result of oracle"),
        (figure4, ["--output=f.png", f"--methods={ALL}"], "--methods"),
        (figure5, ["--output=f.png", "--student=oracle"], "no result of oracle"),
        (figure5, ["--output=file/f.png"], "--output=file/f.png"),
    ],
)
def test_invalid_flags_are_refused(
    results, module, arguments, named, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    assert named in refusal(module, tmp_path, capsys, f"--results={results}", *arguments)


def test_missing_predictions_are_refused(results, tmp_path):
    [result] = [r for r in Results.load(results) if r["method"] == "jitnet_0.9"][:1]
    pictures = figures.Pictures(tmp_path, result["stream"], [0])
    with pytest.raises(UserError, match=r"000000\.png"):
        pictures.method(0, "jitnet_0.9")


def test_videos_that_became_shorter_are_refused(results):
    stream = next(iter(Results.load(results)))["stream"]
    with pytest.raises(UserError, match="frame 400"):
        figures.Pictures(results, stream, [0, 400])


def test_streams_too_short_for_a_sequence_are_refused(results):
    found = Results.load(results).cells
    short = {pair: {**r, "frame_iou": {"0": 1.0, "4": 0.5}} for pair, r in found.items()}
    with pytest.raises(UserError, match="'slow'"):
        figure5.draw(short, results, "slow", "jitnet_0.9")

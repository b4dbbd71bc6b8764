"""The table1 command: measurement, table, refusals."""

import functools
import json
import statistics

import numpy as np
import pytest
import tensorflow as tf

from experiments import table1
from tests.builders import markdown_rows
from tests.commands import refusal, run_command
from tests.materials import write_teacher

STUDENTS = ["JITNet, width .5", "JITNet, width 1.0", "MobileNetV2"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teachers") / "small")


@pytest.fixture(scope="module")
def measured(teacher, tmp_path_factory):
    """A file that the command wrote."""
    output = tmp_path_factory.mktemp("tables") / "new" / "table.json"
    arguments = ["--frame_size=33x64", "--num_classes=5", "--rounds=2", f"--mask_rcnn={teacher}"]
    assert run_command(table1, *arguments, f"--output={output}") == 0
    return output


@pytest.mark.slow
def test_measurement_is_written(measured):
    table = json.loads(measured.read_text("utf-8"))
    assert list(table["models"]) == [*STUDENTS, "Mask R-CNN"]
    assert (table["frame_size"], table["num_classes"], table["rounds"]) == ([33, 64], 5, 2)
    assert table["versions"]["tensorflow"] == tf.__version__
    assert table["machine"]["cores"] >= 1
    assert table["machine"]["cpu"]
    for name, cost in table["models"].items():
        steps = ["infer", "train"] if name in STUDENTS else ["infer"]
        assert list(cost["flop"]) == list(cost["milliseconds"]) == steps
        for times in cost["milliseconds"].values():
            assert len(times["all"]) == 2
            assert min(times["all"]) > 0
            kept = [times["min"], times["median"], times["max"]]
            summary = [min(times["all"]), statistics.median(times["all"]), max(times["all"])]
            np.testing.assert_allclose(kept, summary, atol=1e-3)
    costs = table["models"]
    for name in STUDENTS:
        assert 2 < costs[name]["flop"]["train"] / costs[name]["flop"]["infer"] < 4
        assert costs[name]["not_counted"] == {"infer": {}, "train": {}}
    # 5 classes, hence narrower than with 23.
    assert costs[STUDENTS[0]]["parameters"] < 752_383
    assert costs["Mask R-CNN"]["teacher"] == "small"
    assert not list(measured.parent.glob("*.tmp"))


@pytest.mark.slow
def test_printing_needs_only_the_file(measured, capsys, monkeypatch):
    monkeypatch.setattr(table1, "measure", None)
    assert run_command(table1, f"--print={measured}") == 0
    text = capsys.readouterr().out
    table = json.loads(measured.read_text("utf-8"))
    for name, cost in table["models"].items():
        costs, *ratios = markdown_rows(text, name)
        assert costs[1] == f"{cost['flop']['infer'] / 1e9:.1f}"
        assert costs[3] == f"{cost['parameters'] / 1e6:.2f}".removesuffix(".00")
        assert len(ratios) == (name in STUDENTS)
    assert "33×64 frames, 5 classes" in text
    assert table["machine"]["cpu"] in text
    assert "is missing" not in text


def example(**changes):
    """A table by hand."""
    milliseconds = {"min": 1.0, "median": 2.0, "max": 3.0, "all": [1.0, 2.0, 3.0]}
    student = {
        "parameters": 2_000_000,
        "flop": {"infer": 10e9, "train": 30e9},
        "not_counted": {"infer": {}, "train": {}},
        "partial": False,
        "milliseconds": {"infer": milliseconds, "train": {**milliseconds, "median": 250.4}},
    }
    slower = {**student, "milliseconds": {"infer": {**milliseconds, "median": 7.0}}}
    teacher = {
        "parameters": 50_000_000,
        "flop": {"infer": 600e9},
        "not_counted": {"infer": {"Less": 2}},
        "partial": False,
        "milliseconds": {"infer": {**milliseconds, "median": 501.0, "min": 450.0, "max": 999.0}},
    }
    slower["milliseconds"]["train"] = student["milliseconds"]["train"]
    return {
        "format": table1.FORMAT,
        "frame_size": [720, 1280],
        "num_classes": 23,
        "rounds": 3,
        "machine": {"cpu": "some processor", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2.15.1"},
        "models": {"small": student, "other": slower, "Mask R-CNN": teacher},
        **changes,
    }


def test_the_table():
    text = table1.render(example())
    costs, ratios = markdown_rows(text, "small")
    assert costs == ["small", "10.0", "30.0", "2", "2.0 (1.0–3.0)", "250 (1.0–3.0)"]
    assert ratios == ["small", "60.0×", "20.0×", "25.0×", "250×", "2.0×"]
    [costs] = markdown_rows(text, "Mask R-CNN")
    assert costs == ["Mask R-CNN", "600.0", "–", "50", "501 (450–999)", "–"]
    assert "small = 1: other 3.5." in text
    assert "2 cores of some processor, no GPU; tensorflow 2.15.1" in text
    assert "≥" not in text


def test_the_papers_rows():
    """Its caption: 47× fewer parameters, 91× and 34× fewer operations."""
    costs, ratios = markdown_rows(table1.render(example()), "paper: JITNet")
    assert costs == ["paper: JITNet", "15.2", "42.0", "3", "7.0", "30.0"]
    assert ratios[1:4] == ["91.4×", "33.1×", "47.0×"]
    [costs] = markdown_rows(table1.render(example()), "paper: Mask R-CNN")
    assert costs == ["paper: Mask R-CNN", "1390.0", "–", "141", "300", "–"]


def test_without_mask_rcnn():
    table = example()
    del table["models"]["Mask R-CNN"]
    text = table1.render(table)
    assert "--mask_rcnn was not given" in text
    assert len(markdown_rows(text, "small")) == 1
    assert len(markdown_rows(text, "paper: JITNet")) == 2


def test_table_marks_incomplete_counts():
    table = example()
    table["models"]["Mask R-CNN"]["partial"] = True
    text = table1.render(table)
    assert markdown_rows(text, "Mask R-CNN")[0][1] == "≥ 600.0"
    assert "could not count all" in text


def test_models_take_turns():
    calls = []
    steps = {key: lambda key=key: calls.append(key) for key in ("a", "b", "c")}
    times = table1.time_steps(steps, 3)
    assert calls == list("abc") * 4
    assert {key: len(each) for key, each in times.items()} == {"a": 3, "b": 3, "c": 3}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder, where it must be refused; returns the message."""
    monkeypatch.chdir(tmp_path)
    # Refused commands build no student.
    monkeypatch.setattr(table1, "students", None)
    return functools.partial(refusal, table1, tmp_path, capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--output=FILE.json"),
        (["--output=a.json", "--print=b.json"], "--output=FILE.json"),
        (["--output=a.json", "--frame_size=big"], "'big'"),
        (["--output=a.json", "--rounds=0"], "rounds"),
        (["--output=a.json", "--num_classes=1"], "num_classes"),
        (["--output=a.json", "--mask_rcnn=nowhere"], "'nowhere'"),
        (["--output=a.json", "--mask_rcnn=."], "saved_model.pb"),
    ],
)
def test_invalid_flags_are_refused(refused, arguments, named):
    assert named in refused(*arguments)


def test_existing_output_is_left_alone(refused, tmp_path):
    (tmp_path / "a.json").write_text("precious")
    assert "a.json exists" in refused("--output=a.json")
    assert (tmp_path / "a.json").read_text() == "precious"


def test_mask_rcnn_of_another_frame_size_is_refused(refused, tmp_path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((1, 48, 64, 3), tf.uint8, "image")])
    def serve(image):
        del image
        names = ("boxes", "scores", "classes", "masks")
        shapes = ((1, 2, 4), (1, 2), (1, 2), (1, 2, 7, 7))
        return {f"detection_{n}": tf.zeros(s) for n, s in zip(names, shapes, strict=True)}

    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": serve})
    message = refused("--output=a.json", "--mask_rcnn=model", "--frame_size=32x64")
    assert "give --frame_size=48x64" in message


WRONG = {
    "another kind": json.dumps({"format": "summary"}),
    "no models": json.dumps(example(models={})),
    "a model without costs": json.dumps(example(models={"small": {}})),
}


@pytest.mark.parametrize("kind", WRONG)
def test_files_of_another_kind_are_refused(refused, tmp_path, kind):
    (tmp_path / "a.json").write_text(WRONG[kind])
    message = refused("--print=a.json")
    assert "experiments.table1 --output" in message
    assert "--print=a.json" in message

"""The table3 command: selection of frames, refusals, a run."""

import dataclasses
import pathlib

import av
import numpy as np
import pytest

from experiments import methods, table3
from experiments.protocol import jobs
from experiments.protocol.streams import Stream
from experiments.reports import table3 as table3_report
from tests.builders import (
    flag_arguments,
    made_result,
    markdown_table,
    write_result,
    write_stream_list,
)
from tests.commands import read_files, refusal, run_command
from tests.materials import write_square_stream

FRAMES = 33  # two intervals
OSVOS = ["--osvos_steps=2", "--osvos_seconds=inf", "--osvos_scale=0.5"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A list of one stream."""
    folder = tmp_path_factory.mktemp("material")
    stream = write_square_stream(folder, "square", FRAMES)
    write_stream_list(folder, [stream])
    return folder


# Streams


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("person", "auto"), "person"),
        (("bike", "auto", "dog"), "dog"),
        (("person", "giraffe"), "person"),
        (("giraffe", "person"), "giraffe"),
        (("auto",), "auto"),
        (("bike", "auto"), "bike"),
    ],
)
def test_designated_streams(classes, expected):
    assert table3.designated(classes) == expected


def write_video(path, fps):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("fps", "max_frames", "expected"), [(30, None, 3600), (12, 30_000, 1440), (30, 500, 500)]
)
def test_the_first_two_minutes(tmp_path, fps, max_frames, expected):
    write_video(tmp_path / "v.mp4", fps)
    stream = Stream("v", "c", ("auto", "person"), str(tmp_path / "v.mp4"), "r", max_frames)
    assert table3.segment(stream) == dataclasses.replace(
        stream, classes=("person",), max_frames=expected
    )


def test_the_methods_have_teacher_frames():
    assert all(methods.named(name).asks_teacher for name in table3_report.METHODS)


# Refusals


def arguments(material, **changes):
    values = {"streams": material / "list.csv", "results": "results"}
    return flag_arguments(**{**values, **changes})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"videos": "nowhere"}, "nowhere/square.mp4"),
        ({"only": "oracle"}, "'oracle'"),
        ({"osvos_weights": "nowhere.npz"}, "'nowhere.npz'"),
        ({"osvos_seconds": 0}, "--osvos_seconds=0.0"),
        ({"osvos_scale": 1.5}, "--osvos_scale=1.5"),
        ({"osvos_steps": 0}, "osvos_steps"),
        ({"osvos_step": 3}, "osvos_step"),
        ({"seed": -1}, "seed"),
        ({"print": "nowhere"}, "'nowhere'"),
    ],
)
def test_invalid_flags_are_refused(material, tmp_path, monkeypatch, capsys, change, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it began to work"))
    assert named in refusal(table3, tmp_path, capsys, *arguments(material, **change))


# The tables


def test_printing_needs_only_results(tmp_path, capsys):
    write_result(tmp_path, made_result("a", "osvos_b", 0.75, initialised="random, seed 0"))
    before = read_files(tmp_path)
    assert run_command(table3, f"--print={tmp_path}") == 0
    first, *_ = markdown_table(capsys.readouterr().out, "IoU in %").rows
    assert first == ["overall", "–", "75.0 (2.5×, 20.0 %)", "–"]
    assert read_files(tmp_path) == before


# A real run


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """Results of all methods on the square."""
    results = tmp_path_factory.mktemp("results") / "run"
    assert run_command(table3, *arguments(material, results=results), *OSVOS) == 0
    return results


@pytest.mark.slow
def test_a_run(finished):
    for method in table3_report.METHODS:
        result = jobs.load(jobs.folder(finished, "square", method) / jobs.RESULT)
        summary = result["summary"]
        assert result["stream"]["classes"] == ["person"]
        assert result["stream"]["max_frames"] == 25 * 120
        assert list(summary["per_class_iou"]) == ["person"]
        if method in table3_report.OSVOS:
            assert result["initialised"] == "random, seed 0"
            assert result["settings"]["osvos_scale"] == 0.5
            assert (summary["frames"], summary["teacher_frames"]) == (FRAMES, 2)
            assert summary["updates"] == 4
            assert summary["seconds"]["update"] > 0
            assert summary["speedup"] > 0
        else:
            assert result["initialised"] == "pretrained"
            assert result["settings"]["shown"] == "student"  # as OSVOS does
            assert summary["mean_iou"] > 0.3
    text = (finished / "table3.md").read_text()
    overall, *_ = markdown_table(text, "IoU in %").rows
    assert "–" not in "".join(overall)


@pytest.mark.slow
def test_a_complete_set_of_results_runs_nothing(finished, material, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    before = read_files(finished)
    assert run_command(table3, *arguments(material, results=finished), *OSVOS) == 0
    output = capsys.readouterr().out
    assert f"{finished}/table3.md" in output.splitlines()[-1]
    assert read_files(finished) == before
    assert pathlib.Path(finished, "table3.md").read_text().strip() in output


@pytest.mark.slow
def test_other_settings_are_refused(finished, material, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    message = refusal(
        table3, tmp_path, capsys, *arguments(material, results=finished), "--osvos_steps=3"
    )
    assert "another osvos_steps" in message

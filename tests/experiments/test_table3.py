"""experiments.table3: the command on a stream of a square; the tables, of results by hand."""

import dataclasses
import json
import pathlib
import pickle

import av
import numpy as np
import pytest

from experiments import methods, table3
from experiments.protocol import jobs, streams
from experiments.protocol.streams import Stream
from experiments.reports import table3 as table3_report
from jitnet_tf.base.errors import UserError
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

FRAMES = 33  # two intervals
OSVOS = ["--osvos_steps=2", "--osvos_seconds=inf", "--osvos_scale=0.5"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A list of one stream."""
    folder = tmp_path_factory.mktemp("material")
    stream = write_square_stream(folder, "square", FRAMES)
    (folder / "list.csv").write_text(streams.to_csv([stream], folder, folder))
    return folder


def files(folder):
    """Content by path, of all files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is segmented


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
def test_designated(classes, expected):
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
def test_two_minutes_of_it(tmp_path, fps, max_frames, expected):
    write_video(tmp_path / "v.mp4", fps)
    stream = Stream("v", "c", ("auto", "person"), str(tmp_path / "v.mp4"), "r", max_frames)
    assert table3.segment(stream) == dataclasses.replace(
        stream, classes=("person",), max_frames=expected
    )


def test_workers_can_be_told_how_to_evaluate():
    assert pickle.loads(pickle.dumps(table3.evaluate)) is table3.evaluate


def test_the_methods_are_known():
    for name in table3_report.METHODS:
        assert methods.named(name).asks_teacher
    # In frames: as many steps as it may take on each of two teacher frames.
    settings = methods.Settings(osvos_steps=7)
    assert methods.preparation(settings, "osvos_a", 31) == 14
    assert methods.preparation(settings, "osvos_b", 30) == 7
    assert set(methods.relevant(settings, "osvos_b")) == {
        "teacher",
        "seed",
        "osvos_weights",
        "osvos_steps",
        "osvos_seconds",
        "osvos_scale",
    }


# A user's mistakes


def arguments(material, **changes):
    values = {"streams": material / "list.csv", "results": "results", **changes}
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": None}, "--streams is missing"),
        ({"results": None}, "--results is missing"),
        ({"videos": "nowhere"}, "stream square: there is no file or folder nowhere/square.mp4"),
        ({"recordings": "nowhere"}, "there is no recording 'nowhere/square.recording'"),
        ({"only": "oracle"}, "'oracle' is neither a method (osvos_a, osvos_b, jitnet_0.8)"),
        ({"osvos_weights": "nowhere.npz"}, "'nowhere.npz' does not exist: it should be OSVOS's"),
        ({"osvos_seconds": 0}, "--osvos_seconds=0.0 is not above 0"),
        ({"osvos_seconds": "nan"}, "--osvos_seconds=nan is not above 0"),
        ({"osvos_scale": 0}, "--osvos_scale=0.0 is outside 0…1"),
        ({"osvos_scale": 1.5}, "--osvos_scale=1.5 is outside 0…1"),
        ({"osvos_scale": "nan"}, "--osvos_scale=nan is outside 0…1"),
        ({"results": "/proc/results"}, "--results=/proc/results cannot be written"),
        ({"print": "nowhere"}, "there are no results in 'nowhere'"),
    ],
)
def test_refuses(material, tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it began to work"))
    assert said in refusal(table3, tmp_path, capsys, *arguments(material, **change))


@pytest.mark.parametrize("flag", ["--osvos_steps=0", "--jobs=0", "--seed=-1", "--osvos_step=3"])
def test_refuses_flags(tmp_path, monkeypatch, capsys, flag):
    monkeypatch.chdir(tmp_path)
    assert run_command(table3, flag) == 2
    assert flag[2:].partition("=")[0] in capsys.readouterr().err


# Tables by hand


def made_result(name, method, iou=0.5, **changes):
    """A result of ninety frames, three of them teacher frames with thirty steps in all."""
    summary = {
        "frames": 90,
        "teacher_frames": 3,
        "teacher_fraction": 3 / 90,
        "updates": 30,
        "mean_iou": iou,
        "speedup": 0.25,
        "teacher_seconds_per_frame": 0.5,
        "teacher_time": "recorded",
        "seconds": {"infer": 9.0, "update": 60.0, "labels": 1.5, "decode": 40, "teacher": 0.1},
        **changes.pop("summary", {}),
    }
    values = {
        "stream": {
            "name": name,
            "category": changes.pop("category", "Animals"),
            "classes": ["dog"],
            "max_frames": 90,
        },
        "method": method,
        "settings": {**vars(methods.Settings()), **changes.pop("settings", {})},
        "recorded": {"recorded_teacher": "a teacher", "frame_size": [480, 720]},
        "summary": summary,
        "flicker": {},
        "machine": {"cpu": "a CPU", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2"},
        "jobs": 1,
        "initialised": "random, seed 0",
    }
    return {**values, **changes}


def table_of(text, title):
    """Rows of cells, the head first, of the table below a title."""
    _, _, rest = text.partition(f"**{title}")
    lines = [line for line in rest.split("\n\n")[1].splitlines() if "| - |" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def report():
    """Three streams in two categories; one lacks a method."""
    fast = {"speedup": 8.0, "teacher_fraction": 0.05}
    return table3_report.report(
        [
            made_result("a", "osvos_a", 0.9),
            made_result("b", "osvos_a", 0.6, summary={"speedup": 0.75}),
            made_result("c", "osvos_a", 0.3, category="Traffic"),
            made_result("a", "osvos_b", 0.7),
            made_result("b", "osvos_b", 0.7),
            *(
                made_result(
                    n, "jitnet_0.8", 0.8, category=c, summary=fast, initialised="pretrained"
                )
                for n, c in (("a", "Animals"), ("b", "Animals"), ("c", "Traffic"))
            ),
        ]
    )


def test_accuracy(report):
    head, *rows = table_of(report, "IoU in %")
    assert head == ["", "OSVOS A", "OSVOS B", "JITNet 0.8"]
    assert rows[:6] == [
        ["overall", "60.0 (0.42×, 3.3 %)", "–", "80.0 (8.0×, 5.0 %)"],
        ["Animals", "75.0 (0.5×, 3.3 %)", "70.0 (0.25×, 3.3 %)", "80.0 (8.0×, 5.0 %)"],
        ["Traffic", "30.0 (0.25×, 3.3 %)", "–", "80.0 (8.0×, 5.0 %)"],
        ["a (dog)", "90.0 (0.25×, 3.3 %)", "70.0 (0.25×, 3.3 %)", "80.0 (8.0×, 5.0 %)"],
        ["b (dog)", "60.0 (0.75×, 3.3 %)", "70.0 (0.25×, 3.3 %)", "80.0 (8.0×, 5.0 %)"],
        ["c (dog)", "30.0 (0.25×, 3.3 %)", "–", "80.0 (8.0×, 5.0 %)"],
    ]
    # The paper's seven rows, as its text has them.
    assert [row[0] for row in rows[6:]] == [f"*the paper: {name}*" for name in table3_report.PAPER]
    assert rows[6][1:] == ["59.9", "60.0", "77.4 (14.5×, 4.6 %)"]


def test_the_papers_rows(shared):
    text = shared("paper.txt").read_text()
    for name, (a, b, jitnet) in table3_report.PAPER.items():
        assert f"{name}\t{a}\t{b}\t{jitnet.replace(' %', '%')}" in text


def test_costs(report):
    head, *rows = table_of(report, "Cost")
    found = {(row[0], row[1]): dict(zip(head[2:], row[2:], strict=True)) for row in rows}
    # 9 + 60 + 1.5 s, and .5 s for each of three teacher frames; decoding is left out.
    assert found["OSVOS A", "a"] == {
        "frames": "90",
        "teacher frames": "3 (3.3 %)",
        "steps on a teacher frame": "10.0",
        "seconds of these": "20.00",
        "inference, ms a frame": "100.0",
        "seconds for 30 frames": "24.00",
        "seconds in all": "72",
        "speedup over the teacher": "0.25×",
    }
    everything = found["OSVOS A", "all"]
    assert everything["frames"] == "270"
    assert everything["teacher frames"] == "9 (3.3 %)"
    assert everything["seconds of these"] == "20.00"
    assert everything["seconds in all"] == "216"
    assert everything["speedup over the teacher"] == "0.42×"
    assert ("OSVOS B", "c") not in found
    assert found["OSVOS B", "all"]["frames"] == "180"


def test_origin(report):
    values = dict(table_of(report, "Made with"))
    assert values["OSVOS A started from"] == "random, seed 0"
    assert values["JITNet 0.8 started from"] == "pretrained"
    assert values["osvos_steps"] == "500"
    assert values["osvos_seconds"] == "30.0"
    assert values["osvos_scale"] == "1.0"
    assert values["recorded teacher"] == "a teacher"
    assert values["teacher's time"] == "recorded"
    assert values["frames"] == "a 480×720; b 480×720; c 480×720"


def test_what_is_unknown_is_a_dash():
    unknown = {"mean_iou": None, "speedup": None, "teacher_seconds_per_frame": None}
    text = table3_report.report([made_result("a", "osvos_a", summary=unknown)])
    _, *rows = table_of(text, "IoU in %")
    assert rows[0] == ["overall", "– (–, 3.3 %)", "–", "–"]
    _, row = table_of(text, "Cost")
    assert row[-3:] == ["23.50", "70", "–"]  # without the teacher's time


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"osvos_steps": 7}}, "different osvos_steps (500, 7)"),
        ({"initialised": "x.npz, sha256 0"}, "different initial weights (random, seed 0, x.npz"),
    ],
)
def test_what_differs_is_refused(changes, said):
    results = [made_result("a", "osvos_a"), made_result("b", "osvos_a", **changes)]
    with pytest.raises(UserError) as info:
        table3_report.report(results)
    assert f"results of osvos_a were made with {said}" in str(info.value)
    # Of another method it may be another.
    results[1]["method"] = "jitnet_0.8"
    assert "JITNet 0.8" in table3_report.report(results)


def test_results_of_other_tables_are_no_results():
    with pytest.raises(UserError, match="there is no result of OSVOS or JITNet"):
        table3_report.report([made_result("a", "flow_slow")])
    of_table_2 = made_result("a", "jitnet_0.8")
    del of_table_2["initialised"]
    with pytest.raises(UserError, match=r"jitnet_0.8 on a is not of experiments\.table3"):
        table3_report.report([of_table_2])


def test_print_makes_tables_of_results_alone(tmp_path, capsys):
    path = jobs.folder(tmp_path, "a", "osvos_b") / jobs.RESULT
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made_result("a", "osvos_b", iou=0.75)))
    before = files(tmp_path)
    assert run_command(table3, f"--print={tmp_path}") == 0
    _, first, *_ = table_of(capsys.readouterr().out, "IoU in %")
    assert first == ["overall", "–", "75.0 (0.25×, 3.3 %)", "–"]
    assert files(tmp_path) == before


# A real run


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """Results of all methods on the square."""
    results = tmp_path_factory.mktemp("results") / "run"
    assert run_command(table3, *arguments(material, results=results), *OSVOS) == 0
    return results


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
            assert summary["mean_iou"] > 0.3
    text = (finished / "table3.md").read_text()
    _, overall, *_ = table_of(text, "IoU in %")
    assert "–" not in "".join(overall)


def test_a_complete_set_of_results_runs_nothing(finished, material, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    before = files(finished)
    assert run_command(table3, *arguments(material, results=finished), *OSVOS) == 0
    output = capsys.readouterr().out
    assert output.endswith(f"{finished}/table3.md: the tables above\n")
    assert files(finished) == before
    assert pathlib.Path(finished, "table3.md").read_text().strip() in output


def test_other_settings_take_other_results(finished, material, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    message = refusal(
        table3, tmp_path, capsys, *arguments(material, results=finished), "--osvos_steps=3"
    )
    assert "osvos_a/result.json was made with another osvos_steps" in message

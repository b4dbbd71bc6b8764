"""experiments.table2: the command, on streams of a square; the tables, of results by hand."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from experiments import methods, table2
from experiments.protocol import jobs, streams
from experiments.reports import table2 as table2_report
from jitnet_tf.base.errors import UserError
from tests.commands import run_command
from tests.materials import write_square_stream

REPOSITORY = pathlib.Path(__file__).parents[2]
LONG = 160  # frames
ONLY = "--only=flow_slow,jitnet_0.8"


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A list of a short stream and of a long one, whose square stands still."""
    folder = tmp_path_factory.mktemp("material")
    found = [
        write_square_stream(folder, "short", 9),
        write_square_stream(folder, "long", LONG, (0, 0)),
    ]
    (folder / "list.csv").write_text(streams.to_csv(found, folder, folder))
    (folder / "long.csv").write_text(streams.to_csv(found[1:], folder, folder))
    return folder


def files(folder):
    """Content by path, of all files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# A user's mistakes


@pytest.fixture
def refused(material, tmp_path, monkeypatch, capsys):
    """Runs the command, which must not begin any work; returns its message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it began to work"))

    def run(*arguments):
        before = files(tmp_path)
        assert run_command(table2, *arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.count("error: ") == 1
        assert captured.out == ""
        assert files(tmp_path) == before
        assert not pathlib.Path("results").exists()
        *_, message = captured.err.splitlines()
        return message

    return run


def arguments(material, **changes):
    values = {"streams": material / "list.csv", "results": "results", **changes}
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": None}, "--streams is missing"),
        ({"results": None}, "--results is missing"),
        ({"streams": "nowhere.csv"}, "stream list 'nowhere.csv' cannot be read"),
        ({"videos": "nowhere"}, "stream short: there is no video 'nowhere/short.mp4'"),
        ({"recordings": "nowhere"}, "there is no recording 'nowhere/short.recording'"),
        ({"only": "jitnet_0.95"}, "'jitnet_0.95' is neither a method (never_adapted, oracle"),
        ({"only": "oracle,medium"}, "nor a stream (short, long)"),
        ({"init": "nowhere"}, "'nowhere' does not exist"),
        ({"jobs": 0}, "jobs"),
        ({"oracle_steps": 0}, "oracle_steps"),
        ({"fixed_stride": 0}, "fixed_stride"),
        ({"seed": -1}, "seed"),
        ({"flow": "raft"}, "flow"),
        ({"results": "/proc/results"}, "--results=/proc/results cannot be written"),
        ({"results": "/proc/version"}, "--results=/proc/version cannot be written"),
        ({"print": "nowhere"}, "there are no results in 'nowhere'"),
        ({"stream": "x"}, "Unknown command line flag 'stream'"),
    ],
)
def test_refuses(refused, material, change, said):
    assert said in refused(*arguments(material, **change))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,c,person,nowhere.mp4,short.recording,\n", "stream x: there is no video"),
        ("x,c,person,short.mp4,nowhere.recording,\n", "stream x: there is no recording"),
        ("x,c,person,long.mp4,short.recording,\n", "has 9 frames, the video more"),
        ("x,c,person dog,short.mp4,short.recording,\n", "class 'dog' never occurs"),
        ("x,c,person,list.csv,short.recording,\n", "list.csv"),
        ("x,c,person,short.mp4,list.csv,\n", "is not a teacher recording"),
        ("x,c,human,short.mp4,short.recording,\n", "line 3: class 'human' is unknown"),
        ("x,c,person,short.mp4\n", "line 3: it takes 6 values"),
        ("short,c,person,short.mp4,short.recording,\n", "line 3: there are two streams named"),
    ],
)
def test_refuses_a_list_with_one_bad_row(refused, material, tmp_path, row, said):
    """Also where that is the last and all the others are good."""
    head, good, _ = (material / "list.csv").read_text().splitlines(keepends=True)
    (tmp_path / "bad.csv").write_text(head + good + row)
    places = {"videos": material, "recordings": material}
    assert said in refused(*arguments(material, streams="bad.csv", **places))


def test_only_the_streams_chosen_are_checked(refused, material, tmp_path):
    """Here the other is good, and the settings are what is refused."""
    text = (material / "list.csv").read_text()
    (tmp_path / "bad.csv").write_text(text + "x,c,person,nowhere.mp4,x,\n")
    places = {"streams": "bad.csv", "videos": material, "recordings": material}
    assert "stream x" in refused(*arguments(material, **places))
    write_result(tmp_path / "done", "short", "flow_slow", settings={"flow": "pwcnet"})
    message = refused(
        *arguments(material, **places, results="done", only="short,flow_slow"),
    )
    assert "was made with another flow" in message


def test_refuses_results_of_other_settings_and_damaged_ones(refused, material, tmp_path):
    path = write_result(tmp_path / "done", "short", "oracle")
    there = {"results": "done", "only": "oracle"}
    assert "was made with another seed" in refused(*arguments(material, seed=5, **there))
    assert "another oracle_steps" in refused(*arguments(material, oracle_steps=5, **there))
    path.write_text(path.read_text()[:-30])
    assert "result.json' is not a result" in refused(*arguments(material, **there))
    assert "result.json' is not a result" in refused("--print=done")


# Tables by hand


def made_result(name, method, iou=0.5, **changes):
    """A result of ten frames, two of them teacher frames with three updates in all."""
    is_flow = method.startswith("flow")
    seconds = {"flow": 0.7, "warp": 0.1} if is_flow else {"infer": 1.3, "update": 0.6}
    summary = {
        "frames": 10,
        "teacher_frames": 2,
        "teacher_fraction": 0.2,
        "updates": 0 if is_flow else 3,
        "mean_iou": iou,
        "mean_iou_student_only": iou - 0.1 if iou else None,
        "speedup": 2.5,
        "teacher_seconds_per_frame": 0.5,
        "seconds": seconds,
        **changes.pop("summary", {}),
    }
    values = {
        "stream": {
            "name": name,
            "category": changes.pop("category", "squares"),
            "classes": ["person"],
            "max_frames": None,
        },
        "method": method,
        "settings": {**vars(methods.Settings()), **changes.pop("settings", {})},
        "recorded": changes.pop("recorded", {"recorded_teacher": "a teacher"}),
        "summary": summary,
        "flicker": {"prediction": 0.125, "teacher": 0.25},
        "machine": {"cpu": "a CPU", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2"},
        "jobs": 1,
    }
    return {**values, **changes}


def write_result(results, name, method, **changes):
    path = jobs.folder(results, name, method) / jobs.RESULT
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made_result(name, method, **changes)))
    return path


def tables(text):
    """Title → row's name → column → cell."""
    found = {}
    for title, table in re.findall(r"\*\*(.*?)\*\*\n\n((?:\|.*\n?)+)", text):
        head, _, *lines = [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in table.strip().splitlines()
        ]
        assert all(len(line) == len(head) for line in lines)
        found[title] = {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}
    return found


def table_named(text, part):
    (found,) = [rows for title, rows in tables(text).items() if part in title]
    return found


@pytest.fixture
def report():
    """Three streams in two categories; one lacks a method."""
    return table2_report.report(
        [
            made_result("a", "jitnet_0.8", 0.9, category="fixed"),
            made_result("b", "jitnet_0.8", 0.6, category="fixed"),
            made_result("c", "jitnet_0.8", 0.3, category="traffic"),
            made_result("a", "flow_slow", 0.8, category="fixed"),
            made_result("b", "flow_slow", 0.7, category="fixed"),
            made_result(
                "c",
                "never_adapted",
                0.05,
                category="traffic",
                summary={"teacher_frames": 0, "teacher_fraction": 0.0, "updates": 0},
            ),
        ]
    )


def test_averages_are_means_over_streams(report):
    rows = table_named(report, "all frames")
    assert list(rows) == [
        "overall",
        "fixed",
        "traffic",
        "a (person)",
        "b (person)",
        "c (person)",
        "*the paper, overall*",
    ]
    # In the table's order, and only methods that have results.
    assert list(rows["overall"]) == ["Never adapted", "Flow slow", "JITNet 0.8"]
    column = {name: row["JITNet 0.8"] for name, row in rows.items()}
    assert column["overall"] == "60.0 (20.0)"
    assert column["fixed"] == "75.0 (20.0)"
    assert column["traffic"] == column["c (person)"] == "30.0 (20.0)"
    assert column["*the paper, overall*"] == "78.6 (4.7)"
    assert rows["fixed"]["Flow slow"] == "75.0 (20.0)"
    updates = table_named(report, "Updates")
    assert {row["JITNet 0.8"] for row in updates.values()} == {"3"}
    assert updates["fixed"]["Flow slow"] == "0"


def test_what_is_missing_is_a_dash(report):
    rows = table_named(report, "all frames")
    for name in ("overall", "traffic", "c (person)"):
        assert rows[name]["Flow slow"] == "–"  # no mean over a part of the streams
    assert rows["a (person)"]["Never adapted"] == "–"
    assert rows["c (person)"]["Never adapted"] == "5.0"  # without a teacher there is no fraction
    assert rows["*the paper, overall*"]["Never adapted"] == "–"
    assert table_named(report, "Flicker")["c (person)"]["Flow slow"] == "–"


def test_frames_that_the_teacher_did_not_see(report):
    rows = table_named(report, "did not see")
    assert rows["fixed"] == {"Never adapted": "–", "Flow slow": "65.0", "JITNet 0.8": "65.0"}
    assert "*the paper, overall*" not in rows


def test_speedups(report):
    rows = table_named(report, "Speedup")
    jitnet = list(rows["JITNet 0.8"].values())
    # Here: .5 s for the teacher, 1.3 s for ten frames and three updates, .2 s for an update.
    assert jitnet == [
        "2.50×",
        f"{10 * 0.5 / (8 * 0.1 + 2 * 0.5 + 3 * 0.2):.2f}×",
        f"{10 * 300 / (8 * 7 + 2 * 300 + 3 * 30):.2f}×",
        f"{10 * 1390 / (8 * 15.2 + 2 * 1390 + 3 * 42):.2f}×",
        "13.5×",  # the paper's own
        "–",
    ]
    # .8 s for eight frames; the paper states no cost of flow alone.
    assert list(rows["Flow slow"].values()) == [
        "2.50×",
        f"{10 * 0.5 / (0.8 + 2 * 0.5):.2f}×",
        "–",
        "–",
        "2.2×",
        "–",
    ]


def test_the_oracle_has_no_speedup():
    """Its training and its labels are not in the run."""
    text = table2_report.report([made_result("a", "oracle")])
    assert list(table_named(text, "Speedup")["Offline oracle"].values()) == ["–"] * 6


def test_the_paper_in_its_own_terms():
    """Without training and teacher frames a student saves what one inference does."""
    never = {"teacher_frames": 0, "teacher_fraction": 0.0, "updates": 0}
    text = table2_report.report([made_result("a", "never_adapted", summary=never)])
    row = list(table_named(text, "Speedup")["Never adapted"].values())
    assert row[2:] == [f"{300 / 7:.2f}×", f"{1390 / 15.2:.2f}×", "–", "–"]


def test_milliseconds(report):
    rows = table_named(report, "Milliseconds")
    assert list(rows["JITNet 0.8"].values())[:3] == ["500.0", "100.0", "200.0"]
    assert list(rows["Flow slow"].values())[:3] == ["500.0", "100.0", "–"]
    by_frame = {name: cell for name, cell in rows["JITNet 0.8"].items() if "by frame" in name}
    assert by_frame == {
        "infer, by frame": "130.0",
        "update, by frame": "60.0",
        "flow, by frame": "–",
        "warp, by frame": "–",
    }


def test_flicker(report):
    rows = table_named(report, "Flicker")
    assert rows["a (person)"] == {
        "Teacher": "25.0",
        "Never adapted": "–",
        "Flow slow": "12.5",
        "JITNet 0.8": "12.5",
    }


def test_what_is_unknown_is_a_dash():
    unknown = {"speedup": None, "teacher_seconds_per_frame": None}
    text = table2_report.report(
        [
            made_result("a", "jitnet_0.8", None, summary=unknown),
            made_result("b", "jitnet_0.8", flicker={"prediction": None, "teacher": None}),
        ]
    )
    assert table_named(text, "all frames")["overall"]["JITNet 0.8"] == "–"
    assert list(table_named(text, "Speedup")["JITNet 0.8"].values())[:2] == ["–", "–"]
    assert table_named(text, "Flicker")["b (person)"] == {"Teacher": "–", "JITNet 0.8": "–"}
    assert list(table_named(text, "all frames")) == [  # one category is the same as all
        "overall",
        "a (person)",
        "b (person)",
        "*the paper, overall*",
    ]


def test_origin(report):
    rows = table_named(report, "Made with")
    values = {name: next(iter(row.values())) for name, row in rows.items()}
    assert values["recorded teacher"] == "a teacher"
    assert "a CPU" in values["machine"]
    assert values["versions"] == "tensorflow 2"
    assert (values["init"], values["seed"], values["flow"]) == ("pretrained", "0", "dis")
    assert "oracle_steps" not in values  # no oracle is among the results


def test_settings_that_differ_are_refused():
    made = [made_result(n, "oracle", settings={"oracle_steps": int(n)}) for n in ("7", "900")]
    with pytest.raises(UserError, match="results of oracle were made with different oracle_steps"):
        table2_report.report(made)
    # Those that do not bear on a method may differ.
    made = [made_result(n, "flow_slow", settings={"oracle_steps": int(n)}) for n in ("7", "900")]
    assert "oracle_steps" not in table2_report.report(made)


def test_print_makes_tables_of_results_alone(tmp_path, capsys):
    write_result(tmp_path, "a", "jitnet_0.8", iou=0.75)
    before = files(tmp_path)
    assert run_command(table2, f"--print={tmp_path}") == 0
    rows = table_named(capsys.readouterr().out, "all frames")
    assert rows["a (person)"]["JITNet 0.8"] == "75.0 (20.0)"
    assert files(tmp_path) == before


# Real runs


def command(material, results, *more):
    return [
        sys.executable,
        "-m",
        "experiments.table2",
        f"--streams={material}/long.csv",
        f"--results={results}",
        ONLY,
        *more,
    ]


def start(*arguments):
    """As from a terminal: a process group of its own, which Ctrl-C reaches as a whole."""
    return subprocess.Popen(
        arguments,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def group(process):
    """The commands of the processes of its group that are alive."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == process.pid and fields[0] != "Z":
                found.append((path / "cmdline").read_text())
    return found


def workers(process):
    return [line for line in group(process) if "spawn_main" in line]


def assert_all_end(process):
    """Some after their parent, but by themselves."""
    deadline = time.monotonic() + 60
    while group(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert group(process) == []


def interrupted(process):
    """Sends Ctrl-C; checks how the command ends."""
    os.killpg(process.pid, signal.SIGINT)
    output, messages = process.communicate(timeout=120)
    assert process.returncode == 130, messages
    assert "stopped early; the same command goes on" in output
    assert "Traceback" not in messages
    assert "Error" not in messages
    assert_all_end(process)
    return output


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """Results that were interrupted, early and in the middle, and then completed."""
    results = tmp_path_factory.mktemp("results") / "run"
    flow, jitnet = (results / "long" / name for name in ("flow_slow", "jitnet_0.8"))

    process = start(*command(material, results))
    wait_for(lambda: workers(process), process)  # which has not got far
    interrupted(process)
    assert not flow.exists()

    process = start(*command(material, results))
    wait_for(lambda: (jitnet / "masks" / "000008.png").exists(), process)
    interrupted(process)
    assert json.loads((flow / "result.json").read_text())["method"] == "flow_slow"
    assert not (jitnet / "result.json").exists()
    assert not list(results.rglob("*.tmp"))
    assert not (results / "table2.md").exists()
    first = (flow / "result.json").stat()

    process = start(*command(material, results))
    output, messages = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    assert_all_end(process)
    assert (flow / "result.json").stat() == first  # not made again
    return results, output


def test_interrupted_and_completed(finished):
    results, output = finished
    assert sorted(path.parent.name for path in results.glob("long/*/result.json")) == [
        "flow_slow",
        "jitnet_0.8",
    ]
    for method in ("flow_slow", "jitnet_0.8"):
        kept = sorted(path.name for path in (results / "long" / method / "masks").glob("*.png"))
        assert kept == [f"{index:06d}.png" for index in range(0, LONG, 4)]
    text = (results / "table2.md").read_text()
    assert text.strip() in output
    assert output.endswith(f"{results}/table2.md: the tables above\n")
    row = table_named(text, "all frames")["long (person)"]
    assert row["Flow slow"] == "100.0 (12.5)"  # the square stands still
    assert float(row["JITNet 0.8"].partition(" ")[0]) > 50


def test_a_complete_set_of_results_runs_nothing(finished, material, monkeypatch, capsys):
    results, output = finished
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    before = files(results)
    arguments = [f"--streams={material}/long.csv", f"--results={results}", ONLY]
    assert run_command(table2, *arguments) == 0
    assert capsys.readouterr().out == output
    assert files(results) == before


def test_only_what_is_missing_runs(finished, material, tmp_path, monkeypatch, capsys):
    results, _ = finished
    asked = []

    def run(pairs, settings, folder, count, evaluate):
        asked.extend((stream.name, frames, method) for stream, frames, method in pairs)
        return False

    monkeypatch.setattr(jobs, "run", run)
    arguments = [f"--streams={material}/list.csv", f"--results={results}"]
    assert run_command(table2, *arguments, "--only=flow_slow,flow_fast") == 130
    assert asked == [
        ("short", 9, "flow_slow"),
        ("short", 9, "flow_fast"),
        ("long", LONG, "flow_fast"),
    ]
    asked.clear()
    assert run_command(table2, *arguments, "--only=long,oracle") == 130
    assert asked == [("long", LONG, "oracle")]
    assert "stopped early" in capsys.readouterr().out


def test_side_by_side_the_same_comes_out(finished, material, tmp_path):
    """But for the rounding of sums, which depends on the number of threads."""
    process = start(*command(material, tmp_path / "two", "--jobs=2"))
    _, messages = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    for method in ("flow_slow", "jitnet_0.8"):
        places = [jobs.folder(f, "long", method) for f in (finished[0], tmp_path / "two")]
        one, two = (jobs.load(place / jobs.RESULT) for place in places)
        assert (one["jobs"], two["jobs"]) == (1, 2)
        difference = abs(one["summary"]["mean_iou"] - two["summary"]["mean_iou"])
        assert difference == 0 if method == "flow_slow" else difference < 0.02
        agreement = [
            (cv2.imread(str(path)) == cv2.imread(str(places[1] / "masks" / path.name))).mean()
            for path in (places[0] / "masks").glob("*.png")
        ]
        assert len(agreement) == LONG / 4
        assert np.mean(agreement) > 0.98


def test_a_killed_command_leaves_no_worker(material, tmp_path):
    process = start(*command(material, tmp_path / "results"))
    wait_for(lambda: workers(process), process)
    process.kill()
    process.communicate(timeout=60)
    assert_all_end(process)

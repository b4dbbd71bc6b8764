"""experiments.table2: the command, on streams of a square; the tables, of results by hand."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from experiments import table2
from experiments.protocol import jobs, streams
from tests.builders import made_result, markdown_table
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


# The tables


def write_result(results, name, method, **changes):
    path = jobs.folder(results, name, method) / jobs.RESULT
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made_result(name, method, **changes)))
    return path


def test_print_makes_tables_of_results_alone(tmp_path, capsys):
    write_result(tmp_path, "a", "jitnet_0.8", iou=0.75)
    before = files(tmp_path)
    assert run_command(table2, f"--print={tmp_path}") == 0
    rows = markdown_table(capsys.readouterr().out, "all frames").cells
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
    row = markdown_table(text, "all frames").cells["long (person)"]
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

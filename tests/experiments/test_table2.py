"""The table2 command: refusals, earlier results, an interrupted run."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import table2
from experiments.protocol import jobs, streams
from tests.builders import (
    flag_arguments,
    made_result,
    markdown_table,
    write_result,
    write_stream_list,
)
from tests.commands import read_files, refusal, run_command
from tests.materials import write_square_stream

REPOSITORY = pathlib.Path(__file__).parents[2]
LONG = 160  # frames
ONLY = "--only=flow_slow,jitnet_0.8"


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Lists of a short stream and a long one, and of the long one, whose square stands still."""
    folder = tmp_path_factory.mktemp("material")
    found = [
        write_square_stream(folder, "short", 9),
        write_square_stream(folder, "long", LONG, (0, 0)),
    ]
    write_stream_list(folder, found)
    write_stream_list(folder, found[1:], "long.csv")
    return folder


@pytest.fixture
def refused(material, tmp_path, monkeypatch, capsys):
    """Runs the command, which must be refused before any work; returns the message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it began to work"))
    return lambda *given: refusal(table2, tmp_path, capsys, *given)


def arguments(material, **changes):
    values = {"streams": material / "list.csv", "results": "results"}
    return flag_arguments(**{**values, **changes})


# Refusals of all commands over streams: reports/test_command.
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"only": "jitnet_0.95"}, "'jitnet_0.95'"),
        ({"only": "oracle,medium"}, "nor a stream (short, long)"),
        ({"only": "width=0.0"}, "--width"),
        ({"init": "nowhere"}, "'nowhere'"),
        ({"oracle_steps": 0}, "oracle_steps"),
        ({"fixed_stride": 0}, "fixed_stride"),
        ({"seed": -1}, "seed"),
        ({"flow": "raft"}, "flow"),
        ({"flow": "pwcnet"}, "--pwcnet_dense"),
        ({"teacher": "nowhere"}, "'nowhere'"),
        ({"print": "nowhere"}, "'nowhere'"),
    ],
)
def test_invalid_flags_are_refused(refused, material, change, named):
    assert named in refused(*arguments(material, **change))


def test_a_list_with_an_invalid_last_row_is_refused(refused, material, tmp_path):
    text = (material / "list.csv").read_text()
    (tmp_path / "bad.csv").write_text(text + "x,c,person,nowhere.mp4,x,\n")
    places = {"streams": "bad.csv", "videos": material, "recordings": material}
    assert "stream x" in refused(*arguments(material, **places))
    # With --only the row is not checked; here the settings are refused.
    write_result(tmp_path / "done", made_result("short", "flow_slow", settings={"flow": "pwcnet"}))
    given = arguments(material, **places, results="done", only="short,flow_slow")
    assert "another flow" in refused(*given)


def test_damaged_results_and_results_of_other_settings_are_refused(refused, material, tmp_path):
    path = write_result(tmp_path / "done", made_result("short", "oracle"))
    there = {"results": "done", "only": "oracle"}
    assert "another seed" in refused(*arguments(material, seed=5, **there))
    assert "another oracle_steps" in refused(*arguments(material, oracle_steps=5, **there))
    path.write_text(path.read_text()[:-30])
    assert "result.json'" in refused(*arguments(material, **there))
    assert "result.json'" in refused("--print=done")


def test_printing_needs_only_results(tmp_path, capsys):
    write_result(tmp_path, made_result("a", "jitnet_0.8", iou=0.75))
    write_result(tmp_path, made_result("a", "width=1.0", iou=0.5))
    before = read_files(tmp_path)
    assert run_command(table2, f"--print={tmp_path}") == 0
    rows = markdown_table(capsys.readouterr().out, "all frames").cells
    assert rows["a (person)"] == {"JITNet 0.8": "75.0 (20.0)", "width=1.0": "50.0 (20.0)"}
    assert read_files(tmp_path) == before


def test_only_missing_results_are_made(material, tmp_path, monkeypatch, capsys):
    asked = []

    def run(pairs, settings, folder, count, evaluate):
        asked.extend((stream.name, frames, method) for stream, frames, method in pairs)
        return False

    monkeypatch.setattr(jobs, "run", run)
    for stream in streams.read_list(material / "long.csv"):
        recorded = streams.recorded(stream)
        write_result(tmp_path, made_result(stream.name, "flow_slow", recorded=recorded))
    given = [f"--streams={material}/list.csv", f"--results={tmp_path}"]
    assert run_command(table2, *given, "--only=flow_slow,flow_fast") == 130
    assert asked == [
        ("short", 9, "flow_slow"),
        ("short", 9, "flow_fast"),
        ("long", LONG, "flow_fast"),
    ]
    asked.clear()
    assert run_command(table2, *given, '--only=long,oracle,"width=1.0,init=random"') == 130
    assert asked == [("long", LONG, "oracle"), ("long", LONG, "width=1.0,init=random")]
    assert "stopped early" in capsys.readouterr().out


# A journey


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
    """Starts a process in a new process group, as a terminal does for Ctrl-C."""
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
    """Returns the command lines of the living processes of its group."""
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
    """Waits for the end of all processes of its group; some end after their parent."""
    deadline = time.monotonic() + 60
    while group(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert group(process) == []


@pytest.mark.slow
def test_killed_and_interrupted_commands_can_be_repeated(material, tmp_path, monkeypatch, capsys):
    results = tmp_path / "run"
    flow, jitnet = (results / "long" / name for name in ("flow_slow", "jitnet_0.8"))

    # A killed command leaves no worker.
    process = start(*command(material, results, "--jobs=2"))
    wait_for(lambda: workers(process), process)
    process.kill()
    process.communicate(timeout=60)
    assert_all_end(process)

    # Ctrl-C in the middle keeps what is complete.
    process = start(*command(material, results))
    wait_for(lambda: (jitnet / "masks" / "000008.png").exists(), process)
    os.killpg(process.pid, signal.SIGINT)
    output, messages = process.communicate(timeout=120)
    assert process.returncode == 130, messages
    assert "stopped early" in output
    assert "Traceback" not in messages
    assert "Error" not in messages
    assert_all_end(process)
    assert json.loads((flow / "result.json").read_text())["method"] == "flow_slow"
    assert not (jitnet / "result.json").exists()
    assert not list(results.rglob("*.tmp"))
    assert not (results / "table2.md").exists()
    first = (flow / "result.json").stat()

    # The same command completes it.
    process = start(*command(material, results))
    output, messages = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    assert_all_end(process)
    assert (flow / "result.json").stat() == first  # not made again
    for place in (flow, jitnet):
        assert json.loads((place / "result.json").read_text())["jobs"] == 1
        kept = sorted(path.name for path in (place / "masks").glob("*.png"))
        assert kept == [f"{index:06d}.png" for index in range(0, LONG, 4)]
    text = (results / "table2.md").read_text()
    assert text.strip() in output
    assert f"{results}/table2.md" in output.splitlines()[-1]
    row = markdown_table(text, "all frames").cells["long (person)"]
    assert row["Flow slow"] == "100.0 (12.5)"  # the square stands still
    assert float(row["JITNet 0.8"].partition(" ")[0]) > 50

    # The next time it runs nothing.
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    before = read_files(results)
    given = [f"--streams={material}/long.csv", f"--results={results}", ONLY]
    assert run_command(table2, *given) == 0
    assert capsys.readouterr().out == output
    assert read_files(results) == before

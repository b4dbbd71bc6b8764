"""The capacity command: tables of a measurement by hand, and refusals."""

import concurrent.futures
import json
import os
import sys
import types

import pytest

from experiments import capacity
from jitnet_tf.base.errors import UserError
from tests.builders import markdown_table
from tests.commands import refusal, run_command

MACHINE = {"cpu": "Abacus", "cores": 2, "gpus": []}


def measurement(**changes):
    part = {"frame_size": [360, 640], "share": 0.04}
    return {
        "format": capacity.FORMAT,
        "machine": MACHINE,
        "versions": {"tensorflow": "2.15.1"},
        "parts": {
            "one": {**part, "frame": 0.008, "labels": 0.1},
            "two": {**part, "frame": 0.012, "labels": 0.3},
        },
        "teacher_cpu_seconds": 0.5,
        "fleet": {"streams": 2, "share": 0.04, "fps": 50.0},
        **changes,
    }


def printed(tmp_path, capsys, values, *arguments):
    path = tmp_path / "capacity.json"
    path.write_text(json.dumps(values))
    assert run_command(capacity, f"--print={path}", *arguments) == 0
    return capsys.readouterr().out


def test_the_plan_is_of_the_mean_stream(tmp_path, capsys):
    text = printed(tmp_path, capsys, measurement(), "--shares=4", "--fps=25", "--cores=16")
    [row] = markdown_table(text).rows
    # 25 × (10 ms + 4 % × 200 ms), 25 × 4 % × 500 ms, 16 cores ÷ their sum.
    assert row[:4] == ["4 %", "0.45", "0.50", "16.84"]


def test_predicted_beside_measured(tmp_path, capsys):
    text = printed(tmp_path, capsys, measurement())
    assert "50.00 frames a second, predicted 52.63 (+5 %)" in text  # 2 ÷ 38 ms


def test_a_file_that_is_not_finished_has_its_plan(tmp_path, capsys):
    text = printed(tmp_path, capsys, measurement(fleet=None), "--gpu_teacher_ms=20")
    assert "predicted" not in text
    assert [row[0] for row in markdown_table(text).rows] == ["2 %", "4 %", "8 %"]
    assert "streams a GPU of teachers" in text


@pytest.mark.parametrize(("cores", "taken"), [({4, 2}, ["b", "c"]), ({0, 1, 5}, ["b", "c", "a"])])
def test_a_stream_on_each_core(monkeypatch, tmp_path, cores, taken):
    listed = [types.SimpleNamespace(name=name) for name in "abc"]
    runs = []

    def run(stream, folder, core):
        runs.append((stream.name, core))
        return folder.name

    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _: cores)
    monkeypatch.setattr(capacity, "_run_stream", run)
    found = capacity._run_side_by_side(listed[1:], listed, tmp_path)
    assert sorted(runs) == sorted(zip(taken, sorted(cores), strict=True))
    assert found == [(n, f"core-{core}") for n, core in zip(taken, sorted(cores), strict=True)]


def test_a_command_that_fails_has_its_last_line_told(tmp_path):
    core = min(os.sched_getaffinity(0))
    code = "import os; print(os.sched_getaffinity(0)); raise SystemExit('it is full')"

    def call():
        with pytest.raises(UserError, match="it is full"):
            capacity._call([sys.executable, "-c", code], tmp_path / "out.txt", core)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # which is bound to the core
        pool.submit(call).result()
    assert (tmp_path / "out.txt").read_text().splitlines()[0] == f"{{{core}}}"


def test_a_failed_stream_does_not_tell_its_password(monkeypatch, tmp_path):
    monkeypatch.setattr(capacity.sys, "executable", "/bin/false")
    monkeypatch.setattr(
        capacity, "FLAGS", types.SimpleNamespace(options="", recordings="", frames=9)
    )
    url = "rtsp://me:5up3r-secret@camera/1"
    stream = types.SimpleNamespace(name="gate", options={"video": url})
    core = min(os.sched_getaffinity(0))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        error = pool.submit(capacity._run_stream, stream, tmp_path / "run", core).exception()
    assert "--video=rtsp://***@camera/1" in str(error)


def test_the_rate_counts_while_all_streams_run():
    """The first is settled at 1 s, the second at 2; the second ends, after 100 frames, at 5."""
    looks = [
        (1.0, [(40, 2), (30, 1)]),
        (2.0, [(60, 3), (40, 2)]),
        (3.0, [(80, 4), (60, 2)]),
        (4.0, [(100, 4), (99, 4)]),
        (5.0, [(150, 6), (100, 4)]),
        (6.0, [(199, 8), (100, 4)]),
    ]
    found = capacity.while_all_run(looks, [200, 100])
    assert found == {"seconds": 2.0, "frames": 99, "share": 3 / 99, "fps": 49.5}
    assert capacity.while_all_run(looks[:2], [200, 100]) is None
    assert capacity.while_all_run([], [200, 100]) is None


NEW = "--output=new.json"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--shares=0", NEW], "--shares=0"),
        (["--shares=2,x", NEW], "--shares=2,x"),
        ([NEW], "--streams is missing"),
        (["--streams=none.csv", "--teacher=t", "--recordings=r", "--work=w", NEW], "none.csv"),
        (["--print=none.json"], "none.json"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert named in refusal(capacity, tmp_path, capsys, *arguments)

"""The fleet-kills command: its tables of a measurement by hand, the victims, and refusals."""

import copy
import json
import subprocess
import sys

import pytest

from experiments import fleet_kills
from experiments.robustness import fleet_victims
from jitnet_tf.base.locks import Lock
from tests.builders import markdown_tables
from tests.commands import refusal, run_command

STREAM = {
    "restarts": 0,
    "state": "ended",
    "logged": 20,
    "each_frame_once": True,
    "frames": 20,
    "teacher_fraction": 0.05,
    "updates": 12,
    "mean_iou": 0.75,
}
FLEET = {
    "kills": 0,
    "resumes": 0,
    "seconds": 60.4,
    "status": 0,
    "said": "",
    "complete": True,
    "deaths": 0,
    "streams": {"one": STREAM, "two": dict(STREAM)},
}


def printed(tmp_path, capsys, **changes):
    """The rows of the table of fleets, and of that of figures, with a killed stream changed."""
    killed = copy.deepcopy(FLEET)
    killed["kills"] = 10
    killed["streams"]["one"].update(restarts=10, **changes)
    values = {
        "format": fleet_kills.FORMAT,
        "machine": {"cpu": "Abacus", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2.15.1"},
        "fleets": {"undisturbed": FLEET, "first stream killed": killed},
    }
    path = tmp_path / "kills.json"
    path.write_text(json.dumps(values))
    assert run_command(fleet_kills, f"--print={path}") == 0
    return [table.rows for table in markdown_tables(capsys.readouterr().out)]


def test_tables(tmp_path, capsys):
    fleets, figures = printed(tmp_path, capsys, mean_iou=0.7)
    assert fleets == [
        ["undisturbed", "0", "yes", "yes", "0", "0", "0", "60"],
        ["first stream killed", "10", "yes", "yes", "10", "0", "0", "60"],
    ]
    assert figures == [
        ["one", "75.0 / 5.0", "70.0 / 5.0"],
        ["two", "75.0 / 5.0", "75.0 / 5.0"],
    ]


@pytest.mark.parametrize("fault", [{"each_frame_once": False}, {"logged": 19}])
def test_frames_that_are_missing_or_twice_are_told(tmp_path, capsys, fault):
    fleets, _ = printed(tmp_path, capsys, **fault)
    assert [row[3] for row in fleets] == ["yes", "NO"]


def test_the_process_of_a_stream_is_the_one_that_holds_its_folder(tmp_path):
    assert fleet_victims.of_stream(tmp_path) is None
    code = (
        "import sys, time; from jitnet_tf.base.locks import Lock\n"
        f"with Lock({str(tmp_path)!r}, 'logdir', is_folder=True): print('held', flush=True);"
        " time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert fleet_victims.of_stream(tmp_path) == process.pid
        assert fleet_victims.kill(process.pid)
        process.wait()
    assert fleet_victims.of_stream(tmp_path) is None
    with Lock(tmp_path, "logdir", is_folder=True):
        pass


def test_a_process_that_has_just_ended_is_no_kill(monkeypatch):
    def gone(*_):
        raise ProcessLookupError

    monkeypatch.setattr(fleet_victims.os, "kill", gone)
    assert not fleet_victims.kill(1234)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--streams is missing"),
        (["--streams=none.csv", "--teacher=t", "--work=w"], "none.csv"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert named in refusal(fleet_kills, tmp_path, capsys, "--output=new.json", *arguments)

"""Fleets: several streams on Ray, processes that are killed, lists that change, mistakes."""

import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install .[fleet]")

import ray
from ray.cluster_utils import Cluster

from experiments.robustness import fleet_victims
from jitnet_tf.fleet import __main__ as fleet
from jitnet_tf.fleet.status import SUMMARY
from tests.commands import read_frames, read_summary, refusal, run_command
from tests.materials import frames, write_street, write_teacher, write_video

SECRET = "5up3r-secret"
# Small and cheap, so that a fleet is mostly its starting and ending.
OPTIONS = (
    *("--output=none", "--width=.25", "--min_stride=4", "--max_stride=8", "--max_updates=1"),
    *("--checkpoint_every=10", "--image_every=1000", "--init=random", "--status_every=5"),
)
WAIT = 300  # seconds for what has to happen


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = write_street(tmp_path_factory.mktemp("material"))
    write_video(folder / "long.mp4", frames(300))
    return folder


def write_list(folder, *rows):
    path = folder / "list.csv"
    path.write_text("\n".join(["name,video,max_frames", *rows, ""]))
    return path


def arguments(folder, material, *further):
    named = {"streams": folder / "list.csv", "teacher": material / "teacher"}
    named["logdir"] = folder / "fleet"
    return [*(f"--{name}={value}" for name, value in named.items()), *OPTIONS, *further]


def until(condition, alive=lambda: True):
    """Waits until a condition holds."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        assert alive(), "the fleet has ended before"
        time.sleep(0.05)


def rows_of(logdir):
    try:
        return len((logdir / "frames.jsonl").read_text().splitlines())
    except OSError:
        return 0


def away_is_told(logdir):
    """Whether the summary has the camera that cannot be reached, without its password."""
    found = json.loads((logdir / SUMMARY).read_text())["streams"]["away"]
    assert found["state"] != "failed"
    return "rtsp://***@127.0.0.1:9/x" in found.get("reason", "")


@pytest.fixture
def meanwhile():
    """Runs a function in a thread; what it raises fails the test."""
    started = []

    def start(function):
        errors = []

        def run():
            try:
                function()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        started.append((thread, errors))

    yield start
    for thread, errors in started:
        thread.join()
        if errors:
            raise errors[0]


@pytest.mark.slow
def test_a_fleet_through_deaths_and_changes(material, tmp_path, capsys, meanwhile):
    """A stream and the teacher are killed, one is added, one fails: the others do not notice."""
    rows = [
        *(f"killed,{material}/long.mp4,200", f"quiet,{material}/street.mp4,"),
        f"wrong,{material}/none.mp4,",
    ]
    away = f"away,rtsp://u:{SECRET}@127.0.0.1:9/x,"
    write_list(tmp_path, *rows, away)
    logdir = tmp_path / "fleet"
    over = threading.Event()

    def disturb():
        def alive():
            return not over.is_set()

        until(lambda: rows_of(logdir / "killed") >= 30, alive)
        assert fleet_victims.kill(fleet_victims.of_stream(logdir / "killed"))
        write_list(tmp_path, *rows, f"added,{material}/street.mp4,12", away)
        until(lambda: rows_of(logdir / "added") == 12 or not alive(), alive)
        until(lambda: rows_of(logdir / "killed") >= 60, alive)
        [teacher] = fleet_victims.of_teachers(os.getpid())
        assert fleet_victims.kill(teacher)
        until(lambda: fleet_victims.of_teachers(os.getpid()) not in ([], [teacher]), alive)
        until(lambda: away_is_told(logdir), alive)
        write_list(tmp_path, *rows, f"added,{material}/street.mp4,12")

    meanwhile(disturb)
    status = run_command(fleet, *arguments(tmp_path, material, "--masks=masks"))
    over.set()
    captured = capsys.readouterr()
    assert status == 2
    assert "1 of 4 streams failed (wrong)" in captured.err
    summary = json.loads((logdir / SUMMARY).read_text())
    streams = summary["streams"]
    assert {name: stream["state"] for name, stream in streams.items()} == {
        **dict.fromkeys(("killed", "quiet", "added"), "ended"),
        "wrong": "failed",
    }
    assert "none.mp4" in streams["wrong"]["reason"]
    assert streams["killed"]["restarts"] >= 1
    assert streams["quiet"]["restarts"] == streams["added"]["restarts"] == 0
    for name, count in (("killed", 200), ("quiet", 20), ("added", 12)):
        assert [row["frame"] for row in read_frames(logdir / name)] == list(range(count))
        assert read_summary(logdir / name)["frames"] == streams[name]["frames"] == count
        assert len(list((logdir / name / "masks").glob("*.png"))) == count
    assert streams["killed"]["teacher_frames"] > 0
    [teacher] = summary["teachers"]
    assert teacher["deaths"] <= 1  # 0: nobody was asking when it was killed
    assert teacher["answered"] > 0
    assert "added in the list: added" in captured.out
    assert "removed in the list: away" in captured.out
    assert "Traceback" not in captured.out + captured.err
    assert SECRET not in captured.out + captured.err
    written = [*logdir.rglob("*"), *pathlib.Path(tempfile.gettempdir(), "ray").glob("*/logs/**/*")]
    for path in filter(pathlib.Path.is_file, written):
        assert SECRET.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_stopped_fleet_goes_on(material, tmp_path, capsys, meanwhile):
    write_list(tmp_path, f"one,{material}/long.mp4,", f"two,{material}/street.mp4,")
    logdir = tmp_path / "fleet"

    def stop():
        until(lambda: rows_of(logdir / "one") >= 20)
        until(lambda: (logdir / "two" / "summary.json").exists())
        os.kill(os.getpid(), signal.SIGINT)

    meanwhile(stop)
    command = arguments(tmp_path, material, "--masks=masks")
    assert run_command(fleet, *command) == 130
    assert "--resume" in capsys.readouterr().out
    stopped = json.loads((logdir / SUMMARY).read_text())
    assert not stopped["complete"]
    assert stopped["streams"]["one"]["state"] == "stopped"
    assert stopped["streams"]["two"]["state"] == "ended"
    assert run_command(fleet, *command, "--resume") == 0
    summary = json.loads((logdir / SUMMARY).read_text())
    assert summary["complete"]
    assert [stream["frames"] for stream in summary["streams"].values()] == [300, 20]
    assert [row["frame"] for row in read_frames(logdir / "one")] == list(range(300))
    # Another fleet in its place is not disturbed by what it has left.
    assert run_command(fleet, *command, "--overwrite", "--max_frames=10") == 0
    for name in ("one", "two"):
        assert len(read_frames(logdir / name)) == 10
        assert len(list((logdir / name / "masks").glob("*.png"))) == 10


@pytest.mark.slow
def test_a_teacher_that_cannot_be_loaded_leaves_no_fleet(material, tmp_path, capsys):
    write_list(tmp_path, f"a,{material}/street.mp4,")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"x")
    assert run_command(fleet, *arguments(tmp_path, material, f"--teacher={broken}")) == 2
    [message] = capsys.readouterr().err.splitlines()
    assert "cannot be loaded as a SavedModel" in message
    assert not [path for path in (tmp_path / "fleet").rglob("*") if path.is_file()]
    # Nor does it cost the fleet that was to be replaced.
    kept = [tmp_path / "fleet" / name for name in ("fleet.json", SUMMARY)]
    kept[0].parent.mkdir(exist_ok=True)
    for path in kept:
        path.write_text("{}")
    replacing = arguments(tmp_path, material, f"--teacher={broken}", "--overwrite")
    assert run_command(fleet, *replacing) == 2
    assert "cannot be loaded as a SavedModel" in capsys.readouterr().err
    assert [path.read_text() for path in kept] == ["{}", "{}"]


@pytest.fixture
def cluster():
    """A Ray cluster of two machines on this one."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_a_machine_that_is_gone(material, tmp_path, capsys, meanwhile, cluster):
    """Each has room for one stream: that of the one that is gone waits for the other's end."""
    names = ["one", "two"]
    write_list(tmp_path, *(f"{name},{material}/long.mp4," for name in names))
    logdir = tmp_path / "fleet"
    machine = cluster.add_node(num_cpus=2)

    def busy():
        """The processes of streams with 25 frames."""
        folders = [logdir / name for name in names if rows_of(logdir / name) >= 25]
        return filter(None, map(fleet_victims.of_stream, folders))

    def take_away():
        [raylet] = machine.all_processes["raylet"]
        until(lambda: any(fleet_victims.parent_of(p) == raylet.process.pid for p in busy()))
        cluster.remove_node(machine, allow_graceful=False)

    meanwhile(take_away)
    options = (f"--address={cluster.address}", "--teachers=2", "--stream_cpus=2")
    assert run_command(fleet, *arguments(tmp_path, material, *options)) == 0
    summary = json.loads((logdir / SUMMARY).read_text())
    assert summary["complete"]
    for name in names:
        assert [row["frame"] for row in read_frames(logdir / name)] == list(range(300))
    assert sum(stream["restarts"] for stream in summary["streams"].values()) >= 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return lambda *words: refusal(fleet, tmp_path, capsys, *words)


@pytest.mark.parametrize(
    ("row", "change", "named"),
    [
        ("a,{m}/street.mp4,", "--streams=none.csv", "none.csv"),
        ("a,{m}/street.mp4,", "--teacher=", "--teacher is missing"),
        ("a,{m}/street.mp4,", "--teacher=none", "'none'"),
        ("a,{m}/street.mp4,", "--teacher=recorded:{name}.recording", "a.recording"),
        ("a,{m}/street.mp4,", "--address=nowhere", "--address=nowhere"),
        ("a,{m}/street.mp4,", "--address=127.0.0.1:9", "--address=127.0.0.1:9 does not answer"),
        ("a,{m}/street.mp4,", "--video=x.mp4", "--video=x.mp4"),
        ("a,{m}/street.mp4,", "--metrics_port=70000", "--metrics_port=70000"),
        ("a,{m}/street.mp4,", "--streams=", "--streams is missing"),
        ("", "", "list.csv has no streams"),
        ("a,{m}/street.mp4,", "--teacher={m}", "saved_model.pb"),
        ("a,{m}/street.mp4,", "--masks=some/where", "--masks=some/where"),
        ("a,{m}/street.mp4,", "--masks=..", "--masks=.."),
        ("a,{m}/street.mp4,", "--preview_port=0", "--preview_port=0"),
        ("a,{m}/street.mp4,", "--frame_size=small", "error: invalid frame size 'small'"),
        ("a,{m}/street.mp4,", "--output=x.mp4", "--output=x.mp4"),
        ("a,{m}/street.mp4,", "--teacher_mode=sync", "--teacher_mode=sync"),
        ("a,{m}/street.mp4,", "--teachers=0", "--teachers"),
        ("a,{m}/street.mp4,", "--resume", "holds no fleet"),
        ("a,{m}/street.mp4,0", "", "line 2"),
        ("a,{m}/street.mp4,many", "", "'many'"),
        (f"a,rtsp://u:{SECRET}@127.0.0.1:9/x,0", "", "line 2"),
    ],
)
def test_mistakes(material, tmp_path, refused, row, change, named):
    write_list(tmp_path, row.format(m=material))
    change = change.replace("{m}", str(material))
    message = refused(*arguments(tmp_path, material, *filter(None, [change])))
    assert named in message
    assert SECRET not in message


def test_without_ray(material, tmp_path, refused, monkeypatch):
    write_list(tmp_path, f"a,{material}/street.mp4,")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install" in refused(*arguments(tmp_path, material))


def test_a_folder_with_another_fleet(material, tmp_path, refused):
    write_list(tmp_path, f"a,{material}/street.mp4,")
    run = tmp_path / "fleet" / "a"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    assert "(a)" in refused(*arguments(tmp_path, material))
    (tmp_path / "fleet" / "fleet.json").write_text("{}")
    assert "--resume" in refused(*arguments(tmp_path, material))


def test_the_teacher_of_a_resumed_fleet_is_the_same(material, tmp_path, refused):
    write_list(tmp_path, f"a,{material}/street.mp4,")
    (tmp_path / "fleet").mkdir()
    content = {"format": "jitnet_tf fleet 1", "teacher": {"teacher": "other"}}
    (tmp_path / "fleet" / "fleet.json").write_text(json.dumps(content))
    write_teacher(tmp_path / "teacher")
    assert "--teacher=" in refused(*arguments(tmp_path, material, "--resume"))

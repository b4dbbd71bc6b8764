"""The journey of a recording: run the teacher once, replay it in its place."""

import json
import re
import shutil
import sqlite3

import pytest

from jitnet_tf import distill, video
from jitnet_tf.base import checkpoint, interrupt
from teacher import record
from teacher.recorded import Recording
from tests.commands import run_command
from tests.materials import frames, write_teacher, write_video


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    folder = tmp_path_factory.mktemp("street")
    write_video(folder / "street.mp4", frames(20))
    write_teacher(folder / "teacher")
    return folder


def record_street(street, output, *arguments):
    inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher")
    assert run_command(record, *inputs, f"--output={output}", *arguments) == 0
    return Recording(output)


def test_interrupted_recording_goes_on(street, tmp_path, capsys):
    assert len(record_street(street, tmp_path / "parts", "--max_frames=7")) == 7
    parts = record_street(street, tmp_path / "parts")
    whole = record_street(street, tmp_path / "whole")
    assert "20 frames recorded" in capsys.readouterr().out
    assert parts.header == whole.header
    for i, frame in enumerate(frames(20)):
        one, other = parts(frame, i), whole(frame, i)
        assert len(one) == 2
        assert one.boxes.tobytes() == other.boxes.tobytes()
        assert [m.tobytes() for m in one.masks] == [m.tobytes() for m in other.masks]


def another_teacher(street, folder):
    """The teacher's SavedModel under its name, but not quite the same file."""
    shutil.copytree(street / "teacher", folder / "teacher")
    with open(folder / "teacher" / "saved_model.pb", "ab") as file:
        file.write(b"\x98\x06\x01")  # a field that no reader knows
    return folder / "teacher"


def other_video(folder, pictures):
    """Another street.mp4."""
    folder.mkdir()
    return write_video(folder / "street.mp4", pictures)


def test_does_not_go_on_with_another_teacher_or_video(street, tmp_path, capsys):
    """Not even where all names are the same."""
    output = tmp_path / "street.recording"
    record_street(street, output, "--max_frames=7").close()
    before = output.read_bytes()
    for change, said in [
        (f"--teacher={another_teacher(street, tmp_path)}", "already exists with teacher_sha256"),
        (f"--video={other_video(tmp_path / 'other', frames(20, seed=3))}", "is of another video"),
        (f"--video={other_video(tmp_path / 'short', frames(5))}", "is of another video"),
    ]:
        inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher")
        assert run_command(record, *inputs, f"--output={output}", change) == 2
        assert said in capsys.readouterr().err
        assert output.read_bytes() == before


@pytest.mark.parametrize("nested", ["", "saved_model"])
def test_a_live_teacher_is_told_by_its_graph_and_weights(tmp_path, nested):
    folder = tmp_path / "mask_rcnn"
    (folder / nested / "variables").mkdir(parents=True)
    digests = []
    for file in ("saved_model.pb", "variables/variables.index"):
        for content in (b"one", b"two"):
            (folder / nested / file).write_bytes(content)
            described = record.describe_live(str(folder))
            assert described["teacher"] == "mask_rcnn"
            digests.append(described["teacher_sha256"])
    assert len(set(digests)) == 4
    assert record.describe_live(str(folder))["teacher_sha256"] == digests[-1]


def test_a_refused_frame_leaves_nothing_behind(street, tmp_path, capsys, monkeypatch):
    record_street(street, tmp_path / "small", "--frame_size=32x48", "--max_frames=1")
    closed = []
    monkeypatch.setattr(video.FrameSource, "close", lambda source: closed.append(source))
    inputs = (f"--video={street}/street.mp4", f"--teacher=recorded:{tmp_path}/small")
    assert run_command(record, *inputs, f"--output={tmp_path}/new/street.recording") == 2
    assert "give --frame_size=32x48" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert len(closed) == 1


def test_a_recording_of_a_recording_tells_of_the_live_teacher(street, tmp_path):
    first = record_street(street, tmp_path / "first", "--max_frames=4")
    assert re.fullmatch("[0-9a-f]{16}", first.header["teacher_sha256"])
    with sqlite3.connect(tmp_path / "first") as database:
        database.execute("UPDATE frames SET seconds = number + 5 WHERE number < 3")
        database.execute("UPDATE frames SET seconds = NULL WHERE number = 3")
        database.execute("UPDATE header SET value = '0.3' WHERE name = 'min_score'")
    database.close()
    teacher = f"--teacher=recorded:{tmp_path}/first"
    for count in (2, 4):
        second = record_street(street, tmp_path / "second", teacher, f"--max_frames={count}")
    assert [second.seconds(i) for i in range(4)] == [5, 6, 7, None]
    assert second.mean_seconds == 6
    assert second.header == {**first.header, "min_score": "0.3"}


def test_replay_equals_the_live_teacher(street, tmp_path):
    """Same strides, accuracies, losses and weights, bit for bit."""
    recording = tmp_path / "street.recording"
    record_street(street, recording)
    outcomes = []
    for teacher in (f"{street}/teacher", f"recorded:{recording}"):
        logdir = tmp_path / str(len(outcomes))
        status = run_command(
            distill,
            f"--video={street}/street.mp4",
            f"--teacher={teacher}",
            f"--reference={recording}",
            f"--logdir={logdir}",
            "--output=none",
        )
        assert status == 0
        rows = [json.loads(line) for line in (logdir / "frames.jsonl").open()]
        weights = {name: a.tobytes() for name, a in checkpoint.load(logdir)[0].items()}
        outcomes.append(([{**row, "ms": None} for row in rows], weights))
    assert outcomes[0] == outcomes[1]
    assert any(row["updates"] for row in outcomes[0][0])


def test_recording_ends_before_the_video(street, tmp_path, capsys):
    """What was processed is kept; the message says how to have it whole."""
    recording = tmp_path / "short.recording"
    record_street(street, recording, "--max_frames=10")
    logdir = tmp_path / "run"
    command = (f"--video={street}/street.mp4", f"--teacher=recorded:{recording}")
    assert run_command(distill, *command, f"--logdir={logdir}") == 2
    assert "ends after 10 frames" in capsys.readouterr().err
    summary = json.loads((logdir / "summary.json").read_text())
    assert (summary["complete"], summary["frames"]) == (False, 16)
    assert len((logdir / "frames.jsonl").read_text().splitlines()) == 16
    assert (logdir / "overlay.mp4").exists()

    # Recorded to the end, the run can be resumed.
    record_street(street, recording)
    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    summary = json.loads((logdir / "summary.json").read_text())
    assert (summary["complete"], summary["frames"]) == (True, 20)


def test_reference_ends_before_the_video(street, tmp_path, capsys):
    """The frame that has no reference is not learned from, so the run can be resumed."""
    short, whole = tmp_path / "short.recording", tmp_path / "whole.recording"
    record_street(street, short, "--max_frames=10")
    record_street(street, whole)
    inputs = (f"--video={street}/street.mp4", f"--teacher=recorded:{whole}")
    for name in ("resumed", "straight"):
        if name == "straight":
            record_street(street, short)
        logdir = tmp_path / name
        status = run_command(distill, *inputs, f"--reference={short}", f"--logdir={logdir}")
        assert status == (2 if name == "resumed" else 0)
    assert "ends after 10 frames" in capsys.readouterr().err
    logdir = tmp_path / "resumed"
    assert json.loads((logdir / "summary.json").read_text())["frames"] == 10
    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    logs = [(tmp_path / name / "frames.jsonl").open() for name in ("resumed", "straight")]
    one, other = ([{**json.loads(row), "ms": 0} for row in log] for log in logs)
    assert one == other
    assert len(one) == 20


def test_stopped_before_the_first_frame(street, tmp_path, monkeypatch):
    """Then the first frame is not taken for one that was processed."""
    inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher", "--output=none")
    monkeypatch.setattr(interrupt.StopRequest, "__enter__", stopped)
    assert run_command(distill, *inputs, f"--logdir={tmp_path}/run") == 130
    monkeypatch.undo()
    assert run_command(distill, "--resume", f"--logdir={tmp_path}/run") == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["frames"] == 20


def stopped(request):
    request.made = True
    return request


def test_resume_on_another_video_is_refused(street, tmp_path, capsys):
    run = tmp_path / "run"
    (tmp_path / "v").mkdir()
    copy = tmp_path / "v" / "street.mp4"
    copy.write_bytes((street / "street.mp4").read_bytes())
    recording = tmp_path / "short.recording"
    record_street(street, recording, "--max_frames=10")
    inputs = (f"--video={copy}", f"--teacher=recorded:{recording}", "--output=none")
    assert run_command(distill, *inputs, f"--logdir={run}") == 2
    for pictures in (frames(20, seed=3), frames(5)):
        write_video(copy, pictures)
        assert run_command(distill, "--resume", f"--logdir={run}") == 2
        assert "is not the video that the run was made of" in capsys.readouterr().err


def test_resume_with_changed_groups_is_refused(street, tmp_path, capsys):
    groups = tmp_path / "groups.txt"
    groups.write_text("person\ncar\n")
    recording = tmp_path / "short.recording"
    record_street(street, recording, "--max_frames=10")
    inputs = (f"--video={street}/street.mp4", f"--teacher=recorded:{recording}", "--output=none")
    run = tmp_path / "run"
    command = (*inputs, f"--logdir={run}", f"--class_groups={groups}")
    assert run_command(distill, *command) == 2
    groups.write_text("person\nbus\n")
    assert run_command(distill, "--resume", f"--logdir={run}") == 2
    assert "the class groups in" in capsys.readouterr().err


def test_real_teacher_on_a_real_street(shared, tmp_path):
    """A YOLO11 SavedModel on traffic: autos are found, and replayed as they were."""
    recording = tmp_path / "street.recording"
    inputs = (
        f"--video={shared('videos/traffic-intersection.mp4')}",
        f"--teacher={shared('teachers/yolo11n_seg_384x640')}",
    )
    assert run_command(record, *inputs, f"--output={recording}", "--max_frames=2") == 0
    assert recording.stat().st_size < 60_000
    logdir = tmp_path / "run"
    outputs = (f"--logdir={logdir}", "--max_frames=2", "--output=none", "--max_updates=1")
    assert run_command(distill, *inputs, f"--reference={recording}", *outputs) == 0
    summary = json.loads((logdir / "summary.json").read_text())
    assert "auto" in summary["per_class_iou"]
    assert summary["teacher_time"] == "measured"

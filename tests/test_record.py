"""The journey of a recording: run the teacher once, replay it in its place."""

import json

import pytest
from commands import run_command
from materials import frames, write_teacher, write_video

from jitnet_tf import checkpoint, distill
from teacher import record
from teacher.recorded import Recording


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

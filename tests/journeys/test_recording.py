"""Recording a teacher and replaying it in a run."""

import pytest

from jitnet_tf import distill
from jitnet_tf.base import checkpoint, interrupt
from teacher import record
from tests.commands import read_frames, read_summary, record_street, run_command
from tests.materials import frames, write_street, write_video

CHEAP = ("--width=0.25", "--init=random", "--max_updates=2")


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return write_street(tmp_path_factory.mktemp("street"))


@pytest.mark.slow
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
            *CHEAP,
        )
        assert status == 0
        rows = read_frames(logdir)
        weights = {name: a.tobytes() for name, a in checkpoint.load(logdir)[0].items()}
        outcomes.append(([{**row, "ms": None} for row in rows], weights))
    assert outcomes[0] == outcomes[1]
    assert any(row["updates"] for row in outcomes[0][0])


@pytest.mark.slow
def test_recording_ends_before_the_video(street, tmp_path, capsys):
    """The processed frames are kept, and the run can be resumed with a longer recording."""
    recording = tmp_path / "short.recording"
    record_street(street, recording, "--max_frames=10")
    logdir = tmp_path / "run"
    command = (f"--video={street}/street.mp4", f"--teacher=recorded:{recording}", *CHEAP)
    assert run_command(distill, *command, f"--logdir={logdir}") == 2
    assert "ends after 10 frames" in capsys.readouterr().err
    summary = read_summary(logdir)
    assert (summary["complete"], summary["frames"]) == (False, 16)
    assert len(read_frames(logdir)) == 16
    assert (logdir / "overlay.mp4").exists()

    # With a complete recording the run can be resumed.
    record_street(street, recording)
    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    summary = read_summary(logdir)
    assert (summary["complete"], summary["frames"]) == (True, 20)


@pytest.mark.slow
def test_reference_ends_before_the_video(street, tmp_path, capsys):
    """The frame without a reference is not trained on, so that the run can be resumed."""
    short, whole = tmp_path / "short.recording", tmp_path / "whole.recording"
    record_street(street, short, "--max_frames=10")
    record_street(street, whole)
    inputs = (f"--video={street}/street.mp4", f"--teacher=recorded:{whole}", *CHEAP)
    for name in ("resumed", "straight"):
        if name == "straight":
            record_street(street, short)
        logdir = tmp_path / name
        status = run_command(distill, *inputs, f"--reference={short}", f"--logdir={logdir}")
        assert status == (2 if name == "resumed" else 0)
    assert "ends after 10 frames" in capsys.readouterr().err
    logdir = tmp_path / "resumed"
    assert read_summary(logdir)["frames"] == 10
    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    logs = [read_frames(tmp_path / name) for name in ("resumed", "straight")]
    one, other = ([{**row, "ms": 0} for row in rows] for rows in logs)
    assert one == other
    assert len(one) == 20


@pytest.mark.slow
def test_stopped_before_the_first_frame(street, tmp_path, monkeypatch):
    """The first frame does not count as processed."""
    inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher", *CHEAP)
    monkeypatch.setattr(interrupt.StopRequest, "__enter__", stopped)
    assert run_command(distill, *inputs, f"--logdir={tmp_path}/run") == 130
    monkeypatch.undo()
    assert run_command(distill, "--resume", f"--logdir={tmp_path}/run") == 0
    assert read_summary(tmp_path / "run")["frames"] == 20


def stopped(request):
    request.made = True
    return request


@pytest.mark.slow
def test_resume_on_another_video_is_refused(street, tmp_path, capsys):
    run = tmp_path / "run"
    (tmp_path / "v").mkdir()
    copy = tmp_path / "v" / "street.mp4"
    copy.write_bytes((street / "street.mp4").read_bytes())
    recording = tmp_path / "short.recording"
    record_street(street, recording, "--max_frames=10")
    inputs = (f"--video={copy}", f"--teacher=recorded:{recording}", *CHEAP)
    assert run_command(distill, *inputs, f"--logdir={run}") == 2
    for pictures in (frames(20, seed=3), frames(5)):
        write_video(copy, pictures)
        assert run_command(distill, "--resume", f"--logdir={run}") == 2
        assert str(copy) in capsys.readouterr().err


@pytest.mark.slow
def test_resume_with_changed_groups_is_refused(street, tmp_path, capsys):
    groups = tmp_path / "groups.txt"
    groups.write_text("person\ncar\n")
    recording = tmp_path / "short.recording"
    record_street(street, recording, "--max_frames=10")
    inputs = (f"--video={street}/street.mp4", f"--teacher=recorded:{recording}", *CHEAP)
    run = tmp_path / "run"
    command = (*inputs, f"--logdir={run}", f"--class_groups={groups}")
    assert run_command(distill, *command) == 2
    groups.write_text("person\nbus\n")
    assert run_command(distill, "--resume", f"--logdir={run}") == 2
    assert str(groups) in capsys.readouterr().err


@pytest.mark.slow
def test_real_teacher_on_real_traffic(shared, tmp_path):
    """A YOLO11 SavedModel on traffic finds autos, and its recording has them."""
    recording = tmp_path / "street.recording"
    inputs = (
        f"--video={shared('videos/traffic-intersection.mp4')}",
        f"--teacher={shared('teachers/yolo11n_seg_384x640')}",
    )
    assert run_command(record, *inputs, f"--output={recording}", "--max_frames=2") == 0
    assert recording.stat().st_size < 60_000
    logdir = tmp_path / "run"
    outputs = (f"--logdir={logdir}", "--max_frames=2", "--output=none", *CHEAP)
    assert run_command(distill, *inputs, f"--reference={recording}", *outputs) == 0
    summary = read_summary(logdir)
    assert "auto" in summary["per_class_iou"]
    assert summary["teacher_time"] == "measured"

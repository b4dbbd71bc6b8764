"""Runs on live sources that go and come back, and on files that are played as such."""

import pytest

from jitnet_tf import distill
from jitnet_tf.video import live
from tests import rtsp_camera
from tests.commands import read_frames, read_summary, run_command
from tests.materials import frames, write_square_stream, write_teacher
from tests.video.clips import encoded

CHEAP = ("--max_updates=1", "--width=0.25", "--init=random", "--output=none")


@pytest.mark.slow
def test_a_run_outlives_its_camera_and_asks_on_the_first_frame_back(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(live, "_LONGEST_WAIT", 0.05)
    write_teacher(tmp_path / "teacher")
    logdir = tmp_path / "run"
    with rtsp_camera.running(encoded(frames(20), "h264")) as url:  # plays it once a connection
        arguments = (f"--video={url}", f"--teacher={tmp_path}/teacher", f"--logdir={logdir}")
        assert run_command(distill, *arguments, "--max_frames=6", *CHEAP) == 0
    rows, summary = read_frames(logdir), read_summary(logdir)
    assert summary["complete"]
    assert [row["frame"] for row in rows] == list(range(6))
    gaps = [row for row in rows if "gap" in row]
    assert gaps
    assert all(row["teacher"] and row["gap"] > 0 for row in gaps)
    assert summary["reconnects"] == len(gaps)
    assert summary["seconds_gone"] == pytest.approx(sum(row["gap"] for row in gaps), abs=0.01)
    assert "was gone" in " ".join(summary["problems"])
    printed = capsys.readouterr().out
    assert "connecting again" in printed
    assert "gone and back" in printed


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_file_in_real_time_has_its_recordings_frames(tmp_path, mode):
    """Frames are dropped; teacher and reference are asked for those that were not."""
    stream = write_square_stream(tmp_path, "square", 30)
    logdir = tmp_path / "run"
    arguments = (
        f"--video={stream.video}",
        f"--teacher=recorded:{stream.recording}",
        f"--reference={stream.recording}",
        f"--logdir={logdir}",
        f"--teacher_mode={mode}",
    )
    assert run_command(distill, *arguments, "--realtime", "--max_updates=8", *CHEAP[1:]) == 0
    rows, summary = read_frames(logdir), read_summary(logdir)
    assert summary["complete"]
    assert len(rows) + summary["dropped_frames"] == 30
    assert {"lag", "reconnects"} <= summary.keys()
    assert summary["mean_iou"] is not None
    times = [row["time"] for row in rows]
    assert times == sorted(set(times))

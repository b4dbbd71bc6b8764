"""Runs on a stream that breaks off: complete log, one line of message, resumable."""

import itertools
import time

import av
import cv2
import pytest

from jitnet_tf import distill
from jitnet_tf.base import checkpoint
from teacher import record
from teacher.recorded import Recording
from tests import misbehaving_server
from tests.commands import read_frames, read_summary, run_command
from tests.materials import frames, write_teacher, write_video

FRAMES = 60
CHEAP = ("--max_updates=1", "--width=0.25", "--init=random")


def timeless_frames(logdir):
    """Returns the rows of the frame log without times."""
    rows = read_frames(logdir)
    return [{key: value for key, value in row.items() if key != "ms"} for row in rows]


def frames_of_overlay(logdir):
    with av.open(str(logdir / "overlay.mp4")) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def street(tmp_path):
    """A video of 60 frames in a file that can be played while it is sent."""
    write_teacher(tmp_path / "teacher")
    return write_video(tmp_path / "street.mkv", frames(FRAMES))


@pytest.fixture
def server(street):
    with misbehaving_server.running() as server:
        server.body = street.read_bytes()
        yield server


def last_line(capsys):
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_run_on_a_url_that_breaks_off_is_incomplete(server, street, tmp_path, capsys):
    logdir, whole = tmp_path / "run", tmp_path / "whole"
    options = (f"--teacher={tmp_path}/teacher", *CHEAP)
    arguments = (f"--video={street}", f"--logdir={whole}", "--output=none")
    assert run_command(distill, *arguments, *options) == 0
    server.cuts = [len(server.body) // 2]
    arguments = (f"--video={server.url()}", f"--logdir={logdir}", *options)
    assert run_command(distill, *arguments) == 2
    message = last_line(capsys)
    summary = read_summary(logdir)
    count = summary["frames"]
    assert 10 < count < 50
    problem = f"the stream broke off after {count} frames (Input/output error"
    assert message.startswith(f"error: {server.url()}: {problem}")
    assert f"--resume --logdir={logdir}" in message
    assert not summary["complete"]
    assert summary["problems"][-1].startswith(problem)
    assert timeless_frames(logdir) == timeless_frames(whole)[:count]
    assert frames_of_overlay(logdir) == checkpoint.load(logdir)[1]["frames"] == count

    server.cuts = [len(server.body) // 4]  # it breaks off again, soon
    assert run_command(distill, "--resume", f"--logdir={logdir}") == 2
    assert "(Input/output error after" in last_line(capsys)
    assert len(timeless_frames(logdir)) == count

    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    assert read_summary(logdir)["complete"]
    assert timeless_frames(logdir) == timeless_frames(whole)
    assert frames_of_overlay(logdir) == FRAMES


@pytest.mark.slow
def test_a_run_on_an_unplugged_camera_is_incomplete(tmp_path, monkeypatch, capsys):
    logdir = tmp_path / "run"

    class Camera:
        """Delivers more frames than a run takes, until the run has logged some."""

        plugged = 5

        def __init__(self, _):
            self.pictures = itertools.cycle(frames(20))

        def isOpened(self):  # noqa: N802
            return True

        def get(self, _):
            return 25.0

        def read(self):
            time.sleep(0.002)
            log = logdir / "frames.jsonl"
            is_plugged = not log.exists() or len(read_frames(logdir)) < self.plugged
            return is_plugged, next(self.pictures)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    write_teacher(tmp_path / "teacher")
    arguments = ("--video=3", f"--teacher={tmp_path}/teacher", "--reconnect_for=0", *CHEAP)
    assert run_command(distill, *arguments, f"--logdir={logdir}") == 2
    rows, first = read_frames(logdir), read_summary(logdir)
    count = len(rows)
    message = f"3: the stream broke off after {count} frames (the camera stopped"
    assert message in last_line(capsys)
    assert not first["complete"]
    assert frames_of_overlay(logdir) == count >= 5
    assert first["dropped_frames"] == sum(row["dropped"] for row in rows) > 0
    assert first["lag"]["max"] == pytest.approx(max(row["lag"] for row in rows), abs=0.001)

    # Plugged in again: the run resumes with the current frames, its counts go on.
    Camera.plugged = 100
    assert run_command(distill, "--resume", f"--logdir={logdir}", f"--max_frames={count + 9}") == 0
    rows, summary = read_frames(logdir), read_summary(logdir)
    assert summary["complete"]
    assert [row["frame"] for row in rows] == list(range(count + 9))
    times = [row["time"] for row in rows]
    assert times[0] == 0
    assert times[count] == pytest.approx(first["video_seconds"], abs=1e-5)
    assert times == sorted(set(times))
    assert summary["dropped_frames"] == sum(row["dropped"] for row in rows)
    with av.open(str(logdir / "overlay.mp4")) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    assert shown == pytest.approx(times, abs=0.002)


def test_a_recording_is_resumed(server, tmp_path, capsys):
    recording = tmp_path / "street.recording"
    arguments = (f"--video={server.url()}", f"--teacher={tmp_path}/teacher")
    server.cuts = [len(server.body) // 2]
    assert run_command(record, *arguments, f"--output={recording}") == 2
    assert "the stream broke off after" in last_line(capsys)
    assert 10 < len(Recording(recording)) < 50
    assert run_command(record, *arguments, f"--output={recording}") == 0
    assert len(Recording(recording)) == FRAMES

"""Runs with --teacher_mode=async: outputs, interruption, resume."""

import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from jitnet_tf import distill
from jitnet_tf.base import checkpoint
from jitnet_tf.config import RunConfig
from teacher import record
from tests.commands import read_frames, read_summary, run_command
from tests.materials import frames, write_teacher, write_video

FRAMES = 40
LONG = 200


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "sample"
    arguments = ["--video=sample", "--teacher_mode=async", f"--logdir={logdir}"]
    arguments += [f"--max_frames={FRAMES}", "--max_staleness=5", "--image_every=1"]
    assert run_command(distill, *arguments) == 0
    return logdir


def test_frame_log_follows_the_state_machine(sample_run):
    """Teacher frames follow from the end of the training before and from the strides."""
    rows = read_frames(sample_run)
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    teacher_rows = [row for row in rows if row["teacher"]]
    assert teacher_rows
    stride, expected = 8, 0
    for row in teacher_rows:
        assert row["teacher_frame"] == expected
        assert 1 <= row["staleness"] <= 5
        # Labels arrive, then there is one update a frame.
        assert row["frame"] == expected + row["staleness"] + row["updates"]
        after = row["accuracy_after"]
        assert after >= 0.8 or row["updates"] == 8
        stride = min(64, 2 * stride) if after > 0.8 else max(8, stride // 2)
        assert row["stride"] == stride
        expected = max(row["frame"], expected + stride)
    others = [row for row in rows if not row["teacher"]]
    assert all({"staleness", "teacher_frame", "losses"}.isdisjoint(row) for row in others)
    assert all(row["updates"] == 0 and "teacher" not in row["ms"] for row in others)
    assert all("infer" in row["ms"] for row in rows)


def test_summary_agrees_with_the_frame_log(sample_run):
    rows, summary = read_frames(sample_run), read_summary(sample_run)
    teacher_rows = [row for row in rows if row["teacher"]]
    staleness = [row["staleness"] for row in teacher_rows]
    assert summary["complete"]
    assert summary["teacher_mode"] == "async"
    assert summary["teacher_frames"] == len(teacher_rows)
    assert summary["updates"] == sum(row["updates"] for row in teacher_rows)
    assert summary["staleness"] == {"mean": np.mean(staleness), "max": max(staleness)}
    assert summary["teacher_time"] == "recorded"
    assert summary["mean_iou"] == summary["mean_iou_student_only"]


def test_tensorboard_events_read_back(sample_run):
    events = event_accumulator.EventAccumulator(str(sample_run), {"tensors": 0, "images": 0})
    events.Reload()
    teacher_rows = [row for row in read_frames(sample_run) if row["teacher"]]
    for tag, name in (("schedule/staleness", "staleness"), ("schedule/updates", "updates")):
        logged = events.Tensors(tag)
        assert [event.step for event in logged] == [row["frame"] for row in teacher_rows]
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in logged]
        assert values == [row[name] for row in teacher_rows]
    assert len(events.Tensors("frame, student, teacher")) == len(teacher_rows)
    assert {"ms/infer", "ms/trial", "ms/update", "ms/teacher"} < set(events.Tags()["tensors"])


def test_overlay_shows_the_teacher_frame_until_the_next(sample_run):
    """The third panel stays between teacher frames, and the checkpoint has its content."""
    with av.open(str(sample_run / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    last = [row for row in read_frames(sample_run) if row["teacher"]][-1]
    arrays, _ = checkpoint.load(sample_run)
    assert arrays["sinks/overlay/status"][0] == last["teacher_frame"]
    [accuracy] = {round(float(arrays["sinks/overlay/status"][1]), 6)}
    assert accuracy == last["accuracy_before"]


@pytest.mark.slow
def test_stopped_by_ctrl_c_and_resumed(tmp_path, capfd):
    """A live teacher; Ctrl-C reaches all processes of the terminal."""
    write_video(tmp_path / "street.mp4", frames(LONG))
    write_teacher(tmp_path / "teacher")
    inputs = [f"--video={tmp_path}/street.mp4", f"--teacher={tmp_path}/teacher"]
    recording, logdir = tmp_path / "street.recording", tmp_path / "run"
    assert run_command(record, *inputs, f"--output={recording}") == 0
    arguments = [*inputs, f"--reference={recording}", f"--logdir={logdir}", "--teacher_mode=async"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jitnet_tf.distill", *arguments, "--checkpoint_every=7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = logdir / "frames.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 20:
        assert process.poll() is None, "ended before it could be stopped"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert f"--resume --logdir={logdir}" in out
    # The progress bar and nothing else: no messages of TensorFlow, no traceback.
    assert all("frame/s" in line for line in err.replace("\r", "\n").splitlines() if line.strip())
    stopped = read_summary(logdir)
    assert not stopped["complete"]
    assert stopped["teacher_mode"] == "async"
    capfd.readouterr()

    assert run_command(distill, "--resume", f"--logdir={logdir}", "--teacher_mode=sync") == 2
    assert "has --teacher_mode=async, not sync" in capfd.readouterr().err
    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    rows, summary = read_frames(logdir), read_summary(logdir)
    assert [row["frame"] for row in rows] == list(range(LONG))
    teacher_rows = [row for row in rows if row["teacher"]]
    assert len(teacher_rows) > stopped["teacher_frames"]
    assert summary["teacher_frames"] == len(teacher_rows)
    assert summary["updates"] == sum(row["updates"] for row in teacher_rows)
    assert summary["staleness"]["max"] == max(row["staleness"] for row in teacher_rows)
    assert summary["teacher_time"] == "measured"
    assert summary["teacher_seconds_per_frame"] > 0
    assert all("iou" in row for row in rows)


def test_runs_without_the_mode_in_their_configuration_resume(tmp_path):
    """Older configurations have no mode: it is "sync"."""
    values = json.loads(RunConfig().to_json())
    del values["teacher_mode"], values["max_staleness"]
    config = RunConfig.from_json(json.dumps(values))
    assert (config.teacher_mode, config.max_staleness) == ("sync", 64)


@pytest.mark.parametrize(
    ("flag", "named"),
    [("--teacher_mode=later", "teacher_mode"), ("--max_staleness=0", "max_staleness")],
)
def test_invalid_flags_are_refused(tmp_path, capsys, flag, named):
    assert run_command(distill, "--video=sample", f"--logdir={tmp_path}/run", flag) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

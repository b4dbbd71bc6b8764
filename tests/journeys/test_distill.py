"""Distillation by the command, on a real video with a recorded teacher."""

import functools
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import av
import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from jitnet_tf import distill, labels, video
from jitnet_tf.base import checkpoint
from jitnet_tf.distillation import metrics
from teacher import record
from teacher.recorded import Recording
from tests.commands import different_arrays, read_frames, read_summary, run_command
from tests.materials import frames, write_teacher, write_video

FRAMES = 30
CHECKPOINT_EVERY = 8


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "ms"} for row in rows]


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """A short run on the sample with every output on."""
    logdir = tmp_path_factory.mktemp("runs") / "sample"
    status = run_command(
        distill,
        "--video=sample",
        f"--logdir={logdir}",
        f"--masks={logdir}/masks",
        f"--max_frames={FRAMES}",
        f"--checkpoint_every={CHECKPOINT_EVERY}",
        "--image_every=10",
    )
    assert status == 0
    return logdir


def test_summary_agrees_with_the_frame_log(sample_run):
    rows, summary = (
        read_frames(sample_run),
        read_summary(sample_run),
    )
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert summary["complete"]
    assert summary["frames"] == FRAMES
    assert summary["teacher_frames"] == sum(row["teacher"] for row in rows)
    assert summary["teacher_fraction"] == summary["teacher_frames"] / FRAMES
    assert summary["updates"] == sum(row["updates"] for row in rows)
    assert summary["updates"] == sum(len(row.get("losses", [])) for row in rows)
    assert set(summary["seconds"]) >= {"decode", "teacher", "labels", "infer", "update", "output"}
    assert summary["processing_fps"] > 0
    assert summary["speedup"] > 0
    assert summary["labeled_teacher_frames"] == 0  # so early in the sample
    [problem] = summary["problems"]
    assert "--class_groups" in problem


def test_frame_log_follows_algorithm_1(sample_run):
    """Strides and update counts follow from the logged accuracies."""
    stride = 8
    for row in read_frames(sample_run):
        assert row["teacher"] == (row["frame"] % stride == 0)
        if row["teacher"]:
            after = row["accuracy_after"]
            assert after >= 0.8 or row["updates"] == 8
            assert row["updates"] == 0 or row["accuracy_before"] < 0.8
            stride = min(64, 2 * stride) if after > 0.8 else max(8, stride // 2)
        assert row["stride"] == stride


def test_scores_equal_those_of_the_written_masks(sample_run):
    """mean_iou can be recomputed from the PNGs and the recording alone."""
    groups = labels.class_groups("lvs")
    maker = labels.LabelMaker(groups)
    recording = Recording(distill.SAMPLE_RECORDING)
    everything, student_only = 0, 0
    for row, frame in zip(read_frames(sample_run), video.open_source("sample"), strict=False):
        mask = cv2.imread(f"{sample_run}/masks/{row['frame']:06d}.png", cv2.IMREAD_UNCHANGED)
        truth = maker.labels(recording(frame, row["frame"]), frame.shape[:2])
        counts = metrics.confusion(truth, mask, len(groups.names))
        assert row["iou"] == pytest.approx(metrics.mean_iou(counts), abs=1e-6)
        everything = everything + counts
        student_only = student_only + counts * (not row["teacher"])
    summary = read_summary(sample_run)
    occurring = [i for i in range(1, len(groups.names)) if everything[i].sum()]
    expected = {
        groups.names[i]: everything[i, i]
        / (everything[i].sum() + everything[:, i].sum() - everything[i, i])
        for i in occurring
    }
    assert summary["per_class_iou"] == pytest.approx(expected)
    assert summary["mean_iou"] == pytest.approx(np.mean(list(expected.values())))
    student_iou = metrics.class_iou(student_only)[occurring]
    assert summary["mean_iou_student_only"] == pytest.approx(np.mean(np.nan_to_num(student_iou)))


def test_the_student_learns(sample_run):
    """On the first teacher frames the loss falls within the updates of each."""
    falls = [
        row["losses"][0] > row["losses"][-1]
        for row in read_frames(sample_run)
        if row["updates"] > 1
    ]
    assert falls
    assert all(falls)


def test_overlay_is_an_h264_video_of_all_frames(sample_run):
    with av.open(str(sample_run / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == FRAMES
    assert not (sample_run / "video_parts").exists()
    assert np.ptp(frames[-1]) > 200


def test_run_directory_has_the_configuration(sample_run):
    flagfile = (sample_run / "resolved.flags").read_text()
    assert "--accuracy_threshold=0.8\n" in flagfile
    assert f"--max_frames={FRAMES}\n" in flagfile
    versions = json.loads((sample_run / "versions.json").read_text())
    assert versions["tensorflow"].startswith("2.")
    assert json.loads((sample_run / "config.json").read_text())["video"] == "sample"
    assert json.loads((sample_run / "masks" / "classes.json").read_text())["3"] == "auto"


def test_tensorboard_events_read_back(sample_run):
    events = event_accumulator.EventAccumulator(str(sample_run), {"tensors": 0, "images": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert tags >= {
        "accuracy/before update",
        "accuracy/after update",
        "loss/first update",
        "iou before update/person",
        "schedule/stride",
        "schedule/teacher fraction",
        "schedule/updates",
        "cost/speedup over the teacher",
        "ms/infer",
        "ms/update",
        "iou against reference/stream",
        "frame, student, teacher",
        "configuration",
        "final/mean_iou",
    }
    teacher_rows = [row for row in read_frames(sample_run) if row["teacher"]]
    logged = events.Tensors("accuracy/before update")
    assert [event.step for event in logged] == [row["frame"] for row in teacher_rows]
    values = [float(tf.make_ndarray(event.tensor_proto)) for event in logged]
    assert values == pytest.approx([row["accuracy_before"] for row in teacher_rows], abs=1e-5)
    width, height, png = events.Tensors("frame, student, teacher")[0].tensor_proto.string_val
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (int(height), int(width), 3)


def test_tensorboard_serves_a_run(sample_run):
    """Starts the dashboard on the run and requests curves, images and HParams over HTTP."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", f"--logdir={sample_run.parent}", "--port=0",
         "--load_fast=false", "--reload_interval=1"],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        for line in server.stderr:
            if found := re.search(r"http://[^\s/]+:(\d+)/", line):
                break
        root = f"http://127.0.0.1:{found[1]}/data"

        def ask(path):
            for _ in range(120):  # loads the run in the background
                with urllib.request.urlopen(f"{root}/{path}") as answer:
                    content = json.load(answer)
                if content:
                    return content
                time.sleep(0.5)
            raise AssertionError(f"TensorBoard has nothing at {path}")

        tags = ask("plugin/scalars/tags")["sample"]
        assert "schedule/stride" in tags
        curve = ask("plugin/scalars/scalars?run=sample&tag=schedule%2Fstride")
        strides = [row["stride"] for row in read_frames(sample_run) if row["teacher"]]
        assert [point[2] for point in curve] == strides
        images = ask("plugin/images/images?run=sample&tag=frame%2C%20student%2C%20teacher&sample=0")
        picture = urllib.request.urlopen(
            f"{root}/plugin/images/individualImage?{images[0]['query']}"
        ).read()
        assert cv2.imdecode(np.frombuffer(picture, np.uint8), 1).ndim == 3
        request = urllib.request.Request(
            f"{root}/plugin/hparams/session_groups",
            data=json.dumps(
                {"startIndex": 0, "sliceSize": 10, "allowedStatuses": ["STATUS_UNKNOWN"]}
            ).encode(),
            headers={"Content-Type": "application/json"},
        )
        groups = json.load(urllib.request.urlopen(request))["sessionGroups"]
        assert groups[0]["hparams"]["accuracy_threshold"] == 0.8
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(sample_run, tmp_path):
    """Sends SIGKILL in the middle, then uses --resume."""
    logdir = tmp_path / "sample"
    command = [
        sys.executable, "-m", "jitnet_tf.distill", "--video=sample", f"--logdir={logdir}",
        f"--masks={logdir}/masks", f"--max_frames={FRAMES}",
        f"--checkpoint_every={CHECKPOINT_EVERY}", "--image_every=10",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    log = logdir / "frames.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 2 * CHECKPOINT_EVERY + 3:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.load(logdir)[1]["frames"] == 2 * CHECKPOINT_EVERY
    assert not (logdir / "summary.json").exists()

    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    assert without_times(read_frames(logdir)) == without_times(read_frames(sample_run))
    assert different_arrays(logdir, sample_run) == []
    for name in ("frames", "teacher_frames", "updates", "mean_iou", "per_class_iou"):
        summaries = [read_summary(d) for d in (logdir, sample_run)]
        assert summaries[0][name] == summaries[1][name]
    masks = sorted(os.listdir(sample_run / "masks"))
    assert sorted(os.listdir(logdir / "masks")) == masks
    assert all(
        (logdir / "masks" / m).read_bytes() == (sample_run / "masks" / m).read_bytes()
        for m in masks
    )
    with av.open(str(logdir / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


@pytest.mark.slow
def test_interrupted_run_ends_in_order(sample_run, tmp_path):
    """After Ctrl-C all outputs are complete so far, and the resumed run has the same results."""
    logdir = tmp_path / "sample"
    command = [
        sys.executable, "-m", "jitnet_tf.distill", "--video=sample", f"--logdir={logdir}",
        f"--max_frames={FRAMES}", "--image_every=10",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    log = logdir / "frames.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 10:
        assert process.poll() is None, "ended before it could be interrupted"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"--resume --logdir={logdir}" in out
    summary = read_summary(logdir)
    assert not summary["complete"]
    assert 10 <= summary["frames"] < FRAMES
    with av.open(str(logdir / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == summary["frames"]

    assert run_command(distill, "--resume", f"--logdir={logdir}") == 0
    assert without_times(read_frames(logdir)) == without_times(read_frames(sample_run))
    assert different_arrays(logdir, sample_run) == []
    with av.open(str(logdir / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


class CameraHandler(http.server.SimpleHTTPRequestHandler):
    """Serves street.mp4 at any path."""

    def translate_path(self, path):
        return os.path.join(self.directory, "street.mp4")

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_credentials_are_not_written(tmp_path, monkeypatch, capfd):
    """A camera's password is in no file, name or message of a run, nor of its resumption."""
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "street.mp4", frames(9))
    write_teacher(tmp_path / "teacher")
    handler = functools.partial(CameraHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        path = "user=anna_password=s3cret_channel=7_stream=0.sdp?token=t0ken"
        url = f"--video=http://me:pa%3Fss@{address}/{path}"
        arguments = ("--teacher=teacher", "--max_updates=1", "--max_frames=4")
        assert run_command(distill, url, *arguments) == 0
        [logdir] = (tmp_path / "runs").iterdir()
        resume = ("--resume", f"--logdir={logdir}", "--max_frames=9")
        assert run_command(distill, *resume) == 2
        assert run_command(distill, *resume, url) == 0
        recorded = f"--output={logdir}/street.recording"
        assert run_command(record, url, "--teacher=teacher", recorded) == 0
        server.shutdown()
    assert read_summary(logdir)["frames"] == 9
    captured = capfd.readouterr()
    written = b"".join(p.read_bytes() for p in logdir.rglob("*") if p.is_file())
    names = "".join(map(str, tmp_path.rglob("*")))
    for secret in ("pa%3Fss", "pa?ss", "anna", "s3cret", "t0ken"):
        assert secret not in captured.out + captured.err + names
        assert secret.encode() not in written
    assert (
        f"http://***@{address}/user=***_password=***_channel=7_stream=0.sdp?token=***"
        in captured.err
    )
    assert address.encode() in written


def test_a_finished_run_is_not_resumed(sample_run, capsys):
    assert run_command(distill, "--resume", f"--logdir={sample_run}") == 2
    assert "complete" in capsys.readouterr().err


def test_resuming_with_other_flags_is_refused(sample_run, capsys):
    status = run_command(distill, "--resume", f"--logdir={sample_run}", "--max_updates=4")
    assert status == 2
    assert "--max_updates=8, not 4" in capsys.readouterr().err


def test_another_run_in_logdir_is_left_alone(sample_run, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in sample_run.rglob("*"))
    assert run_command(distill, "--video=sample", f"--logdir={sample_run}") == 2
    message = capsys.readouterr().err
    assert "--resume" in message
    assert "--overwrite" in message
    assert sorted((p, p.stat().st_mtime_ns) for p in sample_run.rglob("*")) == before


def test_init_from_an_earlier_run(sample_run, tmp_path):
    """The weights are taken over to the last bit; the momentum is not."""
    logdir = tmp_path / "again"
    options = ("--max_frames=1", "--max_updates=0", "--output=none", "--seed=7")
    arguments = ("--video=sample", f"--logdir={logdir}", f"--init={sample_run}", *options)
    assert run_command(distill, *arguments) == 0
    again, trained = checkpoint.load(logdir)[0], checkpoint.load(sample_run)[0]
    student = {name for name in again if name.startswith("distiller/student/")}
    assert {name.split("/")[2] for name in student} == {"weights", "momentum"}
    for name in student:
        expected = trained[name] if "/weights/" in name else np.zeros_like(again[name])
        np.testing.assert_array_equal(again[name], expected)

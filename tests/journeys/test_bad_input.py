"""User errors: one line of message, exit status 2, and no file is written."""

import os
import pathlib
import stat
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from experiments import segmentation, table2
from experiments.protocol import streams
from experiments.protocol.streams import Stream
from jitnet_tf import distill, export, pretrain, video
from jitnet_tf.base import checkpoint, locks
from jitnet_tf.labels import __main__ as labels
from teacher import annotate, record, zoo
from teacher.detections import from_box_masks
from teacher.recorder import Recorder
from tests.commands import read_files, refusal, run_command
from tests.materials import SIZE, frames, write_teacher, write_video


def write_recording(path, source, size=SIZE, count=None):
    header = {"teacher": "t", "video": "v", "height": size[0], "width": size[1], "min_score": 0.05}
    recorder = Recorder(path, header)
    for i, frame in enumerate(video.open_source(str(source), size)):
        if i == count:
            break
        box = [[0.2, 0.2, 0.7, 0.6]]
        detections = from_box_masks(box, [1], [0.9], np.ones((1, 7, 7)), size)
        recorder.append(frame, detections, 0.1)
    recorder.close()
    return path


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A valid video and its recording."""
    folder = tmp_path_factory.mktemp("material")
    write_video(folder / "good.mp4", frames(12))
    write_recording(folder / "good.recording", folder / "good.mp4")
    cv2.imwrite(str(folder / "0.png"), frames(1)[0])
    stream = Stream("good", "c", ("person",), "good.mp4", "good.recording", None)
    (folder / "list.csv").write_text(streams.to_csv([stream], ".", "."))
    return folder


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder; returns its message, as `tests.commands.refusal`."""
    monkeypatch.chdir(tmp_path)
    return lambda module, *arguments: refusal(module, tmp_path, capsys, *arguments)


def distill_arguments(material, **changes):
    values = {
        "video": material / "good.mp4",
        "teacher": f"recorded:{material}/good.recording",
        "logdir": "run",
        **changes,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"video": None}, "--video is missing"),
        ({"teacher": None}, "--teacher is missing"),
        ({"video": "nowhere.mp4"}, "nowhere.mp4"),
        ({"video": "97"}, "camera 97"),
        ({"video": "rtsp://me:secret@127.0.0.1:9/x"}, "rtsp://***@127.0.0.1:9/x"),
        ({"video": "rtsp://me:sec/secret@127.0.0.1:9/x"}, "%2F for /"),
        ({"video": "http://127.0.0.1:9/x?mail=me@secret"}, "%40 for @"),
        ({"video": "me:secret@127.0.0.1/x"}, "rtsp://"),
        ({"video": "rtsp://127.0.0.1:9/user=me_password=secret"}, "password=***"),
        ({"teacher": "http://me:secret@127.0.0.1:9/model"}, "http://***@127.0.0.1:9/model"),
        ({"reference": "http://127.0.0.1:9/m?secret"}, "http://127.0.0.1:9/m?***"),
        ({"max_frames": "rtsp://me:secret@camera/1"}, "max_frames=rtsp://***@camera/1"),
        ({"video": "street\n.mp4"}, "line break"),
        ({"teacher": "nowhere"}, "'nowhere'"),
        ({"teacher": "recorded:nowhere"}, "'nowhere'"),
        ({"teacher": "zoo:mask_rcnn"}, "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"),
        ({"reference": "nowhere"}, "'nowhere'"),
        ({"class_groups": "cocoa"}, "'cocoa'"),
        ({"teacher_classes": "voc"}, "--teacher_classes=voc"),
        ({"teacher_input": "bgr"}, "teacher_input"),
        ({"evaluated_classes": "person,cat"}, "'cat'"),
        ({"accuracy_threshold": 1.2}, "--accuracy_threshold=1.2"),
        ({"accuracy_threshold": -0.1}, "--accuracy_threshold=-0.1"),
        ({"score_threshold": 80}, "--score_threshold=80"),
        ({"score_threshold": 0.01}, "--score_threshold=0.01"),
        ({"min_stride": 16, "max_stride": 8}, "stride"),
        ({"min_stride": 0}, "stride"),
        ({"lookahead": "true"}, "--fusion=gate"),
        ({"lookahead": "true", "fusion": "gate", "teacher_mode": "async"}, "--teacher_mode=sync"),
        ({"max_updates": -1}, "--max_updates=-1"),
        ({"max_updates": "many"}, "max_updates"),
        ({"learning_rate": -1}, "--learning_rate"),
        ({"shown": "teacher", "teacher_mode": "async"}, "--shown=teacher"),
        ({"shown": "both"}, "shown"),
        ({"stride_from": "end"}, "stride_from"),
        ({"infer_every": 2}, "--fusion=gate"),
        ({"replay_memory": 4}, "--update_policy=replay"),
        ({"infer_every": 0, "fusion": "gate"}, "--infer_every=0"),
        ({"fusion": "mean"}, "fusion"),
        ({"hesitation": 0.6}, "--hesitation=0.6"),
        ({"ignore_mask": "nowhere.png"}, "--ignore_mask=nowhere.png"),
        ({"keep_hard": -1}, "--keep_hard=-1"),
        ({"hesitation": 0.01}, "--hesitation=0.01"),
        ({"teacher_budget": 0}, "--teacher_budget=0"),
        ({"teacher_budget": 1.5}, "--teacher_budget=1.5"),
        ({"teacher_budget": 1}, "--teacher_budget=1"),
        ({"teacher_budget": "nan"}, "--teacher_budget"),
        ({"triggers": "cut"}, "--teacher_budget"),
        ({"triggers": "noise", "teacher_budget": 0.1}, "--triggers=noise"),
        ({"triggers": "novelty", "teacher_budget": 0.1}, "--fusion=gate"),
        ({"update_policy": "rehearse"}, "update_policy"),
        ({"replay_memory": 0, "update_policy": "replay"}, "--replay_memory=0"),
        ({"keep": "24h"}, "--keep=1d"),
        ({"segment": "10min", "keep": "90s"}, "--segment=10min"),
        ({"segment": "half an hour"}, "half an hour"),
        ({"segment": "0.5s"}, "--segment=0.5"),
        ({"segment": "10min", "output": "overlay.mp4"}, "--output=overlay.mp4"),
        ({"frame_size": "720p"}, "'720p'"),
        ({"frame_size": "96x64"}, "give --frame_size=48x64"),
        ({"init": "nowhere"}, "'nowhere'"),
        ({"normalization": "batch"}, "normalization"),
        ({"output": "overlay.avi"}, "overlay.avi"),
        ({"output": "/proc/overlay.mp4"}, "/proc"),
        ({"masks": "/proc/masks"}, "/proc/masks"),
        ({"logdir": "/proc/run"}, "/proc/run"),
        ({"export_every": "10min"}, "--export_every=10min"),
        ({"export_every": "0s", "export_dir": "m"}, "--export_every=0.0"),
        ({"export_every": "soon", "export_dir": "m"}, "'soon'"),
        ({"export_dir": "m"}, "--export_dir=m"),
        ({"export_every": "1h", "export_dir": "/proc/models"}, "--export_dir=/proc/models"),
        ({"export_keep": 0, "export_every": "1h", "export_dir": "m"}, "--export_keep=0"),
        ({"metrics_port": 65536}, "--metrics_port=65536"),
        ({"preview_port": -1}, "--preview_port=-1"),
        ({"metrics_port": 8000, "preview_port": 8000}, "--metrics_port=8000"),
        ({"bind": "0.0.0.0"}, "--bind=0.0.0.0"),
        ({"bind": "192.0.2.1", "preview_port": 0}, "--bind=192.0.2.1"),
        ({"vidoe": "x"}, "'vidoe'"),
    ],
)
def test_distill_refuses(refused, material, change, named):
    message = refused(distill, *distill_arguments(material, **change))
    assert named in message
    assert "secret" not in message


def test_stray_arguments_are_refused(refused, material):
    assert "'street.mp4'" in refused(distill, *distill_arguments(material), "street.mp4")
    url = "rtsp://me:s#cret@camera/1"
    assert "'rtsp://***'" in refused(distill, *distill_arguments(material), url)


def truncated_video(material):
    content = (material / "good.mp4").read_bytes()
    pathlib.Path("bad.mp4").write_bytes(content[: len(content) // 2])


def other_signature(_):
    module = tf.Module()
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8)
    module.f = tf.function(lambda x: tf.reduce_mean(x, (1, 2)), input_signature=[spec])
    tf.saved_model.save(module, "model", signatures={"serving_default": module.f})


def mask_of(height, width):
    return lambda _: cv2.imwrite("mask.png", np.full((height, width), 9, np.uint8))


def teacher_with(name, value):
    return lambda _: write_teacher("model", **{f"detection_{name}": value})


@pytest.mark.parametrize(
    ("make", "change", "named"),
    [
        (lambda _: pathlib.Path("bad.mp4").touch(), {"video": "bad.mp4"}, "bad.mp4"),
        (
            lambda _: pathlib.Path("bad.mp4").write_text("not a video at all\n" * 99),
            {"video": "bad.mp4"},
            "bad.mp4",
        ),
        (truncated_video, {"video": "bad.mp4"}, "bad.mp4"),
        (
            lambda _: write_video(pathlib.Path("other.mp4"), frames(12, seed=1)),
            {"video": "other.mp4"},
            "another video",
        ),
        (
            lambda _: pathlib.Path("x.recording").write_text("x" * 4000),
            {"teacher": "recorded:x.recording"},
            "x.recording'",
        ),
        (lambda _: pathlib.Path("model").mkdir(), {"teacher": "model"}, "saved_model.pb"),
        (lambda _: pathlib.Path("mask.png").touch(), {"ignore_mask": "mask.png"}, "is no PNG"),
        (mask_of(48, 80), {"ignore_mask": "mask.png"}, "mask.png is of 48x80"),
        (mask_of(96, 128), {"ignore_mask": "mask.png"}, "ignores every pixel"),
        (other_signature, {"teacher": "model"}, "uint8 [1, 3]"),
        (teacher_with("boxes", [[[4.0, 3, 28, 32]] * 3]), {"teacher": "model"}, "3 to 32"),
        (teacher_with("classes", [[0.0, 2.0, 0.0]]), {"teacher": "model"}, "frame 0"),
        (teacher_with("classes", [["person", "car", ""]]), {"teacher": "model"}, "text"),
        (teacher_with("masks", np.zeros((1, 2, 9, 9))), {"teacher": "model"}, "[2, 9, 9]"),
    ],
)
def test_distill_refuses_files(refused, material, make, change, named):
    make(material)
    assert named in refused(distill, *distill_arguments(material, **change))


@pytest.mark.parametrize("flag", ["--output=mine.mp4", "--masks=pictures", "--logdir=pictures"])
def test_inputs_are_not_overwritten(refused, tmp_path, flag):
    """Not even with --overwrite."""
    write_video(tmp_path / "mine.mp4", frames(3))
    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(frames(3)):
        cv2.imwrite(str(tmp_path / "pictures" / f"{i:06d}.png"), picture)
    write_recording(tmp_path / "x.recording", tmp_path / "mine.mp4")
    before = read_files(tmp_path)
    name = "mine.mp4" if "mp4" in flag else "pictures"
    arguments = ["--teacher=recorded:x.recording", "--logdir=run", flag, "--overwrite"]
    assert "--video" in refused(distill, f"--video={name}", *arguments)
    assert read_files(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "flag", "named"),
    [
        ("theirs/events.out.tfevents.1.host", "--logdir=theirs", "theirs"),
        ("theirs/checkpoint.npz", "--logdir=theirs", "theirs"),
        ("theirs/config.json", "--logdir=theirs", "config.json"),
        ("theirs/000001.png", "--masks=theirs", "theirs"),
        ("theirs/classes.json", "--masks=theirs", "theirs"),
        ("theirs/video.mp4", "--output=theirs", ".mp4"),
    ],
)
def test_foreign_files_are_not_changed(refused, material, tmp_path, name, flag, named):
    (tmp_path / "theirs").mkdir()
    (tmp_path / name).write_text("[1, 2]")
    before = read_files(tmp_path)
    assert named in refused(distill, *distill_arguments(material), flag, "--overwrite")
    assert read_files(tmp_path) == before


@pytest.mark.slow
def test_run_of_another_version_cannot_be_resumed(refused, material, tmp_path, capsys):
    """The old checkpoint lacks a statistic of this version."""
    cheap = {"output": "none", "max_frames": 2, "width": 0.25, "init": "random"}
    arguments = distill_arguments(material, logdir=tmp_path / "run", **cheap)
    assert run_command(distill, *arguments) == 0
    capsys.readouterr()
    (tmp_path / "run" / "summary.json").unlink()  # as if interrupted
    arrays, progress = checkpoint.load(tmp_path / "run")
    del progress["statistics"]["scored_teacher_frames"]
    checkpoint.save(tmp_path / "run", arrays, progress)
    message = refused(distill, "--resume", f"--logdir={tmp_path / 'run'}", "--max_frames=4")
    assert "another version" in message


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--resume", "--logdir=nowhere"], "'nowhere'"),
        (["--resume"], "--logdir"),
        (["--resume", "--overwrite", "--logdir=x"], "--overwrite"),
    ],
)
def test_resume_refuses(refused, arguments, named):
    assert named in refused(distill, *arguments)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(refused, material, tmp_path):
    (tmp_path / "run").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert "cannot be written" in refused(distill, *distill_arguments(material))


@pytest.mark.parametrize(
    ("command", "arguments", "named"),
    [
        (record, ["--video={}/good.mp4", "--teacher=nowhere", "--output=o"], "'nowhere'"),
        (record, ["--video={}/good.mp4", "--teacher=nowhere"], "--output"),
        (export, ["--run=nowhere", "--output=out"], "'nowhere'"),
        (labels, ["--run=nowhere", "--output=out"], "'nowhere'"),
        (export, ["--run=nowhere", "--output=out", "--quantize=int8"], "--format=tflite"),
        (export, ["--run=nowhere", "--output=out", "--format=onnx"], "onnx"),
        (zoo, ["--fetch=rcnn9"], "rcnn9"),
    ],
)
def test_other_commands_refuse(refused, material, command, arguments, named):
    assert named in refused(command, *(argument.format(material) for argument in arguments))


@pytest.mark.parametrize(
    ("command", "flag", "arguments"),
    [
        (distill, "logdir", ["--video={}/good.mp4", "--teacher=recorded:{}/good.recording"]),
        (pretrain, "logdir", ["--images={}", "--labels={}"]),
        (record, "output", ["--video={}/good.mp4", "--teacher=recorded:{}/good.recording"]),
        (annotate, "output", ["--images={}", "--teacher=model"]),
        (export, "output", ["--run=run"]),
        (labels, "output", ["--run=run"]),
        (segmentation, "output", ["--init=pretrained", "--images={}", "--labels={}"]),
        (table2, "results", ["--streams={}/list.csv", "--only=oracle"]),
    ],
)
def test_outputs_in_use_are_refused(refused, material, command, flag, arguments):
    """Whatever else is wrong: nothing is opened first."""
    with locks.Lock("out", flag, is_folder=flag != "output"):
        out = f"--{flag}=out"
        message = refused(command, out, *(argument.format(material) for argument in arguments))
    assert f"{out} is in use by process {os.getpid()}" in message


def test_record_refuses_live_streams(refused, material, monkeypatch):
    source = video.open_source(str(material / "good.mp4"))
    source.live = True
    monkeypatch.setattr(video, "open_source", lambda *_: source)
    message = refused(record, "--video=0", "--teacher=x", "--output=out.recording")
    assert "live" in message


def test_exit_status_reaches_the_shell(tmp_path):
    command = [
        sys.executable,
        "-m",
        "teacher.record",
        "--video=nowhere.mp4",
        "--teacher=x",
        "--output=y",
    ]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 2
    [message] = done.stderr.splitlines()
    assert message.startswith("error: ")
    assert "nowhere.mp4" in message
    assert done.stdout == ""

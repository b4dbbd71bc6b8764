"""A user's mistakes: one line that says what is wrong and what to do, status 2, nothing written."""

import os
import pathlib
import stat
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf import distill, export, video
from jitnet_tf.base import checkpoint
from teacher import record, zoo
from teacher.detections import from_box_masks
from teacher.recorded import Recorder
from tests.commands import run_command
from tests.materials import SIZE, frames, write_video


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
    """A video and its recording that do work."""
    folder = tmp_path_factory.mktemp("material")
    write_video(folder / "good.mp4", frames(12))
    write_recording(folder / "good.recording", folder / "good.mp4")
    return folder


@pytest.fixture
def refused(material, tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder; returns its message, having checked how it failed."""
    monkeypatch.chdir(tmp_path)

    def run(module, *arguments):
        before = sorted(tmp_path.rglob("*"))
        status = run_command(module, *arguments)
        captured = capsys.readouterr()
        assert status == 2
        *_, message = captured.err.splitlines()
        assert message.startswith("error: ")
        assert captured.err.count("error: ") == 1
        assert "Traceback" not in captured.err
        assert captured.out == ""
        left = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
        assert [path for path in left if path.is_file()] == []
        return message

    return run


def distil_arguments(material, **changes):
    values = {
        "video": material / "good.mp4",
        "teacher": f"recorded:{material}/good.recording",
        "logdir": "run",
        **changes,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"video": None}, "--video is missing"),
        ({"teacher": None}, "--teacher is missing"),
        ({"video": "nowhere.mp4"}, "nowhere.mp4: check the path"),
        ({"video": "97"}, "camera 97 cannot be opened"),
        ({"video": "rtsp://me:secret@127.0.0.1:9/x"}, "rtsp://127.0.0.1:9/x cannot be opened"),
        (
            {"teacher": "nowhere"},
            "give a SavedModel's folder, recorded:FILE, lvs:FOLDER or zoo:NAME",
        ),
        ({"teacher": "recorded:nowhere"}, "'nowhere' does not exist"),
        ({"teacher": "zoo:mask_rcnn"}, "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"),
        ({"reference": "nowhere"}, "'nowhere' does not exist"),
        ({"class_groups": "cocoa"}, "no such preset or file"),
        ({"evaluated_classes": "person,cat"}, "'cat' is not among person, bike, auto"),
        ({"accuracy_threshold": 1.2}, "--accuracy_threshold=1.2 is outside 0…1"),
        ({"accuracy_threshold": -0.1}, "--accuracy_threshold=-0.1 is outside 0…1"),
        ({"score_threshold": 80}, "--score_threshold=80.0 is outside 0…1"),
        ({"score_threshold": 0.01}, "below 0.05"),
        ({"min_stride": 16, "max_stride": 8}, "the minimum not above the maximum"),
        ({"min_stride": 0}, "at least 1"),
        ({"max_updates": -1}, "--max_updates=-1 is negative"),
        ({"max_updates": "many"}, "max_updates"),
        ({"learning_rate": -1}, "--learning_rate"),
        ({"frame_size": "720p"}, "'720p'"),
        ({"frame_size": "96x64"}, "give --frame_size=48x64"),
        ({"init": "nowhere"}, "'nowhere' does not exist"),
        ({"normalization": "batch"}, "frame"),
        ({"output": "overlay.avi"}, "has to end in .mp4"),
        ({"output": "/proc/overlay.mp4"}, "cannot be written"),
        ({"masks": "/proc/masks"}, "cannot be written"),
        ({"logdir": "/proc/run"}, "cannot be written"),
        ({"vidoe": "x"}, "Unknown command line flag 'vidoe'"),
    ],
)
def test_distill_refuses(refused, material, change, said):
    message = refused(distill, *distil_arguments(material, **change))
    assert said in message
    assert "secret" not in message


def test_stray_argument(refused, material):
    assert "'street.mp4'" in refused(distill, *distil_arguments(material), "street.mp4")


@pytest.mark.parametrize("content", [b"", b"not a video at all\n" * 99])
def test_files_that_are_no_video(refused, material, tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    message = refused(distill, *distil_arguments(material, video="bad.mp4"))
    assert "bad.mp4" in message


def test_truncated_video(refused, material, tmp_path):
    content = (material / "good.mp4").read_bytes()
    (tmp_path / "bad.mp4").write_bytes(content[: len(content) // 2])
    assert "bad.mp4" in refused(distill, *distil_arguments(material, video="bad.mp4"))


def test_recording_of_another_video(refused, material, tmp_path):
    write_video(tmp_path / "other.mp4", frames(12, seed=1))
    message = refused(distill, *distil_arguments(material, video="other.mp4"))
    assert "is of another video" in message


def test_recording_that_is_none(refused, material, tmp_path):
    (tmp_path / "x.recording").write_text("x" * 4000)
    message = refused(distill, *distil_arguments(material, teacher="recorded:x.recording"))
    assert "is not a teacher recording" in message


def test_teacher_that_is_no_saved_model(refused, material, tmp_path):
    (tmp_path / "model").mkdir()
    message = refused(distill, *distil_arguments(material, teacher="model"))
    assert "holds no saved_model.pb" in message


def test_teacher_without_the_signature(refused, material, tmp_path_factory):
    module = tf.Module()
    module.f = tf.function(
        lambda x: x, input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)]
    )
    model = tmp_path_factory.mktemp("model")
    tf.saved_model.save(module, str(model), signatures={"serving_default": module.f})
    message = refused(distill, *distil_arguments(material, teacher=model))
    assert "lacks the outputs detection_boxes, detection_scores" in message


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("flag", ["--output=mine.mp4", "--masks=pictures", "--logdir=pictures"])
def test_inputs_are_not_written_over(refused, tmp_path, flag):
    """Not even with --overwrite."""
    write_video(tmp_path / "mine.mp4", frames(3))
    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(frames(3)):
        cv2.imwrite(str(tmp_path / "pictures" / f"{i:06d}.png"), picture)
    write_recording(tmp_path / "x.recording", tmp_path / "mine.mp4")
    before = files(tmp_path)
    name = "mine.mp4" if "mp4" in flag else "pictures"
    arguments = ["--teacher=recorded:x.recording", "--logdir=run", flag, "--overwrite"]
    assert "is also the --video" in refused(distill, f"--video={name}", *arguments)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "flag", "said"),
    [
        ("theirs/events.out.tfevents.1.host", "--logdir=theirs", "choose another folder"),
        ("theirs/checkpoint.npz", "--logdir=theirs", "choose another folder"),
        ("theirs/config.json", "--logdir=theirs", "is not a run's configuration"),
        ("theirs/000001.png", "--masks=theirs", "give another folder"),
        ("theirs/classes.json", "--masks=theirs", "give another folder"),
        ("theirs/video.mp4", "--output=theirs", "has to end in .mp4"),
    ],
)
def test_other_peoples_files_are_left_alone(refused, material, tmp_path, name, flag, said):
    (tmp_path / "theirs").mkdir()
    (tmp_path / name).write_text("[1, 2]")
    before = files(tmp_path)
    assert said in refused(distill, *distil_arguments(material), flag, "--overwrite")
    assert files(tmp_path) == before


def test_run_of_another_version_cannot_be_resumed(refused, material, tmp_path, capsys):
    """One that did not count all that is counted now."""
    arguments = distil_arguments(material, output="none", max_frames=2, logdir=tmp_path / "run")
    assert run_command(distill, *arguments) == 0
    capsys.readouterr()
    (tmp_path / "run" / "summary.json").unlink()  # as if interrupted
    arrays, progress = checkpoint.load(tmp_path / "run")
    del progress["statistics"]["scored_teacher_frames"]
    checkpoint.save(tmp_path / "run", arrays, progress)
    message = refused(distill, "--resume", f"--logdir={tmp_path / 'run'}", "--max_frames=4")
    assert "was made by another version of jitnet_tf" in message


def test_logdir_without_run_cannot_be_resumed(refused):
    assert "holds no run" in refused(distill, "--resume", "--logdir=nowhere")
    assert "--logdir" in refused(distill, "--resume")
    assert "exclude each other" in refused(distill, "--resume", "--overwrite", "--logdir=x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(refused, material, tmp_path):
    (tmp_path / "run").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert "cannot be written" in refused(distill, *distil_arguments(material))


def test_record_refuses(refused, material):
    good = {"video": material / "good.mp4", "teacher": "nowhere", "output": "out.recording"}
    arguments = [f"--{name}={value}" for name, value in good.items()]
    assert "is not a folder" in refused(record, *arguments)
    assert "--output" in refused(record, *arguments[:2])


def test_record_refuses_what_cannot_be_read_twice(refused, material, monkeypatch):
    source = video.open_source(str(material / "good.mp4"))
    source.live = True
    monkeypatch.setattr(video, "open_source", lambda *_: source)
    message = refused(record, "--video=0", "--teacher=x", "--output=out.recording")
    assert "save it as a file first" in message


def test_export_refuses(refused, material):
    assert "holds no run" in refused(export, "--run=nowhere", "--output=out")
    message = refused(export, "--run=nowhere", "--output=out", "--quantize=int8")
    assert "--format=tflite" in message
    assert "onnx" in refused(export, "--run=nowhere", "--output=out", "--format=onnx")


def test_zoo_refuses(refused):
    assert "rcnn9" in refused(zoo, "--fetch=rcnn9")


def test_status_reaches_the_shell(tmp_path):
    """The same through a real process."""
    command = [sys.executable, "-m", "jitnet_tf.distill", "--video=nowhere.mp4", "--teacher=x"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: there is no file")
    assert done.stdout == ""

"""Exported students compute the same as the live one, on real frames."""

import itertools
import json
import os
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf import distill, export, video
from jitnet_tf.base import compat
from jitnet_tf.base.errors import UserError
from jitnet_tf.runs import serving
from tests.commands import run_command

SIZE = (272, 640)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "sample"
    # int8 is less accurate on a pretrained student (README); this tests the conversion.
    arguments = ("--video=sample", "--max_frames=41", "--output=none", "--init=random")
    assert run_command(distill, *arguments, f"--logdir={logdir}") == 0
    return logdir


@pytest.fixture(scope="module")
def frames():
    """The last frames of the run, with a person."""
    return list(itertools.islice(video.open_source("sample"), 38, 41))


@pytest.fixture(scope="module")
def live(trained_run, frames):
    student = serving.load_student(trained_run)[0]
    # Agreement on background alone would be no test.
    assert 0.02 < np.mean(student.infer(frames[0]) > 0) < 0.98
    return student


def export_run(run, output, *arguments):
    status = run_command(export, f"--run={run}", f"--output={output}", "--frames=16", *arguments)
    assert status == 0
    return json.loads(output.with_name(output.name + ".json").read_text())


def test_saved_model(trained_run, live, frames, tmp_path):
    report = export_run(trained_run, tmp_path / "student")
    assert report["parity"]["argmax_agreement"] > 0.9999  # but for ties within rounding
    assert report["classes"][:4] == ["background", "person", "bike", "auto"]
    loaded = tf.saved_model.load(str(tmp_path / "student"))
    signature = loaded.signatures["serving_default"]
    [spec] = signature.structured_input_signature[1].values()
    assert (spec.dtype, tuple(spec.shape)) == (tf.uint8, (1, *SIZE, 3))
    outputs = signature(frame=tf.constant(frames[2][None]))
    assert outputs["classes"].dtype == tf.uint8
    np.testing.assert_array_equal(outputs["classes"][0], live.infer(frames[2]))
    np.testing.assert_allclose(tf.reduce_sum(outputs["probabilities"], -1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        tf.argmax(outputs["probabilities"], -1), outputs["classes"].numpy()
    )


@pytest.mark.parametrize(
    ("quantize", "least_agreement", "most_bytes_a_weight"),
    [
        ("none", 0.9999, 4.3),
        ("float16", 0.99, 2.3),
        pytest.param("int8", 0.9, 1.6, marks=pytest.mark.slow),
    ],
)
def test_tflite(
    trained_run, live, frames, tmp_path, quantize, least_agreement, most_bytes_a_weight
):
    output = tmp_path / "student.tflite"
    arguments = ["--format=tflite", f"--quantize={quantize}"]
    arguments += ["--noprobabilities"] if quantize == "float16" else []
    report = export_run(trained_run, output, *arguments)
    assert report["parity"]["argmax_agreement"] >= least_agreement
    content = output.read_bytes()
    assert len(content) < most_bytes_a_weight * live.model.count_params() + 60_000
    runner = compat.tflite_interpreter(content).get_signature_runner()
    outputs = runner(frame=frames[1][None])
    assert outputs["classes"].dtype == np.uint8
    agreement = np.mean(outputs["classes"][0] == live.infer(frames[1]))
    assert agreement >= least_agreement
    assert ("probabilities" in outputs) == (quantize != "float16")


@pytest.mark.parametrize(
    ("output", "kept", "flags", "named"),
    [
        ("mine.tflite", "mine.tflite", [], "--overwrite"),
        ("model", "model/saved_model.pb", ["--overwrite"], "is a folder"),
        ("config", "config.json", ["--overwrite"], "config.json"),  # the report's name
    ],
)
def test_tflite_replaces_no_other_file(trained_run, tmp_path, capsys, output, kept, flags, named):
    (tmp_path / kept).parent.mkdir(exist_ok=True)
    (tmp_path / kept).write_text("precious")
    arguments = ("--format=tflite", f"--output={tmp_path / output}", *flags)
    assert run_command(export, f"--run={trained_run}", *arguments) == 2
    assert named in capsys.readouterr().err
    assert (tmp_path / kept).read_text() == "precious"


def test_only_a_saved_model_is_replaced_by_one(trained_run, tmp_path, capsys, monkeypatch):
    (tmp_path / "models" / "ours").mkdir(parents=True)
    (tmp_path / "models" / "ours" / "weights").write_text("precious")
    monkeypatch.chdir(tmp_path / "models" / "ours")
    for output in (".", tmp_path / "models", trained_run, tmp_path / "models/ours/weights"):
        arguments = (f"--run={trained_run}", f"--output={output}", "--overwrite")
        assert run_command(export, *arguments) == 2
        assert "is no SavedModel" in capsys.readouterr().err
    assert (tmp_path / "models" / "ours" / "weights").read_text() == "precious"
    assert (trained_run / "config.json").exists()


def old_saved_model(folder):
    """A folder that may be replaced, and one with a name similar to the temporary one."""
    (folder / "student.tmp").mkdir()
    (folder / "student.tmp" / "mine").write_text("precious")
    (folder / "student").mkdir()
    (folder / "student" / "saved_model.pb").write_text("old")
    return folder / "student"


@pytest.mark.slow
def test_overwriting(trained_run, tmp_path):
    output = old_saved_model(tmp_path)
    export_run(trained_run, output, "--overwrite")
    assert "serving_default" in tf.saved_model.load(str(output)).signatures
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"student", "student.json", "student.tmp"}
    assert (tmp_path / "student.tmp" / "mine").read_text() == "precious"
    export_run(trained_run, tmp_path / "student.tflite", "--format=tflite")
    export_run(trained_run, tmp_path / "student.tflite", "--format=tflite", "--overwrite")


@pytest.mark.parametrize("failure", [OSError("no space"), KeyboardInterrupt()])
def test_failed_exports_leave_the_old_output(trained_run, tmp_path, capsys, monkeypatch, failure):
    output, replace = old_saved_model(tmp_path), os.replace

    def fail(source, target):
        if str(source).endswith("new"):
            # If the export were killed here, the old output would still be there.
            assert [file.read_text() for file in tmp_path.glob(".export-*/old/*.pb")] == ["old"]
            raise failure
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(
        serving, "save_saved_model", lambda student, _, path: path.mkdir() or student.infer
    )
    arguments = (f"--run={trained_run}", f"--output={output}", "--overwrite", "--frames=1")
    assert run_command(export, *arguments) == (2 if isinstance(failure, OSError) else 130)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (output / "saved_model.pb").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"student", "student.tmp"}


def test_output_that_cannot_be_written(trained_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = (f"--run={trained_run}", f"--output={tmp_path / 'file' / 'student'}", "--frames=1")
    assert run_command(export, *arguments) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_mask_that_the_run_did_not_have_is_refused(trained_run, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "mask.png"), np.eye(*SIZE))
    arguments = (f"--run={trained_run}", f"--output={tmp_path / 'student'}", "--frames=1")
    assert run_command(export, *arguments, f"--ignore_mask={tmp_path}/mask.png") == 2
    assert "mask.png does not ignore the pixels" in capsys.readouterr().err


def test_frames_are_spread_over_the_frames_of_the_run(tmp_path):
    for i in range(20):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((32, 32, 3), i, np.uint8))

    def numbers(count, total):
        with video.open_source(str(tmp_path)) as source:
            return [frame[0, 0, 0] for frame in export.spread_frames(source, count, total)]

    assert numbers(4, 20) == [0, 5, 10, 15]
    assert numbers(3, 10) == [0, 3, 6]
    assert numbers(3, None) == [0, 1, 2]
    assert numbers(3, 2) == [0, 1, 2]
    assert numbers(4, 40) == [0, 10]  # fewer than announced
    assert numbers(30, 20) == list(range(20))


def test_a_run_and_a_video_spread_over_their_own_frames(trained_run, tmp_path, monkeypatch):
    asked = []

    def stop(source, count, total):
        asked.append((count, total))
        raise UserError("enough")

    monkeypatch.setattr(export, "spread_frames", stop)
    arguments = (f"--run={trained_run}", f"--output={tmp_path / 'student'}", "--frames=8")
    run_command(export, *arguments)
    run_command(export, *arguments, "--video=sample")
    assert asked == [(8, 41), (8, video.open_source("sample").announced_frames)]


def test_more_frames_than_memory_holds_are_refused(trained_run, tmp_path, capsys):
    arguments = (f"--run={trained_run}", f"--output={tmp_path / 'student'}", "--frames=257")
    assert run_command(export, *arguments) == 2
    assert "256" in capsys.readouterr().err


def test_first_runs_are_not_timed(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(serving.time, "perf_counter", lambda: next(clock))
    calls = []

    def segment(frame):
        if not calls.count(frame[0, 0]):
            for _ in range(1000):  # takes long
                next(clock)
        calls.append(frame[0, 0])
        return frame

    parity = serving.compare(segment, segment, [np.zeros((2, 2), np.uint8)])
    assert (parity["live_ms"], parity["exported_ms"]) == (1000, 1000)  # one tick each
    assert parity["frames"] == 1


def test_runs_with_masked_addresses_need_a_video(trained_run, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained_run / "checkpoint.npz", run)
    config = json.loads((trained_run / "config.json").read_text())
    config["video"] = "http://127.0.0.1:9/street.mp4?key=***"
    (run / "config.json").write_text(json.dumps(config))
    assert run_command(export, f"--run={run}", f"--output={tmp_path / 'student'}") == 2
    assert "give --video" in capsys.readouterr().err

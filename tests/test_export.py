"""Exported students do what the live one does, on real frames."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from commands import run_command

from jitnet_tf import compat, distill, export, video

SIZE = (272, 640)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "sample"
    arguments = ("--video=sample", "--max_frames=41", "--output=none")
    assert run_command(distill, *arguments, f"--logdir={logdir}") == 0
    return logdir


@pytest.fixture(scope="module")
def frames():
    """The last of the run, a person among them."""
    return list(itertools.islice(video.open_source("sample"), 38, 41))


@pytest.fixture(scope="module")
def live(trained_run, frames):
    student = export.load_student(trained_run)[0]
    # Agreeing about nothing but background would be no test.
    assert 0.02 < np.mean(student.infer(frames[0]) > 0) < 0.98
    return student


def export_run(run, output, *arguments):
    status = run_command(export, f"--run={run}", f"--output={output}", "--frames=16", *arguments)
    assert status == 0
    return json.loads(output.with_name(output.name + ".json").read_text())


def test_saved_model(trained_run, live, frames, tmp_path):
    report = export_run(trained_run, tmp_path / "student")
    assert report["parity"]["argmax_agreement"] == 1
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
    [("none", 0.9999, 4.3), ("float16", 0.99, 2.3), ("int8", 0.9, 1.6)],
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


def test_existing_output_is_left_alone(trained_run, tmp_path, capsys):
    (tmp_path / "mine.tflite").write_text("precious")
    arguments = (f"--run={trained_run}", "--format=tflite", f"--output={tmp_path}/mine.tflite")
    assert run_command(export, *arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "mine.tflite").read_text() == "precious"

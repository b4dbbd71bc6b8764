"""A MobileNetV2 student: run, checkpoint, export."""

import json

import numpy as np
import pytest

from jitnet_tf import distill, export
from jitnet_tf.base import checkpoint
from jitnet_tf.student import initial_weights
from tests.commands import different_arrays, run_command
from tests.materials import frames, write_teacher, write_video

FRAMES = 12


def run(folder, name, *arguments):
    return run_command(
        distill,
        f"--video={folder}/street.mp4",
        f"--teacher={folder}/teacher",
        f"--logdir={folder}/{name}",
        "--output=none",
        "--architecture=mobilenetv2",
        *arguments,
    )


@pytest.mark.slow
def test_run_resume_and_export(tmp_path, capsys):
    write_video(tmp_path / "street.mp4", frames(FRAMES))
    write_teacher(tmp_path / "teacher")
    assert run(tmp_path, "pretrained") == 2
    assert "--architecture=jitnet" in capsys.readouterr().err
    assert not (tmp_path / "pretrained").exists()

    arguments = ("--init=random", "--min_stride=4", "--max_stride=4", "--max_updates=1")
    assert run(tmp_path, "whole", *arguments) == 0
    assert run(tmp_path, "parts", *arguments, "--max_frames=6") == 0
    (tmp_path / "parts" / "summary.json").unlink()
    resumed = ("--resume", f"--logdir={tmp_path}/parts", f"--max_frames={FRAMES}")
    assert run_command(distill, *resumed) == 0
    assert different_arrays(tmp_path / "whole", tmp_path / "parts") == []
    whole = checkpoint.load(tmp_path / "whole")[0]
    assert any(name.startswith("distiller/student/weights/stage7") for name in whole)

    output = tmp_path / "student"
    arguments = (f"--run={tmp_path}/whole", f"--output={output}", "--frames=2")
    assert run_command(export, *arguments) == 0
    report = json.loads((tmp_path / "student.json").read_text())
    assert report["parity"]["argmax_agreement"] > 0.999
    again = ("--init", f"{tmp_path}/whole", "--max_frames=2")
    assert run(tmp_path, "started", *again) == 0


def test_other_classes_start_from_its_weights(tmp_path):
    """Classes in common keep their part of the last layer."""
    from jitnet_tf.config import StudentConfig
    from jitnet_tf.labels import ClassGroups
    from jitnet_tf.student.architectures import build_network
    from jitnet_tf.student.weights import arrays, named

    config = StudentConfig(architecture="mobilenetv2")
    pets = ClassGroups({"dog": ("dog",), "cat": ("cat",)})
    more = ClassGroups({"bird": ("bird",), "cat": ("cat",)})
    trained, other = (named(build_network(3, config)) for _ in range(2))
    checkpoint.save(tmp_path, arrays(trained), initial_weights.describe(pets, config))
    initial_weights.start(other, str(tmp_path), more, config)
    old, new = trained["weights/logits/kernel"].numpy(), other["weights/logits/kernel"].numpy()
    np.testing.assert_array_equal(new[..., [0, 2]], old[..., [0, 2]])
    assert not np.array_equal(new[..., 1], old[..., 1])

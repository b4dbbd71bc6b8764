"""The mask_rcnn command without its packages, and its exported model."""

import os
import sys

import numpy as np
import pytest
import tensorflow as tf

from experiments import mask_rcnn
from jitnet_tf.labels import LabelMaker, class_groups
from teacher import MIN_SCORE, coco, open_teacher
from tests.commands import run_command


def info(frame, resized, scale, offset=(0, 0)):
    return tf.constant([[frame, resized, scale, offset]], tf.float32)


@pytest.mark.parametrize(
    ("image_info", "box"),
    [
        # Unchanged; the network's canvas is larger and has no effect.
        (info((720, 1280), (720, 1280), (1, 1)), (72, 320, 360, 960)),
        # 480×640 to 720×960.
        (info((480, 640), (720, 960), (1.5, 1.5)), (72, 240, 360, 720)),
        # 1440×640, its height alone halved, and 500×600 cropped from that.
        (info((1440, 640), (500, 600), (0.5, 1), (40, 10)), (32, 150, 320, 470)),
    ],
)
def test_boxes_of_the_resized_frame(image_info, box):
    boxes = tf.constant([[box, (-50, -50, 5000, 5000)]], tf.float32)
    result = mask_rcnn.normalized_boxes(boxes, image_info)
    assert result.shape == (1, 2, 4)
    np.testing.assert_allclose(result[0, 0], (0.1, 0.25, 0.5, 0.75), rtol=1e-6)
    np.testing.assert_array_equal(result[0, 1], (0, 0, 1, 1))


def test_boxes_of_a_batch_have_their_own_frames():
    image_info = tf.concat(
        [info((100, 200), (50, 100), (0.5, 0.5)), info((50, 100), (50, 100), (1, 1))], 0
    )
    boxes = tf.constant([[(5, 10, 25, 50)]] * 2, tf.float32)
    np.testing.assert_allclose(
        mask_rcnn.normalized_boxes(boxes, image_info)[:, 0], [(0.1, 0.1, 0.5, 0.5)] * 2, rtol=1e-6
    )


def test_without_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "official", None)
    assert run_command(mask_rcnn, f"--output={tmp_path / 'model'}") == 2
    [message] = capsys.readouterr().err.splitlines()
    assert "experiments/requirements_mask_rcnn.txt" in message
    assert not list(tmp_path.iterdir())


def test_the_requirements_file_of_the_message_exists():
    root = os.path.dirname(os.path.dirname(mask_rcnn.__file__))
    with open(os.path.join(root, mask_rcnn.REQUIREMENTS), encoding="utf-8") as file:
        assert "tf-models-official" in file.read()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--output=taken exists"),
        (["--frame_size=720p"], "'720p'"),
        (["--seed=-1"], "seed"),
    ],
)
def test_invalid_flags_are_refused(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert run_command(mask_rcnn, "--output=taken", *arguments) == 2
    [message] = capsys.readouterr().err.splitlines()
    assert named in message
    assert not list((tmp_path / "taken").iterdir())


@pytest.fixture(scope="module")
def exported():
    """The folder that JITNET_TF_MASK_RCNN names."""
    folder = os.environ.get("JITNET_TF_MASK_RCNN")
    if not folder:
        pytest.skip("JITNET_TF_MASK_RCNN names no folder that experiments.mask_rcnn has written")
    return folder


def test_it_serves_as_a_teacher(exported):
    teacher = open_teacher(exported)
    H, W = teacher._fixed_size
    frame = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    seen = teacher(frame, 0)
    assert 0 < len(seen) <= 100
    assert (seen.scores >= MIN_SCORE).all()
    assert set(seen.classes) <= set(coco.NAMES)
    assert ((seen.boxes >= 0) & (seen.boxes <= 1)).all()
    for mask, box, (y, x) in zip(seen.masks, seen.boxes, seen.origins, strict=True):
        assert 0 <= y <= y + mask.shape[0] <= H
        assert 0 <= x <= x + mask.shape[1] <= W
        np.testing.assert_allclose((y, x), box[:2] * (H, W), atol=0.51)
        np.testing.assert_allclose(mask.shape, (box[2:] - box[:2]) * (H, W), atol=1.01)
    assert 0.05 < np.mean([mask.mean() for mask in seen.masks]) < 1
    labels = LabelMaker(class_groups("coco")).labels(seen, (H, W))
    assert labels.any()

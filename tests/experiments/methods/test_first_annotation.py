"""DAVIS's annotations, and a student trained on the first."""

import cv2
import numpy as np
import pytest

from experiments.methods import first_annotation, named
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups


def write_mask(root, index, picture):
    """Writes an annotation in DAVIS's format; returns the folder of the sequence's frames."""
    folder = root / "Annotations" / "480p" / "x"
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{index:05d}.png"), picture)
    return root / "JPEGImages" / "480p" / "x"


def test_finds_annotations_from_a_relative_path(tmp_path, monkeypatch):
    frames = write_mask(tmp_path, 12, np.zeros((4, 5), np.uint8))
    frames.mkdir(parents=True)
    monkeypatch.chdir(frames.parent)
    expected = tmp_path / "Annotations" / "480p" / "x" / "00012.png"
    assert first_annotation.path("x", 12) == first_annotation.path(frames, 12) == expected


def test_any_object_is_foreground(tmp_path):
    """Also those of DAVIS 2017, in the colors of its palette."""
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[1, 1:3] = (0, 0, 128), (0, 128, 0)
    found = first_annotation.read(write_mask(tmp_path, 2, picture), 2, (4, 5))
    assert (found.dtype, found.shape) == (bool, (4, 5))
    assert np.argwhere(found).tolist() == [[1, 1], [1, 2]]


@pytest.mark.parametrize(("index", "named"), [(1, "x/00001.png is missing"), (0, "is 4x5")])
def test_invalid_annotations_are_refused(tmp_path, index, named):
    frames = write_mask(tmp_path, 0, np.zeros((4, 5), np.uint8))
    with pytest.raises(UserError, match=named):
        first_annotation.read(frames, index, (8, 5))


def test_an_annotation_as_detections():
    mask = np.zeros((20, 40), bool)
    mask[5:15, 10:30] = True
    mask[5, 10] = False
    maker = LabelMaker(class_groups("lvs"), box_dilation=0.1)
    found = first_annotation.as_detections(mask, "truck")
    np.testing.assert_array_equal(maker.labels(found, mask.shape), mask * np.uint8(3))
    np.testing.assert_allclose(found.boxes, [[0.25, 0.25, 0.75, 0.75]])
    weights = maker.weights(found, mask.shape)
    assert np.argwhere(weights == 5).min(0).tolist() == [4, 8]
    assert np.argwhere(weights == 5).max(0).tolist() == [15, 31]


def test_trains_on_one_frame():
    calls, steps = [], []

    class Student:
        def update(self, *arguments):
            calls.append(arguments)

    frame, mask = np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=bool)
    maker = LabelMaker(class_groups("lvs"))
    first_annotation.train(
        Student(), frame, mask, "dog", maker, 3, lambda: steps.append(len(calls))
    )
    assert steps == [1, 2, 3]
    for got_frame, labels, weights in calls:
        assert got_frame is frame
        np.testing.assert_array_equal(labels, mask * np.uint8(5))
        assert (weights == 5).all()


def test_preparation():
    method = named("first_annotation")
    assert method.preparation(method.take({"annotation_updates": 9}), 100) == 9

"""experiments.speed.loop: the sample's recording for frames of another size."""

import itertools

import numpy as np
import pytest

from experiments.speed import loop
from jitnet_tf import distill, labels, video
from jitnet_tf.base.errors import UserError
from teacher.detections import Detections
from teacher.recorded import Recording


def detections(*masks):
    """Detections with the masks: pairs of an array and its origin."""
    count = len(masks)
    return Detections(
        np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (count, 1)),
        np.arange(1, count + 1, dtype=np.int32),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        tuple(np.array(mask, bool) for mask, _ in masks),
        np.array([origin for _, origin in masks], np.int32).reshape(-1, 2),
    )


def test_masks_grow_with_the_frame():
    before = detections(([[1, 0], [1, 1]], (1, 2)), (np.zeros((0, 0)), (0, 0)))
    after = loop.resized(before, (4, 6), (8, 18))
    np.testing.assert_array_equal(after.masks[0], np.kron([[1, 0], [1, 1]], np.ones((2, 3))))
    assert after.origins.tolist() == [[2, 6], [0, 0]]
    assert after.masks[1].size == 0
    for name in ("boxes", "classes", "scores"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_masks_that_vanish():
    after = loop.resized(detections(([[1]], (1, 1))), (4, 4), (2, 2))
    assert (after.masks[0].size, after.origins.tolist()) == (0, [[0, 0]])
    assert len(loop.resized(detections(), (4, 4), (2, 2))) == 0


def test_the_recording_replays_at_its_size(tmp_path):
    path = tmp_path / "sample.recording"
    assert loop.record(path, (136, 320), 5) == 5
    maker = labels.LabelMaker(labels.class_groups("coco"), 0.5, 5, 0.15)
    with (
        Recording(path) as small,
        Recording(distill.SAMPLE_RECORDING) as whole,
        video.open_source("sample") as source,
        video.open_source("sample", (136, 320)) as resized,
    ):
        objects = 0
        for index, frames in enumerate(itertools.islice(zip(source, resized, strict=True), 5)):
            expected = maker.labels(whole(frames[0], index), (272, 640))
            found = maker.labels(small(frames[1], index), (136, 320))
            np.testing.assert_array_equal(found, expected[::2, ::2])
            objects += (expected > 0).sum()
        assert objects
        with pytest.raises(UserError, match="ends after 5 frames"):
            small(frames[1], 5)

"""Students as they are exported: the region that their run has ignored."""

import cv2
import numpy as np
import pytest

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.labels import region
from jitnet_tf.runs import directory, inputs, serving

SIZE = (4, 6)
IGNORED = np.zeros(SIZE, bool)
IGNORED[:, 3:] = True


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that returns the region of a run's student; its mask is mask.png."""

    def build(config, groups, size, init, ignored):
        return ignored

    def load_region(painted, **options):
        cv2.imwrite("mask.png", 255 * painted.astype(np.uint8))
        mask = str(tmp_path / "mask.png")
        directory.start(RunConfig(video="v", teacher="t", logdir="run", ignore_mask=mask), {})
        identities = {inputs.IGNORED: {"digest": region.digest(painted)}}
        progress = {"groups": {"person": [1]}, "frame_size": SIZE, inputs.IDENTITIES: identities}
        checkpoint.save("run", {}, progress)
        (tmp_path / "mask.png").rename(options.pop("moves_to", "mask.png"))
        return serving.load_student("run", **options)[0]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "build_exported", build)
    return load_region


def test_the_region_is_read_again(load):
    np.testing.assert_array_equal(load(IGNORED), IGNORED)
    again = load(IGNORED, moves_to="moved.png", ignore_mask="moved.png")
    np.testing.assert_array_equal(again, IGNORED)
    assert load(np.zeros(SIZE, bool)) is None


def test_another_mask_or_none_is_refused(load):
    with pytest.raises(UserError, match=r"--ignore_mask=.*mask\.png cannot be read"):
        load(IGNORED, moves_to="moved.png")
    cv2.imwrite("other.png", np.eye(*SIZE))
    with pytest.raises(UserError, match=r"--ignore_mask=other\.png does not ignore the pixels"):
        load(IGNORED, ignore_mask="other.png")

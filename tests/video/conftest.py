"""A video and a folder of images."""

import cv2
import pytest

from tests.video.clips import encoded, numbered_frame


@pytest.fixture
def clip(tmp_path):
    """A sound MP4 of 20 frames."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded([numbered_frame(i) for i in range(20)], "mp4"))
    return path


@pytest.fixture
def folder(tmp_path):
    """Images 1 to 12, without leading zeros, and a hidden file."""
    path = tmp_path / "frames"
    path.mkdir()
    for index in range(12):
        cv2.imwrite(str(path / f"f{index + 1}.png"), numbered_frame(index)[..., ::-1])
    (path / "._f3.png").write_bytes(b"what macOS leaves beside a file")
    return path

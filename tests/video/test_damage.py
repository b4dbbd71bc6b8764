"""Damaged files: readable frames are decoded, and problems are listed."""

import functools
import re

import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from tests.video.clips import (
    VIDEOS,
    encoded,
    mjpeg,
    needs_videos,
    read_all,
)


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(30)]


def test_early_end(noisy, tmp_path):
    path = tmp_path / "cut.avi"
    data = mjpeg(noisy, "avi")
    path.write_bytes(data[: len(data) // 2])
    frames, source = read_all(path)
    assert 5 < len(frames) < 25
    assert source.announced_frames == 30
    assert "cut off" in source.problems[-1]


@pytest.mark.parametrize("make", [mjpeg, functools.partial(encoded, gop=1)])
def test_damage_in_the_middle(noisy, tmp_path, make):
    data = bytearray(make(noisy, "mp4"))
    length = len(data) // 8
    middle = len(data) // 2
    data[middle : middle + length] = bytes(length)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    frames, source = read_all(path)
    assert 20 < len(frames) < 30
    assert any(re.search("before frame 1[0-9]", p) for p in source.problems)
    # The last frame, after the damage, is intact.
    path.write_bytes(make(noisy, "mp4"))
    np.testing.assert_array_equal(frames[-1], read_all(path)[0][-1])


def test_many_problems_are_counted_not_kept(folder):
    for index in range(100):
        (folder / f"g{index}.png").write_bytes(b"")
    source = read_all(folder)[1]
    assert len(source.problems) == 21
    assert source.problems[-1] == "... and 80 more"


@pytest.mark.parametrize("kept", [100, 2000])
def test_videos_without_a_decodable_frame_are_refused(noisy, tmp_path, kept):
    path = tmp_path / "cut.mp4"
    path.write_bytes(encoded(noisy, "mp4")[:kept])
    with pytest.raises(UserError, match=r"cut\.mp4 .*cut off"):
        video.open_source(str(path))


def test_a_header_without_frames_is_refused(noisy, tmp_path):
    data = mjpeg(noisy, "avi")
    path = tmp_path / "header.avi"
    path.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(UserError, match=r"header\.avi"):
        video.open_source(str(path))


@needs_videos
def test_real_video_with_a_hole_decodes_the_same_every_time(tmp_path):
    data = bytearray((VIDEOS / "animals-horses.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    first, source = read_all(path)
    second, _ = read_all(path)
    assert len(first) < source.announced_frames
    assert source.problems
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

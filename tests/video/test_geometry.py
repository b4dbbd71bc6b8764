"""Frames have the orientation and the shape in which players show them."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.video.geometry import quarter_turn
from tests.video.clips import encoded, mjpeg, numbered_frame, read_all, with_matrix

CORNERS = np.array([[1, 2], [3, 4]], np.uint8)  # of a stored image, row by row


def colored_corners():
    """A frame whose corners have four colors: no two turns of it are alike."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:32, :48], frame[:32, 48:], frame[32:, :48] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return frame


def write(path, data):
    path.write_bytes(data)
    return path


# Matrices: the eight turns, by the corners that FFmpeg shows (checked against its command).
TURNS = {
    "as stored": ((1, 0, 0, 1), [[1, 2], [3, 4]]),
    "mirrored": ((-1, 0, 0, 1), [[2, 1], [4, 3]]),
    "upside down": ((1, 0, 0, -1), [[3, 4], [1, 2]]),
    "half a turn": ((-1, 0, 0, -1), [[4, 3], [2, 1]]),
    "clockwise": ((0, 1, -1, 0), [[3, 1], [4, 2]]),
    "counter-clockwise": ((0, -1, 1, 0), [[2, 4], [1, 3]]),
    "transposed": ((0, 1, 1, 0), [[1, 3], [2, 4]]),
    "transposed the other way": ((0, -1, -1, 0), [[4, 2], [3, 1]]),
}


@pytest.mark.parametrize("name", TURNS)
def test_quarter_turns_and_mirrors(name, tmp_path):
    matrix, corners = TURNS[name]
    assert quarter_turn(*matrix)(CORNERS).tolist() == corners
    stored = encoded([colored_corners()], "mp4")
    [frame], source = read_all(write(tmp_path / "turned.mp4", with_matrix(stored, *matrix)))
    [as_stored], _ = read_all(write(tmp_path / "stored.mp4", stored))
    assert np.array_equal(frame, quarter_turn(*matrix)(as_stored))
    assert source.problems == []


@pytest.mark.parametrize("angle", [0.4, 45, 89.7, 120])
def test_a_turn_by_other_than_quarters_is_noted(angle, tmp_path):
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    stored = encoded([colored_corners()] * 2, "mp4")
    path = write(tmp_path / "turned.mp4", with_matrix(stored, cos, sin, -sin, cos))
    _, source = read_all(path)
    if angle in (45, 120):
        [problem] = source.problems
        assert f"{angle} degrees" in problem
    else:  # a rounding
        assert source.problems == []
    assert source.size == ((96, 64) if angle == 89.7 else (64, 96))


@pytest.mark.parametrize(
    ("ratio", "width"), [("2", 192), ("8/9", 86), ("1/2", 48), ("1000/1001", 96)]
)
@pytest.mark.parametrize("file_format", ["mp4", "matroska", "mpegts", "avi"])
def test_pixels_that_are_not_square(ratio, width, file_format, tmp_path):
    codec = "mpeg4" if file_format == "avi" else "libx264"
    data = encoded([numbered_frame(11)] * 10, file_format, codec, pixel_ratio=Fraction(ratio))
    frames, source = read_all(write(tmp_path / "clip", data))
    assert source.size == (64, width)
    red = (frames[0][..., 0] > frames[0][..., 2]).mean()
    assert red == pytest.approx(0.5, abs=0.03)  # stretched, not padded
    assert source.problems == []


def test_square_pixels_after_a_quarter_turn(tmp_path):
    data = encoded([colored_corners()], "mp4", pixel_ratio=Fraction(1, 2))
    path = write(tmp_path / "clip.mp4", with_matrix(data, 0, 1, -1, 0))
    assert read_all(path)[1].size == (96, 128)  # as FFmpeg's filters transpose and scale


def test_implausible_pixels_are_noted(tmp_path):
    data = bytearray(encoded([numbered_frame(0)] * 2, "mp4", pixel_ratio=Fraction(2)))
    struct.pack_into(">2i", data, data.index(b"pasp") + 4, 300, 7)
    _, source = read_all(write(tmp_path / "clip.mp4", data))
    assert source.size == (64, 96)
    [problem] = source.problems
    assert "300:7" in problem


def test_a_change_of_the_pixels_is_a_change_of_size(tmp_path):
    parts = [encoded([numbered_frame(0)] * 8, "mpegts", pixel_ratio=Fraction(r)) for r in (1, 2)]
    path = write(tmp_path / "clip.ts", parts[0] + parts[1])
    with pytest.raises(UserError, match=r"at frame \d+, from 64x96 to 64x192"):
        read_all(path)
    assert len(read_all(path, (64, 96))[0]) == 16


def test_interlaced_frames_are_noted_once(tmp_path):
    flags = {"flags": "+ilme+ildct"}
    for name in ("1.mpg", "2.mpg"):
        data = encoded([numbered_frame(0)] * 5, "mpeg", "mpeg2video", options=flags)
        write(tmp_path / name, data)
    [problem] = read_all(tmp_path)[1].problems
    assert "1.mpg" in problem
    assert "interlaced" in problem
    assert (
        read_all(write(tmp_path / "progressive.avi", mjpeg([numbered_frame(0)], "avi")))[1].problems
        == []
    )

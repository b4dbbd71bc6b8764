"""Image files: orientation, depth, several pictures in one."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from jitnet_tf import video
from tests.video.clips import index_of, numbered_frame, read_all

ORIENTATION = 0x0112  # EXIF's tag


def colored_corners():
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return Image.fromarray(image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation(orientation, suffix, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"1.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    colored_corners().save(path, exif=exif, **options)
    [frame], source = read_all(path)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert frame.shape == upright.shape == ((64, 96, 3) if orientation < 5 else (96, 64, 3))
    assert np.abs(frame.astype(int) - upright).mean() < 3
    assert source.problems == []


def test_a_webp_that_pillow_cannot_decode_is_shown_as_it_is(tmp_path, monkeypatch):
    """OpenCV decodes damaged files that Pillow refuses."""
    colored_corners().save(tmp_path / "1.webp")

    def fail(*_):
        raise OSError("failed to read next frame")

    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    [frame], _ = read_all(tmp_path / "1.webp")
    assert frame.shape == (64, 96, 3)


def save_several(path, count=10, duration=100):
    pictures = [Image.fromarray(numbered_frame(index)) for index in range(count)]
    options = {".webp": {"lossless": True}, ".tif": {}}.get(path.suffix, {})
    if path.suffix != ".tif":
        options["duration"] = duration
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


@pytest.mark.parametrize("suffix", ["webp", "png", "tif", "gif", "apng"])
def test_all_pictures_of_one_file_are_played(suffix, tmp_path):
    if suffix == "apng":
        path = save_several(tmp_path / "moving.png").rename(tmp_path / "moving.apng")
    else:
        path = save_several(tmp_path / f"moving.{suffix}")
    frames, source = read_all(path)
    assert [index_of(frame) for frame in frames] == list(range(10))
    assert source.fps == pytest.approx(25 if suffix == "tif" else 10)
    assert source.problems == []


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_pictures_of_different_durations(suffix, tmp_path):
    durations = [100, 300, 100, 100, 200]
    path = save_several(tmp_path / f"moving.{suffix}", 5, durations)
    with video.open_source(str(path)) as source:
        times = [frame.time for frame in source.frames()]
    assert times == pytest.approx([0, 0.1, 0.4, 0.5, 0.6])
    assert (source.fps, source.announced_seconds) == pytest.approx((6.25, 0.8))


def test_pages_of_a_file_whose_name_is_not_utf8(tmp_path):
    path = save_several(tmp_path / "pages.tif").rename(tmp_path / os.fsdecode(b"pages-\xff.tif"))
    assert len(read_all(path)[0]) == 10


def test_among_others_the_first_picture_is_taken_and_noted(tmp_path):
    save_several(tmp_path / "1.webp")
    Image.fromarray(numbered_frame(5)).save(tmp_path / "2.webp", lossless=True)
    frames, source = read_all(tmp_path)
    assert [index_of(frame) for frame in frames] == [0, 5]
    [problem] = source.problems
    assert "1.webp" in problem
    assert "10 pictures" in problem


def test_a_damaged_animation_plays_up_to_the_damage(tmp_path):
    path = save_several(tmp_path / "moving.png")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    frames, source = read_all(path)
    assert 0 < len(frames) < 10
    [problem] = source.problems
    assert f"{len(frames)} of 10 pictures" in problem


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_values_of_few_bits_within_16_are_noted_once(suffix, bits, tmp_path):
    values = numbered_frame(3)[..., :1].astype(np.uint16) * (2**bits // 256)
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.{suffix}"), values)
    _, source = read_all(tmp_path)
    if bits == 16:
        assert source.problems == []
    else:
        [problem] = source.problems
        assert f"0.{suffix}" in problem
        assert f" {values.max()}" in problem


def test_a_dark_image_of_8_bits_is_no_problem(tmp_path):
    cv2.imwrite(str(tmp_path / "night.png"), np.full((64, 96, 3), 9, np.uint8))
    with video.open_source(str(tmp_path / "night.png")) as source:
        assert source.problems == []

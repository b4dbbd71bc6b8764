"""Listing and reading images."""

import os
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from jitnet_tf.base.errors import UserError
from teacher.images import UnreadableError, inspect, list_images, passed_over, read_image
from tests.materials import texture

# EXIF's number of the orientation → the stored image of a rotated camera.
TURNS = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: np.rot90(seen, 1),
    7: lambda seen: seen[::-1, ::-1].swapaxes(0, 1),
    8: lambda seen: np.rot90(seen, -1),
}


def write(path, picture, quality=95):
    """Writes RGB pixels in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    suffix = path.suffix.lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in (".jpg", ".jpeg") else []
    path.write_bytes(cv2.imencode(suffix, bgr, options)[1].tobytes())
    return path


def write_turned(path, seen, orientation):
    """Writes a JPEG with an EXIF orientation."""
    write(path, TURNS[orientation](seen))
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    data = path.read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path.write_bytes(data[:2] + segment + data[2:])
    return path


# Names


def test_names_are_sorted_paths_in_the_folder(tmp_path):
    for name in ("b.jpg", "B.JPG", "a/2.PNG", "a/10.webp", "a/b/c.JPeG", "z.bmp", "a.jpg"):
        write(tmp_path / name, texture((8, 8), 0))
    for name in ("notes.txt", "a/x.gif", "jpg", "b.jpg.part"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    os.symlink(tmp_path / "gone.png", tmp_path / "link.png")
    expected = ["B.JPG", "a.jpg", "a/10.webp", "a/2.PNG", "a/b/c.JPeG", "b.jpg", "z.bmp"]
    assert list_images(tmp_path) == expected
    assert list_images(str(tmp_path)) == expected


def test_folders_without_images_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=rf"'{tmp_path}' .*\.jpg, \.jpeg, \.png, "):
        list_images(tmp_path)
    for path in (tmp_path / "missing", tmp_path / "notes.txt"):
        with pytest.raises(UserError, match=f"'{path}' is not a folder"):
            list_images(path)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (("a.HEIC", "b.heic", "c.CR2"), "2 .heic, 1 .cr2"),
        (("a.avif", "b.gif", "scan"), "1 .avif, 1 .gif, 1 without a suffix"),
        (("notes.txt", ".DS_Store", "._a.jpg"), ""),
    ],
)
def test_files_passed_over_are_counted(tmp_path, others, said):
    (tmp_path / "more").mkdir()
    for name in (*others, "more/b.jfif"):
        (tmp_path / name).write_bytes(b"x")
    assert list_images(tmp_path) == ["more/b.jfif"]
    sentence = passed_over(tmp_path)
    assert said in sentence
    assert bool(sentence) == bool(said)
    (tmp_path / "more" / "b.jfif").unlink()
    with pytest.raises(UserError, match=f"holds no images .*{said}"):
        list_images(tmp_path)


def test_linked_folders_are_passed_over(tmp_path):
    """They may lead in a circle."""
    write(tmp_path / "a.jpg", texture((8, 8), 0))
    os.symlink(tmp_path, tmp_path / "again")
    assert list_images(tmp_path) == ["a.jpg"]
    assert "1 linked folder" in passed_over(tmp_path)


# Headers


def write_pages(path, count, **options):
    pages = [Image.fromarray(texture((24, 32), number)) for number in range(count)]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tif"])
def test_further_pictures_of_a_file_are_remarked(tmp_path, suffix):
    [remark] = inspect(write_pages(tmp_path / f"a{suffix}", 3))
    assert "the first picture alone" in remark
    assert inspect(write_pages(tmp_path / f"b{suffix}", 1)) == []


def test_the_second_picture_of_a_telephone_is_not_remarked(tmp_path):
    assert inspect(write_pages(tmp_path / "a.jpg", 2, format="MPO")) == []


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_low_values_of_16_bits_are_remarked(tmp_path, suffix, channels):
    values = np.zeros((24, 32, channels), np.uint16)
    values[5, 5] = 4095
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), values)
    [remark] = inspect(tmp_path / f"a{suffix}")
    assert "16 bits" in remark
    assert cv2.imwrite(str(tmp_path / f"b{suffix}"), values * 16)
    assert inspect(tmp_path / f"b{suffix}") == []


@pytest.mark.parametrize(
    ("orientation", "size", "said"),
    [
        (1, (40, 56), []),
        (6, (40, 56), []),  # as it is shown
        (6, (56, 40), ["as they are stored"]),
        (3, (40, 56), ["to the same size"]),
        (2, (40, 56), ["to the same size"]),
    ],
)
def test_labels_of_turned_images_are_remarked(tmp_path, orientation, size, said):
    path = write_turned(tmp_path / "a.jpg", texture((40, 56), 3), orientation)
    remarks = inspect(path, size)
    assert len(remarks) == len(said)
    assert all(map(str.__contains__, remarks, said))
    with pytest.raises(UnreadableError, match="annotated as 40×57"):
        inspect(path, (40, 57))


# Pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".JPEG", ".webp"])
def test_pixels_are_rgb(tmp_path, suffix):
    seen = texture((40, 56), 3)
    seen[:20] = (200, 90, 20)
    frame = read_image(write(tmp_path / f"a{suffix}", seen))
    assert (frame.dtype, frame.shape) == (np.uint8, (40, 56, 3))
    if suffix in (".png", ".bmp"):
        np.testing.assert_array_equal(frame, seen)
    else:
        assert np.abs(frame[4:16].astype(int) - (200, 90, 20)).mean() < 4


def test_any_kind_of_pixels_becomes_rgb(tmp_path):
    gray = texture((24, 32), 0)[..., 0]
    for number, stored in enumerate((gray, gray.astype(np.uint16) * 257, np.dstack([gray] * 4))):
        path = tmp_path / f"{number}.png"
        assert cv2.imwrite(str(path), stored)
        frame = read_image(path)
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, np.dstack([gray] * 3))


@pytest.mark.parametrize("orientation", TURNS)
def test_images_are_rotated_as_exif_says(tmp_path, orientation):
    seen = texture((40, 56), 3)
    path = write_turned(tmp_path / "a.jpg", seen, orientation)
    stored = TURNS[orientation](seen)
    for size in (None, (40, 56)):
        frame = read_image(path, size)
        assert frame.shape == seen.shape
        assert np.abs(frame.astype(int) - seen).mean() < 12
    if stored.shape != seen.shape:  # annotated without EXIF
        frame = read_image(path, (56, 40))
        assert frame.shape == stored.shape
        assert np.abs(frame.astype(int) - stored).mean() < 12


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_another_size_than_annotated_is_unreadable(tmp_path, orientation):
    path = write_turned(tmp_path / "a.jpg", texture((40, 56), 3), orientation)
    with pytest.raises(UnreadableError, match=r"a\.jpg \(.* 41×56\)") as info:
        read_image(path, (41, 56))
    assert ("40×56" if orientation < 5 else "56×40") in str(info.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_truncated_images_are_unreadable(tmp_path, suffix, part):
    path = write(tmp_path / f"a{suffix}", texture((96, 128), 3))
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(UnreadableError, match=r"a\.\w+ \(.*damaged"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xd8\xff", bytes(5000)])
def test_other_files_are_unreadable(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for size in (None, (40, 56)):
        with pytest.raises(UnreadableError, match=r"a\.jpg \(.*damaged"):
            read_image(path, size)


def test_missing_files_are_unreadable(tmp_path):
    with pytest.raises(UnreadableError, match=r"gone\.jpg \(No such file or directory\)"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableError, match=r"\(Is a directory\)"):
        read_image(tmp_path)

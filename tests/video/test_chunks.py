"""Folders of videos as the chunks of one video."""

import contextlib
import io
import os
import pathlib
import re

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from tests.video.clips import (
    encoded,
    index_of,
    mjpeg,
    numbered_frame,
    read_all,
)


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


@pytest.fixture
def chunks(tmp_path):
    return tmp_path / "stream"


def test_chunks_play_as_one_video_in_natural_order(chunks):
    paths = write_chunks(chunks, 5, 3, 6)
    (chunks / "._part8.mp4").write_bytes(b"what macOS leaves beside a file")
    frames, source = read_all(chunks)
    assert [index_of(frame) for frame in frames] == list(range(14))
    assert (source.announced_frames, source.fps, source.live) == (14, 30.0, False)
    assert (source.spec, source.problems) == (str(chunks), [])
    alone = [frame for path in paths for frame in read_all(path)[0]]
    assert all(np.array_equal(a, b) for a, b in zip(frames, alone, strict=True))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 16))
def test_skipping_counts_across_chunks(tmp_path_factory, lengths, skipped):
    folder = tmp_path_factory.mktemp("stream")
    write_chunks(folder, *lengths)
    with video.open_source(str(folder)) as source:
        assert source.skip(skipped) == min(skipped, sum(lengths)) == source.decoded
        rest = [index_of(frame) for frame in source]
    assert rest == list(range(skipped, sum(lengths)))


def test_one_chunk_is_enough(chunks):
    write_chunks(chunks, 4)
    assert len(read_all(chunks)[0]) == 4


def test_number_of_frames_not_announced_by_all(chunks):
    write_chunks(chunks, 5)
    write_chunks(chunks, 4, file_format="h264", first=1)  # raw, it states no length
    assert [path.suffix for path in video.video_files(chunks)] == [".mp4", ".h264"]
    frames, source = read_all(chunks)
    assert source.announced_frames is None
    assert [index_of(frame) for frame in frames] == [0, 1, 2, 3, 4, 0, 1, 2, 3]


def test_change_of_size(chunks):
    write_chunks(chunks, 5)
    write_chunks(chunks, 4, size=(128, 192), first=1)
    message = r"stream changes its frame size at frame 5, from 64x96 to 128x192"
    with pytest.raises(UserError, match=message):
        list(video.open_source(str(chunks)))
    assert len(read_all(chunks, (64, 96))[0]) == 9


def test_change_of_frame_rate_is_a_problem(chunks):
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
    [problem] = source.problems
    assert re.search("part9.mp4.* 15 .* 30", problem)


@pytest.mark.parametrize("content", [b"", b"cut off"])
def test_a_chunk_that_cannot_be_opened_is_an_error(chunks, content):
    paths = write_chunks(chunks, 5, 3, 6)
    paths[1].write_bytes(content)
    with pytest.raises(UserError, match=r"part9\.mp4 .*copy it again"):
        video.open_source(str(chunks))


def test_damaged_chunk(chunks):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(30)]
    write_chunks(chunks, 5)
    data = mjpeg(noise, "avi")
    (chunks / "part9.avi").write_bytes(data[: len(data) // 2])
    write_chunks(chunks, 4, first=2)
    frames, source = read_all(chunks)
    assert 5 + 5 + 4 < len(frames) < 5 + 25 + 4
    assert [index_of(frame) for frame in frames[-4:]] == [0, 1, 2, 3]
    assert source.problems[-1].startswith("part9.avi: the file is cut off")


def test_chunk_without_a_frame(chunks):
    write_chunks(chunks, 5)
    data = mjpeg([numbered_frame(0)], "avi")
    (chunks / "part9.avi").write_bytes(data[: data.index(b"movi") + 4])
    write_chunks(chunks, 4, first=2)
    frames, source = read_all(chunks)
    assert len(frames) == 9
    assert "part9.avi holds no frame that can be decoded: skipped" in source.problems


@pytest.mark.skipif(not pathlib.Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_one_chunk_is_open_at_a_time(chunks):
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


def test_images_beside_videos_are_refused(folder, clip):
    clip.rename(folder / "clip.mp4")
    message = r"holds both images and videos \(f1\.png, clip\.mp4\): give a folder of one kind"
    with pytest.raises(UserError, match=message):
        video.open_source(str(folder))

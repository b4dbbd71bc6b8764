"""Paths that are no files: pipes, devices, patterns of the shell."""

import os
import threading

import cv2
import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from tests.video.clips import encoded, index_of, numbered_frame, read_all

FRAMES = [numbered_frame(index) for index in range(20)]


@pytest.fixture
def piped():
    """Writes data into a pipe or a named one, in a thread."""
    threads = []

    def start(data, target):
        def write():
            with open(target, "wb") as file:
                file.write(data)

        threads.append(threading.Thread(target=write))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("file_format", ["matroska", "mpegts"])
@pytest.mark.parametrize("kind", ["descriptor", "named"])
def test_pipes_are_read(file_format, kind, piped, tmp_path):
    data = encoded(FRAMES, file_format)
    if kind == "named":
        spec = str(tmp_path / "fifo")
        os.mkfifo(spec)
        piped(data, spec)
        frames, source = read_all(spec)
    else:  # as the shell's <(...) and /dev/stdin are
        reading, writing = os.pipe()
        piped(data, writing)
        spec = f"/dev/fd/{reading}"
        frames, source = read_all(spec)
        os.close(reading)
    assert [index_of(frame) for frame in frames] == list(range(20))
    assert (source.spec, source.live, source.problems) == (spec, False, [])
    assert "resume" in source.remark


def test_a_pipe_that_would_need_searching_is_refused(piped, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (240, 320, 3), np.uint8) for _ in range(20)]
    piped(encoded(noise, "mp4"), tmp_path / "fifo")  # its index is at its end
    with pytest.raises(UserError, match=r"fifo .*frag_keyframe"):
        video.open_source(str(tmp_path / "fifo"))


def test_devices_without_a_video_are_refused():
    with pytest.raises(UserError, match=r"/dev/null .*/dev/video0"):
        video.open_source("/dev/null")
    with pytest.raises(UserError, match="no /dev/fd/999"):
        video.open_source("/dev/fd/999")


@pytest.mark.parametrize("number", [0, 12])
@pytest.mark.parametrize("linked", [False, True], ids=["direct", "link"])
def test_devices_of_cameras(number, linked, tmp_path, monkeypatch):
    asked = []

    class Camera:
        def __init__(self, index):
            asked.append(index)

        def isOpened(self):  # noqa: N802
            return False

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    spec = f"/dev/video{number}"
    if linked:  # as /dev/v4l/by-id/...
        (tmp_path / "usb-camera-index0").symlink_to(spec)
        spec = str(tmp_path / "usb-camera-index0")
    with pytest.raises(UserError, match=f"camera {spec} cannot be opened"):
        video.open_source(spec)
    assert asked == [number]


@pytest.mark.parametrize("pattern", ["*.mp4", "clip?.mp4", "[ab]*", "*/*.mkv"])
def test_patterns_of_the_shell_are_answered(pattern, clip):
    spec = str(clip.parent / "clips" / pattern)
    (clip.parent / "clips").mkdir()
    clip.rename(clip.parent / "clips" / "clip1.mp4")
    with pytest.raises(UserError) as caught:
        video.open_source(spec)
    found = "1 files match" if pattern in ("*.mp4", "clip?.mp4") else "0 files match"
    assert spec in str(caught.value)
    assert found in str(caught.value)
    assert f"folder {os.path.dirname(spec)}," in str(caught.value)


def test_a_file_whose_name_looks_like_a_pattern_is_read(clip):
    clip.rename(clip.parent / "clip [1080p] *.mp4")
    assert len(read_all(clip.parent / "clip [1080p] *.mp4")[0]) == 20

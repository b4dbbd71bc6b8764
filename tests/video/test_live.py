"""URLs and cameras, also those that break off."""

import functools
import http.server
import itertools
import re
import threading
import time

import av
import cv2
import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.video import cameras, live, paths, urls
from jitnet_tf.video import source as source_module
from jitnet_tf.video.decoders import BrokenOffError
from tests import misbehaving_server, rtsp_camera
from tests.video.clips import encoded, index_of, mjpeg, numbered_frame, read_all

COUNT, RATE = 40, 10  # frames, and frames a second


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class PersistentHandler(QuietHandler):
    protocol_version = "HTTP/1.1"  # FFmpeg waits for the next part's answer on the same connection


class FakeCamera:
    """The part of cv2.VideoCapture that `video` uses."""

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


def read_to_the_break(spec):
    """The frames up to the break, the source, and its one line of message."""
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


@pytest.fixture(scope="module")
def bodies():
    """The same images in several formats, whose headers announce a length or not."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(COUNT)]
    formats = {"matroska": encoded, "mpegts": encoded, "h264": encoded, "avi": mjpeg}
    return {name: make(noise, name, rate=RATE) for name, make in formats.items()}


# URLs and cameras


@pytest.fixture
def served(clip):
    handler = functools.partial(QuietHandler, directory=str(clip.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_url(served, clip):
    frames, source = read_all(f"http://u:p@{served}/clip.mp4?key=1")
    assert not source.live  # it states its length, and can be read again
    assert source.spec == f"http://***@{served}/clip.mp4?key=***"
    assert [index_of(frame) for frame in frames] == list(range(20))


def test_files_without_a_length_are_not_live(served, clip):
    """Their number of bytes is known: they can be read again, and no frame is dropped."""
    with av.open(str(clip)) as mp4, av.open(str(clip.parent / "raw.h264"), "w") as raw:
        picture = mp4.streams.video[0]
        stream = raw.add_stream("libx264", rate=25)
        stream.height, stream.width = picture.height, picture.width
        for frame in mp4.decode(picture):
            raw.mux(stream.encode(frame.reformat(format="yuv420p")))
        raw.mux(stream.encode(None))
    frames, source = read_all(f"http://{served}/raw.h264")
    assert (source.live, source.announced_frames) == (False, None)
    assert len(frames) == 20


def test_streams_without_any_length_are_live(server, bodies):
    """All frames come at once: the newest is given. Their end looks like a lost server."""
    server.body, server.chunked = bodies["h264"], True
    frames, source, _ = read_to_the_break(server.url())
    assert (source.live, source.announced_frames) == (True, None)
    assert len(frames) + source.dropped == COUNT
    assert len(frames) < COUNT // 2


def test_missing_urls_are_refused(served):
    with pytest.raises(UserError, match=r"nix\.mp4 .*404"):
        video.open_source(f"http://{served}/nix.mp4")


def test_camera(monkeypatch):
    camera = FakeCamera([numbered_frame(i)[..., ::-1] for i in range(5)], fps=0.0)
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: camera)
    frames, source, message = read_to_the_break("3")
    indices = [index_of(frame) for frame in frames]
    assert indices == sorted(set(indices))
    assert (indices[-1], len(indices) + source.dropped) == (4, 5)
    assert (source.live, source.fps, source.announced_frames) == (True, 25.0, None)
    assert "no usable frame rate" in source.problems[0]
    assert f"after {len(frames)} frames (the camera" in message
    assert camera.released


def test_cameras_without_a_frame_are_refused(monkeypatch):
    camera = FakeCamera([], fps=30.0)
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: camera)
    message = r"no frame of 3 can be decoded \(the camera stopped delivering frames\)"
    with pytest.raises(UserError, match=message):
        video.open_source("3")
    assert camera.released


# Sources that break off


@pytest.fixture
def server():
    with misbehaving_server.running() as server:
        yield server


@pytest.mark.parametrize("file_format", ["matroska", "avi", "mpegts", "h264"])
def test_connection_closed_before_the_announced_byte(server, bodies, file_format):
    """At any byte, the frames equal the first ones of the complete stream."""
    body = server.body = bodies[file_format]
    whole, _ = read_all(server.url())
    assert len(whole) == COUNT
    for cut in range(len(body) // 2, len(body) // 2 + 4000, 700):
        server.cuts = [cut]
        frames, source, message = read_to_the_break(server.url())
        assert COUNT // 3 < len(frames) < 2 * COUNT // 3
        assert equal(frames, whole[: len(frames)])
        has_length = file_format in ("matroska", "avi")
        assert not source.live
        assert "(Input/output error" in message
        assert ("of 4.0 s)" in message) == has_length


@pytest.mark.parametrize("file_format", ["matroska", "avi"])
def test_end_before_the_announced_second(server, bodies, file_format):
    """Without a Content-Length, FFmpeg reports this as a normal end."""
    server.body, server.chunked = bodies[file_format], True
    whole, _ = read_all(server.url())
    server.cuts = [len(server.body) // 3]
    frames, _, message = read_to_the_break(server.url())
    assert re.search(r"\(no more data came after [01]\.\d of 4\.0 s\)", message)
    assert equal(frames, whole[: len(frames)])


def test_nearly_the_announced_length_is_a_normal_end(server, bodies):
    server.body, server.chunked = bodies["avi"], True
    server.cuts = [len(server.body) * 3 // 4]
    frames, source = read_all(server.url())
    assert len(frames) < COUNT
    assert "cut off" in source.problems[-1]


@pytest.mark.parametrize("file_format", ["matroska", "avi"])
def test_whole_stream_without_an_announced_length(server, bodies, file_format):
    """FFmpeg reports the closed connection as an error, but no frame is missing."""
    server.body, server.lengths = bodies[file_format], False
    frames, source = read_all(server.url())
    assert (len(frames), source.problems) == (COUNT, [])


def test_silent_servers_time_out(server, bodies, monkeypatch):
    monkeypatch.setattr(urls, "TIMEOUT", (10.0, 0.5))
    server.body, server.cuts = bodies["matroska"], [len(bodies["matroska"]) // 2]
    read = threading.Event()
    server.after = read.wait
    _, _, message = read_to_the_break(server.url())
    read.set()
    assert re.search(r"\(timed out after (1\.9|2\.0) of 4\.0 s\)", message)


def test_rtsp(bodies):
    """The end of a live stream counts as a break, but FFmpeg reports a normal end."""
    with rtsp_camera.running(bodies["h264"]) as url:
        frames, source, message = read_to_the_break(url)
    assert COUNT - 5 < len(frames) + source.dropped <= COUNT
    assert (source.live, source.announced_frames, source.size) == (True, None, (64, 96))
    assert "(no more data came)" in message


@pytest.fixture
def playlist(tmp_path):
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


def test_missing_parts_of_a_playlist(playlist):
    folder, url = playlist
    whole, source = read_all(url)
    assert (len(whole), source.announced_frames, source.live) == (60, 60, False)
    for part in (3, 4, 5):
        (folder / f"p{part}.ts").unlink()
    frames, _, message = read_to_the_break(url)
    assert 25 < len(frames) < 40
    assert equal(frames, whole[: len(frames)])
    assert re.search(r"\(no more data came after 3\.\d of 6\.0 s\)", message)


def test_missing_live_playlist(playlist):
    folder, url = playlist
    text = (folder / "p.m3u8").read_text()
    (folder / "p.m3u8").write_text(text.replace("#EXT-X-ENDLIST\n", ""))
    with video.open_source(url) as source:
        assert (source.announced_frames, source.live) == (None, True)
        for file in folder.iterdir():
            file.unlink()
        with pytest.raises(BrokenOffError, match=r"\(no more data came\)"):
            list(source)


# Sources that come back, and files in real time


def test_a_live_source_of_another_size_is_resized_and_noted(monkeypatch):
    """Its camera comes back with larger frames, and goes again with the smaller ones."""
    small, large = (np.full((*size, 3), 7, np.uint8) for size in ((64, 96), (128, 192)))
    cameras = iter([[small] * 2, [large] * 2, [small] * 2])
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: FakeCamera(next(cameras, []), 30.0))
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.3)
    monkeypatch.setattr(live, "_LONGEST_WAIT", 0.3)
    frames = []
    with video.open_source("3", patience=video.Patience(1.0)) as source:
        with pytest.raises(BrokenOffError, match="gone for 1s"):
            frames.extend(source.frames())
        assert {frame.pixels.shape for frame in frames} == {(64, 96, 3)}
    gaps = [frame.gap for frame in frames if frame.gap is not None]
    assert len(gaps) == 2
    assert min(gaps) >= 0.3
    notes = [problem for problem in source.problems if "resized to 64x96" in problem]
    assert ["128x192" in note for note in notes] == [True]


def test_a_file_in_real_time_is_played_by_its_time_stamps(clip):
    """20 frames, 30 a second; the reader is away for some of them."""
    with video.open_source(str(clip), realtime=True) as source:
        assert source.live
        assert index_of(source.peek()) == source.number
        numbers, arrived = [], []
        for frame in source.frames():
            assert index_of(frame.pixels) == source.number
            numbers.append(source.number)
            arrived.append(frame.arrived)
            if len(numbers) == 2:
                time.sleep(0.2)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 19
    assert len(numbers) + source.dropped == 20
    assert source.dropped >= 4
    assert arrived[-1] - arrived[0] > 0.9 * (numbers[-1] - numbers[0]) / 30
    assert not [problem for problem in source.problems if "gone" in problem]


def test_a_file_in_real_time_goes_on_where_it_was(clip):
    with video.open_source(str(clip), realtime=True, played=15) as source:
        numbers = [source.number for frame in source.frames() if index_of(frame.pixels) >= 0]
        assert numbers[0] >= 15
        assert numbers[-1] == 19
    with pytest.raises(UserError, match="no more frames"):
        video.open_source(str(clip), realtime=True, played=20)


def test_a_file_in_place_of_a_stream_is_no_end(monkeypatch, clip):
    """Such as the picture that a camera sends while it starts: the stream is waited for."""
    pictures = [np.full((64, 96, 3), 7, np.uint8)] * 2
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: FakeCamera(pictures, 30.0))
    opened = []

    def open_camera(index, spec):
        opened.append(index)
        if len(opened) == 2:
            return paths.open_path(clip, str(clip))
        return cameras.open_camera(index, spec)

    monkeypatch.setattr(source_module, "open_camera", open_camera)
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.1)
    monkeypatch.setattr(live, "_LONGEST_WAIT", 0.1)
    with video.open_source("0", patience=video.Patience(0.5)) as source:
        taken = itertools.islice(source.frames(), 4)
        gaps = [frame.gap is not None for frame in taken]
    assert len(opened) >= 3
    assert any(gaps)


def test_what_cannot_be_opened_now_is_told_from_what_is_wrong(tmp_path):
    with pytest.raises(video.UnavailableError):
        video.open_source("rtsp://127.0.0.1:9/x")
    with pytest.raises(UserError) as refused:
        video.open_source(str(tmp_path / "none.mp4"))
    assert not isinstance(refused.value, video.UnavailableError)

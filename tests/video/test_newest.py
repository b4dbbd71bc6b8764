"""A live source gives its newest frame and counts the others."""

import queue
import threading

import numpy as np
import pytest

from jitnet_tf.video import live
from jitnet_tf.video.decoders import BrokenOffError, DecodedFrame, Decoder
from jitnet_tf.video.live import NewestFrame
from jitnet_tf.video.source import FrameSource

WAITED, HELD_BACK = 1.0, 0.0


def decoded(number, waited=WAITED, stamp=None):
    pixels = np.full((64, 96, 3), number, np.uint8)
    return DecodedFrame((64, 96), lambda: pixels, stamp, waited=waited)


class Camera:
    """Delivers what a test sends. It is done with a frame when the next one is asked for."""

    def __init__(self):
        self.sent = queue.Queue()
        self.released = threading.Event()

    def send(self, *items):
        """Sends frames and errors; returns once all were taken in."""
        for item in items:
            self.sent.put(item)
        self.sent.join()

    def frames(self, note=None):
        try:
            while (item := self.sent.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
                self.sent.task_done()
        finally:
            self.sent.task_done()
            self.released.set()

    def close(self, stream):
        """Closes the stream while the camera delivers one more frame, as cameras do."""
        self.sent.put(decoded(99))
        stream.close()


@pytest.fixture
def camera():
    return Camera()


@pytest.fixture
def newest(camera):
    stream = NewestFrame(decoded(0), camera.frames(), in_bursts=False)
    yield stream
    camera.close(stream)
    assert camera.released.wait(10)


def number(frame):
    return int(frame.convert()[0, 0, 0])


def test_the_newest_frame_is_taken_and_the_others_are_counted(camera, newest):
    camera.send(*map(decoded, range(1, 4)))
    assert (number(newest.take()), newest.dropped) == (3, 3)
    camera.send(decoded(4))
    assert (number(newest.peek()), newest.dropped) == (4, 3)
    assert (number(newest.take()), newest.dropped) == (4, 3)
    camera.send(decoded(5), decoded(6))
    assert number(newest.peek()) == 6
    camera.send(decoded(7))
    assert (number(newest.take()), newest.dropped) == (7, 5)


def test_what_was_held_back_at_opening_is_passed_over(camera, newest):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(number(newest.take())))
    thread.start()
    camera.send(*(decoded(i, HELD_BACK) for i in range(1, 9)))
    camera.send(decoded(9, WAITED))
    thread.join(10)
    assert (taken, newest.dropped) == ([9], 9)


def test_an_error_comes_after_the_last_frame(camera, newest):
    camera.send(decoded(1), BrokenOffError("unplugged"))
    assert number(newest.take()) == 1
    with pytest.raises(BrokenOffError, match="unplugged"):
        newest.take()
    assert newest.take() is newest.peek() is None
    assert camera.released.wait(10)


def test_a_stream_of_one_frame_gives_it(camera, newest):
    camera.send(None)
    assert (number(newest.take()), newest.dropped, newest.take()) == (0, 0, None)


@pytest.mark.parametrize(("waited", "count"), [(HELD_BACK, 1), (WAITED, 0)])
def test_decoding_that_cannot_keep_up_is_a_problem(camera, newest, waited, count):
    camera.send(*(decoded(1, waited) for _ in range(300)))
    assert len(newest.problems) == count


def test_bursts_are_played_in_the_time_of_their_stamps(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    pace = live._Pace()
    assert pace.seconds_until(7.0) == pytest.approx(0)
    clock[0] += 0.1
    assert pace.seconds_until(7.5) == pytest.approx(0.4)
    clock[0] += 2  # late: from here on anew
    assert pace.seconds_until(8.0) == pytest.approx(0)
    assert pace.seconds_until(8.5) == pytest.approx(0.5)
    assert pace.seconds_until(5000.0) == pytest.approx(0)  # a jump
    assert pace.seconds_until(None) == 0


def test_frames_of_a_live_source_have_the_time_of_their_arrival(camera, monkeypatch):
    clock = [500.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    camera.sent.put(decoded(0, stamp=7.0))
    source = FrameSource("camera", Decoder(camera.frames, 25.0, live=True), None)
    source.start_at(30.0)
    clock[0] += 3.0
    camera.send(decoded(1, stamp=7.1))
    assert number_of(source.peek()) == 1
    frames = [source.read()]
    clock[0] += 0.5
    camera.send(decoded(2, stamp=7.2), decoded(3, stamp=7.3))
    frames.append(source.read())
    clock[0] += 14.0
    camera.send(decoded(4, stamp=7.4))
    frames.append(source.read())
    assert [number_of(frame.pixels) for frame in frames] == [1, 3, 4]
    assert [frame.time for frame in frames] == [30.0, 30.5, 44.5]
    assert [frame.arrived for frame in frames] == [503.0, 503.5, 517.5]
    assert [frame.dropped for frame in frames] == [1, 1, 0]
    assert (source.dropped, source.decoded) == (2, 3)
    assert "14.0 s before frame 2" in source.problems[0]
    camera.close(source)
    assert source.read() is None


def number_of(pixels):
    return int(pixels[0, 0, 0])

"""A live source gives its newest frame and counts the others."""

import math
import queue
import threading

import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
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
    stream = NewestFrame("camera", decoded(0), camera.frames(), in_bursts=False)
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


# A source that is gone and comes back


class Cameras:
    """A source that is opened again: a list of what each opening gives, frames or an error."""

    def __init__(self, *openings):
        self.openings = list(openings)
        self.opened = 0

    def __call__(self):
        self.opened += 1
        given = self.openings.pop(0) if self.openings else UserError("unplugged for good")
        if isinstance(given, Exception):
            raise given
        return iter_of(given), False


def iter_of(items):
    """A generator of frames that raises those that are errors, and then blocks for a while."""
    for item in items:
        if isinstance(item, Exception):
            raise item
        if callable(item):
            item()
        else:
            yield item


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(live, "_LONGEST_WAIT", 0.01)


GONE = BrokenOffError("unplugged")


def taken_from(stream):
    frames = []
    while (frame := stream.take()) is not None:
        frames.append((number(frame), frame.gap))
    return frames


def reopened(*openings, first=(), reconnect_for=math.inf, frozen_for=0.0):
    """A stream that breaks off at once; its source is then opened as given."""
    cameras = Cameras(*openings)
    patience = live.Patience(reconnect_for, frozen_for)
    frames = iter_of([*first, GONE])
    return NewestFrame("camera", decoded(0), frames, False, cameras, patience), cameras


def test_a_source_that_is_gone_is_opened_until_it_is_back(capsys):
    may_go = threading.Event()
    wait = lambda: may_go.wait(10)  # noqa: E731
    stream, cameras = reopened(
        UserError("not there"), [], [GONE], [decoded(5), wait, decoded(6), decoded(7)]
    )
    first = stream.take()
    while first.gap is None:  # the frame from before, unless it has been replaced
        first = stream.take()
    assert number(first) == 5
    assert first.gap > 0
    may_go.set()
    further = taken_from(stream)
    assert further[-1] == (7, None)
    assert {gap for _, gap in further} == {None}
    assert (cameras.opened, stream.number) == (4, 3)
    assert "camera was gone" in stream.problems[0]
    assert "unplugged" in stream.problems[0]
    said = capsys.readouterr().out
    assert "camera is gone (unplugged)" in said
    assert "camera is back" in said
    stream.close()


def test_a_gap_stays_with_the_frame_that_is_taken():
    """Two absences before a frame is taken are one gap, as long as both."""
    stream, cameras = reopened([decoded(1), GONE], [decoded(2)], first=[])
    stream._thread.join(10)
    assert cameras.opened == 2
    frame = stream.take()
    assert number(frame) == 2
    assert frame.gap > 0
    assert len(stream.problems) == 1


def test_patience_has_an_end():
    stream, cameras = reopened(reconnect_for=0.02)
    with pytest.raises(BrokenOffError, match=r"gone for 0\.02s.*unplugged for good"):
        taken_from(stream)
    assert cameras.opened > 1


def test_a_source_that_is_gone_can_be_closed():
    for end in (NewestFrame.close, NewestFrame.interrupt):
        stream, _ = reopened()
        stream.take()
        thread = threading.Timer(0.05, end, [stream])
        thread.start()
        assert stream.take() is None
        thread.join(10)
        stream.close()
        assert not stream._thread.is_alive()


def test_waits_grow_until_a_connection_has_lasted(monkeypatch):
    """1, 2, 4 and 4 seconds; after a short connection 4 again, after a long one 1."""
    monkeypatch.setattr(live, "_FIRST_WAIT", 1.0)
    monkeypatch.setattr(live, "_LONGEST_WAIT", 4.0)
    clock, waits = [0.0], []
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])

    def sleep(self, seconds):
        waits.append(seconds)
        clock[0] += seconds

    def last():
        clock[0] += 31

    monkeypatch.setattr(NewestFrame, "_sleep", sleep)
    stream, _ = reopened(
        GONE, GONE, GONE, [decoded(1), GONE], [decoded(2), last, GONE], [decoded(3)]
    )
    stream._thread.join(10)
    assert waits == [1, 2, 4, 4, 4, 1]


def test_a_frozen_picture_counts_as_gone(monkeypatch):
    """From 0 to 3 s it is the same; opened again, it still is, until something moves."""
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])

    def second():
        clock[0] += 1.0

    still = [x for _ in range(9) for x in (second, decoded(7))]
    moving = [x for n in range(10, 20) for x in (second, decoded(n))]
    stream, cameras = reopened(
        [decoded(7), *still], [decoded(10), *moving], first=still, frozen_for=3.0
    )
    stream._thread.join(10)
    assert cameras.opened == 2
    frame = stream.take()
    assert number(frame) == 19
    assert frame.gap >= 0
    assert "the picture has been the same for 3s" in stream.problems[0]


def test_a_frozen_picture_ends_a_stream_that_is_not_opened_again(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])

    def second():
        clock[0] += 1.0

    still = [x for _ in range(9) for x in (second, decoded(7))]
    patience = live.Patience(0.0, 3.0)
    stream = NewestFrame("camera", decoded(7), iter_of(still), False, None, patience)
    with pytest.raises(BrokenOffError, match="the same for 3s"):
        taken_from(stream)


def test_a_changing_picture_is_never_frozen(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])

    def second():
        clock[0] += 1.0

    frames = [x for n in range(30) for x in (second, decoded(n // 2))]
    stream = NewestFrame(
        "camera", decoded(99), iter_of(frames), False, Cameras(), live.Patience(9, 3)
    )
    stream._thread.join(10)
    assert number(stream.take()) == 14
    assert stream.problems == []


def number_of(pixels):
    return int(pixels[0, 0, 0])

"""The times of frames: what a source states, and what is made of faults in it."""

import itertools
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf import video
from jitnet_tf.video.timing import Clock
from tests.video.clips import encoded, index_of, numbered_frame


def times_of(stamps, durations=None, parts=None):
    """The times that a clock of 10 frames a second gives, and the clock."""
    clock = Clock(0.1)
    count = len(stamps)
    rows = zip(stamps, durations or [None] * count, parts or [0] * count, strict=True)
    return [clock(*row)[0] for row in rows], clock


@pytest.mark.parametrize("first", [0, 95443.7, -0.4], ids=["0", "later", "before 0"])
def test_times_count_from_the_first_frame(first):
    times, clock = times_of([first, first + 0.1, first + 0.13, first + 9])
    assert times == pytest.approx([0, 0.1, 0.13, 9])
    assert (clock.problems, clock.end) == ([], pytest.approx(9.1))


def test_missing_stamps_follow_the_frame_before():
    times, clock = times_of([5, None, None, 5.3, None], [0.1, 0.1, 0.2, None, None])
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert "2 frames without a time stamp: 10 a second" in clock.problems[0]
    assert times_of([None, None, None])[0] == pytest.approx([0, 0.1, 0.2])
    assert times_of([None, None, 7, 7.5])[0] == pytest.approx([0, 0.1, 0.2, 0.7])


def test_missing_stamps_that_later_ones_confirm_are_no_problem():
    """As in MPEG program streams, of which each packet of bytes has one at most."""
    assert times_of([5, None, None, 5.3, None, 5.5, None])[1].problems == []
    clock = times_of([None] * 9 + [1, 1.1], parts=[0] * 9 + [1, 1])[1]
    assert "9 frames without a time stamp" in clock.problems[0]


def test_stamps_in_disorder_are_shown_at_once():
    times, clock = times_of([0, 0.2, 0.1, 0.3, 0.3, 0.4])
    assert times == pytest.approx([0, 0.2, 0.2, 0.3, 0.3, 0.4], abs=0.001)
    assert "2 frames with the time stamp of an earlier frame" in clock.problems[0]


def test_stamps_that_stand_still_are_replaced():
    times, clock = times_of([0] * 30)
    assert times[-1] == pytest.approx(2.5, abs=0.01)
    assert len(clock.problems) == 1


@pytest.mark.parametrize("jump", [-26.5 * 3600, -5, 4000, 1.7e9])
def test_jumps_of_the_clock_leave_no_gap(jump):
    times, clock = times_of([10, 10.1, 10.2 + jump, 10.3 + jump])
    assert times == pytest.approx([0, 0.1, 0.2, 0.3])
    assert f"jump by {jump + 0.1:.1f} s at frame 2:" in clock.problems[0]


def test_still_periods_are_kept_and_told():
    times, clock = times_of([0, 60, 75, 75.1])
    assert times == pytest.approx([0, 60, 75, 75.1])
    assert "more than 10 s 2 times, at most 60.0 s before frame 1" in clock.problems[0]


def test_files_follow_each_other():
    times, _ = times_of([5, 5.1, 0, 0.1, 7], [0.1, 0.5, 0.1, 0.1, 0.1], [0, 0, 1, 1, 2])
    assert times == pytest.approx([0, 0.1, 0.6, 0.7, 0.8])


stamp = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(stamp, st.none() | st.floats(0, 1e9), st.integers(0, 2)), max_size=30))
def test_times_of_any_stamps_increase(rows):
    clock = Clock(0.04)
    results = [clock(*row) for row in rows]
    assert all(a[0] < b[0] for a, b in itertools.pairwise(results))
    assert all(duration > 0 for _, duration in results)
    assert clock.end <= 3600 * (len(rows) + 1)


# Files


def timed_clip(path, times, unit=Fraction(1, 1000), last=0.5):
    """Writes numbered frames at these times in seconds, the last one for `last` seconds."""
    ends = [*times[1:], times[-1] + last]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        packets = []
        for i in range(len(times)):
            packets += stream.encode(av.VideoFrame.from_ndarray(numbered_frame(i % 20)))
        packets += stream.encode(None)
        for packet, time, end in zip(packets, times, ends, strict=True):
            packet.time_base = unit
            packet.pts = packet.dts = round(time / unit)
            packet.duration = round((end - time) / unit)
            container.mux(packet)
    return path


SCREEN = [0, 0.05, 0.1, 0.15, 4, 4.05, 6, 6.5]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize("unit", [Fraction(1, 1000), Fraction(1, 90000)], ids=["ms", "90k"])
def test_variable_rates(tmp_path, suffix, unit):
    path = timed_clip(tmp_path / f"screen.{suffix}", [time + 2 for time in SCREEN], unit)
    with video.open_source(str(path)) as source:
        frames = list(source.frames())
    assert [index_of(frame.pixels) for frame in frames] == list(range(8))
    assert [frame.time for frame in frames] == pytest.approx(SCREEN, abs=0.001)
    assert source.problems == []


def test_headers_of_variable_rates(tmp_path):
    with video.open_source(str(timed_clip(tmp_path / "screen.mp4", SCREEN))) as source:
        assert not source.constant_rate
        assert source.announced_seconds == pytest.approx(7)
        assert source.fps == pytest.approx(8 / 7)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(encoded([numbered_frame(0)] * 20, "mp4"))
    with video.open_source(str(clip)) as source:
        assert source.constant_rate


def test_times_measure_progress_where_frames_are_not_counted(tmp_path):
    with video.open_source(str(timed_clip(tmp_path / "screen.mkv", SCREEN))) as source:
        assert not source.constant_rate
        assert source.announced_seconds == pytest.approx(7)


def test_rates_of_headers_without_a_mean(tmp_path):
    path = tmp_path / "clip.ivf"
    path.write_bytes(encoded([numbered_frame(i) for i in range(8)], "ivf", "libvpx", rate=10))
    with video.open_source(str(path)) as source:
        assert (source.fps, source.problems) == (10, [])
        assert [frame.time for frame in source.frames()] == pytest.approx(
            [i / 10 for i in range(8)]
        )


def test_the_last_frame_has_its_duration(tmp_path):
    with video.open_source(str(timed_clip(tmp_path / "screen.mp4", SCREEN))) as source:
        *_, last = source.frames()
    assert last.time + last.duration == pytest.approx(7)


def test_avi_with_frames_out_of_order_has_a_constant_rate(tmp_path):
    path = tmp_path / "clip.avi"
    path.write_bytes(encoded([numbered_frame(i) for i in range(20)], "avi"))
    with video.open_source(str(path)) as source:
        times = [frame.time for frame in source.frames()]
    assert times == pytest.approx([i / 30 for i in range(20)], abs=1e-6)
    assert source.problems == []


def test_chunks_follow_each_other(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        timed_clip(tmp_path / name, SCREEN)
    with video.open_source(str(tmp_path)) as source:
        assert source.announced_seconds == pytest.approx(14)
        times = [frame.time for frame in source.frames()]
    assert times == pytest.approx([*SCREEN, *(7 + time for time in SCREEN)])


def test_skipped_frames_count_for_the_times(tmp_path):
    path = timed_clip(tmp_path / "screen.mp4", SCREEN)
    with video.open_source(str(path)) as source:
        source.skip(4)
        source.peek()
        assert [frame.time for frame in source.frames()] == pytest.approx(SCREEN[4:])


def test_images_come_25_times_a_second(folder):
    with video.open_source(str(folder)) as source:
        times = [frame.time for frame in source.frames()]
    assert times == pytest.approx([i / 25 for i in range(len(times))])
    assert source.announced_seconds == len(times) / 25


def test_a_stated_jump_is_told(tmp_path):
    path = timed_clip(tmp_path / "jump.mkv", [0, 0.05, 20, 20.05])
    with video.open_source(str(path)) as source:
        times = [frame.time for frame in source.frames()]
    assert times == pytest.approx([0, 0.05, 20, 20.05])
    assert "before frame 2" in source.problems[0]

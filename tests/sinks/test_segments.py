"""Segments: when they begin, which are deleted, and what a killed run leaves of them."""

import contextlib
import dataclasses
import errno
import json
import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.state import prefixed, with_prefix
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.runs import directory
from jitnet_tf.runs.summary import Statistics
from jitnet_tf.sinks.base import StreamInfo
from jitnet_tf.sinks.class_masks import ClassMasks
from jitnet_tf.sinks.disk import AppendedFile, is_full
from jitnet_tf.sinks.frame_log import FrameLog
from jitnet_tf.sinks.registry import check_sinks
from jitnet_tf.sinks.segment_files import SegmentFiles, of_ended_segments
from jitnet_tf.sinks.segmented import SegmentedVideo
from jitnet_tf.sinks.segments import Segments

NOON = 1795953600  # 2026-11-29T12:00:00Z
SIZE = (16, 32)


@pytest.fixture(autouse=True)
def noon(monkeypatch):
    """The time of day."""
    monkeypatch.setattr("jitnet_tf.sinks.segments.time.time", lambda: NOON)


def result(index, time=None, lag=None):
    """A result of which the frame's and the prediction's level is the index."""
    frame = np.full((*SIZE, 3), 8 * index % 256, np.uint8)
    made = FrameResult(index, frame, np.full(SIZE, index % 256, np.uint8))
    made.time, made.lag = time, lag
    return made


class Recorded(SegmentFiles):
    """Files that only note what is deleted of them."""

    def __init__(self):
        super().__init__("/nowhere")
        self.deleted = []

    def delete(self, name):
        self.deleted.append(name)


def name(second, first):
    return f"20261129T12{second // 60:02d}{second % 60:02d}Z-{first:09d}"


class TestTheirPlaces:
    def trace(self, segments, times):
        """The first frame of the segment of each frame."""
        found = []
        for index, time in enumerate(times):
            segments.add(result(index, time))
            found.append(segments.current.first)
        return found

    def test_begin_by_the_streams_time(self):
        segments = Segments(2, None, Recorded())
        # A step at exactly the length, a gap within a segment, and one over several.
        times = [0, 0.5, 1.999, 2.0, 2.5, 3.9, 9.0, 10.9, 11.1]
        assert self.trace(segments, times) == [0, 0, 0, 3, 3, 3, 6, 6, 8]
        assert segments.current.name == name(11, 8)

    def test_are_not_longer_for_rounded_times(self):
        times = [7 / 25 + index / 25 for index in range(151)]
        firsts = self.trace(Segments(2, None, Recorded()), times)
        assert sorted(set(firsts)) == [0, 50, 100, 150]

    def test_frames_without_a_time_come_at_the_streams_rate(self):
        segments = Segments(2, None, Recorded(), period=0.5)
        assert self.trace(segments, [None] * 9) == [0, 0, 0, 0, 4, 4, 4, 4, 8]

    def test_those_of_live_streams_are_named_by_the_arrival(self):
        segments = Segments(2, None, Recorded())
        segments.add(result(0, 5.0, lag=3.2))
        assert segments.current.name == "20261129T115957Z-000000000"

    @pytest.mark.parametrize(("time", "begins"), [(1.9, False), (2.0, True)])
    def test_the_next_frame_is_known_to_begin_one(self, time, begins):
        segments = Segments(2, None, Recorded())
        assert not segments.begins(result(0, 7.0))  # the first, which ends none
        segments.add(result(0, 0.0))
        assert segments.begins(result(1, time)) is begins

    def test_a_run_may_have_none(self):
        segments = Segments()
        segments.add(result(0, 0.0))
        segments.saved()
        assert segments.current is None
        assert not segments.begins(result(1, 1e9))
        assert (segments.summary(), segments.get_state(), segments.problems) == ({}, {}, [])
        assert segments.write(lambda: 5) == 5


class TestRetention:
    def test_the_old_are_deleted_at_checkpoints(self):
        files = Recorded()
        segments = Segments(2, 4, files)
        for index in range(10):  # a frame a second
            segments.add(result(index, float(index)))
            if index == 4:
                segments.saved()
                assert files.deleted == []  # the last frame of segment 0 is 3 s old
            if index in (5, 7):  # that of segment 0 is now 4 s old, that of segment 2 not
                segments.saved()
                assert files.deleted == [name(0, 0), name(2, 2)][: (index - 3) // 2]
        assert segments.summary() == {
            "segments": {"written": 5, "kept": 3, "expired": 2, "deleted_on_full_disk": 0}
        }
        assert segments.problems == []

    def test_after_a_long_gap_all_but_the_current_are(self):
        files = Recorded()
        segments = Segments(2, 4, files)
        for index, time in enumerate([0, 2, 4, 500]):
            segments.add(result(index, time))
        segments.saved()
        assert files.deleted == [name(0, 0), name(2, 1), name(4, 2)]
        assert segments.current.name == name(500, 3)

    def test_without_it_none_is_and_no_list_grows(self):
        files = Recorded()
        segments = Segments(1, None, files)
        for index in range(1000):
            segments.add(result(index, float(index)))
            segments.saved()
        assert files.deleted == []
        assert segments.get_state()["first"].tolist() == [999]
        assert segments.summary()["segments"]["kept"] == 1000


def full():
    return OSError(errno.ENOSPC, "No space left on device")


class TestFullDisk:
    def of(self, count, saved_at, keep=100):
        files = Recorded()
        segments = Segments(1, keep, files)
        for index in range(count):
            segments.add(result(index, float(index)))
            if index == saved_at:
                segments.saved()
        return segments, files

    def test_the_oldest_go_until_there_is_room(self):
        segments, files = self.of(5, saved_at=3)

        def write():
            if len(files.deleted) < 2:
                raise full()
            return "written"

        assert segments.write(write) == "written"
        assert files.deleted == [name(0, 0), name(1, 1)]
        assert segments.summary()["segments"] == {
            **{"written": 5, "kept": 3, "expired": 0, "deleted_on_full_disk": 2}
        }
        assert "2 segments were deleted before --keep=100s" in segments.problems[0]

    def test_what_the_last_checkpoint_needs_stays(self):
        segments, files = self.of(5, saved_at=2)

        def write():
            raise full()

        with pytest.raises(OSError, match="No space"):
            segments.write(write)
        assert files.deleted == [name(0, 0), name(1, 1)]

    @pytest.mark.parametrize(
        ("keep", "error"), [(None, full()), (100, OSError(errno.EACCES, "denied"))]
    )
    def test_nothing_goes_without_keep_or_for_another_error(self, keep, error):
        segments, files = self.of(5, saved_at=4, keep=keep)

        def write():
            raise error

        with pytest.raises(OSError, match=error.strerror):
            segments.write(write)
        assert files.deleted == []

    def test_it_is_known_behind_a_users_error(self):
        wrapped = UserError("cannot be written")
        wrapped.__cause__ = full()
        assert is_full(wrapped)
        assert is_full(OSError(errno.EDQUOT, "quota"))
        assert not is_full(UserError("cannot be written"))

    @pytest.mark.parametrize("taken", [0, 2])
    def test_a_line_is_written_wholly_or_not_at_all(self, tmp_path, monkeypatch, taken):
        file = AppendedFile(tmp_path / "log")
        file.append(b"first\n")
        raw = file._file

        class Full:
            fileno, truncate, close = raw.fileno, raw.truncate, raw.close

            def write(self, block):
                if raw.tell() == 6 and taken:
                    return raw.write(block[:taken])
                raise full()

        file._file = Full()
        with pytest.raises(UserError, match="log cannot be written"):
            file.append(b"second\n")
        file._file = raw
        file.append(b"third\n")
        file.close()
        assert (tmp_path / "log").read_bytes() == b"first\nthird\n"


class TestOutputs:
    """Those of a new run, beside what others have left."""

    def config(self, folder, **options):
        options = {"segment": 2.0, "masks": str(folder / "masks"), **options}
        return RunConfig(video="v", teacher="t", logdir=str(folder / "run"), **options)

    @pytest.mark.parametrize("where", ["overlay", "masks"])
    def test_another_runs_segments_are_replaced_only_if_asked(self, tmp_path, where):
        config = self.config(tmp_path, output=str(tmp_path / "overlay"))
        folder = tmp_path / where
        folder.mkdir()
        old = folder / (f"{name(0, 0)}.mp4" if where == "overlay" else name(0, 0))
        old.touch() if where == "overlay" else old.mkdir()
        (folder / "holiday.mp4").touch()
        with pytest.raises(UserError, match=rf"{where} holds segments of another run.*--overwrite"):
            check_sinks(config, resumed=False, overwrite=False)
        if where == "masks":  # also by a run without segments
            plain = dataclasses.replace(config, segment=None, output="none")
            with pytest.raises(UserError, match="masks holds segments of another run"):
                check_sinks(plain, resumed=False, overwrite=False)
        check_sinks(config, resumed=False, overwrite=True)
        assert old.exists()
        stream = StreamInfo(("background",), SIZE, 25.0, Statistics(), overwrite=True)
        for segment in (2.0, None):  # also by a run without segments
            old.touch() if where == "overlay" else old.mkdir(exist_ok=True)
            Segments.open(dataclasses.replace(config, segment=segment), stream, {})
            assert not old.exists()
        assert (folder / "holiday.mp4").exists()

    def test_the_overlay_is_a_folder(self, tmp_path):
        with pytest.raises(UserError, match=r"--output=street\.mp4: with --segment .* a folder"):
            self.config(tmp_path, output="street.mp4")
        assert self.config(tmp_path).overlay_path == str(tmp_path / "run" / "overlay")
        assert self.config(tmp_path, output="none").overlay_path is None

    def test_a_long_part_is_not_all_in_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr("jitnet_tf.sinks.segmented._MOST_BUFFERED", 3000)
        segments = Segments(100.0, None, SegmentFiles(tmp_path))
        video = SegmentedVideo(tmp_path / "overlay", 25.0, tmp_path / "parts", segments)
        noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8)
        for index, frame in enumerate(noise):
            segments.add(result(index, index / 25))
            video.write(frame, index / 25, 0.04)
        assert len(list((tmp_path / "parts" / segments.current.name).iterdir())) > 1
        video.finish()
        [path] = (tmp_path / "overlay").iterdir()
        with av.open(str(path)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        assert times == pytest.approx([index / 25 for index in range(60)])


class TestState:
    def test_is_restored(self, tmp_path):
        files = SegmentFiles(tmp_path)
        segments = Segments(2, 4, files)
        for index in range(10):
            segments.add(result(index, float(index)))
            (tmp_path / f"frames-{segments.current.name}.jsonl").touch()
        state = segments.get_state()
        again = Segments(2, 4, files)
        again.set_state(state)
        assert len(list(tmp_path.iterdir())) == 2
        again.add(result(10, 10.0))
        segments.saved()
        segments.add(result(10, 10.0))
        assert again.current == segments.current
        assert again.summary() == segments.summary()
        assert again.summary()["segments"]["expired"] == 3
        assert again.get_state().keys() == state.keys()

    @pytest.mark.parametrize(
        "change",
        [
            {"first": [3, 3]},
            {"first": [-1, 3]},
            {"first": []},
            {"start": [0.0]},
            {"last": [-1.0, -1.0]},
            {"utc": [0.0, np.nan]},
            {"utc": ["a", "b"]},
            {"counts": [1, 2]},
            {"origin": [1.0, 2.0]},
        ],
    )
    def test_of_another_kind_is_refused(self, tmp_path, change):
        segments = Segments(2, None, SegmentFiles(tmp_path))
        state = {
            **{"first": [0, 3], "start": [0.0, 2.0], "utc": [0, 2], "last": [1.0, 3.0]},
            **{"counts": [2, 0, 0], "origin": [0.0]},
        }
        for segment in ("19700101T000000Z-000000000", "19700101T000002Z-000000003"):
            (tmp_path / f"frames-{segment}.jsonl").touch()
        segments.set_state({name: np.array(values) for name, values in state.items()})
        with pytest.raises((ValueError, TypeError)):
            segments.set_state({n: np.array(v) for n, v in {**state, **change}.items()})


def test_files_of_ended_segments_are_known_by_their_names():
    old, new = name(0, 0), name(9, 1234567890)
    names = ["frames.jsonl", "events.out.tfevents.1.h.5.0.v2", f"frames-{new}.jsonl"]
    ended = [f"frames-{old}.jsonl", f"events.out.tfevents.1.h.5.1.{old}.v2"]
    assert of_ended_segments([*names, *ended]) == set(ended)
    assert of_ended_segments(names) == set()


class Killed(BaseException):
    """The process is gone: nothing is done after it."""


class Output:
    """What a run writes of a stream in segments, without the student.

    Args:
      folder: of all outputs.
      times: seconds of the frames.
      options: segment and keep.
      every: frames between checkpoints.
    """

    def __init__(self, folder, times, options, every):
        self.config = RunConfig(
            **{"video": "v", "teacher": "t", "logdir": str(folder / "run")},
            **{"masks": str(folder / "masks"), **options},
        )
        self._times, self._every = times, every

    def run(self, resume=False):
        """Writes all frames, from the checkpoint on."""
        config, arrays, progress = self.config, {}, {"frames": 0}
        if resume and Path(config.logdir, checkpoint.NAME).exists():
            arrays, progress = checkpoint.load(config.logdir)
            directory.restart(config, progress)
        else:
            directory.start(config, {})
        done = progress["frames"]
        stream = StreamInfo(("background",), SIZE, 25.0, Statistics(), done if resume else None)
        segments = Segments.open(config, stream, with_prefix("segments/", arrays))
        stream = dataclasses.replace(stream, segments=segments)
        parts = Path(config.logdir, "video_parts")
        video = SegmentedVideo(config.overlay_path, 25.0, parts, segments, stream.resume_at)
        masks, log = ClassMasks.open(config, stream), FrameLog.open(config, stream)

        def save():
            video.cut()
            progress = {"frames": done, "file_sizes": checkpoint.growing_files(config.logdir)}
            state = prefixed("segments/", segments.get_state())
            checkpoint.save(config.logdir, state, progress)

        try:
            for index in range(done, len(self._times)):
                made = result(index, self._times[index])
                ends = segments.begins(made)
                segments.add(made)
                video.write(made.frame, made.time, 0.04)
                masks.add(made)
                log.add(made)
                done = index + 1
                if ends or done % self._every == 0:
                    segments.write(save)
                    segments.saved()
            segments.write(save)
            segments.saved()
            video.finish()
        finally:
            log.close()
        return segments.summary()["segments"]

    def read(self):
        """Returns the frames of each segment by name, checking that all outputs have the same."""
        logdir, overlay = Path(self.config.logdir), Path(self.config.overlay_path)
        logs = {p.stem.removeprefix("frames-"): p for p in logdir.glob("frames*.jsonl")}
        frames = {}
        for segment, path in logs.items():
            frames[segment] = [json.loads(line)["frame"] for line in path.read_text().splitlines()]
            assert decoded(overlay / f"{segment}.mp4") == frames[segment]
            masks = sorted(os.listdir(Path(self.config.masks, segment)))
            assert masks == [*(f"{i:06d}.png" for i in frames[segment]), "classes.json"]
        assert sorted(os.listdir(overlay)) == sorted(f"{segment}.mp4" for segment in frames)
        assert sorted(os.listdir(self.config.masks)) == [*sorted(frames), "classes.json"]
        assert not (logdir / "video_parts").exists()
        return frames


def decoded(path):
    """The indices of the frames in a segment of the overlay, which starts at time 0."""
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    assert pictures[0].time == 0
    return [round(float(p.to_ndarray(format="rgb24").mean()) / 8) for p in pictures]


TIMES = [*np.arange(14) / 2, *(10 + np.arange(10) / 2)]  # 2 a second, and a gap of 3 s
OPTIONS = {"segment": 2.0, "keep": 8.5}


def test_a_run_leaves_whole_segments(tmp_path):
    output = Output(tmp_path, TIMES, OPTIONS, every=3)
    assert output.run() == {"written": 7, "kept": 4, "expired": 3, "deleted_on_full_disk": 0}
    assert output.read() == {
        name(6, 12): [12, 13],
        name(10, 14): [14, 15, 16, 17],
        name(12, 18): [18, 19, 20, 21],
        name(14, 22): [22, 23],
    }


@pytest.mark.parametrize("keep", [None, 8.5, 1000.0])
def test_another_keep_holds_for_the_segments_before_it(tmp_path, keep):
    """Of frames 0…13, to 6.5 s, none is old enough for the first one."""
    Output(tmp_path, TIMES[:14], {"segment": 2.0, "keep": keep}, every=3).run()
    output = Output(tmp_path, TIMES, OPTIONS, every=3)
    assert output.run(resume=True) == {
        **{"written": 7, "kept": 4, "expired": 3, "deleted_on_full_disk": 0}
    }
    assert sorted(output.read()) == [name(6, 12), name(10, 14), name(12, 18), name(14, 22)]


@pytest.mark.parametrize(("keep", "kept"), [(None, 7), (2.0, 2)])
def test_a_longer_and_a_shorter_keep_hold_from_then_on(tmp_path, keep, kept):
    Output(tmp_path, TIMES[:14], OPTIONS, every=3).run()
    output = Output(tmp_path, TIMES, {"segment": 2.0, "keep": keep}, every=3)
    counts = output.run(resume=True)
    assert (counts["kept"], counts["expired"]) == (kept, 7 - kept)
    assert len(output.read()) == kept


def test_a_segment_of_unknown_age_stays_and_is_told(tmp_path):
    first = Output(tmp_path, TIMES[:14], {"segment": 2.0}, every=3)
    first.run()
    log = Path(first.config.logdir, f"frames-{name(2, 4)}.jsonl")
    log.write_bytes(log.read_bytes().replace(b"}", b""))
    files = SegmentFiles(first.config.logdir, masks=first.config.masks)
    segments = Segments(2.0, 4.0, files)
    segments.set_state(with_prefix("segments/", checkpoint.load(first.config.logdir)[0]))
    assert segments.get_state()["first"].tolist() == [8, 12]  # 0 is too old
    assert log.exists()
    assert "damaged: 1; they are not deleted" in segments.problems[0]


class TestDeletedByHand:
    def test_without_keep_the_run_goes_on(self, tmp_path):
        """A log alone, too: its video and masks stay."""
        first = Output(tmp_path, TIMES[:14], {"segment": 2.0}, every=3)
        first.run()
        logdir, overlay = Path(first.config.logdir), Path(first.config.overlay_path)
        SegmentFiles(logdir, masks=first.config.masks).delete(name(0, 0))
        (logdir / f"frames-{name(2, 4)}.jsonl").unlink()
        output = Output(tmp_path, TIMES, {"segment": 2.0}, every=3)
        output.run(resume=True)
        assert decoded(overlay / f"{name(2, 4)}.mp4") == [4, 5, 6, 7]
        assert Path(first.config.masks, name(2, 4), "000004.png").exists()
        names = sorted(path.stem for path in overlay.iterdir())
        assert names[:2] == [name(2, 4), name(4, 8)]
        assert len(names) == 6

    def test_with_keep_they_are_told(self, tmp_path):
        first = Output(tmp_path, TIMES[:14], {"segment": 2.0, "keep": 1000.0}, every=3)
        first.run()
        SegmentFiles(first.config.logdir, masks=first.config.masks).delete(name(2, 4))
        output = Output(tmp_path, TIMES, {"segment": 2.0, "keep": 1000.0}, every=3)
        counts = output.run(resume=True)
        assert counts["kept"] == len(output.read()) == 6

    def test_the_latest_has_to_be_there(self, tmp_path):
        first = Output(tmp_path, TIMES[:14], {"segment": 2.0}, every=3)
        first.run()
        Path(first.config.logdir, f"frames-{name(6, 12)}.jsonl").unlink()
        with pytest.raises(UserError, match=r"frames-.*000000012\.jsonl.* is missing or shorter"):
            first.run(resume=True)


def kill_at(monkeypatch, number):
    """Lets the process be gone at its so-manieth change of the file system."""
    left = [number]

    def dying(function):
        def called(*arguments, **options):
            left[0] -= 1
            if left[0] <= 0:
                raise Killed
            return function(*arguments, **options)

        return called

    for changed in ("replace", "unlink", "rmdir", "truncate", "mkdir"):
        monkeypatch.setattr(os, changed, dying(getattr(os, changed)))
    monkeypatch.setattr(AppendedFile, "append", dying(AppendedFile.append))


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 250), min_size=1, max_size=2), st.integers(3, 30))
def test_killed_anywhere_and_resumed_a_run_leaves_the_same(tmp_path_factory, kills, every):
    killed = Output(tmp_path_factory.mktemp("killed"), TIMES, OPTIONS, every)
    for attempt, number in enumerate(kills):
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at(monkeypatch, number)
            try:
                killed.run(resume=attempt > 0)
            except Killed:
                continue
        break
    assert killed.run(resume=True) == {
        **{"written": 7, "kept": 4, "expired": 3, "deleted_on_full_disk": 0}
    }
    kept = {name(6, 12): 12, name(10, 14): 14, name(12, 18): 18, name(14, 22): 22}
    assert killed.read() == {
        segment: list(range(first, end))
        for (segment, first), end in zip(kept.items(), (14, 18, 22, 24), strict=True)
    }


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a file system of so many kB, or gives it another size."""

    def make(size):
        options = f"size={size}k" + (",remount" if os.path.ismount(tmp_path) else "")
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "jitnet_tf_test", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            pytest.skip(f"cannot make a file system: {made.stderr.strip()}")
        return tmp_path

    yield make
    if os.path.ismount(tmp_path):
        subprocess.run(["umount", str(tmp_path)], check=True)


def all_frames(output):
    """The indices of all frames that a run has kept, in the order of the segments' names."""
    return [index for _, indices in sorted(output.read().items()) for index in indices]


def open_files():
    """The paths of this process's open files."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found.append(os.readlink(descriptor))
    return found


class TestSmallDisk:
    @pytest.mark.parametrize("size", [132, 152, 172])
    def test_the_oldest_segments_go(self, small_disk, size):
        output = Output(small_disk(size), TIMES, {"segment": 2.0, "keep": 1000.0}, every=3)
        counts = output.run()
        assert counts["deleted_on_full_disk"] == 7 - counts["kept"] > 0
        assert len(output.read()) == counts["kept"]
        kept = all_frames(output)
        assert kept == list(range(24 - len(kept), 24))
        # An open file would keep the space of what was deleted.
        assert not [path for path in open_files() if path.startswith(str(small_disk(size)))]

    @pytest.mark.parametrize("size", [60, 76])  # before any was deleted, and after
    def test_without_room_the_run_ends_and_is_resumed(self, small_disk, size):
        output = Output(small_disk(size), TIMES, {"segment": 2.0, "keep": 1000.0}, every=3)
        with pytest.raises((UserError, OSError)) as error:
            output.run()
        assert is_full(error.value)
        done = checkpoint.load(output.config.logdir)[1]["frames"]
        assert 0 < done < 24
        small_disk(1000)
        counts = output.run(resume=True)
        assert counts["kept"] == len(output.read()) == (7 if size == 60 else 6)
        assert counts["deleted_on_full_disk"] == 7 - counts["kept"]
        kept = all_frames(output)
        assert kept == list(range(24 - len(kept), 24))

    def test_without_keep_none_goes(self, small_disk):
        output = Output(small_disk(152), TIMES, {"segment": 2.0}, every=3)
        with pytest.raises((UserError, OSError)) as error:
            output.run()
        assert is_full(error.value)
        assert len(list(Path(output.config.overlay_path).iterdir())) > 1
        small_disk(1000)
        assert output.run(resume=True)["kept"] == 7
        assert all_frames(output) == list(range(24))

"""Runs as a library: sinks of the caller's own, a loop of the caller's, state by prefix."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.distillation import build
from jitnet_tf.distillation.training import DivergedError
from jitnet_tf.runs import directory, report
from jitnet_tf.runs.run import Run
from jitnet_tf.sinks.base import Sink
from teacher.base import TeacherError
from tests.commands import different_arrays
from tests.materials import write_square_stream

COUNT = 12


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", COUNT)


@pytest.fixture
def config(material, tmp_path):
    return RunConfig(
        video=material.video,
        teacher=f"recorded:{material.recording}",
        reference=material.recording,
        logdir=str(tmp_path / "run"),
        output="none",
        init="random",
        max_updates=1,
        min_stride=2,
        checkpoint_every=5,
        student=StudentConfig(width=0.25),
    )


class Counter(Sink):
    """Remembers what it was told, and counts frames across runs."""

    def __init__(self, name="counter"):
        self.name, self.calls, self.frames = name, [], 0

    def add(self, result):
        self.calls.append(result.index)
        self.frames += 1

    def flush(self):
        self.calls.append("flush")

    def get_state(self):
        return {"frames": np.array(self.frames)}

    def set_state(self, state):
        self.calls.append("set_state")
        self.frames = int(state["frames"])

    def finish(self, complete):
        self.calls.append(complete)


def rows(config):
    path = f"{config.logdir}/frames.jsonl"
    with open(path, encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [{name: value for name, value in row.items() if name != "ms"} for row in found]


@pytest.mark.slow
def test_two_sinks_of_ones_own_are_told_everything_and_resumed(config):
    first, second = Counter("first"), Counter("second")
    with Run(config, sinks=[first, second]) as opened:
        for index in range(7):
            assert opened.advance().index == index
        summary = opened.finish(complete=False)
    assert (summary["complete"], summary["frames"]) == (False, 7)
    expected = [0, 1, 2, 3, 4, "flush", 5, 6, "flush", False]
    assert first.calls == second.calls == expected
    arrays, progress = checkpoint.load(config.logdir)
    assert progress["frames"] == 7
    assert {"sinks/first/frames", "sinks/second/frames"} <= arrays.keys()
    parts = {name.split("/")[0] for name in arrays}
    assert parts == {"distiller", "sinks"}

    first, second = Counter("first"), Counter("second")
    with Run(config, sinks=[first, second], resume=True) as opened:
        summary = opened.execute()
    assert (summary["complete"], summary["frames"]) == (True, COUNT)
    assert first.calls == ["set_state", 7, 8, 9, "flush", 10, 11, "flush", True]
    assert (first.frames, second.frames) == (COUNT, COUNT)


@pytest.mark.slow
def test_a_loop_of_the_callers_does_what_execute_does(config, tmp_path):
    other = RunConfig(**{**vars(config), "logdir": str(tmp_path / "other")})
    with Run(config) as opened:
        opened.execute()
    with Run(other) as opened:
        results = []
        while (result := opened.advance()) is not None:
            results.append(result)
        assert opened.advance() is None
        summary = opened.finish()
    assert summary["complete"]
    assert [result.index for result in results] == list(range(COUNT))
    assert rows(config) == rows(other)
    assert different_arrays(config.logdir, other.logdir) == []


def test_max_frames_ends_the_run(config):
    short = RunConfig(**{**vars(config), "max_frames": 3})
    with Run(short) as opened:
        assert [opened.advance() is not None for _ in range(4)] == [True, True, True, False]
        assert opened.finish()["complete"]


def test_a_recording_serves_smaller_frames(config):
    """As teacher and as reference; the report says so."""
    small = dataclasses.replace(config, frame_size=(48, 64), max_frames=2)
    with Run(small) as opened:
        summary = opened.execute()
    [problem] = summary["problems"]
    assert "64×96 frames: masks are scaled to 48×64" in problem
    assert summary["per_class_iou"].keys() == {"person"}


class Nameless(Sink):
    pass


@pytest.mark.parametrize(
    "sinks",
    [[Counter(), Counter()], [Counter("overlay")], [Nameless()]],
    ids=["a name twice", "a name that is taken", "no name"],
)
def test_sinks_without_names_of_their_own_are_refused_before_anything_is_lost(config, sinks):
    earlier = pathlib.Path(config.logdir)
    earlier.mkdir()
    for name, text in (("config.json", config.to_json()), ("summary.json", "{}")):
        (earlier / name).write_text(text)
    with pytest.raises(ValueError, match="names of their own"):
        Run(config, sinks=sinks, overwrite=True)
    assert sorted(path.name for path in earlier.iterdir()) == ["config.json", "summary.json"]


def test_a_failing_sink_ends_the_run_and_keeps_the_checkpoint(config):
    class Full(Sink):
        name = "full"

        def add(self, result):
            if result.index == 8:
                raise OSError("no space left")

    failure = pytest.raises(UserError, match=r"no space left.*--resume")
    with failure, Run(config, sinks=[Full()]) as opened:
        opened.execute()
    assert checkpoint.load(config.logdir)[1]["frames"] == 5


def test_a_run_left_before_its_end_is_not_complete_and_takes_further_sinks(config):
    with Run(config) as opened:
        opened.advance()
        assert not opened.finish()["complete"]
    counter = Counter()  # which the run did not have
    with Run(config, sinks=[counter], resume=True) as opened:
        while opened.advance() is not None:
            pass
        assert opened.finish()["complete"]
    assert counter.frames == COUNT - 1
    assert "set_state" not in counter.calls


class Complaining(Counter):
    """Finds each frame odd, and the whole stream too."""

    problems = ()

    def add(self, result):
        self.problems = (*self.problems, "the stream is odd", f"frame {result.index} is odd")


def test_problems_of_all_parts_are_kept_across_a_resume_each_once(config):
    """A source's are found again, when a resumed run reads the video; the others are saved."""

    def run(frames, **options):
        with Run(config, sinks=[Complaining()], **options) as opened:
            opened.source._note("half of the frames are missing")
            opened._inputs.teacher.problems = ["labels are coarse"]
            opened.note("the run is short")
            for _ in range(frames):
                opened.advance()
            return opened.finish(complete=False)["problems"]

    found = ["half of the frames are missing", "the run is short", "labels are coarse"]
    found += ["the stream is odd", "frame 0 is odd", "frame 1 is odd"]
    assert run(2) == found
    assert checkpoint.load(config.logdir)[1]["problems"] == found[1:]
    assert run(1, resume=True) == [*found, "frame 2 is odd"]


def test_a_run_that_its_teacher_ends_is_kept_and_resumed(config, monkeypatch):
    with Run(config) as opened:
        teacher = opened.distiller.teacher

        def failing(frame, index):
            if index >= 6:
                raise TeacherError("out of luck", index)
            return teacher(frame, index)

        monkeypatch.setattr(opened.distiller, "teacher", failing)
        with pytest.raises(UserError, match=r"frame \d+: out of luck.*--resume") as error:
            opened.execute()
    [index] = re.findall(r"frame (\d+)", str(error.value))
    summary = json.loads(pathlib.Path(config.logdir, "summary.json").read_text())
    assert (summary["frames"], summary["complete"]) == (int(index), False)
    assert any("out of luck" in problem for problem in summary["problems"])
    with Run(config, resume=True) as opened:
        summary = opened.execute()
    assert (summary["frames"], summary["complete"], summary["problems"]) == (COUNT, True, [])


def test_resuming_is_offered_only_where_there_is_a_checkpoint(config, monkeypatch):
    """Nothing is written yet when the first frame is tried."""
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_warm_up", lambda *_: pathlib.Path("/nowhere/x").read_bytes())
        with pytest.raises(UserError, match="nowhere") as error:
            Run(config)
    assert "--resume" not in str(error.value)


def test_a_diverged_run_keeps_its_last_checkpoint(config, monkeypatch):
    with Run(config) as opened:
        for _ in range(5):
            opened.advance()

        def diverges(frame):
            raise DivergedError("diverged")

        monkeypatch.setattr(opened.distiller, "step", diverges)
        for end in (opened.advance, opened.finish):
            with pytest.raises(DivergedError):
                end()
    assert checkpoint.load(config.logdir)[1]["frames"] == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frames", -1),
        ("frames", 2),
        ("frame_size", "64x96"),
        ("thumbnail", [[0] * 16] * 15),
        ("thumbnail", None),
        ("statistics", []),
        ("file_sizes", {"frames.jsonl": "1"}),
        ("problems", 5),
    ],
)
def test_a_checkpoint_with_damaged_progress_is_refused(config, monkeypatch, name, value):
    with Run(config) as opened:
        opened.advance()
        opened.finish(complete=False)
    arrays, progress = checkpoint.load(config.logdir)
    checkpoint.save(config.logdir, arrays, {**progress, name: value})
    monkeypatch.setattr(build, "build_student", lambda *_: opened.distiller.student)  # built once
    with pytest.raises(UserError, match="--resume"):
        Run(config, resume=True)


def test_a_checkpoint_of_another_version_is_refused(config):
    with Run(config) as opened:
        opened.advance()
        opened.finish(complete=False)
    arrays, progress = checkpoint.load(config.logdir)
    older = {name.removeprefix("distiller/student/"): array for name, array in arrays.items()}
    checkpoint.save(config.logdir, older, progress)
    with pytest.raises(UserError, match=r"--resume.*--overwrite"):
        Run(config, resume=True)


@pytest.mark.parametrize(
    "text", ["[]", '"complete"', '{"complete": 1}', "{" * 100_000, "\\xff", ""]
)
def test_a_damaged_summary_is_of_no_complete_run(tmp_path, text):
    (tmp_path / directory.SUMMARY).write_text(text)
    assert not directory.is_complete(tmp_path)


LOOKAHEAD = {
    "fusion": "gate",
    "infer_every": 2,
    "lookahead": True,
    "max_stride": 4,
    "min_stride": 4,
}


@pytest.mark.slow
def test_a_run_that_looks_ahead_is_resumed_to_the_bit_and_says_so(config, tmp_path):
    whole = dataclasses.replace(config, **LOOKAHEAD)
    parts = dataclasses.replace(whole, logdir=str(tmp_path / "parts"))
    with Run(whole) as opened:
        summary = opened.execute()
    with Run(parts) as opened:
        for _ in range(6):  # the next frame has labels on both sides
            opened.advance()
        opened.finish(complete=False)
    with Run(parts, resume=True) as opened:
        resumed = opened.execute()
    assert rows(whole) == rows(parts)
    assert different_arrays(whole.logdir, parts.logdir) == []
    for name in ("frames", "teacher_frames", "mean_iou", "lookahead"):
        assert summary[name] == resumed[name]
    assert summary["lookahead"]
    assert "looked ahead" in report.table(summary)
    found = [row.get("ahead") for row in rows(whole)]
    assert found == [None, 4, 4, 4, None, 8, 8, 8, None, 11, 11, None]
    assert [row["frame"] for row in rows(whole) if row["teacher"]] == [0, 4, 8, 11]


@pytest.mark.slow
def test_max_frames_is_the_end_in_sight(config):
    """A recording may have no more."""
    short = dataclasses.replace(config, max_frames=7, **LOOKAHEAD)
    with Run(short) as opened:
        summary = opened.execute()
    assert (summary["complete"], summary["frames"], summary["teacher_frames"]) == (True, 7, 3)
    assert [row["frame"] for row in rows(short) if row["teacher"]] == [0, 4, 6]

"""Runs with the options beyond the paper: interrupted, resumed, asynchronous, damaged."""

import shutil

import cv2
import numpy as np
import pytest

from jitnet_tf import distill
from jitnet_tf.base import checkpoint
from tests.commands import (
    different_arrays,
    read_files,
    read_frames,
    read_summary,
    refusal,
    run_command,
)
from tests.materials import write_square_stream

FRAMES, CUT = 36, 21
OPTIONS = (
    *("--optimizer=adam", "--learning_rate=.001", "--accuracy_threshold=.9", "--max_updates=4"),
    *("--update_policy=replay", "--replay_memory=2", "--fusion=gate", "--infer_every=2"),
    *("--teacher_budget=.2", "--min_stride=2", "--triggers=cut,novelty"),
    *("--width=.25", "--init=random", "--output=none", "--xla=off"),
)


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", FRAMES, (0, 1))


def arguments(stream, logdir, frames=FRAMES, reference=True):
    inputs = [f"--video={stream.video}", f"--teacher=recorded:{stream.recording}"]
    if reference:
        inputs.append(f"--reference={stream.recording}")
    return [*inputs, *OPTIONS, f"--logdir={logdir}", f"--max_frames={frames}"]


@pytest.fixture(scope="module")
def runs(stream, tmp_path_factory):
    """Run directories: one without a break, one interrupted (a copy is kept) and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    assert run_command(distill, *arguments(stream, folder / "whole"), "--shown=teacher") == 0
    parts = [*arguments(stream, folder / "parts", CUT), "--shown=teacher"]
    assert run_command(distill, *parts) == 0
    shutil.copytree(folder / "parts", folder / "half")
    resume = ("--resume", f"--logdir={folder / 'parts'}", f"--max_frames={FRAMES}")
    assert run_command(distill, *resume) == 0
    return folder


def without_times(logdir):
    return [{k: v for k, v in row.items() if k != "ms"} for row in read_frames(logdir)]


@pytest.mark.slow
def test_a_resumed_run_is_as_if_uninterrupted(runs):
    rows = without_times(runs / "whole")
    assert rows == without_times(runs / "parts")
    assert different_arrays(runs / "whole", runs / "parts") == []
    summaries = [read_summary(runs / name) for name in ("whole", "parts")]
    for name in ("updates", "teacher_frames", "accuracy_shown", "stage_frames", "mean_iou"):
        assert summaries[0][name] == summaries[1][name]
    assert sum(row["updates"] for row in rows) > 0


@pytest.mark.slow
def test_figures(runs, capsys):
    rows, summary = read_frames(runs / "whole"), read_summary(runs / "whole")
    teacher_frames = [row for row in rows if row["teacher"]]
    assert len(teacher_frames) <= 0.2 * FRAMES + 1
    shown = [row["accuracy_shown"] for row in teacher_frames]
    assert summary["accuracy_shown"] == pytest.approx(np.mean(shown), abs=1e-5)
    assert summary["budget_used"] == pytest.approx(len(teacher_frames) / FRAMES / 0.2)
    # The teacher's own labels are shown on its frames.
    assert [row["iou"] for row in teacher_frames] == [1.0] * len(teacher_frames)
    ran = {name: sum(name in row["ms"] for row in rows) for name in ("infer", "flow", "fuse")}
    assert {name: summary["stage_frames"][name] for name in ran} == ran
    assert ran["infer"] == ran["fuse"] < ran["flow"] == FRAMES


@pytest.mark.slow
def test_an_asynchronous_run(stream, tmp_path, capsys):
    options = ("--teacher_mode=async", "--max_staleness=2")
    logdir = tmp_path / "run"
    assert run_command(distill, *arguments(stream, logdir), *options) == 0
    rows, summary = read_frames(logdir), read_summary(logdir)
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert 1 <= summary["teacher_frames"] <= 0.2 * FRAMES + 1
    assert all(0 <= row["accuracy_shown"] <= 1 for row in rows if row["teacher"])
    report = capsys.readouterr().out
    assert "accuracy shown" in report
    assert "budget 20.0 %" in report


def first(arrays, start, end=""):
    return next(name for name in arrays if name.startswith(start) and name.endswith(end))


def another_size(arrays):
    name = first(arrays, "distiller/policy/", "/frame")
    arrays[name] = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].ravel()


def cut_png(arrays):
    name = first(arrays, "distiller/policy/", "/labels")
    arrays[name] = arrays[name][:30]


def no_gate(arrays):
    del arrays["distiller/output/gate/mean"]


def no_numbers(arrays):
    arrays["distiller/output/gate/mean"][:] = np.nan


def no_order(arrays):
    arrays["distiller/schedule/asked"] = np.array([9, 3])


def no_thumbnail(arrays):
    arrays["distiller/triggers/0/last"] = np.zeros((2, 2, 3), np.int16)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [another_size, cut_png, no_gate, no_numbers, no_order, no_thumbnail]
)
def test_damaged_checkpoints_are_refused(runs, tmp_path, capsys, damage):
    shutil.copytree(runs / "half", tmp_path / "half")
    arrays, progress = checkpoint.load(tmp_path / "half")
    damage(arrays)
    checkpoint.save(tmp_path / "half", arrays, progress)
    before = read_files(tmp_path)
    capsys.readouterr()
    resume = ("--resume", f"--logdir={tmp_path / 'half'}", f"--max_frames={FRAMES}")
    assert "--overwrite" in refusal(distill, tmp_path, capsys, *resume)
    assert read_files(tmp_path) == before

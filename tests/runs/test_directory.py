"""Run directories: moved with their outputs, and complete ones that are to go on."""

import dataclasses
import json

import pytest

from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import PretrainConfig, RunConfig
from jitnet_tf.runs import directory


@pytest.fixture
def config(tmp_path):
    return RunConfig(video="v", teacher="t", logdir=str(tmp_path / "runs" / "x"), max_frames=40)


def written(config, complete=True, **progress):
    directory.start(config, {})
    needed = {"file_sizes": {}, "frame_size": [4, 4], "statistics": {}, "seconds": 1.0}
    needed["thumbnail"] = [[0] * 16] * 16
    checkpoint.save(config.logdir, {}, {**needed, **progress})
    directory.write_summary(config.logdir, {"complete": complete})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("runs/x/masks", "runs/y/masks"),
        ("runs/x/deep/masks", "runs/y/deep/masks"),
        ("runs/x2/masks", "runs/x2/masks"),
        ("masks", "masks"),
    ],
)
@pytest.mark.parametrize("is_absolute", [True, False])
def test_outputs_move_with_their_run_directory(
    tmp_path, monkeypatch, output, expected, is_absolute
):
    """Also those of older versions, which kept paths as they were given."""
    monkeypatch.chdir(tmp_path)
    root = f"{tmp_path}/" if is_absolute else ""
    config = RunConfig(
        video="v", teacher="t", logdir=f"{root}runs/x", masks=root + output, output="none"
    )
    (tmp_path / "runs" / "y").mkdir(parents=True)
    (tmp_path / "runs" / "y" / "config.json").write_text(config.to_json())
    found = directory.load_config(f"{root}runs/y")
    assert (found.logdir, found.masks) == (f"{root}runs/y", root + expected)
    assert found.output == "none"


def test_outputs_are_kept_as_absolute_paths(tmp_path, monkeypatch):
    """--resume from another folder writes to the same places."""
    monkeypatch.chdir(tmp_path)
    directory.start(RunConfig(video="v", teacher="t", logdir="x", masks="m", output="o.mp4"), {})
    kept = json.loads((tmp_path / "x" / "config.json").read_text())
    assert [kept[name] for name in ("logdir", "masks", "output")] == [
        f"{tmp_path}/{name}" for name in ("x", "m", "o.mp4")
    ]


def test_a_complete_run_goes_on_to_more_frames(config):
    written(config, frames=40)
    for limit in (60, None):
        more = dataclasses.replace(config, max_frames=limit)
        assert directory.find_checkpoint(more, resume=True, overwrite=False)[1]["frames"] == 40
    with pytest.raises(UserError, match="is complete"):
        directory.find_checkpoint(config, resume=True, overwrite=False)


def test_a_run_at_the_end_of_its_video_does_not(config):
    written(config, frames=35)
    more = dataclasses.replace(config, max_frames=60)
    with pytest.raises(UserError, match="is complete"):
        directory.find_checkpoint(more, resume=True, overwrite=False)


def test_a_live_run_that_its_user_ended_goes_on(config):
    endless = dataclasses.replace(config, max_frames=None)
    written(endless, frames=35, live=True)
    found = directory.find_checkpoint(endless, resume=True, overwrite=False)
    assert found[1]["frames"] == 35


def test_a_complete_pretraining_goes_on_to_more_steps(config):
    config = PretrainConfig(logdir=config.logdir, steps=10)
    written(config, step=10)
    more = dataclasses.replace(config, steps=20)
    assert directory.find_checkpoint(more, resume=True, overwrite=False)[1]["step"] == 10
    with pytest.raises(UserError, match="is complete"):
        directory.find_checkpoint(config, resume=True, overwrite=False)


def test_a_run_that_goes_on_is_complete_no_longer(config):
    """Killed, it can be resumed without giving the number of frames again."""
    written(config, frames=40)
    more = dataclasses.replace(config, max_frames=60)
    directory.restart(more, checkpoint.load(config.logdir)[1])
    assert not directory.is_complete(config.logdir)
    assert directory.load_config(config.logdir).max_frames == 60

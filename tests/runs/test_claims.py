"""Claims on outputs: default run directories, and what two processes may not share."""

import contextlib
import pathlib

import pytest

from jitnet_tf.base import locks
from jitnet_tf.base.locks import InUseError
from jitnet_tf.config import PretrainConfig, RunConfig
from jitnet_tf.runs import claims


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("sample", "sample"),
        ("0", "0"),
        ("street.mp4", "street"),
        ("cam1/clip.mp4", "cam1-clip"),
        ("cam2/clip.mp4", "cam2-clip"),
        ("cam2/", "cam2"),
        ("../clip.mp4", "clip"),
        ("/data/videos/night run.mp4", "videos-night-run"),
        ("frames/img_%04d.png", "frames-img_%04d"),
        ("rtsp://10.0.0.1:554/stream1", "10.0.0.1-554-stream1"),
        ("http://me:secret@host/cam/a.mjpg?token=secret", "host-a.mjpg"),
        ("rtsp://host/", "host"),
        ("/dev/stdin", "stdin"),
        ("/dev/video0", "video0"),
        ("/", "stream"),
    ],
)
def test_default_name(source, name):
    assert claims.name_of(source) == name


def test_default_name_of_an_absolute_path_in_the_working_directory(folder):
    assert claims.name_of(str(folder / "street.mp4")) == "street"


def claim(stack, overwrite=False, **values):
    return claims.claim(RunConfig(teacher="t", **values), stack, overwrite)[0]


def test_two_runs_at_once_get_directories_of_their_own():
    with contextlib.ExitStack() as stack:
        one, two = (claim(stack, video="street.mp4") for _ in range(2))
    assert (one.logdir, two.logdir) == ("runs/street", "runs/street-2")
    with contextlib.ExitStack() as stack:  # nothing has been written to them
        assert claim(stack, video="street.mp4").logdir == "runs/street"
    assert not pathlib.Path("runs").exists()


@pytest.mark.parametrize(
    ("video", "overwrite", "expected"),
    [
        ("a/street.mp4", False, "runs/a-street-2"),
        ("a/street.mp4", True, "runs/a-street"),
        ("b/a/street.mp4", True, "runs/a-street-2"),
    ],
)
def test_only_a_run_of_the_same_video_is_overwritten_unasked(video, overwrite, expected):
    earlier = RunConfig(video="a/street.mp4", teacher="t", logdir="runs/a-street")
    pathlib.Path("runs/a-street").mkdir(parents=True)
    pathlib.Path("runs/a-street/config.json").write_text(earlier.to_json())
    with contextlib.ExitStack() as stack:
        assert claim(stack, overwrite, video=video).logdir == expected


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"logdir": "run"}, "--logdir=run "),
        ({"logdir": "other", "output": "./out.mp4"}, "--output=./out.mp4 "),
        ({"logdir": "other", "output": "none", "masks": "masks/"}, "--masks=masks/ "),
        ({"logdir": "masks"}, "--logdir=masks "),
        ({"logdir": "other", "output": "run/overlay.mp4"}, None),
    ],
)
def test_no_output_is_shared(values, flag):
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        claim(first, video="v", logdir="run", output="out.mp4", masks="masks")
        if flag is None:
            assert claim(second, video="w", **values).logdir == "other"
            return
        with pytest.raises(InUseError, match=flag):
            claim(second, video="w", **values)


def test_a_folder_for_everything_is_locked_once(folder):
    with contextlib.ExitStack() as stack:
        claim(stack, video="v", logdir="run", masks="run", output="run/o.mp4")
        assert len(list(folder.glob("run/.*"))) == 2


def test_pretrainings_are_kept_apart_too():
    config = PretrainConfig(logdir="run")
    with contextlib.ExitStack() as stack:
        assert claims.claim(config, stack, True) == (config, [])
        with pytest.raises(InUseError, match="--logdir=run "):
            claims.claim(config, contextlib.ExitStack(), True)
    assert locks.lock_file("run", True).name == ".lock"

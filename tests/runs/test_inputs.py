"""Inputs of a run to resume: the same thing elsewhere is taken, another is refused."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.runs import inputs
from teacher.recorded import Recording
from teacher.recorder import Recorder
from tests.materials import SIZE, frames, write_recording, write_teacher, write_video

COUNT, DONE = 8, 5
SEEN = [[(1, 0.9)]] * COUNT


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_video(folder / "a.mp4", frames(COUNT))
    shutil.copy(folder / "a.mp4", folder / "moved.mp4")
    write_video(folder / "other.mp4", frames(COUNT, seed=1))
    write_video(folder / "short.mp4", frames(DONE - 1))
    noisy = [np.clip(frame.astype(int) + 2, 0, 255).astype(np.uint8) for frame in frames(COUNT)]
    write_video(folder / "alike.mp4", noisy)
    return folder


def progress_of(path):
    with video.open_source(str(path)) as source:
        source.skip(DONE - 1)
        frame = next(source)
        return {
            "frames": DONE,
            "frame_size": list(source.size),
            **inputs.describe_frame(frame),
        }


def seek(material, name, progress=None, before="a.mp4"):
    earlier = RunConfig(video=str(material / before), teacher="t", logdir="l")
    with video.open_source(str(material / name)) as source:
        problems = inputs.seek(source, progress or progress_of(material / "a.mp4"), earlier)
        return problems, len(list(source))


@pytest.mark.parametrize("name", ["a.mp4", "moved.mp4"])
def test_the_same_video_is_taken_wherever_it_is(material, name):
    assert seek(material, name) == ([], COUNT - DONE)


@pytest.mark.parametrize("name", ["other.mp4", "short.mp4"])
def test_another_video_is_refused(material, name):
    with pytest.raises(UserError, match=rf"--video=\S*{name} .*\(\S*a\.mp4\)"):
        seek(material, name)


def test_a_video_that_looks_alike_is_a_problem(material):
    """Two recordings of one fixed camera, or one video decoded by another version."""
    [problem], left = seek(material, "alike.mp4")
    assert f"--video={material}/alike.mp4" in problem
    assert left == COUNT - DONE


def test_runs_of_older_versions_know_a_thumbnail_only(material):
    progress = progress_of(material / "a.mp4")
    del progress["frame_digest"]
    assert seek(material, "a.mp4", progress)[0] == []
    [problem], _ = seek(material, "moved.mp4", progress)
    assert "moved.mp4" in problem


def test_a_live_stream_may_not_change_its_address(material):
    with pytest.raises(UserError, match=r"--video=\S*moved\.mp4 is live.*a\.mp4"):
        live(material, "moved.mp4")
    assert live(material, "a.mp4") == []


def test_a_live_stream_has_no_frames_ahead(material, monkeypatch):
    source = video.open_source(str(material / "a.mp4"))
    source.live = True
    monkeypatch.setattr(inputs.video, "open_source", lambda *_: source)
    spec = str(material / "a.mp4")
    config = RunConfig(video=spec, teacher="t", logdir="l", fusion="gate", lookahead=True)
    with contextlib.ExitStack() as stack, pytest.raises(UserError, match=r"--lookahead.*a\.mp4"):
        inputs.Inputs(config, None, stack)


def live(material, name):
    earlier = RunConfig(video=str(material / "a.mp4"), teacher="t", logdir="l")
    with video.open_source(str(material / name)) as source:
        source.live = True
        return inputs.seek(source, progress_of(material / "a.mp4"), earlier)


def written(path, seen=SEEN, seed=0, teacher="t"):
    """A recording of one person on each frame; returns its path."""
    count = len(seen)
    write_recording(path, frames(COUNT, seed=seed)[:count], seen)
    return str(path)


def checked(before, now, change=None, progress=None, flag="teacher"):
    """The problems of a run with the teacher or reference `before` that is resumed with `now`."""
    prefix = "recorded:" if flag == "teacher" else ""
    specs = {"video": "v", "logdir": "l", "teacher": "t"}
    earlier = RunConfig(**{**specs, flag: prefix + before})
    config = dataclasses.replace(earlier, **{flag: prefix + now})
    with Recording(before) as recording:
        known = {inputs.IDENTITIES: {flag: recording.identity()}} if progress is None else progress
    if change:
        change()
    with Recording(now) as recording:
        parts = {"teacher": None, "reference": None, flag: recording}
        found = {flag: recording.identity()}
        return inputs.check_same(config, earlier, known, found, **parts)


@pytest.mark.parametrize("flag", ["teacher", "reference"])
def test_a_moved_recording_is_taken(tmp_path, flag):
    before = written(tmp_path / "a.recording")
    shutil.copy(before, tmp_path / "b.recording")
    assert checked(before, str(tmp_path / "b.recording"), flag=flag) == []


@pytest.mark.parametrize("damaged", ["", None])
def test_a_run_that_has_lost_its_reference_is_refused(damaged):
    """Its configuration may be damaged."""
    config = RunConfig(video="v", logdir="l", teacher="t", reference=damaged)
    known = {inputs.IDENTITIES: {"reference": {"frames": 4}}}
    with pytest.raises(UserError, match="--reference"):
        inputs.check_same(config, config, known, {}, None, None)


def test_a_recording_that_has_grown_is_the_same(tmp_path):
    def grow():
        with Recording(path) as recording:
            header = {n: v for n, v in recording.header.items() if n != "format"}
            detections = recording(frames(COUNT)[0], 0)
        recorder = Recorder(path, header)
        recorder.append(frames(COUNT)[3], detections, 0.1)
        recorder.close()

    path = written(tmp_path / "a.recording", SEEN[:3])
    assert checked(path, path, grow) == []
    with Recording(path) as recording:
        assert len(recording) == 4


@pytest.mark.parametrize("flag", ["teacher", "reference"])
@pytest.mark.parametrize(
    ("seen", "seed"),
    [([*SEEN[:-1], [(2, 0.9)]], 0), (SEEN, 1), (SEEN[:-1], 0)],
    ids=["another object", "another video", "less frames"],
)
def test_another_recording_is_refused(tmp_path, flag, seen, seed):
    before = written(tmp_path / "a.recording")
    now = written(tmp_path / "b.recording", seen, seed)
    with pytest.raises(UserError, match=rf"--{flag}=\S*b\.recording .*a\.recording"):
        checked(before, now, flag=flag)


def test_a_recording_replaced_in_place_is_refused(tmp_path):
    def replace():
        (tmp_path / "a.recording").unlink()
        written(tmp_path / "a.recording", [[]] * COUNT)

    before = written(tmp_path / "a.recording")
    with pytest.raises(UserError, match=r"--teacher=\S*a\.recording"):
        checked(before, before, replace)


def test_runs_of_older_versions_do_not_know_their_teacher(tmp_path):
    before, now = written(tmp_path / "a.recording"), written(tmp_path / "b.recording")
    [problem] = checked(before, now, progress={})
    assert now in problem
    assert checked(before, before, progress={}) == []


def test_a_live_teacher_is_known_by_its_digest(tmp_path):
    write_teacher(tmp_path / "model")
    shutil.copytree(tmp_path / "model", tmp_path / "moved")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "saved_model.pb").write_bytes(b"another graph")
    configs = [RunConfig(video="v", teacher=str(tmp_path / n), logdir="l")
               for n in ("model", "moved", "other")]  # fmt: skip
    found = [inputs.identities(config, None, None) for config in configs]
    progress = {inputs.IDENTITIES: found[0]}
    assert inputs.check_same(configs[1], configs[0], progress, found[1], None, None) == []
    with pytest.raises(UserError, match=r"--teacher=\S*other "):
        inputs.check_same(configs[2], configs[0], progress, found[2], None, None)


def test_names_of_classes_are_part_of_a_teacher(tmp_path):
    write_teacher(tmp_path / "model")
    for name, text in (("a", "person\ncar\n"), ("moved", "person\ncar\n"), ("other", "car\nbus\n")):
        (tmp_path / name).write_text(text)
    config = RunConfig(video="v", teacher=str(tmp_path / "model"), logdir="l")
    a, moved, other = (
        dataclasses.replace(config, teacher_classes=str(tmp_path / name))
        for name in ("a", "moved", "other")
    )
    progress = {inputs.IDENTITIES: inputs.identities(a, None, None)}

    def check(config):
        found = inputs.identities(config, None, None)
        return inputs.check_same(config, a, progress, found, None, None)

    assert check(moved) == []
    with pytest.raises(UserError, match=r"--teacher_classes=\S*other "):
        check(other)


def test_a_teacher_of_another_kind_is_refused(tmp_path):
    """Its statistics would be mixed with those of the run so far, measured with recorded times."""
    path = written(tmp_path / "a.recording")
    earlier = RunConfig(video="v", teacher=str(tmp_path / "model"), logdir="l")
    config = dataclasses.replace(earlier, teacher=f"recorded:{path}")
    with Recording(path) as recording, pytest.raises(UserError, match="--teacher=recorded:"):
        inputs.check_same(config, earlier, {}, {}, recording, None)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("video", "{}/gone.mp4"),
        ("teacher", "{}/gone"),
        ("teacher", "recorded:{}/gone.recording"),
        ("reference", "{}/gone.recording"),
        ("class_groups", "{}/gone.txt"),
    ],
)
def test_an_input_that_is_gone_is_asked_for(tmp_path, flag, value):
    config = RunConfig(**{"video": "sample", "teacher": "zoo:x", flag: value.format(tmp_path)})
    with pytest.raises(UserError, match=rf"{tmp_path}/gone\S* \(any more\): give --{flag} "):
        inputs.check_present(config)


def test_initial_weights_are_needed_once_only(tmp_path):
    config = RunConfig(video="0", teacher="zoo:x", init=f"{tmp_path}/gone")
    inputs.check_present(dataclasses.replace(config, video=f"{tmp_path}/%04d.png"))


def test_size_of_frames(material):
    progress = {**progress_of(material / "a.mp4"), "frame_size": [SIZE[0], SIZE[1] + 2]}
    with pytest.raises(UserError, match="--video="):
        seek(material, "a.mp4", progress)

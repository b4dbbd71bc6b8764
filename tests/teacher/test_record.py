"""Interrupted and resumed recordings, and their headers."""

import re
import shutil
import sqlite3

import numpy as np
import pytest

from jitnet_tf import video
from jitnet_tf.labels import LabelMaker, class_groups
from teacher import Teacher, TeacherOptions, open_teacher, record
from teacher.base import TeacherError
from teacher.process import ProcessTeacher
from tests.commands import record_street, run_command
from tests.materials import (
    SIZE,
    frames,
    write_semantic_teacher,
    write_street,
    write_teacher,
    write_video,
)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return write_street(tmp_path_factory.mktemp("street"))


def test_an_interrupted_recording_is_resumed(street, tmp_path, capsys):
    assert len(record_street(street, tmp_path / "parts", "--max_frames=7")) == 7
    parts = record_street(street, tmp_path / "parts")
    whole = record_street(street, tmp_path / "whole")
    assert "20 frames recorded" in capsys.readouterr().out
    assert parts.header == whole.header
    for i, frame in enumerate(frames(20)):
        one, other = parts(frame, i), whole(frame, i)
        assert len(one) == 2
        assert one.boxes.tobytes() == other.boxes.tobytes()
        assert [m.tobytes() for m in one.masks] == [m.tobytes() for m in other.masks]


def test_the_order_of_chunks_and_what_is_passed_over_are_printed(street, tmp_path, capsys):
    chunks = tmp_path / "gopro"
    chunks.mkdir()
    for name in ("GH010123.MP4", "GH010124.MP4", "GH020123.MP4", "GL010123.LRV"):
        shutil.copy(street / "street.mp4", chunks / name)
    output = tmp_path / "gopro.recording"
    record_street(street, output, f"--video={chunks}", "--max_frames=2").close()
    printed = capsys.readouterr().out
    assert "GH010123.MP4, GH020123.MP4, GH010124.MP4" in printed
    assert "1 .lrv" in printed


def test_a_teacher_that_finds_nothing_or_fails_is_said(street, tmp_path, capsys):
    blind = write_teacher(tmp_path / "blind", num_detections=[0.0])
    record_street(street, tmp_path / "none", f"--teacher={blind}", "--max_frames=3").close()
    assert "no object on any of the 3 frames" in capsys.readouterr().out
    record_street(street, tmp_path / "some", "--max_frames=3").close()
    assert "no object" not in capsys.readouterr().out
    wrong = write_teacher(tmp_path / "wrong", detection_scores=[[1.5, 0, 0]])
    arguments = (f"--teacher={wrong}", f"--output={tmp_path}/wrong.recording")
    assert run_command(record, f"--video={street}/street.mp4", *arguments) == 2
    assert "frame 0: detection_scores" in capsys.readouterr().err


def test_frames_before_a_failure_of_the_teacher_are_kept(street, tmp_path, capsys, monkeypatch):
    output = tmp_path / "street.recording"
    opened = open_teacher(str(street / "teacher"))

    class Failing(Teacher):
        def __call__(self, frame, index):
            if index == 4:
                raise TeacherError("out of luck", index)
            return opened(frame, index)

    inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher")
    with monkeypatch.context() as patch:
        patch.setattr(record, "open_teacher", lambda *_: Failing())
        assert run_command(record, *inputs, f"--output={output}") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "frame 4: out of luck" in message
    assert "4 frames are recorded" in message
    assert len(record_street(street, output)) == 20


def another_teacher(street, folder):
    """A copy of the teacher's SavedModel with one more field."""
    shutil.copytree(street / "teacher", folder / "teacher")
    with open(folder / "teacher" / "saved_model.pb", "ab") as file:
        file.write(b"\x98\x06\x01")  # a field that readers ignore
    return folder / "teacher"


def other_video(folder, pictures):
    """Another street.mp4."""
    folder.mkdir()
    return write_video(folder / "street.mp4", pictures)


def test_another_teacher_or_video_does_not_resume_a_recording(street, tmp_path, capsys):
    """Also if all names are equal."""
    output = tmp_path / "street.recording"
    record_street(street, output, "--max_frames=7").close()
    before = output.read_bytes()
    for change, named in [
        (f"--teacher={another_teacher(street, tmp_path)}", "teacher_sha256"),
        (f"--video={other_video(tmp_path / 'other', frames(20, seed=3))}", "another video"),
        (f"--video={other_video(tmp_path / 'short', frames(5))}", "another video"),
    ]:
        inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher")
        assert run_command(record, *inputs, f"--output={output}", change) == 2
        assert named in capsys.readouterr().err
        assert output.read_bytes() == before


def test_a_renamed_video_and_teacher_resume_a_recording(street, tmp_path):
    output = tmp_path / "street.recording"
    record_street(street, output, "--max_frames=7").close()
    shutil.copy(street / "street.mp4", tmp_path / "renamed.mp4")
    shutil.copytree(street / "teacher", tmp_path / "renamed")
    inputs = (f"--video={tmp_path}/renamed.mp4", f"--teacher={tmp_path}/renamed")
    with record_street(street, output, *inputs, "--max_frames=9") as recording:
        assert len(recording) == 9


@pytest.mark.parametrize("nested", ["", "saved_model"])
def test_digest_of_a_live_teacher_is_of_graph_and_weights(tmp_path, nested):
    folder = tmp_path / "mask_rcnn"
    (folder / nested / "variables").mkdir(parents=True)
    digests = []
    for file in ("saved_model.pb", "variables/variables.index"):
        for content in (b"one", b"two"):
            (folder / nested / file).write_bytes(content)
            described = record.describe_live(str(folder))
            assert described["teacher"] == "mask_rcnn"
            digests.append(described["teacher_sha256"])
    assert len(set(digests)) == 4
    assert record.describe_live(str(folder))["teacher_sha256"] == digests[-1]


def test_a_refused_frame_leaves_no_file(street, tmp_path, capsys, monkeypatch):
    record_street(street, tmp_path / "small", "--frame_size=32x48", "--max_frames=1")
    closed = []
    monkeypatch.setattr(video.FrameSource, "close", lambda source: closed.append(source))
    inputs = (f"--video={street}/street.mp4", f"--teacher=recorded:{tmp_path}/small")
    assert run_command(record, *inputs, f"--output={tmp_path}/new/street.recording") == 2
    assert "--frame_size=32x48" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert len(closed) == 1


def test_a_recording_of_a_recording_has_the_live_teachers_header(street, tmp_path):
    first = record_street(street, tmp_path / "first", "--max_frames=4")
    assert re.fullmatch("[0-9a-f]{16}", first.header["teacher_sha256"])
    with sqlite3.connect(tmp_path / "first") as database:
        database.execute("UPDATE frames SET seconds = number + 5 WHERE number < 3")
        database.execute("UPDATE frames SET seconds = NULL WHERE number = 3")
        database.execute("UPDATE header SET value = '0.3' WHERE name = 'min_score'")
    database.close()
    teacher = f"--teacher=recorded:{tmp_path}/first"
    for count in (2, 4):
        second = record_street(street, tmp_path / "second", teacher, f"--max_frames={count}")
    assert [second.seconds(i) for i in range(4)] == [5, 6, 7, None]
    assert second.mean_seconds == 6
    assert second.header == {**first.header, "min_score": "0.3"}


def test_names_of_the_classes_are_recorded(street, tmp_path, capsys):
    model = write_semantic_teacher(tmp_path / "model")
    chosen = (f"--teacher={model}", "--teacher_classes=cityscapes", "--max_frames=3")
    with record_street(street, tmp_path / "one", *chosen) as recording:
        names = recording.names
        assert (names[0], names[10], names[12]) == ("road", "sky", "rider")
        teacher = open_teacher(str(model), TeacherOptions("cityscapes"))
        maker = LabelMaker(class_groups("lvs"), categories=names)
        with video.open_source(f"{street}/street.mp4") as source:
            pictures = list(source)
        for i, frame in enumerate(pictures[:3]):
            live, replayed = teacher(frame, i), recording(frame, i)
            assert set(live.classes) == {0, 10, 12}
            np.testing.assert_array_equal(
                maker.labels(replayed, SIZE), maker.labels(live, SIZE), strict=True
            )
            assert set(np.unique(maker.labels(live, SIZE))) == {0, 1}  # riders are persons
    with ProcessTeacher(f"recorded:{tmp_path}/one") as process:
        assert process.names == names
    again = (f"--teacher=recorded:{tmp_path}/one", "--max_frames=3")
    with record_street(street, tmp_path / "two", *again) as copy:
        assert copy.names == names
    others = (f"--video={street}/street.mp4", *chosen[::2], f"--output={tmp_path}/one")
    assert run_command(record, *others, "--teacher_classes=ade20k") == 2
    assert "teacher_names" in capsys.readouterr().err
    assert (
        run_command(
            record, f"--video={street}/street.mp4", *again, *chosen[1:2], f"--output={tmp_path}/x"
        )
        == 2
    )
    assert "--teacher_classes=cityscapes" in capsys.readouterr().err


def test_a_recording_at_a_smaller_size_says_what_it_was_made_from(street, tmp_path, capsys):
    """Also when it is a teacher again; runs of it say so."""
    record_street(street, tmp_path / "first", "--max_frames=2")
    for source, name, size in (("first", "second", "40x64"), ("second", "third", "32x48")):
        arguments = (f"--teacher=recorded:{tmp_path}/{source}", f"--frame_size={size}")
        capsys.readouterr()
        made = record_street(street, tmp_path / name, *arguments, "--max_frames=2")
        assert f"masks are scaled to {size.replace('x', '×')}" in capsys.readouterr().out
        assert made.header["scaled_from"] == "48×64"
        assert any("48×64" in problem for problem in made.problems)

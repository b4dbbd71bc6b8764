"""The streams command: its list, and refusals."""

import pathlib
import shutil

import numpy as np
import pytest

from experiments import streams
from experiments.protocol.streams import check, read_list
from jitnet_tf import video
from teacher.detections import Detections
from teacher.recorder import Recorder
from tests.commands import run_command
from tests.materials import frames, write_recording, write_video

HEAD = "name,category,classes,video,recording,max_frames\n"
CUP = 47  # COCO's id, in no class


def test_writes_a_list(clips, tmp_path, capsys):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clips / "street.mp4", folder / "traffic-street.mp4")
    shutil.copy(clips / "street.recording", folder / "traffic-street.recording")
    shutil.copytree(clips / "park", folder / "park")  # as DAVIS has them
    shutil.copy(clips / "park.recording", folder / "park.recording")
    write_video(folder / "unseen.mp4", frames(3))
    write_video(folder / "dull.mp4", frames(3))
    write_recording(folder / "dull.recording", frames(3), [[(CUP, 0.9)]] * 3)
    (folder / ".hidden").write_text("x")
    output = folder / "list.csv"
    assert run_command(streams, f"--videos={folder}", f"--output={output}") == 0
    printed = capsys.readouterr().out
    assert f"{output}: 2 streams" in printed
    assert "left out, no recording: unseen.mp4\n" in printed
    assert "left out, none of the classes: dull\n" in printed
    assert output.read_text() == (
        HEAD + "park,park,person auto,park,park.recording,30000\n"
        "traffic-street,traffic,person auto,traffic-street.mp4,traffic-street.recording,30000\n"
    )
    assert [check(s) for s in read_list(output)] == [12, 12]


def test_recordings_in_another_folder(clips, tmp_path, capsys):
    """A folder of folders of frames beside a folder of recordings; the list in a new one."""
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "seen").mkdir()
    for name in ("bear", "dance-jump"):
        shutil.copytree(clips / "park", tmp_path / "JPEGImages" / name)
        shutil.copy(clips / "park.recording", tmp_path / "seen" / f"{name}.recording")
    places = [f"--videos={tmp_path}/JPEGImages", f"--recordings={tmp_path}/seen"]
    output = tmp_path / "new" / "list.csv"
    assert run_command(streams, *places, f"--output={output}", "--max_frames=8") == 0
    found = read_list(output, tmp_path / "JPEGImages", tmp_path / "seen")
    assert [(s.name, s.category, s.max_frames) for s in found] == [
        ("bear", "bear", 8),
        ("dance-jump", "dance", 8),
    ]
    assert [check(s) for s in found] == [8, 8]
    # A list that a user may have edited is not overwritten.
    output.write_text("edited")
    assert run_command(streams, *places, f"--output={output}") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "edited"
    assert run_command(streams, *places, f"--output={output}", "--overwrite") == 0
    assert len(read_list(output, "v", "r")) == 2


def test_invalid_names_are_changed(clips, tmp_path):
    for name in ("my street (1)", "été, 2"):
        shutil.copy(clips / "street.mp4", tmp_path / f"{name}.mp4")
        shutil.copy(clips / "street.recording", tmp_path / f"{name}.recording")
    output = tmp_path / "list.csv"
    assert run_command(streams, f"--videos={tmp_path}", f"--output={output}") == 0
    found = read_list(output)
    assert [s.name for s in found] == ["my street -1-", "été- 2"]
    assert [check(s) for s in found] == [12, 12]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--videos=nowhere", "--output=list.csv"], "'nowhere' is missing"),
        (["--videos=clips", "--recordings=x", "--output=list.csv"], "'x' is missing"),
        (["--videos=clips", "--output=list.csv"], "'clips'"),
        (["--videos=dull", "--output=list.csv"], "none of the recordings"),
        (["--videos=broken", "--output=list.csv"], "is not a teacher recording"),
        (["--videos=good", "--output=/proc/list.csv"], "cannot be written"),
        (["--videos=twins", "--output=list.csv"], "two videos named 'a'"),
        (["--videos=clips"], "--output"),
        (["--output=list.csv"], "--videos"),
        (["--videos=clips", "--output=list.csv", "--max_frames=0"], "max_frames"),
        (["--videos=clips", "--output=list.csv", "more"], "unexpected argument 'more'"),
    ],
)
def test_invalid_flags_are_refused(clips, tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    for name in ("clips", "dull", "broken", "good", "twins"):
        pathlib.Path(name).mkdir()
        shutil.copy(clips / "street.mp4", f"{name}/a.mp4")
    write_recording("dull/a.recording", frames(2), [[], []])
    pathlib.Path("broken/a.recording").write_text("x")
    shutil.copy(clips / "street.recording", "good/a.recording")
    shutil.copy(clips / "street.recording", "twins/a.recording")
    shutil.copy(clips / "street.mp4", "twins/a.mkv")
    assert run_command(streams, *arguments) == 2
    captured = capsys.readouterr()
    *_, message = captured.err.splitlines()  # after a progress bar
    assert message.startswith("error: ")
    assert named in message
    assert captured.out == ""
    assert not pathlib.Path("list.csv").exists()


def test_a_sequence_of_davis(shared, tmp_path):
    """The real folder as it is released: proposed, read back and checked."""
    folder = shared("davis/JPEGImages/480p")
    with video.open_source(str(folder / "blackswan")) as source:
        assert (source.size, source.announced_frames) == ((480, 854), 50)
        header = {"teacher": "t", "video": "v", "height": 480, "width": 854, "min_score": 0.05}
        recorder = Recorder(tmp_path / "blackswan.recording", header)
        swan = Detections(
            np.float32([[0.2, 0.3, 0.8, 0.7]]),
            np.int32([16]),
            np.float32([0.9]),
            (np.ones((9, 9), bool),),
            np.int32([[200, 400]]),
        )
        for frame in source:
            recorder.append(frame, swan, 0.1)
        recorder.close()
    arguments = [f"--videos={folder}", f"--recordings={tmp_path}", f"--output={tmp_path}/l.csv"]
    assert run_command(streams, *arguments) == 0
    [found] = read_list(tmp_path / "l.csv", folder, tmp_path)
    assert (found.name, found.classes, check(found)) == ("blackswan", ("bird",), 50)

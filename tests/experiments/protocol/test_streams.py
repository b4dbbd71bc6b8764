"""experiments.streams: lists that can be read and others, what can be evaluated, proposals."""

import pathlib
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.protocol import streams
from experiments.protocol.streams import Stream, check, frame_classes, propose, read_list, to_csv
from jitnet_tf import labels
from jitnet_tf.base.errors import UserError
from teacher.detections import Detections, from_box_masks
from teacher.recorded import Recorder, Recording
from tests.commands import run_command
from tests.materials import frames, write_video

LISTS = pathlib.Path(__file__).parents[3] / "experiments" / "streams"
HEAD = "name,category,classes,video,recording,max_frames\n"
SIZE = (48, 64)
PERSON, BICYCLE, CAR, BUS, DOG, CUP = 1, 2, 3, 6, 18, 47


def write_list(folder, text, head=HEAD):
    path = folder / "list.csv"
    path.write_text(head + text, encoding="utf-8")
    return path


def write_recording(path, pictures, seen):
    """seen: a frame each, the objects as (COCO id, score)."""
    header = {"teacher": "t", "video": "v", "height": SIZE[0], "width": SIZE[1], "min_score": 0.05}
    recorder = Recorder(path, header)
    for picture, objects in zip(pictures, seen, strict=True):
        count = len(objects)
        boxes = np.tile([[0.1, 0.1, 0.6, 0.5]], (count, 1))
        classes, scores = zip(*objects, strict=True) if objects else ((), ())
        masks = np.ones((count, 5, 5))
        detections = from_box_masks(boxes.reshape(-1, 4), classes, scores, masks, SIZE)
        recorder.append(picture, detections, 0.1)
    recorder.close()
    return path


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Twelve frames as a video and as a folder, and recordings of them."""
    folder = tmp_path_factory.mktemp("material")
    pictures = frames(12)
    write_video(folder / "street.mp4", pictures)
    (folder / "park").mkdir()
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "park" / f"{i:05d}.jpg"), picture[..., ::-1])
    seen = [[(PERSON, 0.9), (CAR, 0.5), (CUP, 0.9)]] * 6 + [[(PERSON, 0.8), (DOG, 0.49)]] * 6
    write_recording(folder / "street.recording", pictures, seen)
    shutil.copy(folder / "street.recording", folder / "park.recording")
    write_recording(folder / "short.recording", pictures[:7], seen[:7])
    return folder


def stream(material, **changes):
    values = {
        "name": "street",
        "category": "street",
        "classes": ("person", "auto"),
        "video": str(material / "street.mp4"),
        "recording": str(material / "street.recording"),
        "max_frames": None,
    }
    return Stream(**{**values, **changes})


# Lists


def test_shipped_list_of_the_eight():
    found = read_list(LISTS / "short.csv", "videos", "recordings")
    assert len(found) == 8
    assert {s.category for s in found} == {"animals", "driving", "fixed", "traffic", "walking"}
    for s in found:
        assert s.name.startswith(s.category)
        assert s.video.startswith(f"videos/{s.name}.")
        assert s.recording == f"recordings/{s.name}.recording"
        assert s.max_frames == 30_000


def test_shipped_list_of_lvs():
    found = read_list(LISTS / "lvs.csv")
    assert len(found) == 30
    assert {s.max_frames for s in found} == {30_000}


def test_a_list_with_all_that_is_allowed(tmp_path):
    text = (
        "# made by hand\n\n"
        "one,,person,a.mp4,a.recording,\n"
        "  # only a # at the very beginning is a comment's\n"
    )
    with pytest.raises(UserError, match="line 5"):
        read_list(write_list(tmp_path, text))
    text = text.rsplit("  #", 1)[0] + 'two 2.b+c,x y, auto  dog ,"v, 1", /r/b.rec , 12\n'
    path = write_list(tmp_path, text, head="\ufeff# head\n" + HEAD)
    first, second = read_list(path)
    assert first == Stream(
        "one", "-", ("person",), str(tmp_path / "a.mp4"), str(tmp_path / "a.recording"), None
    )
    assert (second.name, second.category, second.classes) == ("two 2.b+c", "x y", ("auto", "dog"))
    assert second.video == str(tmp_path / "v, 1")
    assert second.recording.startswith("/r/b.rec")
    assert second.max_frames == 12


def test_other_folders_and_another_order_of_columns(tmp_path):
    path = write_list(
        tmp_path,
        "r,9,x,v,person,note,c\n",
        head="recording,max_frames,name,video,classes,remark,category\n",
    )
    (found,) = read_list(path, "videos", "recordings")
    assert found == Stream("x", "c", ("person",), "videos/v", "recordings/r", 9)
    (found,) = read_list(path, recordings="recordings")
    assert found.video == str(tmp_path / "v")


def test_names_in_the_working_folder_are_no_cameras(tmp_path, monkeypatch):
    """A folder of frames may be named 00, which alone is a camera's number."""
    monkeypatch.chdir(tmp_path)
    write_list(tmp_path, "x,c,person,00,r,\n")
    (found,) = read_list("list.csv")
    assert found.video == "./00"


GOOD = "x,c,person,v.mp4,r.recording,9\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no stream"),
        ("# x\n\n", "names no stream"),
        ("x,c,person,v,r\n", "line 2: it takes 6 values"),
        ("x,c,person,v,r,9,9\n", "line 2: it takes 6 values"),
        ('"x,c,person,v,r,9\n' + GOOD, "line 3: it takes 6 values"),  # a quote left open
        (",c,person,v,r,9\n", "line 2: '' is no name"),
        ("../x,c,person,v,r,9\n", "is no name"),
        (".x,c,person,v,r,9\n", "is no name"),
        ("a/b,c,person,v,r,9\n", "is no name"),
        (GOOD + "# y\n" + GOOD, "line 4: there are two streams named 'x'"),
        ("x,c,cat,v,r,9\n", "line 2: class 'cat' is unknown or there twice; classes are person"),
        ("x,c,person dog person,v,r,9\n", "class 'person' is unknown or there twice"),
        ("x,c,person;dog,v,r,9\n", "class 'person;dog'"),
        ("x,c,background,v,r,9\n", "class 'background'"),
        ("x,c,,v,r,9\n", "line 2: it names no class"),
        *((f"x,c,person,v,r,{n}\n", "is no number from 1 on") for n in ("0", "-3", "1e3", "all")),
        (f"x,c,person,v,{'r' * 200_000},9\n", "cannot be read"),
    ],
)
def test_malformed_lists(tmp_path, text, said):
    with pytest.raises(UserError, match=r"stream list '.*list\.csv'") as error:
        read_list(write_list(tmp_path, text))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("head", "column"),
    [("", "name"), ("name,category,classes,video,max_frames\n", "recording"), ("Name\n", "name")],
)
def test_heads_that_lack_a_column(tmp_path, head, column):
    with pytest.raises(UserError, match=f"no column '{column}': its first line has to be name,cat"):
        read_list(write_list(tmp_path, GOOD if head else "", head=head))


def test_lists_that_are_none(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\0x" * 9)
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path / "x.csv")


WORD = st.text("abcxyz019-_", min_size=1, max_size=9)
NAME = st.from_regex(r"[a-z0-9][a-z0-9 .+-]*[a-z0-9]", fullmatch=True)
STREAMS = st.lists(
    st.builds(
        Stream,
        NAME,
        WORD,
        st.lists(st.sampled_from(list(labels.LVS)), min_size=1, unique=True).map(tuple),
        st.builds("videos/{},{}".format, WORD, WORD),
        st.builds("recordings/{}".format, WORD),
        st.one_of(st.none(), st.integers(1, 10**6)),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda s: s.name,
)


@given(STREAMS)
def test_what_is_written_reads_back(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_text(to_csv(written, "videos", "recordings"), encoding="utf-8")
    assert read_list(path, "videos", "recordings") == written


# What can be evaluated


@pytest.mark.parametrize("name", ["street.mp4", "park"])
def test_a_stream_that_can_be_evaluated(material, name):
    recording = str(material / f"{name.partition('.')[0]}.recording")
    good = stream(material, video=str(material / name), recording=recording)
    assert check(good) == 12
    assert check(stream(material, max_frames=5)) == 5
    assert check(stream(material, max_frames=500)) == 12


def test_a_recording_longer_than_the_video(material):
    """What was recorded of a video's later frames is not needed."""
    write_video(material / "first.mp4", frames(12)[:7])
    assert check(stream(material, video=str(material / "first.mp4"))) == 7


def test_a_short_recording_is_enough_for_few_frames(material):
    short = str(material / "short.recording")
    assert check(stream(material, recording=short, max_frames=7)) == 7


def test_a_header_that_promises_too_much(material, monkeypatch):
    """The frames that decode count: seven were, and seven are recorded."""
    write_video(material / "first.mp4", frames(12)[:7])
    opened = streams.video.open_source

    def promising(*arguments):
        source = opened(*arguments)
        source.announced_frames = 99
        return source

    monkeypatch.setattr(streams.video, "open_source", promising)
    seven = {"video": str(material / "first.mp4"), "recording": str(material / "short.recording")}
    assert check(stream(material, **seven)) == 7


@pytest.mark.parametrize("announced", [None, 5])
def test_a_header_that_promises_nothing_or_too_little(material, monkeypatch, announced):
    opened = streams.video.open_source

    def silent(*arguments):
        source = opened(*arguments)
        source.announced_frames = announced
        return source

    monkeypatch.setattr(streams.video, "open_source", silent)
    assert check(stream(material)) == 12
    assert check(stream(material, max_frames=3)) == 3
    with pytest.raises(UserError, match="has 7 frames, the video more"):
        check(stream(material, recording=str(material / "short.recording")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"video": "nowhere.mp4"}, "there is no video 'nowhere.mp4': see --videos"),
        ({"recording": "nowhere"}, "there is no recording 'nowhere': see --recordings, or make it"),
        ({"recording": "."}, "there is no recording '.'"),
        ({"recording": "short.recording"}, "has 7 frames, the video more"),
        ({"recording": "short.recording", "max_frames": 9}, "has 7 frames, the video more"),
        ({"recording": "street.mp4"}, "is not a teacher recording"),
        ({"classes": ("person", "horse")}, "class 'horse' never occurs in"),
        ({"classes": ("dog",)}, "class 'dog' never occurs in"),  # below the score threshold
        ({"video": "short.recording"}, "short.recording"),
    ],
)
def test_streams_that_cannot_be_evaluated(material, monkeypatch, changes, said):
    monkeypatch.chdir(material)
    with pytest.raises(UserError) as error:
        check(stream(material, **changes))
    assert said in str(error.value)


def test_a_class_that_occurs_too_late(tmp_path):
    pictures = frames(4)
    write_video(tmp_path / "x.mp4", pictures)
    write_recording(tmp_path / "x.recording", pictures, [[], [], [], [(DOG, 0.9)]])
    paths = {"video": str(tmp_path / "x.mp4"), "recording": str(tmp_path / "x.recording")}
    assert check(stream(tmp_path, classes=("dog",), **paths)) == 4
    with pytest.raises(UserError, match="'dog' never occurs"):
        check(stream(tmp_path, classes=("dog",), max_frames=3, **paths))


# Proposals


def test_classes_by_frame(material):
    with Recording(material / "street.recording") as recording:
        found = list(frame_classes(recording, 8))
    assert found == [{"person", "auto"}] * 6 + [{"person"}] * 2


def test_groups_and_thresholds(tmp_path):
    seen = [[(BICYCLE, 0.5), (BUS, 0.6), (CAR, 0.7)], [(PERSON, 0.49)], [(CUP, 0.9)], []]
    path = write_recording(tmp_path / "x", frames(4), seen)
    with Recording(path) as recording:
        assert list(frame_classes(recording, 4)) == [{"bike", "auto"}, set(), set(), set()]


def test_classes_on_a_tenth_of_the_frames_are_proposed(tmp_path):
    seen = [[(DOG, 0.9), (CAR, 0.9)]] + [[(CAR, 0.9)]] + [[(PERSON, 0.9)]] * 18
    path = write_recording(tmp_path / "x", frames(20), seen)
    proposed = propose("fixed-camera-3", "v.mp4", path)
    assert proposed == Stream(
        "fixed-camera-3", "fixed", ("person", "auto"), "v.mp4", path, streams.PAPER_FRAMES
    )
    assert propose("street", "v.mp4", path).category == "street"
    # Of ten frames, one has a dog.
    assert propose("x", "v.mp4", path, 10).classes == ("person", "auto", "dog")
    assert propose("x", "v.mp4", path, 2).classes == ("auto", "dog")


def test_a_recording_of_nothing_has_no_classes(tmp_path):
    path = write_recording(tmp_path / "x", [], [])
    assert propose("x", "v", path).classes == ()


# The command


def propose_list(*arguments):
    return run_command(streams, *arguments)


def test_command(material, tmp_path, capsys):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(material / "street.mp4", folder / "traffic-street.mp4")
    shutil.copy(material / "street.recording", folder / "traffic-street.recording")
    shutil.copytree(material / "park", folder / "park")  # as DAVIS has them
    shutil.copy(material / "park.recording", folder / "park.recording")
    write_video(folder / "unseen.mp4", frames(3))
    write_video(folder / "dull.mp4", frames(3))
    write_recording(folder / "dull.recording", frames(3), [[(CUP, 0.9)]] * 3)
    (folder / ".hidden").write_text("x")
    output = folder / "list.csv"
    assert propose_list(f"--videos={folder}", f"--output={output}") == 0
    said = capsys.readouterr().out
    assert f"{output}: 2 streams; check their categories and classes" in said
    assert "left out, no recording: unseen.mp4\n" in said
    assert "left out, none of the classes: dull\n" in said
    assert output.read_text() == (
        HEAD + "park,park,person auto,park,park.recording,30000\n"
        "traffic-street,traffic,person auto,traffic-street.mp4,traffic-street.recording,30000\n"
    )
    assert [check(s) for s in read_list(output)] == [12, 12]


def test_command_with_recordings_elsewhere(material, tmp_path, capsys):
    """A folder of folders of frames beside a folder of recordings; the list in a new one."""
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "seen").mkdir()
    for name in ("bear", "dance-jump"):
        shutil.copytree(material / "park", tmp_path / "JPEGImages" / name)
        shutil.copy(material / "park.recording", tmp_path / "seen" / f"{name}.recording")
    places = [f"--videos={tmp_path}/JPEGImages", f"--recordings={tmp_path}/seen"]
    output = tmp_path / "new" / "list.csv"
    assert propose_list(*places, f"--output={output}", "--max_frames=8") == 0
    found = read_list(output, tmp_path / "JPEGImages", tmp_path / "seen")
    assert [(s.name, s.category, s.max_frames) for s in found] == [
        ("bear", "bear", 8),
        ("dance-jump", "dance", 8),
    ]
    assert [check(s) for s in found] == [8, 8]
    # Not over what a user may have edited.
    output.write_text("edited")
    assert propose_list(*places, f"--output={output}") == 2
    assert "exists: give --overwrite" in capsys.readouterr().err
    assert output.read_text() == "edited"
    assert propose_list(*places, f"--output={output}", "--overwrite") == 0
    assert len(read_list(output, "v", "r")) == 2


def test_names_that_a_list_cannot_have_are_mended(material, tmp_path):
    for name in ("my street (1)", "été, 2"):
        shutil.copy(material / "street.mp4", tmp_path / f"{name}.mp4")
        shutil.copy(material / "street.recording", tmp_path / f"{name}.recording")
    output = tmp_path / "list.csv"
    assert propose_list(f"--videos={tmp_path}", f"--output={output}") == 0
    found = read_list(output)
    assert [s.name for s in found] == ["my street -1-", "été- 2"]
    assert [check(s) for s in found] == [12, 12]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--videos=nowhere", "--output=list.csv"], "there is no folder 'nowhere'"),
        (["--videos=clips", "--recordings=x", "--output=list.csv"], "there is no folder 'x'"),
        (["--videos=clips", "--output=list.csv"], "no video in 'clips' has a NAME.recording"),
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
def test_command_refuses(material, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name in ("clips", "dull", "broken", "good", "twins"):
        pathlib.Path(name).mkdir()
        shutil.copy(material / "street.mp4", f"{name}/a.mp4")
    write_recording("dull/a.recording", frames(2), [[], []])
    pathlib.Path("broken/a.recording").write_text("x")
    shutil.copy(material / "street.recording", "good/a.recording")
    shutil.copy(material / "street.recording", "twins/a.recording")
    shutil.copy(material / "street.mp4", "twins/a.mkv")
    assert propose_list(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("error: ") == 1
    assert said in captured.err.splitlines()[-1]
    assert captured.out == ""
    assert not pathlib.Path("list.csv").exists()


def test_a_sequence_of_davis(shared, tmp_path):
    """The real folder as it is released: proposed, read back and checked."""
    folder = shared("davis/JPEGImages/480p")
    with streams.video.open_source(str(folder / "blackswan")) as source:
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
    [found] = streams.read_list(tmp_path / "l.csv", folder, tmp_path)
    assert (found.name, found.classes, streams.check(found)) == ("blackswan", ("bird",), 50)

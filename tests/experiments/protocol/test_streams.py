"""Stream lists, checks of streams, proposed classes."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.protocol import streams
from experiments.protocol.streams import Stream, check, frame_classes, propose, read_list, to_csv
from jitnet_tf import labels
from jitnet_tf.base.errors import UserError
from teacher.recorded import Recording
from tests.materials import frames, write_recording, write_video

LISTS = pathlib.Path(__file__).parents[3] / "experiments" / "streams"
HEAD = "name,category,classes,video,recording,max_frames\n"

PERSON, BICYCLE, CAR, BUS, DOG, CUP = 1, 2, 3, 6, 18, 47


def write_list(folder, text, head=HEAD):
    path = folder / "list.csv"
    path.write_text(head + text, encoding="utf-8")
    return path


def stream(clips, **changes):
    values = {
        "name": "street",
        "category": "street",
        "classes": ("person", "auto"),
        "video": str(clips / "street.mp4"),
        "recording": str(clips / "street.recording"),
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
    ("text", "named"),
    [
        ("", "is empty"),
        ("# x\n\n", "is empty"),
        ("x,c,person,v,r\n", "6 values"),
        ("x,c,person,v,r,9,9\n", "6 values"),
        ('"x,c,person,v,r,9\n' + GOOD, "line 3: write 6 values"),  # a quote left open
        (",c,person,v,r,9\n", "line 2: invalid name ''"),
        ("../x,c,person,v,r,9\n", "invalid name '../x'"),
        (".x,c,person,v,r,9\n", "invalid name '.x'"),
        ("a/b,c,person,v,r,9\n", "invalid name 'a/b'"),
        (GOOD + "# y\n" + GOOD, "two streams named 'x'"),
        ("x,c,cat,v,r,9\n", "line 2: class 'cat'"),
        ("x,c,person dog person,v,r,9\n", "class 'person'"),
        ("x,c,person;dog,v,r,9\n", "class 'person;dog'"),
        ("x,c,background,v,r,9\n", "class 'background'"),
        ("x,c,,v,r,9\n", "line 2: the classes are missing"),
        *(
            (f"x,c,person,v,r,{n}\n", f"invalid max_frames {n!r}")
            for n in ("0", "-3", "1e3", "all")
        ),
        (f"x,c,person,v,{'r' * 200_000},9\n", "cannot be read"),
    ],
)
def test_malformed_lists_are_refused(tmp_path, text, named):
    with pytest.raises(UserError, match=r"stream list '.*list\.csv'") as error:
        read_list(write_list(tmp_path, text))
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("head", "column"),
    [("", "name"), ("name,category,classes,video,max_frames\n", "recording"), ("Name\n", "name")],
)
def test_heads_without_a_required_column_are_refused(tmp_path, head, column):
    with pytest.raises(UserError, match=f"no column '{column}'"):
        read_list(write_list(tmp_path, GOOD if head else "", head=head))


def test_unreadable_lists_are_refused(tmp_path):
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
def test_written_lists_read_back(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_text(to_csv(written, "videos", "recordings"), encoding="utf-8")
    assert read_list(path, "videos", "recordings") == written


# Checks


@pytest.mark.parametrize("name", ["street.mp4", "park"])
def test_a_stream_that_can_be_evaluated(clips, name):
    recording = str(clips / f"{name.partition('.')[0]}.recording")
    good = stream(clips, video=str(clips / name), recording=recording)
    assert check(good) == 12
    assert check(stream(clips, max_frames=5)) == 5
    assert check(stream(clips, max_frames=500)) == 12


def test_a_recording_longer_than_the_video(clips, tmp_path):
    """The recording of later frames is not needed."""
    write_video(tmp_path / "first.mp4", frames(12)[:7])
    assert check(stream(clips, video=str(tmp_path / "first.mp4"))) == 7


def test_a_short_recording_is_enough_for_few_frames(clips):
    short = str(clips / "short.recording")
    assert check(stream(clips, recording=short, max_frames=7)) == 7


def test_a_header_that_announces_too_many_frames(clips, tmp_path, monkeypatch):
    """The frames that decode count: seven were, and seven are recorded."""
    write_video(tmp_path / "first.mp4", frames(12)[:7])
    opened = streams.video.open_source

    def promising(*arguments):
        source = opened(*arguments)
        source.announced_frames = 99
        return source

    monkeypatch.setattr(streams.video, "open_source", promising)
    seven = {"video": str(tmp_path / "first.mp4"), "recording": str(clips / "short.recording")}
    assert check(stream(clips, **seven)) == 7


@pytest.mark.parametrize("announced", [None, 5])
def test_a_header_that_announces_no_or_too_few_frames(clips, monkeypatch, announced):
    opened = streams.video.open_source

    def silent(*arguments):
        source = opened(*arguments)
        source.announced_frames = announced
        return source

    monkeypatch.setattr(streams.video, "open_source", silent)
    assert check(stream(clips)) == 12
    assert check(stream(clips, max_frames=3)) == 3
    with pytest.raises(UserError, match="has 7 frames, the video more"):
        check(stream(clips, recording=str(clips / "short.recording")))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"video": "nowhere.mp4"}, "'nowhere.mp4'"),
        ({"recording": "nowhere"}, "'nowhere'"),
        ({"recording": "."}, "'.'"),
        ({"recording": "short.recording"}, "has 7 frames, the video more"),
        ({"recording": "short.recording", "max_frames": 9}, "has 7 frames, the video more"),
        ({"recording": "street.mp4"}, "is not a teacher recording"),
        ({"classes": ("person", "horse")}, "'horse'"),
        ({"classes": ("dog",)}, "class 'dog' never occurs in"),  # below the score threshold
        ({"video": "short.recording"}, "short.recording"),
    ],
)
def test_streams_that_cannot_be_evaluated_are_refused(clips, monkeypatch, changes, named):
    monkeypatch.chdir(clips)
    with pytest.raises(UserError) as error:
        check(stream(clips, **changes))
    assert named in str(error.value)


def test_classes_that_occur_too_late_are_refused(tmp_path):
    pictures = frames(4)
    write_video(tmp_path / "x.mp4", pictures)
    write_recording(tmp_path / "x.recording", pictures, [[], [], [], [(DOG, 0.9)]])
    paths = {"video": str(tmp_path / "x.mp4"), "recording": str(tmp_path / "x.recording")}
    assert check(stream(tmp_path, classes=("dog",), **paths)) == 4
    with pytest.raises(UserError, match="'dog'"):
        check(stream(tmp_path, classes=("dog",), max_frames=3, **paths))


# Proposals


def test_classes_by_frame(clips):
    with Recording(clips / "street.recording") as recording:
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

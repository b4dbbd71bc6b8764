"""Recordings: lossless round trips, resuming, refused files."""

import contextlib
import json
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from teacher import encoding
from teacher.detections import Detections, from_box_masks
from teacher.recorded import Recording
from teacher.recorder import Recorder
from teacher.scaling import scaled

SIZE = (60, 80)
HEADER = {"teacher": "t", "video": "street.mp4", "height": 60, "width": 80, "min_score": 0.05}
REPOSITORY = pathlib.Path(__file__).parents[2]


def frame(index, size=SIZE, scene=0):
    """A frame of a scene: blocks of color that shift slowly."""
    blocks = np.random.default_rng(scene).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    blocks = np.kron(blocks, np.ones((10, 10, 1), np.uint8))
    return np.ascontiguousarray(np.roll(blocks, index // 4, axis=1)[: size[0], : size[1]])


def seen(index):
    """Detections of many classes and scores, some of them out of the frame."""
    random = np.random.default_rng(index)
    corners = np.sort(random.uniform(-0.2, 1.2, (8, 2, 2)), axis=1).reshape(8, 4)
    classes = random.choice([1, 2, 3, 6, 8, 17, 18, 12, 90], 8)
    masks = random.random((8, 7, 7))
    return from_box_masks(corners, classes, random.uniform(0.05, 1, 8), masks, SIZE, 0.05)


def limited_recorder(path, pragma):
    """A Recorder whose database has a limit."""
    with pytest.MonkeyPatch.context() as patch:
        connect = sqlite3.connect

        def limited(path):
            database = connect(path)
            database.execute(pragma)
            return database

        patch.setattr(sqlite3, "connect", limited)
        return Recorder(path, HEADER)


def record(path, frames, header=HEADER):
    """Records or resumes recording up to this number of frames."""
    recorder = Recorder(path, header)
    for index in range(recorder.count, frames):
        recorder.append(frame(index), seen(index), 0.25)
    recorder.close()
    return path


@pytest.fixture
def recording(tmp_path):
    """A recording of five frames."""
    return record(tmp_path / "street.rec", 5)


def assert_same(a, b):
    """Checks that types, shapes and bytes are equal."""
    for name in ("boxes", "classes", "scores", "origins"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name
    assert len(a.masks) == len(b.masks) == len(a)
    for x, y in zip(a.masks, b.masks, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def any_detections(draw):
    count = draw(st.integers(0, 4))
    masks = []
    for _ in range(count):
        shape = draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
        part = draw(st.sampled_from([0, 0.02, 0.5, 0.98, 1]))
        masks.append(np.random.default_rng(draw(st.integers(0, 99))).random(shape) < part)
    cells = st.lists(FLOATS, min_size=count * 4, max_size=count * 4)
    return Detections(
        np.array(draw(cells), np.float32).reshape(count, 4),
        np.array(draw(st.lists(st.integers(1, 90), min_size=count, max_size=count)), np.int32),
        np.array(draw(cells)[:count], np.float32),
        tuple(masks),
        np.array(
            draw(st.lists(st.integers(0, 5000), min_size=count * 2, max_size=count * 2)), np.int32
        ).reshape(count, 2),
    )


@given(any_detections())
def test_round_trip_is_equal_in_every_bit(detections):
    assert_same(encoding.decode(encoding.encode(detections), (5012, 5012)), detections)


def test_round_trip_of_a_large_mask():
    mask = np.zeros((700, 1200), bool)
    mask[10:600, 30:1100] = True
    mask[::7, ::11] ^= True
    big = Detections(
        np.float32([[0, 0, 1, 1]]), np.int32([1]), np.float32([0.1]), (mask,), np.int32([[3, 4]])
    )
    assert_same(encoding.decode(encoding.encode(big), (703, 1204)), big)


def test_masks_are_small():
    mask = np.zeros((500, 500), bool)
    mask[100:400, 100:400] = True
    big = Detections(
        np.float32([[0, 0, 1, 1]]), np.int32([1]), np.float32([0.1]), (mask,), np.int32([[0, 0]])
    )
    assert len(encoding.encode(big)) < 2500  # a bit a pixel would be 31,250


def test_replay(recording):
    replay = Recording(recording)
    assert len(replay) == 5
    assert replay.frame_size == SIZE
    assert replay.min_score == 0.05
    assert replay.mean_seconds == pytest.approx(0.25)
    assert (replay.header["teacher"], replay.header["video"]) == ("t", "street.mp4")
    for index in (3, 0, 4, 1, 2, 3):  # in any order
        assert_same(replay(frame(index), index), seen(index))


def change(recording, statement, *values):
    """Changes a recording's database directly."""
    with sqlite3.connect(recording) as database:
        database.execute(statement, values)
    database.close()


def test_unknown_seconds(recording):
    change(recording, "UPDATE frames SET seconds = NULL WHERE number > 1")
    replay = Recording(recording)
    assert replay.mean_seconds == 0.25
    assert [replay.seconds(i) for i in range(5)] == [0.25, 0.25, None, None, None]
    for nonsense in ("NULL", "'long'", "x'00'", "9e999", "-1"):
        change(recording, f"UPDATE frames SET seconds = {nonsense}")
        replay = Recording(recording)
        assert (replay.mean_seconds, replay.seconds(3)) == (None, None)


def test_score_threshold_below_the_recorded_scores(tmp_path):
    replay = Recording(record(tmp_path / "x", 1, {**HEADER, "min_score": 0.3}))
    replay.check_score_threshold(0.3)
    with pytest.raises(UserError, match=r"--score_threshold=0\.1"):
        replay.check_score_threshold(0.1)


def test_names_with_special_characters(recording, monkeypatch):
    odd = recording.with_name("a b?mode=rw#ü%20.rec")
    recording.rename(odd)
    monkeypatch.chdir(odd.parent)
    assert_same(Recording(odd.name)(frame(2), 2), seen(2))


def test_reading_changes_nothing(recording):
    before = recording.read_bytes()
    replay = Recording(recording)
    replay(frame(1), 1)
    replay.close()
    assert recording.read_bytes() == before
    assert [path.name for path in recording.parent.iterdir()] == [recording.name]


@pytest.mark.parametrize("spec", ["lvs", "coco"])
@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9])
def test_thresholds_and_groups_are_chosen_at_replay(recording, spec, threshold):
    replay = Recording(recording)
    maker = LabelMaker(class_groups(spec), threshold)
    for index in range(5):
        live, again = seen(index), replay(frame(index), index)
        labels = maker.labels(again, SIZE)
        np.testing.assert_array_equal(labels, maker.labels(live, SIZE))
        np.testing.assert_array_equal(maker.weights(again, SIZE), maker.weights(live, SIZE))
        assert labels.any() or threshold == 0.9


def test_choices_at_replay_matter(recording):
    replayed = Recording(recording)(frame(3), 3)
    maps = [
        LabelMaker(class_groups(spec), threshold).labels(replayed, SIZE)
        for spec in ("coco", "lvs")
        for threshold in (0.05, 0.5)
    ]
    assert len({labels.tobytes() for labels in maps}) == 4


# Recording and resuming

KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from tests.teacher import test_recorded as t
# Acts like frames so large that SQLite has to write before a commit.
recorder = t.limited_recorder(sys.argv[1], "PRAGMA cache_size = 1")
for index in range(40):
    recorder.append(t.frame(index), t.seen(index), .25)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill -9")
def test_a_killed_recording_can_be_read_and_resumed(tmp_path):
    path = tmp_path / "killed.rec"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path, REPOSITORY], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()

    replay = Recording(path)
    kept = len(replay)
    assert 40 - Recorder.COMMIT_EVERY < kept <= 40
    for index in range(kept):
        assert_same(replay(frame(index), index), seen(index))
    replay.close()

    record(path, 45)
    whole = record(tmp_path / "whole.rec", 45)
    for table in ("header", "frames"):
        rows = [
            sqlite3.connect(file).execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for file in (path, whole)
        ]
        assert rows[0] == rows[1]
        assert len(rows[0]) == (45 if table == "frames" else len(HEADER) + 1)


def test_recording_is_resumed_after_each_close(tmp_path):
    path = tmp_path / "street.rec"
    for frames in (0, 1, 3, 3, 5):
        record(path, frames)
        assert len(Recording(path)) == frames
    replay = Recording(path)
    for index in range(5):
        assert_same(replay(frame(index), index), seen(index))


def test_creates_its_folder(tmp_path):
    assert len(Recording(record(tmp_path / "new" / "folder" / "street.rec", 2))) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("teacher", "other"), ("height", 61), ("width", 8), ("min_score", 0.1)],
)
def test_a_recording_with_another_header_is_not_resumed(recording, name, value):
    before = recording.read_bytes()
    with pytest.raises(UserError) as error:
        Recorder(recording, {**HEADER, name: value})
    assert f"{name} '{HEADER[name]}', not '{value}'" in str(error.value)
    assert str(recording) in str(error.value)
    assert recording.read_bytes() == before


def test_digest_of_the_teacher(tmp_path):
    """Recordings without one can be read, but not resumed with one, and vice versa."""
    known = {**HEADER, "teacher_sha256": "aa"}
    path = record(tmp_path / "known", 2, known)
    assert len(Recording(record(path, 3, known))) == 3
    for header in ({**known, "teacher_sha256": "bb"}, HEADER):
        with pytest.raises(UserError, match="teacher_sha256 'aa', not"):
            Recorder(path, header)
    with pytest.raises(UserError, match="teacher_sha256 None, not 'aa'"):
        Recorder(record(tmp_path / "unknown", 2), known)


def test_the_last_frame_must_be_of_the_same_video(recording):
    recorder = Recorder(recording, HEADER)
    recorder.check_last(frame(4))
    for other in (frame(4, scene=1), None):
        with pytest.raises(UserError, match=r"another video: frame 4 .* from 'street.mp4'"):
            recorder.check_last(other)
    recorder.close()
    change(recording, "UPDATE frames SET thumbnail = 'text'")
    with pytest.raises(UserError, match="is damaged at frame 4"):
        Recorder(recording, HEADER).check_last(frame(4))


def test_missing_frame(recording):
    change(recording, "DELETE FROM frames WHERE number = 2")
    with pytest.raises(UserError, match="is damaged at frame 2"):
        Recording(recording)(frame(2), 2)
    with pytest.raises(UserError, match="frames are missing"):
        Recorder(recording, HEADER)


def foreign_database(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")
        database.execute("INSERT INTO bookmarks VALUES ('https://example.org')")
    database.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_database, "another program's database"),
        (lambda path: path.write_text("a text\n" * 300), "cannot write the recording"),
        (lambda path: path.write_bytes(b"\x00" * 5000), "cannot write the recording"),
        (lambda path: path.mkdir(), "cannot write the recording"),
    ],
)
def test_other_files_are_not_overwritten(tmp_path, make, message):
    path = tmp_path / "precious"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError, match=message) as error:
        Recorder(path, HEADER)
    assert str(path) in str(error.value)
    assert path.is_dir() if before is None else path.read_bytes() == before


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the recording"):
        Recorder(tmp_path / "file" / "street.rec", HEADER)


# Smaller frames


@pytest.mark.parametrize("size", [(30, 40), (45, 80), (32, 33)])
def test_smaller_frames_are_served_with_a_note(recording, size):
    """They are still recognized, and another video's are not."""
    replay = Recording(recording)
    small = [cv2.resize(frame(i), size[::-1], interpolation=cv2.INTER_AREA) for i in range(2)]
    for index in range(2):
        expected = scaled(seen(index), SIZE, size)
        replayed = replay(small[index], index)
        assert [m.tobytes() for m in replayed.masks] == [m.tobytes() for m in expected.masks]
        assert replayed.boxes.tobytes() == seen(index).boxes.tobytes()
    [problem] = replay.problems
    assert f"60×80 frames: masks are scaled to {size[0]}×{size[1]}" in problem
    other = cv2.resize(frame(0, scene=1), size[::-1], interpolation=cv2.INTER_AREA)
    with pytest.raises(UserError, match="another video"):
        replay(other, 0)


def test_frames_of_the_recorded_size_are_no_problem(recording):
    replay = Recording(recording)
    replay.check_size(SIZE)
    replay(frame(0), 0)
    assert replay.problems == []


# Refusals


@pytest.mark.parametrize("size", [(80, 60), (61, 80), (60, 81)])
def test_larger_frames(recording, size):
    """Masks have no such detail."""
    replay = Recording(recording)
    message = rf"60×80 .* {size[0]}×{size[1]}.* --frame_size=60x80"
    with pytest.raises(UserError, match=message):
        replay.check_size(size)
    with pytest.raises(UserError, match=message):
        replay(np.zeros((*size, 3), np.uint8), 0)
    assert replay.problems == []


def test_too_short(recording):
    replay = Recording(recording)
    with pytest.raises(UserError, match=r"ends after 5 frames and frame 5 .* --max_frames=5"):
        replay(frame(5), 5)


def test_other_video(recording):
    replay = Recording(recording)
    with pytest.raises(UserError, match=r"another video: frame 2 .* from 'street.mp4'"):
        replay(frame(2, scene=1), 2)
    with pytest.raises(UserError, match="another video"):
        replay(np.zeros((*SIZE, 3), np.uint8), 0)


def test_another_decoder_is_not_another_video(recording):
    noise = np.random.default_rng(0).integers(-3, 4, (*SIZE, 3))
    nearly = np.clip(frame(2).astype(int) + noise + 2, 0, 255).astype(np.uint8)
    assert_same(Recording(recording)(nearly, 2), seen(2))


def test_thumbnail_is_gray_and_of_the_whole_frame():
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, 24:] = (255, 0, 0)
    small = encoding.thumbnail(picture)
    assert (small.dtype, small.shape) == (np.uint8, (16, 16))
    assert (small[:, :8] == 0).all()
    assert np.abs(small[:, 8:].astype(int) - 76).max() <= 1  # red's .299 of the luminance


def test_views_in_place_of_tables_are_refused(recording):
    """Reading them could take for ever, or all memory."""
    with contextlib.closing(sqlite3.connect(recording)) as database:
        database.executescript(
            "DROP TABLE frames;"
            "CREATE VIEW frames AS "
            "SELECT 0 AS number, '' AS thumbnail, 1 AS seconds, '' AS instances"
        )
    with pytest.raises(UserError, match="is not a teacher recording"):
        Recording(recording)
    with pytest.raises(UserError, match="another program"):
        Recorder(recording, {})


@pytest.mark.parametrize(
    "make",
    [
        foreign_database,
        lambda path: path.write_text("a text\n" * 300),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"SQLite format 3\x00" + bytes(200)),
    ],
)
def test_not_a_recording(tmp_path, make):
    path = tmp_path / "file.rec"
    make(path)
    with pytest.raises(UserError, match="is not a teacher recording") as error:
        Recording(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM header WHERE name = 'format'",
        "UPDATE header SET value = 'jitnet_tf teacher recording 2' WHERE name = 'format'",
        "DROP TABLE frames",
        "DELETE FROM header WHERE name = 'height'",
        "UPDATE header SET value = 'sixty' WHERE name = 'height'",
        "UPDATE header SET value = '4294967296' WHERE name = 'height'",
        "UPDATE header SET value = '0' WHERE name = 'width'",
        "DELETE FROM header WHERE name = 'min_score'",
        "UPDATE header SET value = NULL WHERE name = 'width'",
        "UPDATE header SET value = 'nan' WHERE name = 'min_score'",
    ],
)
def test_recording_with_a_broken_header(recording, statement):
    change(recording, statement)
    with pytest.raises(UserError, match="is not a teacher recording"):
        Recording(recording)


@pytest.mark.parametrize("path", ["missing.rec", "."])
def test_missing(tmp_path, path):
    with pytest.raises(UserError, match="does not exist; make it with"):
        Recording(tmp_path / path)


@pytest.mark.parametrize(
    "damage",
    [
        "instances = substr(instances, 1, length(instances) - 9)",
        "instances = x'78da0000'",
        "instances = NULL",
        "instances = 'text'",
        "thumbnail = substr(thumbnail, 1, 99)",
        "thumbnail = NULL",
    ],
)
def test_damaged_frame(recording, damage):
    change(recording, f"UPDATE frames SET {damage} WHERE number = 2")
    replay = Recording(recording)
    with pytest.raises(UserError, match="is damaged at frame 2"):
        replay(frame(2), 2)
    assert_same(replay(frame(3), 3), seen(3))  # the others still serve


ROW = [3, 0.5, [0.0, 0.0, 1.0, 1.0], [10, 20], [2, 3], "15"]  # the mask: a pixel out, five in


def replay_rows(recording, content):
    """Replays frame 2 with other content in place of its objects."""
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    change(recording, "UPDATE frames SET instances = ? WHERE number = 2", zlib.compress(content))
    return Recording(recording)(frame(2), 2)


def test_valid_row(recording):
    replayed = replay_rows(recording, [ROW])
    assert (replayed.classes.tolist(), replayed.origins.tolist()) == ([3], [[10, 20]])
    np.testing.assert_array_equal(replayed.masks[0], [[False, True, True], [True, True, True]])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((0, class_id) for class_id in (300, 0, -1, 91, 3.0, "3", None, True, 10**30)),
        *((1, score) for score in (float("nan"), float("inf"), 1e39, "0.5", None, [0.5])),
        *((2, box) for box in ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1e300], "boxy", 7, None)),
        *((3, origin) for origin in ([-1, 0], [59, 0], [0, 78], [10**30, 0], [0.0, 0.0], [0], 5)),
        *((4, size) for size in ([-2, -3], [2, 10**9], [10**9, 0], [2, 3, 1], {"h": 2, "w": 3}, 6)),
        *((4, size) for size in ([2, 4], [1, 3], [0, 0])),  # not that of the mask
        *(
            (5, counts)
            for counts in ("", "0", "14", "16", "1P", "1PPPPPPPP5", "15\0", "ü", 15, None)
        ),
    ],
)
def test_invalid_values(recording, place, value):
    row = [*ROW[:place], value, *ROW[place + 1 :]]
    with pytest.raises(UserError, match="is damaged at frame 2"):
        replay_rows(recording, [ROW, row])


@pytest.mark.parametrize("text", ["1P", "P", "1PPPPPPPP5", "15\0", " 5", "15~"])
def test_invalid_run_lengths_do_not_reach_pycocotools(recording, text, monkeypatch):
    """pycocotools would read past their end."""
    monkeypatch.delattr(encoding.coco_mask, "decode")
    with pytest.raises(UserError, match="run-length"):
        replay_rows(recording, [[*ROW[:5], text]])


@pytest.mark.parametrize(
    "content", [{}, "", None, 5, [[]], [5], ["abcdef"], [[*ROW, 1]], [ROW[:5]], b"[" * 10**6, b"]"]
)
def test_invalid_rows(recording, content):
    with pytest.raises(UserError, match="is damaged at frame 2"):
        replay_rows(recording, content)


FULL = [3, 0.5, [0.0, 0.0, 1.0, 1.0], [0, 0], list(SIZE), "Pf4"]  # all of the frame, no pixel in


@pytest.mark.parametrize("content", [b" " * 10**8 + b"[]", [FULL] * 5000])
def test_damage_costs_little_memory(content):
    for count in (1, encoding.MAX_COVER):
        assert (
            len(encoding.decode(zlib.compress(json.dumps([FULL] * count).encode()), SIZE)) == count
        )
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    packed = zlib.compress(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"too (long|large)"):
        encoding.decode(packed, SIZE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * encoding.MAX_TEXT


def test_empty_masks_of_older_recordings(recording):
    replayed = replay_rows(recording, [[*ROW[:4], [0, 3], ""], [*ROW[:4], [0, 3], "0"]])
    assert [mask.shape for mask in replayed.masks] == [(0, 3), (0, 3)]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """(bytes of a recording, a path to write damaged ones to)."""
    path = record(tmp_path_factory.mktemp("damaged") / "street.rec", 4)
    return path.read_bytes(), path


@settings(max_examples=60)
@given(st.data())
def test_damage_anywhere_is_harmless_or_a_user_error(intact, data):
    content, path = intact
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))])
    try:
        replay = Recording(path)
        for index in range(4):
            replay(frame(index), index)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017 (any other exception fails the test)


def test_full_disk(tmp_path):
    """Frames that fitted are kept, and the recording can be resumed once there is room."""
    path = tmp_path / "street.recording"
    recorder = limited_recorder(path, "PRAGMA max_page_count = 16")

    def fill():
        for index in range(1000):
            recorder.append(frame(index), seen(index), 0.25)

    with pytest.raises(UserError, match="full"):
        fill()
    recorder.close()
    record(path, 40)
    replayed = Recording(path)
    assert len(replayed) == 40
    for index in (0, 39):
        assert_same(replayed(frame(index), index), seen(index))


# Objects alone


def test_objects_are_those_of_a_replay(recording):
    replayed = Recording(recording)
    found = list(replayed.objects(5))
    assert len(found) == 5
    for index, (classes, scores) in enumerate(found):
        detections = replayed(frame(index), index)
        assert classes == detections.classes.tolist()
        np.testing.assert_array_equal(np.float32(scores), detections.scores)


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (3, 3), (5, 5), (30_000, 5)])
def test_objects_of_the_first_frames(recording, asked, given):
    replayed = Recording(recording)
    assert list(replayed.objects(asked)) == list(replayed.objects(5))[:given]


def test_objects_of_an_empty_frame(tmp_path):
    path = tmp_path / "empty.rec"
    recorder = Recorder(path, HEADER)
    recorder.append(frame(0), seen(0).above(2.0), 0.25)
    recorder.close()
    assert list(Recording(path).objects(9)) == [([], [])]


def test_objects_of_a_damaged_frame(recording):
    with sqlite3.connect(recording) as database:
        database.execute("UPDATE frames SET instances = 'x' WHERE number = 2")
    objects = Recording(recording).objects(5)
    assert len([next(objects), next(objects)]) == 2
    with pytest.raises(UserError, match="is damaged at frame 2"):
        next(objects)


def test_objects_of_a_missing_frame(recording):
    with sqlite3.connect(recording) as database:
        database.execute("DELETE FROM frames WHERE number = 2")
    with pytest.raises(UserError, match="is damaged at frame 2"):
        list(Recording(recording).objects(5))


@settings(max_examples=40)
@given(st.data())
def test_objects_of_a_file_damaged_anywhere(intact, data):
    content, path = intact
    damaged = bytearray(content)
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        list(Recording(path).objects(4))
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017 (any other exception fails the test)

"""LVS predictions: a small copy of the dataset, damaged files, hostile pickles."""

import csv
import os
import pathlib
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jitnet_tf import labels, video
from jitnet_tf.base.errors import UserError
from teacher import coco, lvs, open_teacher, record
from teacher.detections import from_box_masks
from teacher.recorded import Recording
from tests.commands import run_command
from tests.materials import SIZE, frames, write_video

LIST = pathlib.Path(__file__).parents[2] / "experiments" / "streams" / "lvs.csv"
LENGTHS = (5, 7)  # frames in the look-alike's chunks
PICTURES = frames(sum(LENGTHS))


def detections(seed):
    """Arrays in Detectron's format: boxes, class ids, scores, masks; 0 to 3 objects by class."""
    random = np.random.default_rng(seed)
    n = seed % 4
    corners = np.sort(random.random((n, 2, 2)), 1)
    return (
        corners.reshape(n, 4),
        np.sort(random.integers(1, 81, n)),
        random.uniform(0.05, 1, n).astype(np.float32),
        random.random((n, 28, 28)).astype(np.float32),
    )


def entry(seed):
    """The same in the format of Detectron.pytorch's tools/infer_video_stream.py."""
    boxes, classes, scores, masks = detections(seed)
    boxes, scores = (boxes, scores) if len(boxes) else (np.array([]), np.array([]))
    return [boxes, [int(n) for n in classes], scores, list(masks)]


def expected(seed, size=SIZE):
    boxes, classes, scores, masks = detections(seed)
    ids = [coco.IDS[list(coco.NAMES.values())[n - 1]] for n in classes]
    return from_box_masks(boxes, ids, scores, masks, size)


def assert_same(one, other):
    assert one.boxes.tobytes() == other.boxes.tobytes()
    assert one.classes.tolist() == other.classes.tolist()
    assert one.scores.tobytes() == other.scores.tobytes()
    assert [m.tobytes() for m in one.masks] == [m.tobytes() for m in other.masks]
    assert one.origins.tolist() == other.origins.tolist()


def predictions_path(folder, chunk):
    return folder / f"detectron_large_mask_rcnn_1_{folder.name}{chunk:03}.npy"


def write_stream(folder):
    """A stream like LVS's: two chunks of video with their predictions."""
    folder.mkdir()
    start = 0
    for chunk, length in enumerate(LENGTHS):
        pictures = PICTURES[start : start + length]
        write_video(folder / f"{folder.name}{chunk:03}.mp4", pictures)
        found = {number: entry(start + number) for number in range(length)}
        np.save(predictions_path(folder, chunk), found)
        start += length
    return folder


@pytest.fixture
def stream(tmp_path):
    return write_stream(tmp_path / "street1")


def decoded(folder, size=None):
    with video.open_source(str(folder), size) as source:
        return list(source)


# The stream as released


def test_every_frame_across_chunks(stream):
    teacher = open_teacher(f"lvs:{stream}")
    for index, frame in enumerate(decoded(stream)):
        assert_same(teacher(frame, index), expected(index))
        assert teacher.seconds(index) is None
    assert teacher.mean_seconds is None


def test_frames_in_any_order(stream):
    """Resumed recordings request frame 0 and then a frame in the middle."""
    pictures = decoded(stream)
    teacher = lvs.Predictions(stream)
    for index in (0, 9, 2, 5, 11, 4):
        assert_same(teacher(pictures[index], index), expected(index))


def test_one_chunk_in_memory(stream, monkeypatch):
    loaded = []
    load = lvs.load
    monkeypatch.setattr(lvs, "load", lambda path: loaded.append(path.name[-7:]) or load(path))
    teacher = lvs.Predictions(stream)
    for index, frame in enumerate(decoded(stream)):
        teacher(frame, index)
        assert list(teacher._frames) == list(range(LENGTHS[index >= LENGTHS[0]]))
    assert loaded == ["000.npy", "001.npy"]


def test_other_frame_size(stream):
    size = (64, 96)
    teacher = lvs.Predictions(stream)
    for index, frame in enumerate(decoded(stream, size)):
        assert_same(teacher(frame, index), expected(index, size))


def test_detectron_ids():
    """Source: detectron_classes in EastGit0/JITNet_segmentation."""
    named = {1: "person", 2: "bicycle", 4: "motorcycle", 8: "truck", 15: "bird", 17: "dog"}
    named |= {18: "horse", 21: "elephant", 24: "giraffe", 33: "sports ball", 80: "toothbrush"}
    for number, name in named.items():
        assert coco.NAMES[coco.DETECTRON_IDS[number]] == name
    assert sorted(coco.DETECTRON_IDS) == list(range(1, 81))
    assert list(coco.DETECTRON_IDS.values()) == sorted(coco.NAMES)


# Recording


def record_stream(stream, output, *arguments):
    inputs = (f"--video={stream}", f"--teacher=lvs:{stream}")
    assert run_command(record, *inputs, f"--output={output}", *arguments) == 0
    return Recording(output)


def test_recording_equals_the_predictions(stream, tmp_path):
    for count in (3, 8, 99):  # interrupted in the first chunk and in the second
        recording = record_stream(stream, tmp_path / "a", f"--max_frames={count}")
    assert (len(recording), recording.mean_seconds) == (12, None)
    assert recording.header["teacher"] == "lvs:street1"
    assert recording.min_score == 0.05
    threshold, maker = 0.5, labels.LabelMaker(labels.class_groups("coco"), 0.5)
    for index, frame in enumerate(decoded(stream)):
        replayed = recording(frame, index)
        assert recording.seconds(index) is None
        assert_same(replayed, expected(index))
        wanted = maker.labels(expected(index).above(threshold), SIZE)
        np.testing.assert_array_equal(maker.labels(replayed, SIZE), wanted)


def test_recording_of_a_recording_of_lvs(stream, tmp_path):
    first = record_stream(stream, tmp_path / "a")
    second = record_stream(stream, tmp_path / "b", f"--teacher=recorded:{tmp_path}/a")
    assert (second.header, second.mean_seconds) == (first.header, None)


def test_other_predictions_do_not_resume_a_recording(stream, tmp_path, capsys):
    record_stream(stream, tmp_path / "a", "--max_frames=3")
    np.save(predictions_path(stream, 1), {n: entry(n + 50) for n in range(LENGTHS[1])})
    inputs = (f"--video={stream}", f"--teacher=lvs:{stream}", f"--output={tmp_path}/a")
    assert run_command(record, *inputs) == 2
    assert "teacher_sha256" in capsys.readouterr().err


# Refusals


def refusal(stream, index=0, pictures=None):
    """The message for frame `index`, after the frames before it."""
    pictures = pictures or decoded(stream)
    with pytest.raises(UserError) as caught:  # noqa: PT012
        teacher = open_teacher(f"lvs:{stream}")
        for i in range(index + 1):
            teacher(pictures[i], i)
    assert i == index
    message = str(caught.value)
    assert "\n" not in message
    return message


def opening_refused(stream):
    with pytest.raises(UserError) as caught:
        open_teacher(f"lvs:{stream}")
    return str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    assert "nowhere" in opening_refused(tmp_path / "nowhere")
    assert "holds no video" in opening_refused(tmp_path)


def test_missing_predictions_are_refused(stream):
    predictions_path(stream, 1).unlink()
    message = opening_refused(stream)
    assert "street1001.mp4" in message
    assert "no detectron_large_mask_rcnn_1_street1001.npy" in message


def test_a_missing_video_chunk_is_refused(stream):
    (stream / "street1000.mp4").unlink()
    assert "street1000.mp4" in opening_refused(stream)


@pytest.mark.parametrize("missing", [2, 6])
def test_missing_frames_are_refused(stream, missing):
    """Also the last frame, where OpenCV decoded fewer frames than PyAV."""
    found = {n: entry(LENGTHS[0] + n) for n in range(LENGTHS[1]) if n != missing}
    np.save(predictions_path(stream, 1), found)
    message = refusal(stream, LENGTHS[0] + missing)
    assert f"frame {missing}" in message
    assert f"--max_frames={LENGTHS[0] + missing}" in message


def test_a_missing_first_frame_is_refused(stream):
    np.save(predictions_path(stream, 0), {n: entry(n) for n in range(1, LENGTHS[0])})
    message = refusal(stream)
    assert "frame 0" in message
    assert "--max_frames" not in message


def test_surplus_predictions_are_ignored(stream):
    """The next chunk of predictions begins with the next chunk of video."""
    np.save(predictions_path(stream, 0), {n: entry(n) for n in range(LENGTHS[0] + 3)})
    teacher = lvs.Predictions(stream)
    for index, frame in enumerate(decoded(stream)):
        assert_same(teacher(frame, index), expected(index))


def test_another_video_is_refused(stream, tmp_path):
    other = decoded(write_video(tmp_path / "other.mp4", frames(12, seed=3)))
    assert "frame 0 is not the first of" in refusal(stream, 0, other)
    # One frame fewer in the first chunk, as a damaged copy has.
    shifted = [f for i, f in enumerate(decoded(stream)) if i != 2]
    message = refusal(stream, LENGTHS[0], shifted)
    assert f"--video={stream}" in message
    assert "copy the chunk before it again" in message


def test_a_longer_video_is_refused(stream):
    pictures = decoded(stream)
    message = refusal(stream, 12, [*pictures, pictures[0]])
    assert "ends after 12 frames and frame 12 is needed" in message


# Pickles of every origin

DTYPES = ["?", "b", "B", "<i2", ">i4", "<u8", "<f2", "<f4", ">f8"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | ARRAYS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner),
)


def loaded(data, folder):
    """The value that a frame has in a file of predictions with this pickle."""
    path = folder / "x.pkl"
    path.write_bytes(data)
    return lvs.load(path)[0]


@given(VALUES, st.integers(0, 4))
@settings(max_examples=60)
def test_reads_pickles(tmp_path_factory, value, protocol):
    found = loaded(pickle.dumps({0: value}, protocol), tmp_path_factory.getbasetemp())
    np.testing.assert_equal(found, value)


@pytest.mark.parametrize("protocol", range(5))
def test_reads_numpy_of_every_kind(protocol, tmp_path):
    def unpickled(value):
        return loaded(pickle.dumps({0: value}, protocol), tmp_path)

    for value in (np.float32(0.5), np.int64(7), np.bool_(True), b"bytes", b""):
        assert unpickled(value) == value
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(unpickled(fortran), fortran)
    objects = np.array([np.arange(3), {"a": 1}, None], dtype=object)
    number, mapping, nothing = unpickled(objects)
    assert (number.tolist(), mapping, nothing) == ([0, 1, 2], {"a": 1}, None)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_reads_numpy_1_and_2(module, tmp_path):
    data = pickle.dumps({0: np.arange(4.0)}, 2)
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        data = data.replace(name, module)
    np.testing.assert_array_equal(loaded(data, tmp_path), np.arange(4.0))


def test_reads_python_2(stream):
    """cPickle.dumps({0: [array([[0, .25, .5, 1]]), [15], array([.5], "f4"), [ones((1, 1), "f4")]]})
    of Python 2, numpy 1.16 and protocol 2, which is what numpy.save used."""

    def array(kind, shape, data):
        sides = b"".join(b"K" + bytes([side]) for side in shape) + b"\x85\x86"[len(shape) - 1 :][:1]
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
            + sides
            + b"cnumpy\ndtype\nU\x02" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
            b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(data)]) + data + b"tb"
        )  # fmt: skip

    data = b"\x80\x02}K\x00]("
    data += array(b"f8", (1, 4), np.array([0, 0.25, 0.5, 1]).tobytes())
    data += b"]K\x0fa" + array(b"f4", (1,), np.float32(0.5).tobytes())
    data += b"]" + array(b"f4", (1, 1), np.float32(1).tobytes()) + b"aes."
    predictions_path(stream, 0).unlink()
    (stream / "street1000.pkl").write_bytes(data)
    (found,) = lvs.load(stream / "street1000.pkl").values()
    detections = lvs.detections_of(found, (8, 8))
    assert coco.NAMES[detections.classes[0]] == "bird"
    assert detections.scores.tolist() == [0.5]
    assert (detections.masks[0].shape, detections.origins.tolist()) == ((4, 6), [[0, 2]])
    assert detections.masks[0].all()
    assert_same(lvs.Predictions(stream)(decoded(stream)[0], 0), lvs.detections_of(found, SIZE))


@pytest.mark.parametrize(
    "change",
    [
        lambda boxes, classes, scores, masks: [boxes, np.array(classes), scores, np.array(masks)],
        lambda *parts: np.array([*parts, None], dtype=object)[:4],
        lambda boxes, classes, scores, masks: (boxes.tolist(), classes, [*scores], masks),
        lambda boxes, classes, scores, masks: [boxes, np.float32(classes), scores, masks],
    ],
)
def test_other_containers(stream, change):
    np.save(predictions_path(stream, 0), {n: change(*entry(3)) for n in range(LENGTHS[0])})
    assert_same(lvs.Predictions(stream)(decoded(stream)[0], 0), expected(3))


def test_frames_without_objects_in_the_first_version(stream):
    np.save(predictions_path(stream, 0), {n: [None, [], None, []] for n in range(LENGTHS[0])})
    assert len(lvs.Predictions(stream)(decoded(stream)[0], 0)) == 0


# Damage


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({0: np.zeros((2, 4))}, "2 boxes, 3 classes, 3 scores, 3 masks"),
        ({0: np.zeros((3, 5))}, "numbers of shape"),
        ({0: np.full((3, 4), 640.0)}, "boxes in pixels"),
        ({0: 5}, "int in place of"),
        ({1: [0, 1, 2]}, "class ids other than"),
        ({1: [1, 2, 90]}, "class ids other than"),
        ({1: [1, 2, 1.5]}, "class ids other than"),
        ({1: ["1", "2", "3"]}, "numbers of shape"),
        ({1: [[1], [2], [3]]}, "numbers of shape"),
        ({2: [float("inf")] * 2}, "2 scores"),
        ({3: [np.zeros((1, 28, 28))] * 3}, "numbers of shape"),
        ({3: [np.zeros((0, 28))] * 3}, "masks of an invalid size"),
        ({3: [[[0.5, "0.5"]]] * 3}, "other elements than numbers"),
        ({3: [{}] * 3}, "numbers of shape"),
        ({4: []}, "5 lists"),
        ({n: [0] * 1001 for n in range(4)}, "1001 boxes"),
    ],
)
def test_wrong_shapes_are_refused(stream, change, named):
    parts = {**dict(enumerate(entry(3))), **change}
    np.save(predictions_path(stream, 0), {n: list(parts.values()) for n in range(LENGTHS[0])})
    message = refusal(stream)
    assert "frame 0 has" in message
    assert named in message


def test_objects_with_invalid_numbers_are_left_out(stream):
    boxes, classes, scores, masks = entry(3)
    scores[0], boxes[1, 2] = np.nan, np.inf
    boxes[1, 2] = np.nan
    np.save(predictions_path(stream, 0), {0: [boxes, classes, scores, masks]})
    assert len(lvs.Predictions(stream)(decoded(stream)[0], 0)) == 1


@pytest.mark.parametrize(
    "found", [[], {"0": []}, {0.5: []}, {float("inf"): []}, {(0, 1): []}, np.zeros(3), "text"]
)
def test_other_values_than_a_dictionary_of_frames_are_refused(stream, found):
    np.save(predictions_path(stream, 0), found)
    assert "download them again" in refusal(stream)


@pytest.mark.parametrize("kept", [0, 5, 9, 60, 128, 200, 1000, -1])
@pytest.mark.parametrize("name", ["npy", "pkl"])
def test_truncated_files_are_refused(stream, kept, name):
    path = predictions_path(stream, 0)
    data = path.read_bytes()
    if name == "pkl":
        path.unlink()
        path = stream / "street1000.pkl"
        data = data[128:]
    path.write_bytes(data[:kept])
    assert "download them again" in refusal(stream)


def test_damage_anywhere_is_harmless_or_a_user_error(stream):
    path = predictions_path(stream, 0)
    data = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for place in random.integers(0, 2000, 300):
        damaged = bytearray(data)
        damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            lvs.load(path)
        except UserError:
            refused += 1
    assert 20 < refused < 300


def test_missing_files_are_refused(stream):
    path = predictions_path(stream, 0)
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        lvs.load(path.with_name("none.npy"))


# Hostile pickles


class Harm:
    """Pickles as a function call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def global_(module, name):
    return f"c{module}\n{name}\n".encode()


RECONSTRUCTED = (
    global_("numpy.core.multiarray", "_reconstruct")
    + global_("numpy", "ndarray")
    + b"K\x00\x85C\x01b\x87R"
)
FLOATS = global_("numpy", "dtype") + b"U\x02f8\x89\x88\x87R"
HARM = {
    "os.system": (Harm(os.system, "touch harmed"), "system'"),
    "eval": (Harm(eval, "open('harmed', 'w')"), ".eval'"),
    "getattr": (Harm(getattr, "", "join"), ".getattr'"),
    "numpy.load": (Harm(np.load, "harmed"), "numpy"),
    "numpy.fromfile": (Harm(np.fromfile, "harmed"), "fromfile'"),
    "numpy.memmap": (Harm(np.memmap, "harmed", "u1", "w+", 0, (1,)), "memmap'"),
    "numpy.savetxt": (Harm(np.savetxt, "harmed", [1]), "savetxt'"),
    "in an object array": (np.array([Harm(os.system, "touch harmed")], dtype=object), "system'"),
    "of a class": (pathlib.PurePath("x"), "pathlib"),
}


@pytest.mark.parametrize("name", HARM)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_are_refused(name, protocol, stream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harm, named = HARM[name]
    path = predictions_path(stream, 0)
    path.unlink()
    (stream / "street1000.pkl").write_bytes(pickle.dumps({0: harm}, protocol))
    message = refusal(stream)
    assert "could run a program" in message
    assert named in message
    assert not pathlib.Path("harmed").exists()


def test_hostile_npy_files_are_refused(stream, tmp_path, monkeypatch, capsys):
    """Through the command: one line of message, exit status 2."""
    monkeypatch.chdir(tmp_path)
    np.save(predictions_path(stream, 0), {0: Harm(os.system, "touch harmed")})
    inputs = (f"--video={stream}", f"--teacher=lvs:{stream}", "--output=new.recording")
    assert run_command(record, *inputs) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: predictions")
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["street1"]


@pytest.mark.parametrize(
    "data",
    [
        # Calls with invalid arguments.
        global_("numpy.core.multiarray", "_reconstruct") + b"K\x01K\x00\x85C\x01b\x87R.",
        FLOATS[:-10] + b"U\x0aS999999999\x89\x88\x87R.",
        FLOATS[:-10] + b"U\x02O8\x89\x88\x87R(K\x03U\x01|(U\x01atNN}tb.",  # with fields
        global_("numpy.core.multiarray", "scalar") + FLOATS + b"C\x01x\x86R.",
        global_("_codecs", "encode") + b"X\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        global_("_codecs", "encode") + b"}U\x0c__defaults__)sN\x86b.",
        # Arrays that state more than they hold, or another class of elements.
        RECONSTRUCTED + b"(K\x01J\xff\xff\xff\x7f\x85" + FLOATS + b"\x89C\x08abcdefghtb.",
        RECONSTRUCTED + b"(K\x01J\xff\xff\xff\xff\x85" + FLOATS + b"\x89C\x08abcdefghtb.",
        RECONSTRUCTED + b"(K\x01J\xff\xff\xff\x7f\x85" + FLOATS[:-6] + b"O8\x89\x88\x87R\x89]tb.",
        # A function changed, instances made without a call.
        global_("_codecs", "encode") + b"}U\x0c__defaults__)sb.",
        global_("_codecs", "encode") + b"N}U\x09_function)s\x86b.",
        global_("numpy", "ndarray") + b")\x81.",
        global_("numpy", "dtype") + b")\x81.",
        RECONSTRUCTED[:-1] + b"\x81.",
        # Other ways to a name, to an object, to memory.
        b"\x82\x01.",
        b"Uname\nQ.",
        b"Pname\n.",
        b"\x97.",
        b"\x96" + struct.pack("<Q", 1 << 60) + b".",
        b"\x8e" + struct.pack("<Q", 1 << 62) + b".",
        b"\x95" + struct.pack("<Q", 1 << 62) + b"N.",
        # A codec of the pickle's choice, by a number's class that is bytes.
        global_("numpy.core.multiarray", "scalar") + b"C\x01xU\x05rot13\x86R.",
    ],
)
def test_hostile_opcodes_are_refused(data, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + data)
    with pytest.raises(UserError, match=r"could run a program|are damaged"):
        lvs.load(path)
    data = pickle.dumps({0: [np.float64(0.5), b"\xe4"]}, 2)  # nothing has changed for others
    assert loaded(data, tmp_path) == [0.5, b"\xe4"]


def test_names_in_messages_are_short_and_printable(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(global_("a" * 500 + "\x1b[2J", "b") + b".")
    with pytest.raises(UserError) as caught:
        lvs.load(path)
    assert len(str(caught.value)) < 300
    path.write_bytes(global_("\x1b[2J", "b") + b".")
    with pytest.raises(UserError, match=r"ask for '\\x1b\[2J\.b'"):
        lvs.load(path)


# The list of streams


def test_list_of_streams():
    lines = LIST.read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert list(rows[0]) == ["name", "category", "classes", "video", "recording", "max_frames"]
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) == 30
    for row in rows:
        classes = row["classes"].split()
        assert classes == [name for name in labels.LVS if name in classes]  # in order, once
        assert classes
        assert row["video"] == row["name"]
        assert row["recording"] == f"{row['name']}.recording"
        assert row["max_frames"] == "30000"
    counts = {row["category"]: 0 for row in rows}
    for row in rows:
        counts[row["category"]] += 1
    assert counts.pop("Sports (other)") == 1
    assert counts == {
        "Sports (Fixed)": 4,
        "Sports (Moving)": 7,
        "Sports (Ego)": 5,
        "Animals": 5,
        "Traffic": 6,
        "Driving/Walking": 2,
    }


def test_list_agrees_with_table_2():
    """The letters that the paper gives for ten streams."""
    letters = {"P": "person", "A": "auto", "Bi": "bird", "Bk": "bike", "D": "dog"}
    table = {
        "table_tennis1": "P", "kabaddi1": "P", "figure_skating1": "P", "drone2": "P",
        "birds2": "Bi", "dogs2": "P,D,A", "ego_dodgeball1": "P", "biking1": "P,Bk",
        "samui_walking_street1": "P,A,Bk", "driving1": "P,A,Bk",
    }  # fmt: skip
    lines = LIST.read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    classes = {row["name"]: set(row["classes"].split()) for row in rows}
    for name, abbreviated in table.items():
        assert classes[name] == {letters[letter] for letter in abbreviated.split(",")}

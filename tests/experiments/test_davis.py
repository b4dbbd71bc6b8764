"""experiments.davis: the command on squares whose J is known, annotations, tables by hand."""

import functools
import json
import pathlib
import shutil

import cv2
import numpy as np
import pytest

from experiments import davis, methods
from experiments.methods import first_annotation
from experiments.protocol import jobs, streams
from jitnet_tf.labels import LabelMaker, class_groups
from tests.builders import made_result, markdown_table
from tests.commands import refusal, run_command
from tests.materials import SQUARE, square_scene, write_square_stream

COUNT = 6
SIZE = (64, 96)


def write_sequence(root, recordings, name, annotated=lambda mask: mask, count=COUNT):
    """A sequence of DAVIS, a moving square, and the recording of a teacher that sees all of it.

    annotated: makes the annotation, boolean [H, W], of the square's mask.
    """
    stream = write_square_stream(recordings, name, count)
    pathlib.Path(stream.video).unlink()
    places = [root / kind / "480p" / name for kind in ("JPEGImages", "Annotations")]
    for place in places:
        place.mkdir(parents=True)
    for index, (picture, labels) in enumerate(zip(*square_scene(count), strict=True)):
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        best = [cv2.IMWRITE_JPEG_QUALITY, 100]
        cv2.imwrite(str(places[0] / f"{index:05d}.jpg"), picture, best)
        mask = annotated(labels > 0).astype(np.uint8) * 255
        cv2.imwrite(str(places[1] / f"{index:05d}.png"), mask)


def left_half(mask):
    """Of a square, the left half of its columns."""
    half = mask.copy()
    half[:, np.flatnonzero(mask.any(0))[0] + SQUARE // 2 :] = False
    return half


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """DAVIS's folder, recordings and a list of two sequences: one annotated as the teacher sees it,
    one by half.
    """
    folder = tmp_path_factory.mktemp("material")
    (folder / "recordings").mkdir()
    write_sequence(folder / "DAVIS", folder / "recordings", "whole")
    write_sequence(folder / "DAVIS", folder / "recordings", "half", left_half)
    write_list(folder / "list.csv", "whole", "half")
    return folder


def write_list(path, *names):
    rows = (f"{name},squares,person,{name},{name}.recording,\n" for name in names)
    path.write_text(",".join(streams.COLUMNS) + "\n" + "".join(rows))


def arguments(material, **changes):
    values = {
        "davis": material / "DAVIS",
        "streams": material / "list.csv",
        "recordings": material / "recordings",
        "results": "results",
        **changes,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@pytest.fixture
def copied(material, tmp_path):
    """The material, to be damaged."""
    shutil.copytree(material, tmp_path / "copy")
    return tmp_path / "copy"


def image(material, kind, name, index):
    suffix = "jpg" if kind == "JPEGImages" else "png"
    return material / "DAVIS" / kind / "480p" / name / f"{index:05d}.{suffix}"


# Annotations


def test_reads_annotations(material):
    video = material / "DAVIS" / "JPEGImages" / "480p" / "half"
    found = first_annotation.read(video, 2, SIZE)
    assert (found.dtype, found.shape) == (bool, SIZE)
    np.testing.assert_array_equal(found, left_half(square_scene(3)[1][2] > 0))


def test_finds_annotations_from_within(material, monkeypatch):
    monkeypatch.chdir(material / "DAVIS" / "JPEGImages" / "480p")
    assert first_annotation.path("half", 12) == image(material, "Annotations", "half", 12)


def test_any_object_is_foreground(tmp_path):
    """Also those of DAVIS 2017, in the colors of its palette."""
    file = first_annotation.path(tmp_path / "JPEGImages" / "480p" / "x", 0)
    file.parent.mkdir(parents=True)
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[1, 1:3] = (0, 0, 128), (0, 128, 0)
    cv2.imwrite(str(file), picture)
    found = first_annotation.read(tmp_path / "JPEGImages" / "480p" / "x", 0, (4, 5))
    assert np.argwhere(found).tolist() == [[1, 1], [1, 2]]


def test_an_annotation_as_a_teacher_would_say_it():
    mask = np.zeros((20, 40), bool)
    mask[5:15, 10:30] = True
    mask[5, 10] = False
    maker = LabelMaker(class_groups("lvs"), box_dilation=0.1)
    found = first_annotation.instance(mask, "truck")
    np.testing.assert_array_equal(maker.labels(found, mask.shape), mask * np.uint8(3))
    np.testing.assert_allclose(found.boxes, [[0.25, 0.25, 0.75, 0.75]])
    weights = maker.weights(found, mask.shape)
    assert np.argwhere(weights == 5).min(0).tolist() == [4, 8]
    assert np.argwhere(weights == 5).max(0).tolist() == [15, 31]


def test_teaches_one_frame():
    calls, steps = [], []

    class Student:
        def update(self, *arguments):
            calls.append(arguments)

    frame, mask = np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=bool)
    maker = LabelMaker(class_groups("lvs"))
    first_annotation.teach(
        Student(), frame, mask, "dog", maker, 3, lambda: steps.append(len(calls))
    )
    assert steps == [1, 2, 3]
    for got_frame, labels, weights in calls:
        assert got_frame is frame
        np.testing.assert_array_equal(labels, mask * np.uint8(5))
        assert (weights == 5).all()


# The command


def test_the_command(material, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = ["teacher", "jitnet_0.8", "first_annotation"]
    command = arguments(material, only=",".join(wanted), annotation_updates=40)
    assert run_command(davis, *command) == 0
    printed = capsys.readouterr().out
    results = {(r["stream"]["name"], r["method"]): r for r in jobs.load_all("results")}
    assert len(results) == 6

    # A teacher's J is as its masks were made; of the half, 14 of 28 columns are annotated.
    for name, expected in (("whole", 1), ("half", 0.5)):
        found = results[name, "teacher"]
        assert found["davis"]["J"]["frames"] == [expected] * COUNT
        assert found["davis"]["J"]["mean"] == expected
        assert found["davis"]["J"]["recall"] == (expected > 0.5)
        assert found["davis"]["J"]["decay"] == 0
        assert found["summary"]["teacher_frames"] == COUNT
    assert results["whole", "teacher"]["davis"]["F"]["frames"] == [1] * COUNT
    # Contours: rings of 29 x 29 and of 29 x 15, so of 112 and 84 pixels. They have in common the
    # left side and 14 columns above and below; one pixel more at each end is near enough.
    near = 29 + 2 * 14 + 2
    expected = 2 * near / (112 + 84)
    assert results["half", "teacher"]["davis"]["F"]["mean"] == pytest.approx(expected)

    # The student learned what it was given: the teacher's square, or half of it.
    taught = {method: results["half", method]["davis"]["J"]["frames"] for method in wanted}
    assert min(taught["first_annotation"]) > max(taught["jitnet_0.8"])
    assert results["half", "first_annotation"]["summary"]["teacher_frames"] == 0
    assert results["half", "jitnet_0.8"]["summary"]["teacher_frames"] == 1

    # What is scored is what was kept, and the statistics leave out the first frame and the last.
    for (name, method), result in results.items():
        masks = pathlib.Path("results", name, method, "masks")
        assert len(list(masks.glob("*.png"))) == COUNT
        for index in range(COUNT):
            prediction = cv2.imread(str(masks / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED) == 1
            file = image(material, "Annotations", name, index)
            annotation = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 0
            both, either = (annotation & prediction).sum(), (annotation | prediction).sum()
            frames = result["davis"]["J"]["frames"]
            assert frames[index] == pytest.approx(both / either, abs=1e-4)
        assert result["davis"]["J"]["mean"] == pytest.approx(np.mean(frames[1:-1]), abs=1e-4)

    # The tables say it, are made of the results alone, and nothing is run again.
    region = markdown_table(printed, "Region similarity").cells
    assert region["whole (person)"]["Teacher"] == "100.0 / 100.0 / 0.0"
    assert run_command(davis, "--print=results") == 0
    assert capsys.readouterr().out.strip() in printed
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    assert run_command(davis, *command) == 0
    assert capsys.readouterr().out == printed


def test_goes_on_with_what_is_missing(material, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = arguments(material, only="teacher")
    assert run_command(davis, *command) == 0
    (tmp_path / "results" / "half" / "teacher" / "result.json").unlink()
    asked = []
    monkeypatch.setattr(jobs, "run", lambda pairs, *_: asked.extend(pairs))  # as if interrupted
    capsys.readouterr()
    assert run_command(davis, *command) == 130
    assert [(stream.name, frames, method) for stream, frames, method in asked] == [
        ("half", COUNT, "teacher")
    ]
    assert capsys.readouterr().out == "stopped early; the same command goes on (results)\n"


def test_only_the_first_annotation_is_learned_from(material, copied, tmp_path):
    """With all others empty, predictions are the same to the bit."""
    for index in range(1, COUNT):
        cv2.imwrite(str(image(copied, "Annotations", "half", index)), np.zeros(SIZE, np.uint8))
    settings, masks, steps = methods.Settings(annotation_updates=9), [], []
    for place, results in ((material, tmp_path / "a"), (copied, tmp_path / "b")):
        videos = str(place / "DAVIS" / "JPEGImages" / "480p")
        _, half = streams.read_list(place / "list.csv", videos, str(place / "recordings"))
        step = functools.partial(steps.append, results)
        davis.evaluate(half, COUNT, "first_annotation", settings, results / "masks", step)
        found = sorted((results / "masks").glob("*.png"))
        masks.append([file.read_bytes() for file in found])
        expected = COUNT + methods.preparation(settings, "first_annotation", COUNT)
        assert steps.count(results) == expected == COUNT + 9
    assert len(masks[0]) == COUNT
    assert masks[0] == masks[1]


def test_real_sequences(shared):
    """The list names sequences that are annotated, frame by frame, at the frames' size."""
    root = shared("davis")
    listed = streams.read_list(davis.LIST, str(root / "JPEGImages" / "480p"), "recordings")
    assert len(listed) == 7
    for stream in listed:
        with streams.video.open_source(stream.video) as source:
            count = source.announced_frames
            for index in (0, count - 1):
                assert first_annotation.read(stream.video, index, source.size).any()
        assert not first_annotation.path(stream.video, count).exists()


# A user's mistakes


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs the command, which must not begin any work; returns its message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it began to work"))
    return lambda *given: refusal(davis, tmp_path, capsys, *given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"davis": None}, "--davis is to be DAVIS's root folder"),
        ({"videos": "DAVIS"}, "and --videos is not to be given"),
        ({"recordings": None}, "stream whole: there is no recording"),
        ({"results": None}, "--results is missing"),
        ({"davis": "nowhere"}, "--davis=nowhere is not DAVIS's root folder: there is no folder"),
        ({"streams": "nowhere.csv"}, "stream list 'nowhere.csv' cannot be read"),
        ({"recordings": "nowhere"}, "there is no recording 'nowhere/whole.recording'"),
        ({"only": "oracle"}, "'oracle' is neither a method (teacher, never_adapted, jitnet_0.8,"),
        ({"only": "dog"}, "nor a stream (whole, half)"),
        ({"init": "nowhere"}, "'nowhere' does not exist"),
        ({"annotation_updates": 0}, "annotation_updates"),
        ({"jobs": 0}, "jobs"),
        ({"results": "/proc/version"}, "--results=/proc/version cannot be written"),
        ({"print": "nowhere"}, "there are no results in 'nowhere'"),
    ],
)
def test_refuses(refused, material, change, said):
    assert said in refused(*arguments(material, **change))


def test_refuses_a_folder_without_annotations(refused, copied):
    shutil.rmtree(copied / "DAVIS" / "Annotations")
    assert "is not DAVIS's root folder" in refused(*arguments(copied))


def test_refuses_a_sequence_that_is_not_there(refused, copied):
    write_list(copied / "list.csv", "whole", "dog")
    assert "stream dog: there is no video" in refused(*arguments(copied))


def test_refuses_a_frame_that_is_not_annotated(refused, copied):
    file = image(copied, "Annotations", "half", COUNT - 1)
    file.unlink()
    assert f"there is no annotation {file}" in refused(*arguments(copied))
    assert refused(*arguments(copied)).endswith("--davis is to be the folder as released")


def test_refuses_an_annotation_that_cannot_be_read(refused, copied):
    image(copied, "Annotations", "half", 3).write_text("x")
    assert "half/00003.png cannot be read: get it again" in refused(*arguments(copied))


def test_refuses_an_annotation_of_another_size(refused, copied):
    cv2.imwrite(str(image(copied, "Annotations", "whole", 1)), np.zeros((32, 48), np.uint8))
    message = refused(*arguments(copied))
    assert "whole/00001.png is 32x48, the recording's frames are 64x96" in message


def test_refuses_a_sequence_without_an_object_in_the_first_frame(refused, copied):
    cv2.imwrite(str(image(copied, "Annotations", "whole", 0)), np.zeros(SIZE, np.uint8))
    assert "whole/00000.png has no object" in refused(*arguments(copied))


def test_refuses_a_sequence_of_two_frames(refused, copied):
    write_sequence(copied / "DAVIS", copied / "recordings", "short", count=2)
    write_list(copied / "list.csv", "short")
    assert "stream short: the benchmark leaves out" in refused(*arguments(copied))


def test_refuses_results_of_other_settings(refused, material, tmp_path):
    path = jobs.folder(tmp_path / "results", "whole", "first_annotation") / jobs.RESULT
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made_result("whole", "first_annotation")))
    message = refused(*arguments(material, annotation_updates=7))
    assert "was made with another annotation_updates" in message

"""The davis command on squares with known J, and refusals."""

import functools
import pathlib
import shutil

import cv2
import numpy as np
import pytest

from experiments import davis
from experiments.methods import first_annotation
from experiments.protocol import jobs, streams
from experiments.reports.results import Results
from tests.builders import flag_arguments, made_result, markdown_table, write_result
from tests.commands import refusal, run_command
from tests.materials import SQUARE, square_scene, write_square_stream

COUNT = 6
SIZE = (64, 96)


def write_sequence(root, recordings, name, annotated=lambda mask: mask, count=COUNT):
    """Writes a sequence of DAVIS, a moving square, and the recording of a perfect teacher.

    annotated: the square's mask → its annotation, boolean [H, W].
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
    """Returns the left half of a square's columns."""
    half = mask.copy()
    half[:, np.flatnonzero(mask.any(0))[0] + SQUARE // 2 :] = False
    return half


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """DAVIS's folder, recordings and a list of two sequences; of one, half is annotated."""
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
    }
    return flag_arguments(**{**values, **changes})


@pytest.fixture
def copied(material, tmp_path):
    """The material, to be damaged."""
    shutil.copytree(material, tmp_path / "copy")
    return tmp_path / "copy"


def image(material, kind, name, index):
    suffix = "jpg" if kind == "JPEGImages" else "png"
    return material / "DAVIS" / kind / "480p" / name / f"{index:05d}.{suffix}"


# The command


@pytest.mark.slow
def test_the_command(material, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = ["teacher", "jitnet_0.8", "first_annotation"]
    command = arguments(material, only=",".join(wanted), annotation_updates=40)
    assert run_command(davis, *command) == 0
    printed = capsys.readouterr().out
    results = Results.load("results").cells
    assert len(results) == 6

    # The teacher's J follows from its masks; of the half, 14 of 28 columns are annotated.
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

    # The student learned its labels: the teacher's square, or half of it.
    frame_scores = {method: results["half", method]["davis"]["J"]["frames"] for method in wanted}
    assert min(frame_scores["first_annotation"]) > max(frame_scores["jitnet_0.8"])
    assert results["half", "first_annotation"]["summary"]["teacher_frames"] == 0
    assert results["half", "jitnet_0.8"]["summary"]["teacher_frames"] == 1

    # The kept predictions are scored; the statistics leave out the first frame and the last.
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

    # The tables need only the results, and nothing is run again.
    region = markdown_table(printed, "Region similarity").cells
    assert region["whole (person)"]["Teacher"] == "100.0 / 100.0 / 0.0"
    assert run_command(davis, "--print=results") == 0
    assert capsys.readouterr().out.strip() in printed
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    assert run_command(davis, *command) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.slow
def test_missing_results_are_made(material, tmp_path, monkeypatch, capsys):
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
    assert "stopped early" in capsys.readouterr().out


@pytest.mark.slow
def test_only_the_first_annotation_is_used_for_training(material, copied, tmp_path):
    """If all other annotations are empty, predictions are the same to the bit."""
    for index in range(1, COUNT):
        cv2.imwrite(str(image(copied, "Annotations", "half", index)), np.zeros(SIZE, np.uint8))
    settings, masks, steps = {"annotation_updates": 9}, [], []
    for place, results in ((material, tmp_path / "a"), (copied, tmp_path / "b")):
        videos = str(place / "DAVIS" / "JPEGImages" / "480p")
        _, half = streams.read_list(place / "list.csv", videos, str(place / "recordings"))
        step = functools.partial(steps.append, results)
        davis.evaluate(half, COUNT, "first_annotation", settings, results / "masks", step)
        found = sorted((results / "masks").glob("*.png"))
        masks.append([file.read_bytes() for file in found])
        assert steps.count(results) == COUNT + 9
    assert len(masks[0]) == COUNT
    assert masks[0] == masks[1]


def test_real_sequences(shared):
    """Every frame of the listed sequences has an annotation of its size."""
    root = shared("davis")
    listed = streams.read_list(davis.LIST, str(root / "JPEGImages" / "480p"), "recordings")
    assert len(listed) == 7
    for stream in listed:
        with streams.video.open_source(stream.video) as source:
            count = source.announced_frames
            for index in (0, count - 1):
                assert first_annotation.read(stream.video, index, source.size).any()
        assert not first_annotation.path(stream.video, count).exists()


# Refusals


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs the command, which must be refused before any work; returns the message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it began to work"))
    return lambda *given: refusal(davis, tmp_path, capsys, *given)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"davis": None}, "--davis"),
        ({"videos": "DAVIS"}, "--videos"),
        ({"davis": "nowhere"}, "--davis=nowhere"),
        ({"recordings": None}, "stream whole: "),
        ({"only": "oracle"}, "'oracle'"),
        ({"only": "dog"}, "nor a stream (whole, half)"),
        ({"init": "nowhere"}, "'nowhere'"),
        ({"annotation_updates": 0}, "annotation_updates"),
        ({"print": "nowhere"}, "'nowhere'"),
    ],
)
def test_invalid_flags_are_refused(refused, material, change, named):
    assert named in refused(*arguments(material, **change))


def without_annotations(folder):
    shutil.rmtree(folder / "DAVIS" / "Annotations")


def without_a_sequence(folder):
    write_list(folder / "list.csv", "whole", "dog")


def without_an_annotation(folder):
    image(folder, "Annotations", "half", COUNT - 1).unlink()


def with_an_unreadable_annotation(folder):
    image(folder, "Annotations", "half", 3).write_text("x")


def with_an_annotation_of_another_size(folder):
    cv2.imwrite(str(image(folder, "Annotations", "whole", 1)), np.zeros((32, 48), np.uint8))


def without_an_object(folder):
    cv2.imwrite(str(image(folder, "Annotations", "whole", 0)), np.zeros(SIZE, np.uint8))


def with_a_sequence_of_two_frames(folder):
    write_sequence(folder / "DAVIS", folder / "recordings", "short", count=2)
    write_list(folder / "list.csv", "short")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (without_annotations, ["--davis=", "Annotations/480p is missing"]),
        (without_a_sequence, ["stream dog: there is no video"]),
        (without_an_annotation, ["half/00005.png is missing", "--davis"]),
        (with_an_unreadable_annotation, ["half/00003.png is unreadable"]),
        (with_an_annotation_of_another_size, ["whole/00001.png is 32x48", "64x96"]),
        (without_an_object, ["whole/00000.png has no object"]),
        (with_a_sequence_of_two_frames, ["stream short: it has 2 frames"]),
    ],
)
def test_damaged_material_is_refused(refused, copied, damage, named):
    damage(copied)
    message = refused(*arguments(copied))
    assert all(text in message for text in named)


def test_results_of_other_settings_are_refused(refused, material, tmp_path):
    write_result(tmp_path / "results", made_result("whole", "first_annotation"))
    message = refused(*arguments(material, annotation_updates=7))
    assert "another annotation_updates" in message

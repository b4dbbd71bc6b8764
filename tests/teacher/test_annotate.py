"""Labeling images with a teacher, in COCO's format."""

import contextlib
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from teacher import annotate, base, coco, open_teacher
from teacher.detections import Detections, from_box_masks
from teacher.images import list_images, read_image
from tests.commands import refusal, run_command
from tests.materials import texture, write_teacher

TEACHER = {"teacher": "t", "teacher_sha256": "0123456789abcdef"}
SIZES = ((48, 64), (64, 48), (40, 72))


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Seven images in `photos`, of several sizes, and a SavedModel."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "photos" / "more").mkdir(parents=True)
    for i in range(7):
        name = f"photos/{'more/' if i > 4 else ''}{i}.{'png' if i % 2 else 'jpg'}"
        picture = texture(SIZES[i % len(SIZES)], i, 120)
        assert cv2.imwrite(str(folder / name), picture)
    write_teacher(folder / "teacher")
    return folder


@pytest.fixture
def photos(material, tmp_path):
    """A copy of the images, to damage."""
    return shutil.copytree(material / "photos", tmp_path / "photos")


class Teacher(base.Teacher):
    """Detects a few objects that depend on the image; interrupts after `stop_after` images."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.seen = []

    def __call__(self, frame, index):
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(frame)
        random = np.random.default_rng(int(frame.sum()))
        corners = np.sort(random.uniform(-0.2, 1.2, (4, 2, 2)), axis=1).reshape(4, 4)
        classes, masks = random.choice([1, 3, 17, 18, 12], 4), random.random((4, 7, 7))
        return from_box_masks(corners, classes, random.random(4), masks, frame.shape[:2], 0.05)


class Answers(base.Teacher):
    """Returns these Detections, in turn."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def __call__(self, frame, index):
        return next(self.answers)


def load(file):
    """COCO's own reader of a file, without its output."""
    with contextlib.redirect_stdout(None):
        return COCO(str(file))


def left(folder):
    """The files in a folder, by name."""
    return sorted(path.name for path in folder.iterdir() if path.is_file())


# The annotation file


def test_cocos_own_reader_gets_the_teachers_detections(material, tmp_path, capsys):
    output = tmp_path / "new" / "photos.json"
    inputs = (f"--images={material}/photos", f"--teacher={material}/teacher")
    assert run_command(annotate, *inputs, f"--output={output}") == 0
    assert f"{output}: written" in capsys.readouterr().out
    assert left(output.parent) == ["photos.json"]

    data = load(output)
    names = list_images(material / "photos")
    found = data.loadImgs(sorted(data.getImgIds()))
    assert [image["file_name"] for image in found] == names
    assert {category["id"]: category["name"] for category in data.loadCats(data.getCatIds())} == (
        coco.NAMES
    )
    teacher = open_teacher(str(material / "teacher"))
    for image in found:
        frame = read_image(material / "photos" / image["file_name"])
        assert (image["height"], image["width"]) == frame.shape[:2]
        rows = data.loadAnns(data.getAnnIds(imgIds=image["id"]))
        detections = teacher(frame, 0)
        assert len(rows) == len(detections) == 2
        for i, row in enumerate(rows):
            assert row["category_id"] == detections.classes[i]
            assert np.float32(row["score"]) == detections.scores[i]
            mask = np.zeros(frame.shape[:2], np.uint8)
            (y, x), (h, w) = detections.origins[i], detections.masks[i].shape
            mask[y : y + h, x : x + w] = detections.masks[i]
            np.testing.assert_array_equal(data.annToMask(row), mask)
            assert row["area"] == mask.sum() > 0
            assert row["iscrowd"] == 0
            x, y, w, h = row["bbox"]
            height, width = frame.shape[:2]
            box = np.float32([y / height, x / width, (y + h) / height, (x + w) / width])
            np.testing.assert_array_equal(box, detections.boxes[i])
    assert json.loads(output.read_text())["info"]["teacher"] == "teacher"


@st.composite
def sizes_and_detections(draw):
    """An image's size and Detections on it."""
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 6))
    corners = np.sort(random.uniform(-0.3, 1.3, (count, 2, 2)), axis=1).reshape(count, 4)
    classes = random.choice([1, 2, 3, 4, 8, 16, 17, 18, 12, 90], count)
    scores, masks = random.uniform(0.05, 1, count), random.random((count, 5, 5))
    return size, from_box_masks(corners, classes, scores, masks, size)


@settings(max_examples=25)
@given(
    seen=sizes_and_detections(),
    threshold=st.sampled_from([0.05, 0.5, 0.9]),
    dilation=st.sampled_from([0, 0.075, 0.15]),
)
def test_targets_are_those_of_the_detections(tmp_path_factory, seen, threshold, dilation):
    """Labels and weights, bit for bit."""
    folder = tmp_path_factory.mktemp("photos")
    (height, width), detections = seen
    # COCO's format has no objects without pixels.
    keep = [i for i, mask in enumerate(detections.masks) if mask.any()]
    with_pixels = Detections(
        detections.boxes[keep],
        detections.classes[keep],
        detections.scores[keep],
        tuple(detections.masks[i] for i in keep),
        detections.origins[keep],
    )
    picture = np.zeros((height, width, 3), np.uint8)
    assert cv2.imwrite(str(folder / "a.png"), picture)
    assert cv2.imwrite(str(folder / "b.png"), picture[:1, :1])
    person = from_box_masks([[0, 0, 1, 1]], [1], [0.9], np.ones((1, 2, 2)), (1, 1))
    assert annotate.annotate(folder, Answers(detections, person), TEACHER, folder / "a.json") == []
    label_maker = LabelMaker(class_groups("lvs"), threshold, 5, dilation)
    dataset = CocoDataset(folder / "a.json", folder, label_maker)
    for number, of in enumerate((with_pixels, person)):
        frame, labels, weights = dataset.read(number)
        size = frame.shape[:2]
        for found, expected in (
            (labels, label_maker.labels(of, size)),
            (weights, label_maker.weights(of, size)),
        ):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


# Interruptions


@pytest.mark.parametrize("cut", [0, 1, 40, 100_000])
@pytest.mark.parametrize("stop_after", [0, 1, 4, 5])
def test_interrupted_annotation_continues(photos, tmp_path, stop_after, cut):
    """Gives the same file, also after a partial line, and labels no image twice."""
    (photos / "3.png").write_bytes(b"not an image")
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    annotate.annotate(photos, Teacher(), TEACHER, whole)
    first, second = Teacher(stop_after), Teacher()
    with pytest.raises(KeyboardInterrupt):
        annotate.annotate(photos, first, TEACHER, parts)
    partial = tmp_path / f"parts.json{annotate.PARTIAL}"
    assert not parts.exists()
    data = partial.read_bytes()
    partial.write_bytes(data[: max(0, len(data) - cut)])
    lines = partial.read_bytes().count(b"\n") - 1
    problems = annotate.annotate(photos, second, TEACHER, parts)
    assert parts.read_bytes() == whole.read_bytes()
    assert len(problems) == 1
    # Only images that the cut removed are labeled twice.
    names = [name for name in list_images(photos)[max(lines, 0) :] if name != "3.png"]
    assert len(second.seen) == len(names)
    if cut == 0:
        assert len(first.seen) + len(second.seen) == 6
    assert left(tmp_path) == ["parts.json", "whole.json"]


def test_a_failure_of_the_teacher_names_the_image(material, tmp_path, capsys):
    teacher = write_teacher(tmp_path / "wrong", detection_scores=[[9.0, 0, 0]])
    output = tmp_path / "a.json"
    inputs = (f"--images={material}/photos", f"--teacher={teacher}", f"--output={output}")
    assert run_command(annotate, *inputs) == 2
    name = list_images(material / "photos")[0]
    assert f"{name}: detection_scores" in capsys.readouterr().err
    assert not output.exists()


def interrupt(folder, output, described=TEACHER, after=2):
    with pytest.raises(KeyboardInterrupt):
        annotate.annotate(folder, Teacher(after), described, output)
    return output.with_name(output.name + annotate.PARTIAL)


@pytest.mark.parametrize("labeled", [0, 1])
def test_a_teacher_that_fails_leaves_only_what_it_has_labeled(photos, tmp_path, labeled):
    class Failing(Teacher):
        def __call__(self, frame, index):
            if len(self.seen) == labeled:
                raise base.TeacherError("scores are NaN", index)
            return super().__call__(frame, index)

    with pytest.raises(UserError, match="scores are NaN"):
        annotate.annotate(photos, Failing(), TEACHER, tmp_path / "a.json")
    assert left(tmp_path) == ["a.json.partial"] * labeled


def test_the_unfinished_file_of_another_teacher_is_refused(photos, tmp_path):
    output = tmp_path / "a.json"
    before = interrupt(photos, output).read_bytes()
    other = {**TEACHER, "teacher_sha256": "f" * 16}
    with pytest.raises(UserError, match=r"a\.json\.partial'.* another teacher"):
        annotate.annotate(photos, Teacher(), other, output)
    assert left(tmp_path) == ["a.json.partial"]
    assert (tmp_path / "a.json.partial").read_bytes() == before


def test_a_renamed_teacher_continues_its_file(photos, tmp_path):
    output = tmp_path / "a.json"
    interrupt(photos, output)
    teacher = Teacher()
    renamed = {**TEACHER, "teacher": "renamed"}
    annotate.annotate(photos, teacher, renamed, output)
    assert len(teacher.seen) == 5  # of 7, after 2
    annotate.check_same(output, photos, renamed)


@pytest.mark.parametrize("entry", ["{}", "5", "[" * 100_000, '{"file_name": "NAME"}'])
def test_a_damaged_unfinished_file_is_refused(photos, tmp_path, entry):
    output = tmp_path / "a.json"
    partial = interrupt(photos, output)
    head, *_ = partial.read_text().splitlines()
    first = list_images(photos)[0]
    partial.write_text(f"{head}\n{entry.replace('NAME', first)}\n")
    with pytest.raises(UserError, match=r"a\.json\.partial"):
        annotate.annotate(photos, Teacher(), TEACHER, output)


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_the_unfinished_file_of_other_images_is_refused(photos, tmp_path, change):
    output = tmp_path / "a.json"
    partial = interrupt(photos, output)
    before = partial.read_bytes()
    if change == "added":
        shutil.copy(photos / "0.jpg", photos / "9.jpg")
    elif change == "removed":
        (photos / "4.jpg").unlink()
    else:
        (photos / "0.jpg").rename(photos / "00.jpg")
    with pytest.raises(UserError, match=r"a\.json\.partial'.* other images"):
        annotate.annotate(photos, Teacher(), TEACHER, output)
    assert partial.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00\n", b"no JSON\n", b"[]\n[]\n", b'{"a": 1}\n{"b": 2}\n', b"1\n2\n"]
)
def test_another_file_in_its_place_is_refused(photos, tmp_path, content):
    partial = tmp_path / "a.json.partial"
    partial.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json\.partial'"):
        annotate.annotate(photos, Teacher(), TEACHER, tmp_path / "a.json")
    assert partial.read_bytes() == content


def test_the_unfinished_file_of_an_older_version_is_refused(photos, tmp_path):
    output = tmp_path / "a.json"
    partial = interrupt(photos, output)
    before = partial.read_bytes().replace(b'"images":', b'"photographs":', 1)
    partial.write_bytes(before)
    with pytest.raises(UserError, match=r"a\.json\.partial' .*older version"):
        annotate.annotate(photos, Teacher(), TEACHER, output)
    assert partial.read_bytes() == before


def test_an_unfinished_file_without_images_is_replaced(photos, tmp_path):
    """The next command replaces it, even with another teacher."""
    output = tmp_path / "a.json"
    assert interrupt(photos, output, {"teacher": "wrong"}, after=0).exists()
    annotate.annotate(photos, Teacher(), TEACHER, output)
    assert left(tmp_path) == ["a.json"]
    assert json.loads(output.read_text())["info"] == {**TEACHER, "images": 7}


def test_an_existing_output_is_refused(photos, tmp_path):
    output = tmp_path / "a.json"
    output.write_text("mine")
    with pytest.raises(UserError, match=r"a\.json' exists already.*--output"):
        annotate.annotate(photos, Teacher(), TEACHER, output)
    assert output.read_text() == "mine"


# Damage


def test_damaged_images_are_skipped_and_reported(material, photos, tmp_path, capsys):
    (photos / "1.png").write_bytes(b"")
    (photos / "more" / "6.jpg").write_bytes((photos / "4.jpg").read_bytes()[:500])
    output = tmp_path / "a.json"
    inputs = (f"--images={photos}", f"--teacher={material}/teacher", f"--output={output}")
    assert run_command(annotate, *inputs) == 0
    out = capsys.readouterr().out
    for name in ("1.png", "more/6.jpg"):
        assert f"skipped {photos / name} (not an image, or damaged)" in out
    assert out.count("note: skipped ") == 2
    names = [image["file_name"] for image in load(output).dataset["images"]]
    assert names == ["0.jpg", "2.jpg", "3.png", "4.jpg", "more/5.png"]


def test_what_is_not_labeled_as_expected_is_said(photos, tmp_path):
    """Files of other kinds, further pictures, low values; also after an interruption."""
    for name in ("a.HEIC", "more/b.HEIC", "c.avif"):
        (photos / name).write_bytes(b"x")
    pages = [Image.fromarray(texture((24, 32), number)) for number in range(2)]
    pages[0].save(photos / "00.webp", save_all=True, append_images=pages[1:])
    assert cv2.imwrite(str(photos / "01.png"), np.full((24, 32), 999, np.uint16))
    interrupt(photos, tmp_path / "a.json", after=3)
    notes = annotate.annotate(photos, Teacher(), TEACHER, tmp_path / "a.json")
    passed, pages, low = notes
    assert "2 .heic, 1 .avif" in passed
    assert "1 images, such as 00.webp" in pages
    assert "1 images, such as 01.png" in low


def test_a_teacher_that_finds_nothing_and_its_problems_are_said(photos, tmp_path):
    """Also to who reads the file."""
    nothing = from_box_masks(np.zeros((0, 4)), [], [], np.zeros((0, 5, 5)), (8, 8))
    teacher = Answers(*[nothing] * 7)
    teacher.problems = ["it is tired"]
    notes = annotate.annotate(photos, teacher, TEACHER, tmp_path / "a.json")
    assert notes[0] == "it is tired"
    assert "nothing in any of the 7 images" in notes[1]
    assert json.loads((tmp_path / "a.json").read_text())["notes"] == notes
    annotate.annotate(photos, Teacher(), TEACHER, tmp_path / "b.json")
    data = json.loads((tmp_path / "b.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps({**data, "notes": notes}))
    dataset = CocoDataset(tmp_path / "b.json", photos, LabelMaker(class_groups("coco"), 0.05))
    assert dataset.notes == [f"{tmp_path}/b.json: {note}" for note in notes]


def test_skipped_images_are_unreadable_in_the_dataset(photos, tmp_path):
    """Too many of them are an error there."""
    for i in range(10, 23):
        shutil.copy(photos / "0.jpg", photos / f"{i}.jpg")
    label_maker = LabelMaker(class_groups("coco"), 0.05)
    damaged = ["1.png", "10.jpg", "11.jpg"]
    for count in (1, 2, 3):
        (photos / damaged[count - 1]).write_bytes(b"")
        output = tmp_path / f"{count}.json"
        annotate.annotate(photos, Teacher(), TEACHER, output)
        if count < 3:
            dataset = CocoDataset(output, photos, label_maker)
            assert sorted(dataset.unreadable) == damaged[:count]
            assert dataset.unreadable["1.png"] == f"{photos}/1.png (not an image, or damaged)"
            assert len(dataset) == 20 - count
    with pytest.raises(UserError, match=r"3 of the 20 images .*1\.png"):
        CocoDataset(output, photos, label_maker)


def test_a_folder_of_damaged_images_is_refused(photos, tmp_path):
    for name in list_images(photos):
        (photos / name).write_bytes(b"")
    teacher = Teacher()
    with pytest.raises(UserError, match=r"photos' .*0\.jpg"):
        annotate.annotate(photos, teacher, TEACHER, tmp_path / "a.json")
    assert teacher.seen == []
    assert left(tmp_path) == []


def test_annotation_continues_after_a_full_disk(photos, tmp_path, monkeypatch):
    """The disk is full while labeling and at the end."""
    output = tmp_path / "a.json"
    teacher, real = Teacher(), json.dumps

    def full(value):
        if len(teacher.seen) == 3:
            raise OSError(28, "No space left on device")
        return real(value)

    monkeypatch.setattr(annotate.json, "dumps", full)
    message = r"a\.json' .*No space left on device"
    with pytest.raises(UserError, match=message):
        annotate.annotate(photos, teacher, TEACHER, output)
    monkeypatch.undo()
    assert left(tmp_path) == ["a.json.partial"]

    def full_at_the_end(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_at_the_end)
    second = Teacher()
    with pytest.raises(UserError, match=message):
        annotate.annotate(photos, second, TEACHER, output)
    monkeypatch.undo()
    assert left(tmp_path) == ["a.json.partial"]
    assert len(second.seen) == 5

    third = Teacher()
    annotate.annotate(photos, third, TEACHER, output)
    assert third.seen == []
    assert len(json.loads(output.read_text())["images"]) == 7
    assert left(tmp_path) == ["a.json"]


def test_an_output_that_cannot_be_written_is_refused(photos, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"a\.json'"):
        annotate.annotate(photos, Teacher(), TEACHER, tmp_path / "file" / "a.json")


# Earlier labels


def test_labels_of_other_images_or_of_another_teacher_are_refused(photos, tmp_path):
    output = tmp_path / "a.json"
    (photos / "1.png").write_bytes(b"")
    annotate.annotate(photos, Teacher(), TEACHER, output)
    annotate.check_same(output, photos, TEACHER)
    message = r"a\.json' .*other images or of another teacher"
    with pytest.raises(UserError, match=message):
        annotate.check_same(output, photos, {**TEACHER, "teacher_sha256": "f" * 16})
    (photos / "0.jpg").rename(photos / "00.jpg")
    with pytest.raises(UserError, match=message):
        annotate.check_same(output, photos, TEACHER)
    shutil.copy(photos / "00.jpg", photos / "0.jpg")
    with pytest.raises(UserError, match=message):
        annotate.check_same(output, photos, TEACHER)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"info": 1, "images": 2}', "\x00"])
def test_files_that_hold_no_labels_are_refused(photos, tmp_path, content):
    output = tmp_path / "a.json"
    output.write_text(content)
    with pytest.raises(UserError, match=r"a\.json'"):
        annotate.check_same(output, photos, TEACHER)


# The command


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("--teacher=recorded:street.rec", "--teacher=recorded:street.rec"),
        ("--teacher=lvs:hockey", "--teacher=lvs:hockey"),
        ("--teacher=missing", "'missing'"),
        ("--images=missing", "'missing'"),
    ],
)
def test_invalid_flags_are_refused(material, tmp_path, monkeypatch, capsys, changed, named):
    monkeypatch.chdir(tmp_path)
    inputs = (f"--images={material}/photos", f"--teacher={material}/teacher", "--output=a.json")
    assert named in refusal(annotate, tmp_path, capsys, *inputs, changed)


def test_another_list_of_classes_is_learned_from(photos, tmp_path):
    teacher = Answers(
        *[
            from_box_masks(
                [[0, 0, 1, 0.5], [0, 0.5, 1, 1]], [12, 1], [1, 1], np.ones((2, 7, 7)), (48, 64)
            )
        ]
    )
    shutil.rmtree(photos / "more")
    for path in sorted(photos.iterdir())[1:]:
        path.unlink()
    teacher.names = {1: "sidewalk", 12: "rider"}
    file = tmp_path / "photos.json"
    annotate.annotate(photos, teacher, TEACHER, file)
    assert {one["name"]: one["id"] for one in json.loads(file.read_text())["categories"]} == {
        "sidewalk": 1,
        "rider": 12,
    }
    (tmp_path / "groups.txt").write_text("walk = sidewalk\nperson\n")
    dataset = CocoDataset(file, photos, LabelMaker(class_groups(str(tmp_path / "groups.txt"))))
    _, labels, _ = dataset.read(0)
    assert (labels[:, :32] == 2).all()
    assert (labels[:, 32:] == 1).all()

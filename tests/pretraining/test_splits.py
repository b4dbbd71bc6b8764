"""jitnet_tf.pretraining.splits: what is learned from, and what is kept from it to judge by."""

import json
import os

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import PretrainConfig
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import splits
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from teacher import annotate, images
from tests.materials import write_photographs, write_teacher
from tests.teacher.test_record import another_teacher

LVS = LabelMaker(class_groups("lvs"))
PART = 0.3


def picture(scene, size=(240, 320)):
    """Large blobs of color; the same scene at any size. uint8 BGR [*size, 3]."""
    blobs = np.random.default_rng(scene).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(blobs, size[::-1], interpolation=cv2.INTER_CUBIC)


def write(folder, pictures, file="instances.json"):
    """Writes pictures, by name, each with a person, as an annotation file; returns both paths."""
    images, annotations = [], []
    for number, (name, contents) in enumerate(pictures.items(), 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), contents, [cv2.IMWRITE_JPEG_QUALITY, 60])
        height, width = contents.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        person = [[0, 0, 2, 0, 2, 2, 0, 2]]
        annotation = {"id": number, "image_id": number, "category_id": 1, "segmentation": person}
        annotations.append({**annotation, "bbox": [0, 0, 2, 2], "iscrowd": 0})
    categories = [{"id": 1, "name": "person"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / file).write_text(json.dumps(data))
    return folder / file, folder


def names_of(annotated):
    return [name for one in annotated for name in one.names]


def kept_names(count, start=0):
    """Names that are not held out."""
    names = (f"{number}.jpg" for number in range(start, 10_000))
    return [name for name in names if splits._rank(name) >= PART][:count]


def held_names(count, start=0):
    names = (f"{number}.jpg" for number in range(start, 10_000))
    return [name for name in names if splits._rank(name) < PART][:count]


# Holding out


def test_names_are_ranked_evenly():
    """So that a part of them is that part."""
    ranks = np.array([splits._rank(f"photos/{number:06d}.jpg") for number in range(20_000)])
    counts, _ = np.histogram(ranks, 20, (0, 1))
    assert counts.sum() == 20_000
    # Chi-squared with 19 degrees of freedom is above 43.8 once in a thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert (ranks[:-1] < ranks[1:]).mean() == pytest.approx(0.5, abs=0.02)


@settings(max_examples=5)
@given(part=st.floats(0.02, 0.98))
def test_parts_sum_up(tmp_path_factory, part):
    annotated = CocoDataset(*write_photographs(tmp_path_factory.mktemp("parts"), 20), LVS)
    before, numbered = annotated.names, list(range(20))
    contents = dict(zip(before, map(annotated.read, numbered), strict=True))
    training = [annotated]
    held = splits.hold_out(training, part)
    expected = [name for name in before if splits._rank(name) < part]
    assert names_of(held) == expected
    assert names_of(training) == [name for name in before if name not in expected]
    for one in (*training, *held):
        for number, name in enumerate(one.names):
            for found, want in zip(one.read(number), contents[name], strict=True):
                np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize(("part", "counts"), [(0, (0, 20)), (1, (20, 0))])
def test_none_or_all(tmp_path, part, counts):
    training = [CocoDataset(*write_photographs(tmp_path, 20), LVS)]
    held = splits.hold_out(training, part)
    assert (sum(map(len, held)), len(training[0])) == counts
    assert len(held) == (part == 1)


def test_what_is_held_out_stays_so_when_photographs_are_added(tmp_path):
    pictures = {f"{number}.jpg": picture(number) for number in range(40)}
    few = {name: contents for name, contents in pictures.items() if int(name[:-4]) % 3}
    held = []
    for folder, some in (("few", few), ("all", pictures)):
        training = [CocoDataset(*write(tmp_path / folder, some), LVS)]
        held.append(names_of(splits.hold_out(training, PART)))
    assert 0 < len(held[0]) < len(held[1])
    assert held[0] == [name for name in held[1] if name in few]


@pytest.mark.parametrize("size", [(240, 320), (180, 240), (480, 640), (300, 380)])
def test_nothing_that_looks_like_what_is_held_out_is_learned_from(tmp_path, size):
    """The same picture under another name, of another size and quality, in either set."""
    held, kept = held_names(6), kept_names(20)
    pictures = {name: picture(scene) for scene, name in enumerate((*held, *kept))}
    again = {
        name: picture(scene, size)
        for scene, name in enumerate(kept_names(6, start=500))  # the scenes of `held`
    }
    others = {name: picture(100 + scene) for scene, name in enumerate(kept_names(8, start=900))}
    training = [
        CocoDataset(*write(tmp_path / "one", {**pictures, **again}), LVS),
        CocoDataset(*write(tmp_path / "two", {**again, **others}), LVS),
    ]
    judged = splits.hold_out(training, PART)
    assert names_of(judged) == held
    assert training[0].names == kept
    assert training[1].names == list(others)
    with tqdm(disable=True) as progress:
        likeness = [
            splits.fingerprints(one, progress) @ splits.fingerprints(judged[0], progress).T
            for one in training
        ]
    assert ((splits.BITS - np.concatenate(likeness)) / 2 > splits.SAME_BITS).all()


def test_many_are_compared_in_parts(tmp_path, monkeypatch):
    """With the same outcome."""
    pictures = {f"{number}.jpg": picture(number % 15) for number in range(30)}
    outcomes = []
    for compared in (1000, 4, 1):
        monkeypatch.setattr(splits, "COMPARED", compared)
        training = [CocoDataset(*write(tmp_path, pictures), LVS)]
        outcomes.append((names_of(splits.hold_out(training, PART)), names_of(training)))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    held, kept = outcomes[0]
    scenes = [{int(name[:-4]) % 15 for name in names} for names in (held, kept)]
    assert scenes[0]
    assert scenes[1]
    assert not scenes[0] & scenes[1]


def test_what_cannot_be_compared_is_like_nothing(tmp_path):
    """Damaged ones, which are told when they are read, and such as are hardly pictures."""
    names = [*held_names(2), *kept_names(4)]
    pictures = {name: picture(scene) for scene, name in enumerate(names)}
    pictures["tiny.png"] = picture(9, (2, 3))
    pictures["flat.png"] = picture(9, (1, 60))
    annotated = CocoDataset(*write(tmp_path, pictures), LVS)
    for name in (names[0], names[2]):
        (tmp_path / name).write_bytes(b"no picture")
    with tqdm(disable=True) as progress:
        rows = splits.fingerprints(annotated, progress)
    unreadable = [annotated.names.index(name) for name in (names[0], names[2], "tiny.png")]
    assert not rows[unreadable].any()
    assert (np.abs(rows[[1, 3, 4, 5]]) == 1).all()
    held = splits.hold_out([annotated], PART)
    assert {*names_of(held), *annotated.names} == set(pictures)


def test_real_photographs_are_told_apart(shared, tmp_path):
    """And found again at half their size, most of them."""
    file, folder = shared("images/coco/instances.json"), shared("images/coco/images")
    annotated = CocoDataset(file, folder, LVS).subset(range(0, 175, 4))
    pictures = {}
    for number, name in enumerate(annotated.names):
        whole = cv2.imread(str(annotated.path(number)))
        pictures[name] = cv2.resize(whole, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    smaller = CocoDataset(*write(tmp_path, pictures), LVS)
    with tqdm(disable=True) as progress:
        one, other = (splits.fingerprints(some, progress) for some in (annotated, smaller))
    same = (splits.BITS - one @ other.T) / 2 <= splits.SAME_BITS
    assert np.diag(same).mean() > 0.9
    assert not (same & ~np.eye(len(same), dtype=bool)).any()


# What a configuration names


@pytest.fixture
def config(tmp_path):
    """Makes a configuration of a pretraining in an empty folder."""
    (tmp_path / "run").mkdir()

    def make(**changes):
        return PretrainConfig(str(tmp_path / "run"), **changes)

    return make


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher")


@pytest.fixture
def photos(tmp_path):
    """A folder of 20 photographs without annotations that anything is made of."""
    (tmp_path / "unlabelled").mkdir()
    return write_photographs(tmp_path / "unlabelled", 20)[1]


@pytest.fixture
def annotated(tmp_path):
    """Annotation file and folder of 20 other photographs."""
    folder = tmp_path / "labelled"
    return write(folder, {f"a{number}.jpg": picture(number) for number in range(20)})


def test_annotations_alone(config, annotated):
    file, folder = map(str, annotated)
    opened = splits.open_sets(config(annotations=file, images=folder), LVS)
    assert [one.file for one in opened.training] == [file]
    assert opened.validation == []
    assert opened.problems() == []
    assert len(opened.training[0]) == 20


def test_all_that_can_be_given(config, annotated, photos, teacher, tmp_path):
    """Annotations, photographs for the teacher, a part held out of both, and a set to judge by."""
    file, folder = map(str, annotated)
    (tmp_path / "judged").mkdir()
    judged = write_photographs(tmp_path / "judged", 20)
    (photos / "000.jpg").write_bytes(b"no picture")
    (judged[1] / "002.png").unlink()
    made = config(
        annotations=file,
        images=folder,
        photographs=str(photos),
        teacher=str(teacher),
        validation_annotations=str(judged[0]),
        validation_images=str(judged[1]),
        holdout=PART,
    )
    opened = splits.open_sets(made, LVS)
    labels = f"{made.logdir}/{splits.LABELS}"
    assert [one.file for one in opened.training] == [file, labels]
    assert [one.file for one in opened.validation] == [str(judged[0]), file, labels]
    assert len(opened.validation[0]) == 19
    for of_training, held in zip(opened.training, opened.validation[1:], strict=True):
        assert all(splits._rank(name) < PART for name in held.names)
        assert all(splits._rank(name) >= PART for name in of_training.names)
        assert held.names
        assert of_training.names
    total = sum(map(len, (*opened.training, *opened.validation[1:])))
    assert total == 20 + 19
    assert sorted(opened.problems()) == sorted(
        [f"{photos}/000.jpg (not an image, or damaged)", f"{judged[1]}/002.png (missing)"]
    )
    _, found, _ = opened.training[1].read(0)
    assert set(np.unique(found)) <= {0, 1, 3}


def test_photographs_are_told_from_others(config, annotated, tmp_path):
    """By a digest, whatever the folder is called."""
    file, folder = map(str, annotated)
    digests = {
        splits.open_sets(config(annotations=file, images=folder, holdout=part), LVS).digest
        for part in (0, PART, PART)
    }
    assert len(digests) == 2
    os.rename(folder, tmp_path / "moved")
    moved = str(tmp_path / "moved")
    opened = splits.open_sets(config(annotations=f"{moved}/instances.json", images=moved), LVS)
    assert opened.digest in digests
    pictures = {f"a{number}.jpg": picture(number) for number in range(21)}
    file, folder = map(str, write(tmp_path / "more", pictures))
    assert splits.open_sets(config(annotations=file, images=folder), LVS).digest not in digests


def test_teachers_labels_are_made_once(config, photos, teacher, monkeypatch):
    """A resumed training finds them in its directory; what was damaged is told again."""
    (photos / "000.jpg").write_bytes(b"no picture")
    made = config(photographs=str(photos), teacher=str(teacher))
    first = splits.open_sets(made, LVS)
    assert os.listdir(made.logdir) == [splits.LABELS]

    def asked(*_):
        raise AssertionError("a teacher was asked again")

    monkeypatch.setattr(annotate, "annotate", asked)
    again = splits.open_sets(made, LVS)
    assert again.digest == first.digest
    assert again.problems() == first.problems() == [f"{photos}/000.jpg (not an image, or damaged)"]
    for one, other in zip(again.training[0].read(3), first.training[0].read(3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_labelling_that_was_interrupted_goes_on(config, photos, teacher, monkeypatch):
    made = config(photographs=str(photos), teacher=str(teacher))
    seen, read = [], images.read

    def interrupted(path, size=None):
        seen.append(path)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return read(path, size)

    monkeypatch.setattr(images, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        splits.open_sets(made, LVS)
    opened = splits.open_sets(made, LVS)
    assert len(opened.training[0]) == 20
    assert len(seen) == 8 + 13
    assert os.listdir(made.logdir) == [splits.LABELS]


def test_labels_of_another_teacher_or_of_other_photographs(config, photos, teacher, tmp_path):
    made = config(photographs=str(photos), teacher=str(teacher))
    splits.open_sets(made, LVS)
    (tmp_path / "other").mkdir()
    other = another_teacher(teacher.parent, tmp_path / "other")
    message = rf"{splits.LABELS}' holds labels of other images or of another teacher"
    with pytest.raises(UserError, match=message):
        splits.open_sets(config(photographs=str(photos), teacher=str(other)), LVS)
    (photos / "000.jpg").rename(photos / "new.jpg")
    with pytest.raises(UserError, match=message):
        splits.open_sets(made, LVS)


def test_labels_made_before(config, photos, teacher, tmp_path):
    """By teacher.annotate; the teacher itself is not needed."""
    from teacher import open_teacher
    from teacher.record import describe_live

    described = describe_live(str(teacher))
    file = tmp_path / "photos.json"
    annotate.annotate(photos, open_teacher(str(teacher)), described, file)
    opened = splits.open_sets(config(photographs=str(photos), teacher=f"annotated:{file}"), LVS)
    assert opened.training[0].file == str(file)
    assert len(opened.training[0]) == 20
    assert os.listdir(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("recorded:street.rec", "--teacher=recorded:street.rec"),
        ("lvs:hockey", "--teacher=lvs:hockey"),
        ("annotated:gone.json", "annotation file 'gone.json' does not exist"),
        ("gone", "teacher 'gone' is not a folder"),
    ],
)
def test_teachers_that_cannot_label_photographs(config, photos, spec, message):
    with pytest.raises(UserError, match=message):
        splits.open_sets(config(photographs=str(photos), teacher=spec), LVS)


def test_a_holdout_that_leaves_nothing(config, annotated):
    file, folder = map(str, annotated)
    message = r"--holdout=1 leaves none of the photographs of .*instances\.json"
    with pytest.raises(UserError, match=message):
        splits.open_sets(config(annotations=file, images=folder, holdout=1), LVS)


def test_a_holdout_that_all_the_rest_looks_like(config, tmp_path):
    same = {name: picture(0) for name in (*held_names(2), *kept_names(4))}
    file, folder = map(str, write(tmp_path / "same", same))
    with pytest.raises(UserError, match="leaves none of the photographs"):
        splits.open_sets(config(annotations=file, images=folder, holdout=PART), LVS)


def test_names_that_are_no_unicode(config, tmp_path):
    """As archives from other systems leave them."""
    pictures = {f"{number}.jpg": picture(number) for number in range(20)}
    file, folder = write(tmp_path / "old", pictures)
    name = os.fsdecode(b"stra\xdfe.jpg")
    (folder / "7.jpg").rename(folder / name)
    data = json.loads(file.read_text())
    data["images"][7]["file_name"] = name
    file.write_text(json.dumps(data))
    opened = splits.open_sets(config(annotations=str(file), images=str(folder), holdout=PART), LVS)
    assert name in names_of([*opened.training, *opened.validation])
    assert len(opened.digest) == 16

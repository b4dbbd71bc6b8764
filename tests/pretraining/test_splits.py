"""The training and validation splits of a pretraining."""

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
from teacher import annotate
from tests.materials import write_images, write_teacher
from tests.teacher.test_record import another_teacher

LVS = LabelMaker(class_groups("lvs"))
PART = 0.3


def picture(scene, size=(240, 320)):
    """Large blobs of color; the same scene at any size. uint8 BGR [*size, 3]."""
    blobs = np.random.default_rng(scene).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(blobs, size[::-1], interpolation=cv2.INTER_CUBIC)


def write(folder, pictures, file="instances.json"):
    """Writes images, by name, and an annotation file with a person in each; returns both paths."""
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


def skipped(opened):
    """The images that Splits call skipped."""
    start = "skipped "
    return sorted(text[len(start) :] for text in opened.problems() if text.startswith(start))


def names_of(datasets):
    return [name for dataset in datasets for name in dataset.names]


def kept_names(count, start=0):
    """File names that are not held out."""
    names = (f"{number}.jpg" for number in range(start, 10_000))
    return [name for name in names if splits.rank(name) >= PART][:count]


def held_names(count, start=0):
    names = (f"{number}.jpg" for number in range(start, 10_000))
    return [name for name in names if splits.rank(name) < PART][:count]


# Holding out


def test_ranks_of_names_are_uniform_and_unordered():
    ranks = np.array([splits.rank(f"photos/{number:06d}.jpg") for number in range(20_000)])
    counts, _ = np.histogram(ranks, 20, (0, 1))
    assert counts.sum() == 20_000
    # Chi-squared with 19 degrees of freedom is above 43.8 once in a thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert (ranks[:-1] < ranks[1:]).mean() == pytest.approx(0.5, abs=0.02)


@settings(max_examples=5)
@given(part=st.floats(0.02, 0.98))
def test_each_image_is_in_one_split_with_its_labels(tmp_path_factory, part):
    dataset = CocoDataset(*write_images(tmp_path_factory.mktemp("parts"), 20), LVS)
    before = dataset.names
    contents = dict(zip(before, map(dataset.read, range(20)), strict=True))
    training = [dataset]
    held = splits.hold_out(training, part)
    expected = [name for name in before if splits.rank(name) < part]
    assert names_of(held) == expected
    assert names_of(training) == [name for name in before if name not in expected]
    for one in (*training, *held):
        for number, name in enumerate(one.names):
            for found, want in zip(one.read(number), contents[name], strict=True):
                np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize(("part", "counts"), [(0, (0, 20)), (1, (20, 0))])
def test_parts_0_and_1_hold_out_nothing_and_everything(tmp_path, part, counts):
    training = [CocoDataset(*write_images(tmp_path, 20), LVS)]
    held = splits.hold_out(training, part)
    assert (sum(map(len, held)), len(training[0])) == counts
    assert len(held) == (part == 1)


def test_added_images_do_not_change_what_is_held_out(tmp_path):
    pictures = {f"{number}.jpg": picture(number) for number in range(40)}
    few = {name: contents for name, contents in pictures.items() if int(name[:-4]) % 3}
    held = []
    for folder, some in (("few", few), ("all", pictures)):
        training = [CocoDataset(*write(tmp_path / folder, some), LVS)]
        held.append(names_of(splits.hold_out(training, PART)))
    assert 0 < len(held[0]) < len(held[1])
    assert held[0] == [name for name in held[1] if name in few]


@pytest.mark.parametrize("size", [(240, 320), (180, 240), (480, 640), (300, 380)])
def test_images_that_look_like_held_out_ones_are_dropped(tmp_path, size):
    """The same image under another name, of another size and quality, in either dataset."""
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


def test_comparing_in_parts_gives_the_same_splits(tmp_path, monkeypatch):
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


def test_images_that_cannot_be_compared_are_kept(tmp_path):
    """Damaged images, which are reported when they are read, and very small ones."""
    names = [*held_names(2), *kept_names(4)]
    pictures = {name: picture(scene) for scene, name in enumerate(names)}
    pictures["tiny.png"] = picture(9, (2, 3))
    pictures["flat.png"] = picture(9, (1, 60))
    dataset = CocoDataset(*write(tmp_path, pictures), LVS)
    for name in (names[0], names[2]):
        (tmp_path / name).write_bytes(b"not an image")
    with tqdm(disable=True) as progress:
        rows = splits.fingerprints(dataset, progress)
    unreadable = [dataset.names.index(name) for name in (names[0], names[2], "tiny.png")]
    assert not rows[unreadable].any()
    assert (np.abs(rows[[1, 3, 4, 5]]) == 1).all()
    held = splits.hold_out([dataset], PART)
    assert {*names_of(held), *dataset.names} == set(pictures)


def test_fingerprints_of_real_images(shared, tmp_path):
    """They differ between images, and over nine tenths are found again at half their size."""
    file, folder = shared("images/coco/instances.json"), shared("images/coco/images")
    dataset = CocoDataset(file, folder, LVS).subset(range(0, 175, 4))
    pictures = {}
    for number, name in enumerate(dataset.names):
        whole = cv2.imread(str(dataset.path(number)))
        pictures[name] = cv2.resize(whole, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    smaller = CocoDataset(*write(tmp_path, pictures), LVS)
    with tqdm(disable=True) as progress:
        one, other = (splits.fingerprints(some, progress) for some in (dataset, smaller))
    same = (splits.BITS - one @ other.T) / 2 <= splits.SAME_BITS
    assert np.diag(same).mean() > 0.9
    assert not (same & ~np.eye(len(same), dtype=bool)).any()


# The splits of a configuration


@pytest.fixture
def config(tmp_path):
    """Makes a configuration of a pretraining in an empty folder."""
    (tmp_path / "run").mkdir()

    def make(**changes):
        return PretrainConfig(logdir=str(tmp_path / "run"), **changes)

    return make


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher")


@pytest.fixture
def photos(tmp_path):
    """A folder of 20 images for a teacher to label."""
    (tmp_path / "unlabeled").mkdir()
    return write_images(tmp_path / "unlabeled", 20)[1]


@pytest.fixture
def annotated(tmp_path):
    """Annotation file and folder of 20 other images."""
    folder = tmp_path / "labeled"
    return write(folder, {f"a{number}.jpg": picture(number) for number in range(20)})


def test_annotations_alone(config, annotated):
    file, folder = map(str, annotated)
    opened = splits.open_splits(config(annotations=file, images=folder), LVS)
    assert [one.file for one in opened.training] == [file]
    assert opened.validation == []
    [note] = opened.problems()
    assert note.startswith("no image shows bike, auto, ")
    assert "person (id 1, 20 objects)" in note
    assert len(opened.training[0]) == 20


def test_all_datasets_at_once(config, annotated, photos, teacher, tmp_path):
    """Annotations, images for the teacher, a part held out of both, and validation images."""
    file, folder = map(str, annotated)
    (tmp_path / "judged").mkdir()
    judged = write_images(tmp_path / "judged", 20)
    (photos / "000.jpg").write_bytes(b"not an image")
    (judged[1] / "002.png").unlink()
    made = config(
        annotations=file,
        images=folder,
        unlabeled_images=str(photos),
        teacher=str(teacher),
        validation_annotations=str(judged[0]),
        validation_images=str(judged[1]),
        holdout=PART,
    )
    opened = splits.open_splits(made, LVS)
    labels = f"{made.logdir}/{splits.TEACHER_LABELS}"
    assert [one.file for one in opened.training] == [file, labels]
    assert [one.file for one in opened.validation] == [str(judged[0]), file, labels]
    assert len(opened.validation[0]) == 19
    for of_training, held in zip(opened.training, opened.validation[1:], strict=True):
        assert all(splits.rank(name) < PART for name in held.names)
        assert all(splits.rank(name) >= PART for name in of_training.names)
        assert held.names
        assert of_training.names
    total = sum(map(len, (*opened.training, *opened.validation[1:])))
    assert total == 20 + 19
    damaged, missing = (
        f"{photos}/000.jpg (not an image, or damaged)",
        f"{judged[1]}/002.png (missing)",
    )
    assert skipped(opened) == sorted([damaged, missing])
    _, found, _ = opened.training[1].read(0)
    assert set(np.unique(found)) <= {0, 1, 3}


def test_the_digest_depends_on_images_and_splits_not_on_the_folder(config, annotated, tmp_path):
    file, folder = map(str, annotated)
    digests = {
        splits.open_splits(config(annotations=file, images=folder, holdout=part), LVS).digest
        for part in (0, PART, PART)
    }
    assert len(digests) == 2
    os.rename(folder, tmp_path / "moved")
    moved = str(tmp_path / "moved")
    opened = splits.open_splits(config(annotations=f"{moved}/instances.json", images=moved), LVS)
    assert opened.digest in digests
    pictures = {f"a{number}.jpg": picture(number) for number in range(21)}
    file, folder = map(str, write(tmp_path / "more", pictures))
    assert splits.open_splits(config(annotations=file, images=folder), LVS).digest not in digests


def test_the_teacher_labels_once(config, photos, teacher, monkeypatch):
    """A resumed training finds the labels in its directory; damaged images are reported again."""
    (photos / "000.jpg").write_bytes(b"not an image")
    made = config(unlabeled_images=str(photos), teacher=str(teacher))
    first = splits.open_splits(made, LVS)
    assert os.listdir(made.logdir) == [splits.TEACHER_LABELS]

    def asked(*_):
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(annotate, "annotate", asked)
    again = splits.open_splits(made, LVS)
    assert again.digest == first.digest
    assert again.problems() == first.problems()
    assert skipped(again) == [f"{photos}/000.jpg (not an image, or damaged)"]
    for one, other in zip(again.training[0].read(3), first.training[0].read(3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_interrupted_labeling_continues(config, photos, teacher, monkeypatch):
    made = config(unlabeled_images=str(photos), teacher=str(teacher))
    seen, read = [], annotate.read_image

    def interrupted(path):
        seen.append(path)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(annotate, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        splits.open_splits(made, LVS)
    opened = splits.open_splits(made, LVS)
    assert len(opened.training[0]) == 20
    assert len(seen) == 8 + 13
    assert os.listdir(made.logdir) == [splits.TEACHER_LABELS]


def test_labels_of_another_teacher_or_of_other_images_are_refused(
    config, photos, teacher, tmp_path
):
    made = config(unlabeled_images=str(photos), teacher=str(teacher))
    splits.open_splits(made, LVS)
    (tmp_path / "other").mkdir()
    other = another_teacher(teacher.parent, tmp_path / "other")
    with pytest.raises(UserError, match=f"{splits.TEACHER_LABELS}' .*another teacher"):
        splits.open_splits(config(unlabeled_images=str(photos), teacher=str(other)), LVS)
    (photos / "000.jpg").rename(photos / "new.jpg")
    with pytest.raises(UserError, match=f"{splits.TEACHER_LABELS}' .*other images"):
        splits.open_splits(made, LVS)


def test_labels_of_teacher_annotate(config, photos, teacher, tmp_path):
    """They serve without their teacher."""
    from teacher import open_teacher
    from teacher.record import describe_live

    described = describe_live(str(teacher))
    file = tmp_path / "photos.json"
    annotate.annotate(photos, open_teacher(str(teacher)), described, file)
    opened = splits.open_splits(
        config(unlabeled_images=str(photos), teacher=f"annotated:{file}"), LVS
    )
    assert opened.training[0].file == str(file)
    assert len(opened.training[0]) == 20
    assert os.listdir(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("recorded:street.rec", "--teacher=recorded:street.rec"),
        ("lvs:hockey", "--teacher=lvs:hockey"),
        ("annotated:gone.json", r"'gone\.json' does not exist"),
        ("gone", "'gone' is not a folder"),
    ],
)
def test_teachers_that_cannot_label_images_are_refused(config, photos, spec, named):
    with pytest.raises(UserError, match=named):
        splits.open_splits(config(unlabeled_images=str(photos), teacher=spec), LVS)


def test_a_holdout_of_everything_is_refused(config, annotated):
    file, folder = map(str, annotated)
    with pytest.raises(UserError, match=r"--holdout=1 .*instances\.json"):
        splits.open_splits(config(annotations=file, images=folder, holdout=1), LVS)


def test_a_category_that_nothing_names_is_refused(config, annotated, tmp_path):
    """A slip in the class groups; what the labels name is no slip."""
    file = tmp_path / "groups.txt"
    made = config(annotations=str(annotated[0]), images=str(annotated[1]))
    file.write_text("person\nauto = car, buss\n")
    with pytest.raises(UserError, match=r"class 'auto' has 'buss'.*labeled are -"):
        splits.open_splits(made, LabelMaker(class_groups(str(file))))
    data = annotated[0].read_text()
    annotated[0].write_text(
        data.replace('"name": "person"}', '"name": "person"}, {"id": 2, "name": "buss"}')
    )
    splits.open_splits(made, LabelMaker(class_groups(str(file))))


def test_a_holdout_of_all_objects_is_refused(config, tmp_path):
    names = [*held_names(4), *kept_names(8)]
    file, folder = write(tmp_path, {name: picture(number) for number, name in enumerate(names)})
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "annotations": data["annotations"][:4]}))
    with pytest.raises(UserError, match=r"--holdout=0\.3 .* no pixel of person, "):
        splits.open_splits(config(annotations=str(file), images=str(folder), holdout=PART), LVS)


def test_validation_images_of_no_class_are_refused(config, annotated, tmp_path):
    file, folder = write(tmp_path / "judged", {"a.jpg": picture(1)})
    file.write_text(file.read_text().replace('"person"', '"lamp"'))
    made = config(
        annotations=str(annotated[0]),
        images=str(annotated[1]),
        validation_annotations=str(file),
        validation_images=str(folder),
    )
    with pytest.raises(UserError, match=r"judged/instances\.json' .*lamp \(id 1, 1 objects\)"):
        splits.open_splits(made, LVS)


def test_a_holdout_of_nothing_is_refused(config, tmp_path):
    few = {name: picture(number) for number, name in enumerate(kept_names(3))}
    file, folder = map(str, write(tmp_path / "few", few))
    with pytest.raises(UserError, match=r"--holdout=0\.3 .*--validation_images"):
        splits.open_splits(config(annotations=file, images=folder, holdout=PART), LVS)


def test_a_holdout_that_all_the_rest_looks_like_is_refused(config, tmp_path):
    same = {name: picture(0) for name in (*held_names(2), *kept_names(4))}
    file, folder = map(str, write(tmp_path / "same", same))
    with pytest.raises(UserError, match=r"--holdout=0\.3 .*instances\.json"):
        splits.open_splits(config(annotations=file, images=folder, holdout=PART), LVS)


def test_file_names_that_are_not_unicode(config, tmp_path):
    """Archives from other systems leave some."""
    pictures = {f"{number}.jpg": picture(number) for number in range(20)}
    file, folder = write(tmp_path / "old", pictures)
    name = os.fsdecode(b"stra\xdfe.jpg")
    (folder / "7.jpg").rename(folder / name)
    data = json.loads(file.read_text())
    data["images"][7]["file_name"] = name
    file.write_text(json.dumps(data))
    opened = splits.open_splits(
        config(annotations=str(file), images=str(folder), holdout=PART), LVS
    )
    assert name in names_of([*opened.training, *opened.validation])
    assert len(opened.digest) == 16

"""Class ids in PNGs as training targets, against the same instances in COCO's format."""

import json
import os
import re

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import splits
from jitnet_tf.pretraining.datasets.class_ids import read_ids
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder
from jitnet_tf.sinks.mask_writer import MaskWriter
from teacher.images import UnreadableError
from tests.materials import GRAY, GRAY_ALPHA, PALETTE, RGB, png, texture, write_label_folder

GROUPS = class_groups("lvs")
LVS = LabelMaker(GROUPS)
PERSON, BIKE, AUTO, DOG = (GROUPS.names.index(name) for name in ("person", "bike", "auto", "dog"))
SIZE = (20, 30)


def write(folder, ids, classes=None):
    """Writes images and labels of these class ids, by stem: (labels, images)."""
    pictures, labels = folder / "pictures", folder / "labels"
    for number, (stem, values) in enumerate(ids.items()):
        for root in (pictures, labels):
            (root / stem).parent.mkdir(parents=True, exist_ok=True)
        picture = texture(np.shape(values), number)
        assert cv2.imwrite(str(pictures / f"{stem}.jpg"), picture)
        (labels / f"{stem}.png").write_bytes(png(values))
    if classes:
        (labels / "classes.json").write_text(json.dumps(classes))
    return labels, pictures


# Class ids in files


@pytest.mark.parametrize("kind", [GRAY, PALETTE])
@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bits=st.sampled_from([1, 2, 4, 8]),
    transparent=st.booleans(),
    seed=st.integers(0, 99),
)
def test_ids_are_what_was_written(tmp_path_factory, kind, size, bits, transparent, seed):
    """Also with few bits a pixel and with a transparent color."""
    ids = np.random.default_rng(seed).integers(0, 2**bits, size)
    path = tmp_path_factory.mktemp("ids") / "ids.png"
    with_alpha = (b"\0\0" if kind == GRAY else b"\0\x80") if transparent else b""
    path.write_bytes(png(ids, bits, kind, with_alpha))
    found = read_ids(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


IDS = np.arange(600).reshape(SIZE) % 9
INVALID = {
    "empty": (b"", "not a PNG"),
    "a GIF": (b"GIF89a" + bytes(90), "not a PNG"),
    "RGB": (png(np.stack([IDS] * 3, -1), kind=RGB), "color image"),
    "gray and alpha": (png(np.stack([IDS] * 2, -1), kind=GRAY_ALPHA), "color image"),
    "16 bits": (png(IDS, 16), "16 bits a pixel"),
    "gray, cut off": (png(IDS)[:-40], "damaged"),
    "palette, cut off": (png(IDS, kind=PALETTE)[:-40], "damaged"),
    "gray, header alone": (png(IDS)[:40], "damaged"),
    "palette, header alone": (png(IDS, kind=PALETTE)[:40], "damaged"),
    "no pixels": (png(IDS)[:33] + png(IDS)[-12:], "damaged"),
}


@pytest.mark.parametrize(("data", "problem"), INVALID.values(), ids=INVALID)
def test_invalid_files_are_refused(tmp_path, data, problem):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=problem):
        read_ids(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [GRAY, PALETTE])
@settings(max_examples=60)
@given(place=st.integers(0, 500), value=st.integers(0, 255))
@example(place=18, value=1)  # the width
@example(place=-16, value=0)  # the checksum of the pixels
def test_a_changed_byte_changes_no_ids_unnoticed(tmp_path_factory, kind, place, value):
    data = bytearray(png(IDS, kind=kind))
    data[place % len(data)] = value
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    path.write_bytes(data)
    try:
        found = read_ids(path)
    except ValueError:
        return
    np.testing.assert_array_equal(found, IDS)


@pytest.mark.parametrize("kind", [GRAY, PALETTE])
def test_truncated_files_are_refused_at_any_length(tmp_path, kind):
    """Lengths up to the end mark, which only its four bytes of checksum follow."""
    data = png(IDS, kind=kind)
    for length in range(0, len(data) - 4, 7):
        (tmp_path / "a.png").write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged"):
            read_ids(tmp_path / "a.png")


# Targets


def test_labels_are_those_of_the_same_instances(tmp_path):
    """Frames, classes and ignored pixels; in subfolders; numbers, names and subsets."""
    file, pictures, labels = write_label_folder(tmp_path, 6)
    one, other = LabelFolder(labels, pictures, LVS), CocoDataset(file, pictures, LVS)
    assert len(one) == 6
    assert one.names == sorted(other.names)
    assert (one.unreadable, one.unknown, one.absent) == ({}, [], [])
    for number, name in enumerate(one.names):
        frame, ids, weights = one.read(number)
        expected = other.read(other.names.index(name))
        assert one.path(number) == pictures / name
        np.testing.assert_array_equal(frame, expected[0])
        np.testing.assert_array_equal(ids, expected[1])
        np.testing.assert_array_equal(weights > 0, expected[2] > 0)
        assert (ids.dtype, weights.dtype) == (np.uint8, np.float32)
        assert (weights == 0).any()
    part = one.subset([4, 1])
    assert part.names == [one.names[4], one.names[1]]
    np.testing.assert_array_equal(part.read(1)[1], one.read(1)[1])


def test_weights_are_those_of_the_same_instances(tmp_path):
    """Equal bit for bit if each instance is one connected region; also at the image's edges."""
    ids = np.zeros((60, 80), np.uint8)
    images = [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 80}]
    annotations = []
    for class_id, x, y, w, h in ((1, 0, 0, 11, 7), (2, 30, 20, 13, 17), (2, 50, 43, 30, 17)):
        ids[y : y + h, x : x + w] = class_id
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        number = len(annotations) + 1
        annotations.append(
            {"id": number, "image_id": 1, "category_id": class_id, "bbox": [x, y, w, h]}
            | {"segmentation": [polygon], "iscrowd": 0}
        )
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "truck"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(data))
    labels, pictures = write(tmp_path, {"a": ids}, {"0": "background", "1": "dog", "2": "truck"})
    for dilation in (0, 0.075, 0.15):
        label_maker = LabelMaker(GROUPS, box_dilation=dilation)
        one = LabelFolder(labels, pictures, label_maker).read(0)
        other = CocoDataset(tmp_path / "a.json", pictures, label_maker).read(0)
        for found, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert {1, 5} == set(np.unique(one[2]))


def test_boxes_are_those_of_connected_regions(tmp_path):
    """Pixels that touch by a corner are connected. Ignored pixels have weight 0 also inside."""
    ids = np.zeros(SIZE, np.uint8)
    ids[2:4, 2:4] = ids[4:6, 4:6] = 1  # a person, by a corner
    ids[2:5, 10:12] = 1
    ids[2:5, 12:14] = 2  # a dog beside a person
    ids[15:18, 20:29] = 2
    ids[16, 22:24] = 255
    classes = {"0": "background", "1": "person", "2": "dog"}
    label_maker = LabelMaker(GROUPS, box_dilation=0)
    _, labels, weights = LabelFolder(*write(tmp_path, {"a": ids}, classes), label_maker).read(0)
    expected = np.ones(SIZE)
    expected[2:6, 2:6] = expected[2:5, 10:14] = expected[15:18, 20:29] = 5
    expected[16, 22:24] = 0
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(labels == PERSON, ids == 1)
    np.testing.assert_array_equal(labels == DOG, ids == 2)


def test_background_alone_has_weight_one(tmp_path):
    labels, pictures = write(tmp_path, {"a": np.zeros(SIZE, int)})
    _, ids, weights = LabelFolder(labels, pictures, LVS, ("background", "dog")).read(0)
    assert not ids.any()
    assert (weights == 1).all()


# Names of classes


NAMES = ("road", "person", "motorcycle", "truck", "car", "auto", "ignore", "cat", "background")


@pytest.mark.parametrize("in_file", [True, False])
def test_classes_are_matched_by_name(tmp_path, in_file):
    """A class of the student or a member of one, in any order; other names are background."""
    ids = np.arange(600).reshape(SIZE) % len(NAMES)
    ids[0] = 255
    classes = {str(i): name for i, name in enumerate(NAMES)} if in_file else None
    labels, pictures = write(tmp_path, {"a": ids}, classes)
    folder = LabelFolder(labels, pictures, LVS, () if in_file else NAMES)
    _, found, weights = folder.read(0)
    taken = [0, PERSON, BIKE, AUTO, AUTO, AUTO, 0, 0, 0]
    expected = np.array([*taken, *[0] * 247])[ids]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(weights == 0, (ids == 6) | (ids == 255))
    own = ("background", "person", "bike", "auto", "auto", "auto", "ignore")
    own += ("background", "background")
    assert folder.classes == dict(zip(NAMES, own, strict=True))
    assert folder.unknown == ["road"]
    assert folder.absent == ["bird", "dog", "horse", "elephant", "giraffe"]


def test_a_groups_own_name_has_priority(tmp_path):
    """Over a category of the same name in another group."""
    file = tmp_path / "groups.txt"
    file.write_text("truck = bus\nheavy = truck\n")
    label_maker = LabelMaker(class_groups(str(file)))
    labels, pictures = write(tmp_path, {"a": np.ones(SIZE, int)})
    folder = LabelFolder(labels, pictures, label_maker, ("background", "truck", "bus"))
    assert folder.classes == {"background": "background", "truck": "truck", "bus": "truck"}


def test_class_masks_of_a_run_are_labels(tmp_path):
    """The masks of `jitnet_tf.distill --masks`."""
    ids = [np.random.default_rng(i).integers(0, 9, SIZE, np.uint8) for i in range(3)]
    writer = MaskWriter(tmp_path / "masks", GROUPS.names)
    for index, values in enumerate(ids):
        writer.write(index, values)
        (tmp_path / "frames").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "frames" / f"{index:06d}.png"), texture(SIZE, index))
    folder = LabelFolder(tmp_path / "masks", tmp_path / "frames", LVS)
    assert len(folder) == 3
    for number, values in enumerate(ids):
        np.testing.assert_array_equal(folder.read(number)[1], values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2]", "is not"),
        ("{", "is not"),
        ('{"person": 1}', "person"),
        ('{"0": "background", "256": "person"}', "256 → 'person'"),
        ('{"-1": "person"}', "-1 → 'person'"),
        ('{"1": ["person"]}', r"\['person'\]"),
        ('{"1": " "}', "1 → ' '"),
    ],
)
def test_invalid_class_files_are_refused(tmp_path, text, value):
    labels, pictures = write(tmp_path, {"a": np.zeros(SIZE, int)})
    (labels / "classes.json").write_text(text)
    with pytest.raises(UserError, match=rf"classes\.json.*{value}"):
        LabelFolder(labels, pictures, LVS)


@pytest.mark.parametrize(
    ("in_file", "given", "named"),
    [
        ((), (), r"labels' .*classes\.json.*--label_classes"),
        (("background", "dog"), ("background", "dog"), r"classes\.json.*--label_classes"),
        ((), ("background", ""), "--label_classes=background,: 1 → ''"),
        ((), ("x",) * 257, "--label_classes=.*256 → 'x'"),
        ((), ("background", "0=person"), "--label_classes=.*id 0 has two names"),
        ((), ("background", "x=person"), "--label_classes=.*'x' is not a class id"),
        ((), ("road", "cat"), "labels'.* person, .*giraffe.* road, cat"),
        ((), ("background", "ignore"), "labels'.* background, ignore"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(tmp_path, in_file, given, named):
    classes = {str(i): name for i, name in enumerate(in_file)}
    labels, pictures = write(tmp_path, {"a": np.zeros(SIZE, int)}, classes)
    with pytest.raises(UserError, match=named):
        LabelFolder(labels, pictures, LVS, given)


# Folders


@pytest.mark.parametrize(
    ("labels", "images", "named"),
    [
        ("nowhere", "pictures", "nowhere' is not a folder.*labels"),
        ("empty", "pictures", r"empty' .*\.png"),
        ("labels", "nowhere", "nowhere' is not a folder"),
        ("labels", "empty", "empty' holds no images"),
        ("labels", "labels", "labels' holds no images but the labels"),
    ],
)
def test_invalid_folders_are_refused(tmp_path, labels, images, named):
    write(tmp_path, {"a": np.ones(SIZE, int)}, {"1": "dog"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=named):
        LabelFolder(tmp_path / labels, tmp_path / images, LVS)


def test_labels_in_a_folder_inside_the_images_are_no_images(tmp_path):
    labels, pictures = write(
        tmp_path, {"a": np.ones(SIZE, int), "b/c": IDS * 0}, {"1": "dog"} | {"0": "x"}
    )
    os.rename(labels, pictures / "labels")
    assert LabelFolder(pictures / "labels", pictures, LVS).names == ["a.jpg", "b/c.jpg"]


COLORS = png(np.ones((*SIZE, 3), int), kind=RGB)
# Content of the label or of the image, None for no file; the problem; found on opening?
UNREADABLE = {
    "no label": ("label", None, r"03\.jpg \(without a label .*03\.png\)", True),
    "empty label": ("label", b"", r"03\.jpg \(its label .*03\.png: not a PNG", True),
    "color label": ("label", COLORS, r"03\.png: a color image", True),
    "16 bits": ("label", png(np.ones(SIZE, int), bits=16), r"03\.png: 16 bits a pixel", True),
    "other size": ("label", png(np.ones((9, 9), int)), r"03\.jpg \(20×30 .* 9×9\)", False),
    "unknown id": (
        "label",
        png(np.full(SIZE, 7)),
        r"03\.png \(class ids .* name: 7\)",
        False,
    ),
    "cut label": ("label", png(IDS % 2)[:-30], r"03\.png \(damaged\)", False),
    "no image": ("image", b"none", r"03\.jpg \(not an image, or damaged\)", False),
}


@pytest.mark.parametrize(
    ("what", "content", "problem", "on_opening"), UNREADABLE.values(), ids=UNREADABLE
)
def test_one_of_twelve_may_be_unreadable(tmp_path, what, content, problem, on_opening):
    """Two are too many."""
    names = [f"{number:02d}" for number in range(12)]
    classes = {"0": "background", "1": "dog"}
    labels, pictures = write(tmp_path, {name: IDS % 2 for name in names}, classes)
    path = labels / "03.png" if what == "label" else pictures / "03.jpg"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    folder = LabelFolder(labels, pictures, LVS)
    assert len(folder) == 12 - on_opening
    if not on_opening:
        with pytest.raises(UnreadableError, match=problem):
            folder.read(3)
    assert list(folder.unreadable) == ["03.jpg"]
    assert re.search(problem, folder.unreadable["03.jpg"])
    folder.check_unreadable()
    (pictures / "08.jpg").write_bytes(b"none")
    with pytest.raises(UnreadableError):
        folder.read(folder.names.index("08.jpg"))
    with pytest.raises(UserError, match=r"2 of the 12 images of .*labels'.*: check both folders"):
        folder.check_unreadable()


def test_labels_of_other_images_are_refused(tmp_path):
    labels, pictures = write(tmp_path, {"a": IDS % 2, "b": IDS % 2}, {"0": "x", "1": "dog"})
    for path in labels.glob("*.png"):
        path.rename(path.with_name(f"label_{path.name}"))
    with pytest.raises(UserError, match=r"2 of the 2 images .*a\.jpg \(without a label"):
        LabelFolder(labels, pictures, LVS)


def test_labels_with_accents_that_another_system_took_apart(tmp_path):
    labels, pictures = write(tmp_path, {"\xe9": IDS % 2}, {"0": "x", "1": "dog"})
    (labels / "\xe9.png").rename(labels / "e\u0301.png")
    assert len(LabelFolder(labels, pictures, LVS)) == 1


# Splits


def test_the_same_names_are_held_out_as_of_coco_datasets(tmp_path):
    file, pictures, labels = write_label_folder(tmp_path, 20)
    held = []
    for training in (CocoDataset(file, pictures, LVS), LabelFolder(labels, pictures, LVS)):
        [judged] = splits.hold_out([training], 0.3)
        assert len(judged) + len(training) <= 20
        held.append(sorted(judged.names))
        assert judged.read(0)[1].any()
    assert held[0] == held[1]


def test_the_digest_depends_on_names_and_labels_not_on_the_place(tmp_path):
    classes = {"0": "background", "1": "dog"}
    labels, pictures = write(tmp_path / "one", {"a": IDS % 2, "b": IDS % 2}, classes)
    before = splits.digest_of([LabelFolder(labels, pictures, LVS)])
    assert splits.digest_of([LabelFolder(labels, pictures, LVS)]) == before
    os.rename(tmp_path / "one", tmp_path / "moved")
    labels, pictures = tmp_path / "moved" / "labels", tmp_path / "moved" / "pictures"
    assert splits.digest_of([LabelFolder(labels, pictures, LVS)]) == before
    digests = {before, splits.digest_of([LabelFolder(labels, pictures, LVS).subset([0])])}
    (labels / "classes.json").write_text(json.dumps({"0": "background", "1": "cat", "2": "dog"}))
    digests.add(splits.digest_of([LabelFolder(labels, pictures, LVS)]))
    (labels / "a.png").write_bytes(png(IDS % 3))
    digests.add(splits.digest_of([LabelFolder(labels, pictures, LVS)]))
    assert len(digests) == 4

"""jitnet_tf.pretraining.datasets.label_folder: class ids in PNGs as targets, against COCO's instances."""

import json
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import splits
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder, read_ids
from jitnet_tf.sinks.writers import MaskWriter
from teacher.images import UnreadableError
from tests.materials import texture, write_photographs

GROUPS = class_groups("lvs")
LVS = LabelMaker(GROUPS)
PERSON, BIKE, AUTO, DOG = (GROUPS.names.index(name) for name in ("person", "bike", "auto", "dog"))
GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4  # PNG's kinds of colors
SIZE = (20, 30)


def png(pixels, bits=8, kind=GREY, transparent=b""):
    """A PNG of whole numbers [H, W] or [H, W, channels] of so many bits, as bytes."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = []
    for row in np.reshape(pixels, (len(pixels), -1)):
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    height, width = np.shape(pixels)[:2]
    data = b"\x89PNG\r\n\x1a\n"
    data += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    if kind == PALETTE:  # in which colors repeat
        data += chunk(b"PLTE", bytes(i // 4 for i in range(3 * 2**bits)))
    if transparent:
        data += chunk(b"tRNS", transparent)
    return data + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def write_labelled(folder, count):
    """`write_photographs`, and its labels as PNGs: (annotation file, photographs, labels).

    Grey and with a palette by turns, 255 in crowds; with a classes.json.
    """
    file, pictures = write_photographs(folder, count)
    annotated = CocoDataset(file, pictures, LVS)
    labels = folder / "labels"
    for number, name in enumerate(annotated.names):
        _, ids, weights = annotated.read(number)
        ids[weights == 0] = 255
        path = (labels / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(ids, kind=PALETTE if number % 2 else GREY))
    (labels / "classes.json").write_text(json.dumps(dict(enumerate(GROUPS.names))))
    return file, pictures, labels


def write(folder, ids, classes=None):
    """Photographs and labels of these class ids, by stem: (labels, photographs)."""
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


@pytest.mark.parametrize("kind", [GREY, PALETTE])
@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bits=st.sampled_from([1, 2, 4, 8]),
    transparent=st.booleans(),
    seed=st.integers(0, 99),
)
def test_ids_are_what_was_written(tmp_path_factory, kind, size, bits, transparent, seed):
    """With few bits, and with a transparent color."""
    ids = np.random.default_rng(seed).integers(0, 2**bits, size)
    path = tmp_path_factory.mktemp("ids") / "ids.png"
    with_alpha = (b"\0\0" if kind == GREY else b"\0\x80") if transparent else b""
    path.write_bytes(png(ids, bits, kind, with_alpha))
    found = read_ids(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


IDS = np.arange(600).reshape(SIZE) % 9
NONE = [
    (b"", "not a PNG"),
    (b"GIF89a" + bytes(90), "not a PNG"),
    (png(np.stack([IDS] * 3, -1), kind=RGB), "a color image, not class ids in one channel"),
    (png(np.stack([IDS] * 2, -1), kind=GREY_ALPHA), "a color image"),
    (png(IDS, 16), "16 bits a pixel, but class ids have at most 8"),
    (png(IDS)[:-40], "damaged"),
    (png(IDS, kind=PALETTE)[:-40], "damaged"),
    (png(IDS)[:40], "not a PNG, or damaged"),
    (png(IDS, kind=PALETTE)[:40], "not a PNG, or damaged"),
]


@pytest.mark.parametrize(("data", "message"), NONE)
def test_files_that_hold_no_ids(tmp_path, data, message):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=f"^{message}"):
        read_ids(tmp_path / "a.png")


@settings(max_examples=60)
@given(st.integers(0, 500), st.integers(0, 255), st.sampled_from([GREY, PALETTE]))
@example(18, 1, PALETTE)  # the width
def test_damage_is_noticed(tmp_path_factory, place, value, kind):
    """Any byte changed: the ids are the same, or refused."""
    data = bytearray(png(IDS, kind=kind))
    place %= len(data)
    data[place] = value
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    path.write_bytes(data)
    try:
        found = read_ids(path)
    except ValueError:
        return
    np.testing.assert_array_equal(found, IDS)


# Targets


def test_labels_are_those_of_the_same_instances(tmp_path):
    """Frames, classes and what does not count; subfolders, and all that a set can do."""
    file, pictures, labels = write_labelled(tmp_path, 6)
    one, other = LabelFolder(labels, pictures, LVS), CocoDataset(file, pictures, LVS)
    assert len(one) == 6
    assert one.names == sorted(other.names)
    assert (one.lost, one.unknown, one.absent) == ({}, [], [])
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
    """Where each is one connected part, to the last bit, at the edges of the picture too."""
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


def test_boxes_are_those_of_connected_parts(tmp_path):
    """Of a class; corners that touch connect. What does not count has weight 0 also inside."""
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


def test_nothing_but_background(tmp_path):
    labels, pictures = write(tmp_path, {"a": np.zeros(SIZE, int)})
    _, ids, weights = LabelFolder(labels, pictures, LVS, ("background", "dog")).read(0)
    assert not ids.any()
    assert (weights == 1).all()


# Names of classes


NAMES = ("road", "person", "motorcycle", "truck", "car", "auto", "ignore", "cat", "background")


@pytest.mark.parametrize("in_file", [True, False])
def test_classes_go_by_name(tmp_path, in_file):
    """Its own, a member's; others are background; in any order, and told."""
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


def test_a_groups_own_name_comes_first(tmp_path):
    """Where a category of the same name is in another."""
    file = tmp_path / "groups.txt"
    file.write_text("truck = bus\nheavy = truck\n")
    label_maker = LabelMaker(class_groups(str(file)))
    labels, pictures = write(tmp_path, {"a": np.ones(SIZE, int)})
    folder = LabelFolder(labels, pictures, label_maker, ("background", "truck", "bus"))
    assert folder.classes == {"background": "background", "truck": "truck", "bus": "truck"}


def test_class_masks_of_a_run_are_labels(tmp_path):
    """As `jitnet_tf.distill --masks` writes them."""
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


BAD_CLASSES = [
    ("[1, 2]", r"classes\.json' is not {\"0\": \"background\", …}"),
    ("{", r"classes\.json' is not {\"0\": \"background\", …}"),
    ('{"person": 1}', r"classes\.json' is not"),
    ('{"0": "background", "255": "person"}', "255 → 'person' is not a name of a class id 0…254"),
    ('{"-1": "person"}', "-1 → 'person' is not a name"),
    ('{"1": ["person"]}', "is not a name of a class id"),
    ('{"1": " "}', "is not a name of a class id"),
]


@pytest.mark.parametrize(("text", "message"), BAD_CLASSES)
def test_names_that_are_none(tmp_path, text, message):
    labels, pictures = write(tmp_path, {"a": np.zeros(SIZE, int)})
    (labels / "classes.json").write_text(text)
    with pytest.raises(UserError, match=message):
        LabelFolder(labels, pictures, LVS)


@pytest.mark.parametrize(
    ("in_file", "given", "message"),
    [
        ((), (), r"labels' has no classes\.json: name the classes by --label_classes"),
        (("background", "dog"), ("background", "dog"), "leave --label_classes out"),
        ((), ("background", ""), "--label_classes=background,: 1 → '' is not a name"),
        ((), ("x",) * 256, "255 → 'x' is not a name of a class id 0…254"),
        ((), ("road", "cat"), "are of none of the classes person, .*giraffe, but of road, cat$"),
        ((), ("background", "ignore"), "are of none of the classes"),
    ],
)
def test_names_that_do_not_fit(tmp_path, in_file, given, message):
    classes = {str(i): name for i, name in enumerate(in_file)}
    labels, pictures = write(tmp_path, {"a": np.zeros(SIZE, int)}, classes)
    with pytest.raises(UserError, match=message):
        LabelFolder(labels, pictures, LVS, given)


# Folders


def test_folders_that_are_none(tmp_path):
    labels, pictures = write(tmp_path, {"a": np.ones(SIZE, int)}, {"1": "dog"})
    (tmp_path / "empty").mkdir()
    for one, other, message in (
        (
            tmp_path / "nowhere",
            pictures,
            "nowhere' is not a folder: give the one that holds the la",
        ),
        (tmp_path / "empty", pictures, r"empty' holds no labels \(.png\)"),
        (labels, tmp_path / "nowhere", "nowhere' is not a folder"),
        (labels, tmp_path / "empty", "empty' holds no images"),
        (labels, labels, "labels' holds no photographs but the labels: give each a folder"),
    ):
        with pytest.raises(UserError, match=message):
            LabelFolder(one, other, LVS)


def test_labels_among_the_photographs_are_none(tmp_path):
    """In a folder of theirs inside."""
    labels, pictures = write(
        tmp_path, {"a": np.ones(SIZE, int), "b/c": IDS * 0}, {"1": "dog"} | {"0": "x"}
    )
    os.rename(labels, pictures / "labels")
    assert LabelFolder(pictures / "labels", pictures, LVS).names == ["a.jpg", "b/c.jpg"]


PROBLEMS = [
    (lambda label, _: label.unlink(), r"03\.jpg \(without a label .*03\.png\)", True),
    (lambda label, _: label.write_bytes(b""), r"03\.jpg \(its label .*03\.png: not a PNG, or damaged\)", True),
    (
        lambda label, _: label.write_bytes(png(np.ones((*SIZE, 3), int), kind=RGB)),
        r"03\.jpg \(its label .*03\.png: a color image, not class ids in one channel or a pal",
        True,
    ),
    (
        lambda label, _: label.write_bytes(png(np.ones(SIZE, int), bits=16)),
        r"03\.png: 16 bits a pixel, but class ids have at most 8\)",
        True,
    ),
    (
        lambda label, _: label.write_bytes(png(np.ones((9, 9), int))),
        r"03\.jpg \(20×30 pixels, annotated as 9×9\)",
        False,
    ),
    (
        lambda label, _: label.write_bytes(png(np.full(SIZE, 7))),
        r"labels/03\.png \(class id 7 has no name\)",
        False,
    ),
    (
        lambda label, _: label.write_bytes(png(IDS % 2)[:-30]),
        r"labels/03\.png \(damaged\)",
        False,
    ),
    (
        lambda _, picture: picture.write_bytes(b"none"),
        r"03\.jpg \(not an image, or damaged\)",
        False,
    ),
]


@pytest.mark.parametrize(("damage", "message", "at_once"), PROBLEMS)
def test_what_is_lost(tmp_path, damage, message, at_once):
    """One of a dozen may be, and is told; two are too many."""
    names = [f"{number:02d}" for number in range(12)]
    classes = {"0": "background", "1": "dog"}
    labels, pictures = write(tmp_path, {name: IDS % 2 for name in names}, classes)
    damage(labels / "03.png", pictures / "03.jpg")
    folder = LabelFolder(labels, pictures, LVS)
    assert len(folder) == 12 - at_once
    if not at_once:
        with pytest.raises(UnreadableError, match=message):
            folder.read(3)
    assert list(folder.lost) == ["03.jpg"]
    folder.check_lost()
    # Another, met later on.
    (pictures / "08.jpg").write_bytes(b"none")
    with pytest.raises(UnreadableError):
        folder.read(folder.names.index("08.jpg"))
    with pytest.raises(
        UserError, match=r"2 of the 12 photographs of .*labels' are missing or"
    ) as e:
        folder.check_lost()
    assert str(e.value).endswith("check both folders")


def test_labels_of_other_photographs(tmp_path):
    labels, pictures = write(tmp_path, {"a": IDS % 2, "b": IDS % 2}, {"0": "x", "1": "dog"})
    for path in labels.glob("*.png"):
        path.rename(path.with_name(f"label_{path.name}"))
    with pytest.raises(UserError, match=r"2 of the 2 photographs .*a\.jpg \(without a label"):
        LabelFolder(labels, pictures, LVS)


# As one set among others


def test_a_part_is_held_out(tmp_path):
    """By the names, as of annotated photographs."""
    file, pictures, labels = write_labelled(tmp_path, 20)
    held = []
    for training in (CocoDataset(file, pictures, LVS), LabelFolder(labels, pictures, LVS)):
        [judged] = splits.hold_out([training], 0.3)
        assert len(judged) + len(training) <= 20
        held.append(sorted(judged.names))
        assert judged.read(0)[1].any()
    assert held[0] == held[1]


def test_sets_are_told_apart(tmp_path):
    """By names and labels, wherever they are."""
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

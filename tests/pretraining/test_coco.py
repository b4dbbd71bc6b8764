"""COCO's instances as training targets, against COCO's own reader."""

import contextlib
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.coco_annotations import decode
from teacher.images import UnreadableError
from tests.materials import IMAGE_SIZES, run_lengths, write_images

PERSON, AUTO = 1, 3  # in lvs
LVS = LabelMaker(class_groups("lvs"))
SIZE = IMAGE_SIZES[0]  # of the first image


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("annotated"), 6)


@pytest.fixture
def material(tmp_path):
    """Annotation file and folder of six images, to damage."""
    return write_images(tmp_path, 6)


def change(file, edit):
    """Rewrites an annotation file after `edit(data)`."""
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))


def only(*annotations):
    """An edit that leaves only these annotations, on the first image."""

    def edit(data):
        defaults = {"image_id": data["images"][0]["id"], "category_id": 7, "bbox": [0, 0, 9, 9]}
        data["annotations"] = [
            {**defaults, "id": i + 1, **annotation} for i, annotation in enumerate(annotations)
        ]

    return edit


def rectangle(x, y, w, h):
    """An annotation of a rectangle of whole pixels."""
    return {
        "segmentation": run_lengths(SIZE, np.s_[y : y + h, x : x + w]),
        "bbox": [x, y, w, h],
    }


def coco(file):
    with contextlib.redirect_stdout(None):
        return COCO(str(file))


# Targets


def test_targets_are_those_of_cocos_own_reader(pristine):
    """Polygons in parts, run lengths, a crowd, and categories outside the groups."""
    dataset = CocoDataset(*pristine, LabelMaker(class_groups("lvs"), box_dilation=0.125))
    data = coco(pristine[0])
    assert len(dataset) == len(dataset.names) == 6
    assert dataset.names == [f"{'more/' if i % 2 else ''}{i:03d}.{'png' if i % 4 > 1 else 'jpg'}"
                               for i in range(6)]  # fmt: skip
    for number, image in enumerate(data.loadImgs(sorted(data.getImgIds()))):
        frame, labels, weights = dataset.read(number)
        person, car, crowd, _, _ = map(data.annToMask, data.imgToAnns[image["id"]])
        H, W = image["height"], image["width"]
        assert (frame.dtype, frame.shape) == (np.uint8, (H, W, 3))
        assert dataset.path(number) == pristine[1] / image["file_name"]
        expected = np.where(car, AUTO, np.where(person, PERSON, 0))
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)
        boxes = np.ones((H, W), np.float32)
        # 65 × 45 pixels from (5, 5) and 30 × 30 from (50, 30), an eighth larger on every side.
        boxes[0:56, 0:78] = 5
        boxes[26:64, 46:84] = 5
        boxes[(crowd == 1) & (labels == 0)] = 0
        assert weights.dtype == np.float32
        np.testing.assert_array_equal(weights, boxes)
        assert (weights == 0).any()
        assert ((crowd == 1) & (weights == 5)).any()
    assert dataset.unreadable == {}


def test_images_match_their_annotations(pristine):
    """The painted person and car are where the labels say."""
    for number in range(6):
        dataset = CocoDataset(*pristine, LVS)
        frame, labels, _ = dataset.read(number)
        for class_id, color in ((PERSON, (250, 40, 40)), (AUTO, (40, 40, 250))):
            inside = cv2.erode((labels == class_id).astype(np.uint8), np.ones((7, 7))) > 0
            assert inside.sum() > 100
            assert np.abs(frame[inside].astype(int) - color).mean() < 20


def test_targets_follow_the_class_groups(pristine, tmp_path):
    """A category outside the groups is background of weight 1, as are its crowds."""
    groups = tmp_path / "groups.txt"
    groups.write_text("seat = chair, couch\n")
    dataset = CocoDataset(*pristine, LabelMaker(class_groups(str(groups)), box_dilation=0))
    _, labels, weights = dataset.read(0)
    chair = coco(pristine[0]).annToMask(
        {"image_id": 5, "segmentation": [[10, 70, 30, 70, 30, 90, 10, 90]]}
    )
    np.testing.assert_array_equal(labels, chair)
    expected = np.ones(SIZE)
    expected[70:90, 10:30] = 5
    np.testing.assert_array_equal(weights, expected)
    assert dataset.absent == []


def test_crowds_change_no_labels(material):
    """A crowd only sets weights to 0, and only outside of labeled objects."""
    crowd = {**rectangle(20, 20, 40, 40), "iscrowd": 1}
    person = rectangle(10, 10, 30, 30)
    car = {**rectangle(50, 50, 20, 20), "category_id": 1}
    change(material[0], only(crowd, person, car))
    _, labels, weights = CocoDataset(*material, LVS).read(0)
    expected = np.zeros(SIZE, np.uint8)
    expected[10:40, 10:40] = PERSON
    expected[50:70, 50:70] = AUTO
    np.testing.assert_array_equal(labels, expected)
    in_crowd = np.zeros(SIZE, bool)
    in_crowd[20:60, 20:60] = True
    np.testing.assert_array_equal(weights == 0, in_crowd & (expected == 0))
    assert set(np.unique(weights[~in_crowd])) == {1, 5}


def test_the_box_of_a_crowd_is_not_weighted(material):
    change(material[0], only({**rectangle(20, 20, 40, 40), "iscrowd": 1}))
    _, labels, weights = CocoDataset(*material, LVS).read(0)
    assert not labels.any()
    expected = np.ones(SIZE)
    expected[20:60, 20:60] = 0
    np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize("order", [1, -1])
def test_the_higher_class_wins_where_objects_overlap(material, order):
    """The order of the annotations has no effect."""
    person, car = rectangle(10, 10, 30, 30), {**rectangle(20, 20, 30, 30), "category_id": 1}
    change(material[0], only(*[person, car][::order]))
    _, labels, _ = CocoDataset(*material, LVS).read(0)
    assert (labels[20:50, 20:50] == AUTO).all()
    assert (labels[10:20, 10:40] == PERSON).all()


def test_scores_below_the_threshold_are_ignored(material):
    """The same as online; annotations without a score have score 1."""
    change(
        material[0],
        only(
            {**rectangle(10, 10, 10, 10), "score": 0.49},
            {**rectangle(30, 10, 10, 10), "score": 0.5},
            {**rectangle(50, 10, 10, 10), "score": float("nan")},
            rectangle(70, 10, 10, 10),
        ),
    )
    for threshold, seen in ((0.5, (30, 70)), (0.4, (10, 30, 70)), (1.0, (70,))):
        label_maker = LabelMaker(class_groups("lvs"), threshold, box_dilation=0)
        _, labels, weights = CocoDataset(*material, label_maker).read(0)
        expected = np.zeros(SIZE, np.uint8)
        for x in seen:
            expected[10:20, x : x + 10] = PERSON
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(weights, np.where(expected, 5, 1))


def test_an_image_without_annotations_is_background(material):
    change(material[0], only(rectangle(10, 10, 10, 10)))
    _, labels, weights = CocoDataset(*material, LVS).read(3)
    assert not labels.any()
    assert (weights == 1).all()


def test_categories_are_matched_by_name(material):
    """The ids have no effect: COCO's of other categories, or words."""

    def rename(data):
        words = {7: 18, 1: 17, 3: "c", 2: 1}  # a person with the dog's id, a lamp with the person's
        for row in data["annotations"]:
            row["category_id"] = words[row["category_id"]]
        for category in data["categories"]:
            category["id"] = words[category["id"]]

    before = CocoDataset(*material, LVS).read(0)
    change(material[0], rename)
    for one, other in zip(CocoDataset(*material, LVS).read(0), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_unknown_categories_and_absent_classes_are_listed(pristine):
    dataset = CocoDataset(*pristine, LVS)
    assert dataset.unknown == ["lamp"]
    assert dataset.absent == ["bike", "bird", "dog", "horse", "elephant", "giraffe"]


def test_a_category_for_the_background_is_known(material):
    change(material[0], lambda data: data["categories"].append({"id": 0, "name": "_background_"}))
    assert CocoDataset(*material, LVS).unknown == ["lamp"]


@pytest.mark.parametrize(
    ("written", "there"),
    [("one\\é.jpg", "one/é.jpg"), ("one/e\u0301.jpg", "one/\xe9.jpg"), ("\xe9.jpg", "e\u0301.jpg")],
    ids=["backslash", "composed", "decomposed"],
)
def test_names_of_images_as_other_systems_write_them(material, written, there):
    file, folder = material
    before = CocoDataset(file, folder, LVS).read(0)
    data = json.loads(file.read_text())
    (folder / there).parent.mkdir(exist_ok=True)
    (folder / data["images"][0]["file_name"]).rename(folder / there)
    change(file, lambda data: data["images"][0].update(file_name=written))
    dataset = CocoDataset(file, folder, LVS)
    assert (dataset.names[0], dataset.notes) == (there, [])
    for one, other in zip(dataset.read(0), before, strict=True):
        np.testing.assert_array_equal(one, other)


# Masks


@st.composite
def polygons(draw):
    """An image's size, and polygons on and around it."""
    size = draw(st.tuples(st.integers(9, 60), st.integers(9, 60)))
    coordinate = st.integers(-300, 900).map(lambda tenths: tenths / 10)
    corners = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8)
    shapes = draw(st.lists(corners, min_size=1, max_size=3))
    return size, [[number for corner in shape for number in corner] for shape in shapes]


def whole(mask, origin, size):
    """A cropped mask as one of the whole image."""
    full = np.zeros(size, bool)
    full[origin[0] : origin[0] + mask.shape[0], origin[1] : origin[1] + mask.shape[1]] = mask
    return full


@given(polygons())
def test_polygons_are_cocos(drawn):
    size, shapes = drawn
    data = COCO()
    data.imgs = {1: {"height": size[0], "width": size[1]}}
    expected = data.annToMask({"image_id": 1, "segmentation": shapes}) > 0
    mask, origin = decode(shapes, size)
    assert mask.dtype == bool
    np.testing.assert_array_equal(whole(mask, origin, size), expected)
    if expected.any():  # cropped to the pixels that it covers
        assert mask.any(0)[[0, -1]].all()
        assert mask.any(1)[[0, -1]].all()
    else:
        assert mask.size == 0


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from([0, 0.1, 0.5, 0.9, 1]),
    st.integers(0, 99),
)
def test_run_lengths_as_numbers_and_as_text(size, part, seed):
    expected = np.random.default_rng(seed).random(size) < part
    text = coco_mask.encode(np.asfortranarray(expected, np.uint8))["counts"].decode()
    changes = np.flatnonzero(np.diff(expected.ravel(order="F"))) + 1
    numbers = np.diff([0, *changes, expected.size]).tolist()
    for counts in (text, [0, *numbers] if expected[0, 0] else numbers):
        mask, origin = decode({"size": list(size), "counts": counts}, size)
        np.testing.assert_array_equal(whole(mask, origin, size), expected)


def test_empty_runs_are_valid():
    """Some programs write them."""
    mask, origin = decode({"size": [2, 5], "counts": [0, 0, 3, 2, 0, 0, 0, 1, 4]}, (2, 5))
    assert np.flatnonzero(whole(mask, origin, (2, 5)).ravel(order="F")).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    "degenerate", [[[]], [[3, 3]], [[3, 3, 8, 8]], [[3, 3, 8, 3, 3, 3]], [[], [1, 1]]]
)
def test_polygons_without_area_cover_nothing(degenerate):
    mask, _ = decode(degenerate, (20, 20))
    assert not mask.any()
    area = [2, 2, 9, 2, 9, 9, 2, 9]
    for shapes in ([*degenerate, area], [area, *degenerate]):
        both, origin = decode(shapes, (20, 20))
        alone, other = decode([area], (20, 20))
        assert tuple(origin) == tuple(other)
        np.testing.assert_array_equal(both, alone)


INVALID_MASKS = [
    "abc",
    5,
    True,
    {"counts": [5]},
    {"size": list(SIZE)},
    {"size": list(SIZE), "counts": None},
    {"size": list(SIZE), "counts": 7},
    {"size": SIZE[0], "counts": "0"},
    {"size": [SIZE[1], SIZE[0]], "counts": [SIZE[0] * SIZE[1]]},
    {"size": list(SIZE), "counts": []},
    {"size": list(SIZE), "counts": [5, 10]},
    {"size": list(SIZE), "counts": [-5, 5 + SIZE[0] * SIZE[1]]},
    {"size": list(SIZE), "counts": [0.5, SIZE[0] * SIZE[1] - 0.5]},
    {"size": list(SIZE), "counts": [10**30]},
    {"size": list(SIZE), "counts": ["a", "b"]},
    {"size": list(SIZE), "counts": ""},
    {"size": list(SIZE), "counts": "0"},
    {"size": list(SIZE), "counts": "zzzz~~~"},
    {"size": list(SIZE), "counts": "PPPPPPPPPPPPPPPPPPP"},
    {"size": list(SIZE), "counts": "été"},
    [1, 2, 3, 4, 5, 6],
    [[1, 2, 3, 4, 5, 6, 7]],
    [[1, 2, 3, 4, 5, 6], [7]],
    [[1, 2, "x", 4, 5, 6]],
    [[[1, 2], [3, 4], [5, 6]]],
    [[0, 0, 1e9, 0, 1e9, 1e9]],
    [[0, 0, float("nan"), 0, 5, 5]],
    [[0, 0, float("inf"), 0, 5, 5]],
    [None],
    [{"size": list(SIZE), "counts": [5, 10]}, {"size": list(SIZE), "counts": [5, 10]}],
]


@pytest.mark.parametrize("segmentation", INVALID_MASKS, ids=lambda value: repr(value)[:40])
def test_an_image_with_an_invalid_mask_is_unreadable(material, segmentation):
    change(material[0], only({"segmentation": segmentation}, rectangle(5, 5, 9, 9)))
    dataset = CocoDataset(*material, LVS)
    for _ in range(2):
        with pytest.raises(UnreadableError, match=r"000\.jpg \(annotation: ."):
            dataset.read(0)
    (problem,) = dataset.unreadable.values()
    assert problem.startswith(f"{material[1]}/000.jpg (annotation: ")
    dataset.read(1)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats()
    | st.text(max_size=6)
    | st.text("0123456789:;<=>?@PQRSTUVWXYZ[\\]^_`abcdefghijklmno", max_size=12),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.lists(st.lists(st.floats(-9e9, 9e9), max_size=9), max_size=3)
        | st.fixed_dictionaries({"size": st.just([5, 7]), "counts": inner})
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_mask_or_refused(segmentation):
    try:
        mask, (y, x) = decode(segmentation, (5, 7))
    except ValueError:
        return
    assert mask.dtype == bool
    assert 0 <= y <= y + mask.shape[0] <= 5
    assert 0 <= x <= x + mask.shape[1] <= 7


# Files that are not COCO's


def cut(data, *path):
    """Deletes a value in JSON."""
    for key in path[:-1]:
        data = data[key]
    del data[path[-1]]


def put(data, value, *path):
    """Sets a value in JSON."""
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


CUTS = [
    ("images",),
    ("categories",),
    ("images", 2, "id"),
    ("images", 2, "file_name"),
    ("images", 2, "height"),
    ("categories", 0, "name"),
    ("annotations", 1, "image_id"),
    ("annotations", 1, "category_id"),
    ("annotations", 1, "bbox"),
]
VALUES = [
    ({}, "images"),
    ([], "images"),
    (None, "annotations"),
    ([1, 2], "annotations"),
    ("tall", "images", 2, "height"),
    (float("inf"), "images", 2, "width"),
    ("x", "images", 2, "id"),
    (None, "images", 2),
    (["person"], "categories", 0, "name"),
    (3, "categories", 0, "name"),
    ("person", "categories"),
    ([1], "annotations", 1, "category_id"),
    (None, "annotations", 1, "bbox"),
    ([1, 2, 3], "annotations", 1, "bbox"),
    ([1, 2, 3, 4] * 2, "annotations", 1, "bbox"),
    ([1, 2, 3, "x"], "annotations", 1, "bbox"),
    ([1, 2, 3, float("nan")], "annotations", 1, "bbox"),
    ("much", "annotations", 1, "score"),
    ([1], "unread"),
]


def assert_refused(material):
    with pytest.raises(UserError) as info:
        CocoDataset(*material, LVS)
    message = str(info.value)
    assert repr(str(material[0])) in message
    assert "COCO" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", CUTS, ids=str)
def test_files_without_a_required_part_are_refused(material, path):
    change(material[0], lambda data: cut(data, *path))
    assert str(path[-1]) in assert_refused(material)


@pytest.mark.parametrize("edit", VALUES, ids=str)
def test_files_with_an_invalid_value_are_refused(material, edit):
    change(material[0], lambda data: put(data, *edit))
    assert_refused(material)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe{}", b"{}", b"[" * 100_000]
)
def test_files_of_another_format_are_refused(material, content):
    material[0].write_bytes(content)
    assert_refused(material)


def test_a_missing_file_is_refused(material):
    for path in (material[1], material[1] / "gone.json"):
        with pytest.raises(UserError, match=f"'{path}' does not exist"):
            CocoDataset(path, material[1], LVS)


def test_annotations_of_no_class_are_refused(material, tmp_path):
    groups = tmp_path / "groups.txt"
    groups.write_text("dog\ncat\n")
    with pytest.raises(UserError, match=r"dog, cat; .*--class_groups"):
        CocoDataset(*material, LabelMaker(class_groups(str(groups))))


@pytest.mark.parametrize(
    "edit",
    [
        only({"segmentation": []}),
        only({"segmentation": None}),
        only({"segmentation": {}}),
        lambda data: cut(data, "annotations"),
    ],
)
def test_annotations_without_masks_are_refused(material, edit):
    """Boxes alone, as detection datasets have them, are not enough."""
    change(material[0], edit)
    with pytest.raises(UserError, match=r"no mask .* person, bike"):
        CocoDataset(*material, LVS)


# Missing and damaged images


def test_a_missing_folder_is_refused(material):
    for folder in (material[1] / "gone", material[0]):
        with pytest.raises(UserError, match=f"'{folder}' is not a folder"):
            CocoDataset(material[0], folder, LVS)


def test_a_tenth_of_the_images_may_be_missing(tmp_path):
    file, folder = write_images(tmp_path, 20)
    (folder / "000.jpg").unlink()
    (folder / "more" / "003.png").unlink()
    dataset = CocoDataset(file, folder, LVS)
    assert dataset.unreadable == {
        "000.jpg": f"{folder}/000.jpg (missing)",
        "more/003.png": f"{folder}/more/003.png (missing)",
    }
    assert len(dataset) == 18
    assert dataset.names[:2] == ["more/001.jpg", "002.png"]
    dataset.read(0)

    (folder / "more" / "001.jpg").unlink()
    with pytest.raises(UserError, match=r"3 of the 20 images of .*000\.jpg"):
        CocoDataset(file, folder, LVS)
    with pytest.raises(UserError, match=r"20 of the 20 .*: check the folder"):
        CocoDataset(file, tmp_path, LVS)


def test_damaged_images_are_counted_once(tmp_path):
    file, folder = write_images(tmp_path, 20)
    damaged = (2, 5, 7)
    dataset = CocoDataset(file, folder, LVS)
    for number in damaged:
        dataset.path(number).write_bytes(b"")
    for _ in range(3):
        for number in damaged[:2]:
            with pytest.raises(UnreadableError, match="damaged"):
                dataset.read(number)
            dataset.check_unreadable()
    assert sorted(dataset.unreadable) == ["002.png", "more/005.jpg"]
    with pytest.raises(UnreadableError):
        dataset.read(damaged[2])
    with pytest.raises(UserError, match="3 of the 20 images of"):
        dataset.check_unreadable()


def test_an_image_of_another_size_is_unreadable(material):
    change(material[0], lambda data: put(data, 97, "images", 0, "height"))
    dataset = CocoDataset(*material, LVS)
    with pytest.raises(UnreadableError, match=r"000\.jpg \(96×128 .* 97×128\)"):
        dataset.read(0)
    assert list(dataset.unreadable) == ["000.jpg"]


# Parts


def test_subsets_are_independent(tmp_path):
    file, folder = write_images(tmp_path, 20)
    dataset = CocoDataset(file, folder, LVS)
    names, contents = dataset.names, dataset.read(8)
    part = dataset.subset([3, 8])
    dataset.keep([0, 8, 9])
    assert part.names == [names[3], names[8]]
    assert dataset.names == [names[0], names[8], names[9]]
    for one in (part.read(1), dataset.read(1)):
        for a, b in zip(one, contents, strict=True):
            np.testing.assert_array_equal(a, b)
    # Each has its own unreadable images.
    dataset.path(0).write_bytes(b"")
    with pytest.raises(UnreadableError):
        dataset.read(0)
    assert list(dataset.unreadable) == [names[0]]
    assert part.unreadable == {}


def test_all_of_a_small_subset_unreadable_is_too_much(tmp_path):
    """However small a part of the whole dataset it is."""
    file, folder = write_images(tmp_path, 40)
    dataset = CocoDataset(file, folder, LVS)
    part = dataset.subset([3, 8])
    dataset.keep(range(10, 40))
    for number in range(2):
        part.path(number).write_bytes(b"")
        with pytest.raises(UnreadableError):
            part.read(number)
    with pytest.raises(UserError, match="2 of the 2 images"):
        part.check_unreadable()
    dataset.check_unreadable()


def test_images_missing_before_do_not_count_against_those_kept(tmp_path):
    file, folder = write_images(tmp_path, 20)
    for name in ("000.jpg", "002.png"):
        (folder / name).unlink()
    dataset = CocoDataset(file, folder, LVS)
    dataset.keep(range(10))
    dataset.check_unreadable()
    dataset.path(4).write_bytes(b"")
    with pytest.raises(UnreadableError):
        dataset.read(4)
    dataset.check_unreadable()
    assert len(dataset.unreadable) == 3
    dataset.path(5).write_bytes(b"")
    with pytest.raises(UnreadableError):
        dataset.read(5)
    with pytest.raises(UserError, match="4 of the 12 images"):
        dataset.check_unreadable()


def test_real_annotations(shared):
    """COCO's own: every image can be read."""
    file = shared("images/coco/instances.json")
    dataset = CocoDataset(file, shared("images/coco/images"), LVS)
    data = coco(file)
    assert len(dataset) == 175
    assert dataset.unreadable == {}
    assert dataset.unknown == []
    for number in range(0, 175, 25):
        frame, labels, weights = dataset.read(number)
        assert labels.shape == weights.shape == frame.shape[:2]
        (image,) = (i for i in data.dataset["images"] if i["file_name"] == dataset.names[number])
        people = [row for row in data.imgToAnns[image["id"]] if row["category_id"] == 1]
        masks = [data.annToMask(row) for row in people if not row["iscrowd"]]
        expected = np.any([np.zeros(labels.shape), *masks], axis=0)
        assert (expected >= (labels == PERSON)).all()
        assert (labels[expected] >= PERSON).all()

"""The pixels of each class, counted before anything is learned from them."""

import json

import cv2
import numpy as np
import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import census
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder
from tests.materials import png, texture

GROUPS = class_groups("lvs")
LVS = LabelMaker(GROUPS)
PERSON = 1
COUNT, SIZE = 12, (20, 30)
SQUARE = [[4, 2, 14, 2, 14, 12, 4, 12]]  # 10 × 10 pixels
BOX = [4, 2, 10, 10]


def write_annotated(folder, edit=lambda data: None):
    """Writes COUNT images with a person each, after `edit(data)`: (annotation file, images)."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    images, annotations = [], []
    for i in range(COUNT):
        assert cv2.imwrite(str(pictures / f"{i:02d}.png"), texture(SIZE, i))
        image = {"id": i, "file_name": f"{i:02d}.png", "height": SIZE[0], "width": SIZE[1]}
        images.append(image)
        person = {"category_id": 1, "segmentation": SQUARE, "bbox": BOX, "iscrowd": 0}
        annotations.append({"id": i, "image_id": i, **person})
    categories = [{"id": 1, "name": "person"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    edit(data)
    (folder / "a.json").write_text(json.dumps(data))
    return folder / "a.json", pictures


def taken(dataset):
    census.take(dataset)
    return dataset


def change(count, **values):
    """An edit of the first `count` annotations."""

    def edit(data):
        for row in data["annotations"][:count]:
            row.update(values)

    return edit


def drop(data, part, *numbers):
    data[part] = [row for i, row in enumerate(data[part]) if i not in numbers]


# Annotations


def test_pixels_of_each_class_are_counted(tmp_path):
    dataset = taken(CocoDataset(*write_annotated(tmp_path, change(1, iscrowd=1)), LVS))
    counts = census.pixels(dataset)
    assert counts[PERSON] == 11 * 100
    assert counts[-1] == 100  # a crowd
    assert counts.sum() == COUNT * 600
    described = census.describe(dataset, GROUPS.names)
    assert described["pixels"]["person"] == 1100
    assert described["images_with"]["person"] == 11
    head, _, person, without = census.table(described)
    assert head.startswith("pixels in 12 images")
    assert "15.278%" in person
    assert "1.389%" in without
    part = dataset.subset([0, 1])
    assert census.pixels(part)[PERSON] == 100
    assert dataset.notes == []
    assert part.notes == []


@pytest.mark.parametrize(
    "change_of_two",
    [
        {"segmentation": []},
        {"segmentation": None},
        {"segmentation": [[]]},
        {"segmentation": [[4, 2, 14, 12]]},
        {"segmentation": {"size": list(SIZE), "counts": [600]}},
        {"segmentation": [[99, 99, 99, 120, 120, 120]]},
    ],
)
def test_nothing_is_learned_inside_boxes_without_a_mask(tmp_path, change_of_two):
    """Nor in boxes with a mask that covers nothing."""
    dataset = CocoDataset(*write_annotated(tmp_path, change(2, **change_of_two)), LVS)
    _, labels, weights = dataset.read(0)
    assert not labels.any()
    expected = np.ones(SIZE)
    expected[2:12, 4:14] = 0
    np.testing.assert_array_equal(weights > 0, expected > 0)
    census.take(dataset)
    [note] = dataset.notes
    assert "2 of 12 objects have a box and no mask" in note or "2 images, such as 00.png" in note
    assert census.pixels(dataset)[-1] == 200


def test_a_box_without_a_mask_does_not_hide_another_object(tmp_path):
    def edit(data):
        data["annotations"].append({**data["annotations"][0], "id": 99, "segmentation": []})

    _, labels, weights = CocoDataset(*write_annotated(tmp_path, edit), LVS).read(0)
    assert labels.sum() == 100
    assert weights[labels > 0].all()


def add_image(**changes):
    return lambda data: data["images"].append({**data["images"][0], **changes})


NOTES = {
    "images not listed": (lambda data: drop(data, "images", 3), "1 annotations are of images"),
    "image only in the folder": (lambda data: drop(data, "images", 3), "1 images, such as 03.png"),
    "unnamed category": (change(2, category_id=7), "2 annotations are of categories that"),
    "images without annotations": (
        lambda data: drop(data, "annotations", 3, 4),
        "2 of 12 images have no annotation",
    ),
    "an image listed twice": (add_image(id=77), "1 images are listed twice"),
    "boxes below a pixel": (
        change(2, segmentation=[], bbox=[0.1, 0.1, 0.5, 0.5]),
        "2 of these boxes are smaller than a pixel",
    ),
    "corners for boxes": (change(2, bbox=[16, 16, 20, 20]), "2 images, such as 00.png, are with"),
    "an unknown category": (
        lambda data: data["categories"].append({"id": 2, "name": "lamp"}),
        "taken for background: lamp",
    ),
}


@pytest.mark.parametrize(("edit", "said"), NOTES.values(), ids=NOTES)
def test_what_does_not_count_is_said(tmp_path, edit, said):
    dataset = taken(CocoDataset(*write_annotated(tmp_path, edit), LVS))
    assert [note for note in dataset.notes if said in note]


def test_annotations_of_an_image_listed_twice_are_joined(tmp_path):
    def edit(data):
        data["images"].append({**data["images"][0], "id": 77})
        data["annotations"].append({**data["annotations"][0], "image_id": 77, "category_id": 2})
        data["annotations"][-1]["segmentation"] = [[20, 2, 25, 2, 25, 7, 20, 7]]
        data["categories"].append({"id": 2, "name": "dog"})

    dataset = CocoDataset(*write_annotated(tmp_path, edit), LVS)
    assert len(dataset) == COUNT
    assert set(np.unique(dataset.read(0)[1])) == {0, PERSON, GROUPS.names.index("dog")}


REFUSED = {
    "no masks": (change(COUNT, segmentation=[]), ("12 of 12 objects have a box",)),
    "crowds alone": (change(COUNT, iscrowd=1), ("person (id 1, 12 objects)", "iscrowd")),
    "low scores": (change(COUNT, score=0.2), ("--score_threshold=0.5",)),
    "coordinates from 0 to 1": (
        change(COUNT, segmentation=[[0.2, 0.2, 1, 0.2, 1, 1]]),
        ("from 0 to 1",),
    ),
    "far outside": (
        change(COUNT, segmentation=[[90, 90, 99, 90, 99, 99]]),
        ("no pixel", "person (id 1, 12 objects)"),
    ),
    "ids as texts": (change(COUNT, image_id="3"), ("12 annotations are of images",)),
    "other categories": (change(COUNT, category_id=7), ("12 annotations are of categories",)),
    "no annotations": (lambda data: data["annotations"].clear(), ("12 of 12 images have no",)),
    "another size": (
        lambda data: [image.update(width=31) for image in data["images"]],
        ("00.png", "annotated as 20×31"),
    ),
    "two images of an id": (add_image(file_name="x.png"), ("two images with the id 0",)),
    "two categories of an id": (
        lambda data: data["categories"].append({"id": 1, "name": "dog"}),
        ("two categories with the id 1",),
    ),
    "not a number": (change(COUNT, segmentation=[[float("nan")] * 6]), ("12 of the 12 images",)),
}


@pytest.mark.parametrize(("edit", "named"), REFUSED.values(), ids=REFUSED)
def test_nothing_to_learn_is_refused(tmp_path, edit, named):
    material = write_annotated(tmp_path, edit)
    with pytest.raises(UserError) as info:
        taken(CocoDataset(*material, LVS))
    assert [text for text in (repr(str(material[0])), *named) if text not in str(info.value)] == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_annotations_in_any_unicode_are_read(tmp_path, encoding):
    file, pictures = write_annotated(tmp_path)
    file.write_text(file.read_text(), encoding=encoding)
    assert census.pixels(taken(CocoDataset(file, pictures, LVS)))[PERSON] == 1200


def rename(*names):
    """An edit that gives the first annotations a category each, of these names."""

    def edit(data):
        data["categories"] = [{"id": i, "name": name} for i, name in enumerate(names)]
        for row in data["annotations"]:
            row["category_id"] = row["id"] % len(names)

    return edit


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pedestrian", "person = person, pedestrian"),
        ("lorry", "truck = truck, lorry"),
        ("aeroplane", "airplane = airplane, aeroplane"),
        ("bycicle", "bicycle = bicycle, bycicle"),
        ("forklift", "forklift"),
    ],
)
def test_the_names_of_labels_of_no_class_are_said(tmp_path, name, line):
    """With the line of class groups that makes them a class."""
    material = write_annotated(tmp_path, rename(name))
    (tmp_path / "other").mkdir()
    labels, pictures = write_labels(tmp_path / "other", square(1))
    for open_dataset in (
        lambda maker: CocoDataset(*material, maker),
        lambda maker: LabelFolder(labels, pictures, maker, ("background", name)),
    ):
        with pytest.raises(UserError) as info:
            open_dataset(LVS)
        assert name in str(info.value)
        assert f"'{line}'" in str(info.value)
        file = tmp_path / "groups.txt"
        file.write_text(line)
        assert census.pixels(taken(open_dataset(LabelMaker(class_groups(str(file))))))[1]


def test_case_and_underscores_make_no_other_name(tmp_path):
    dataset = taken(CocoDataset(*write_annotated(tmp_path, rename("PERSON", "Traffic_light")), LVS))
    assert census.pixels(dataset)[PERSON] == 600
    assert dataset.notes == []


def test_categories_that_coco_lacks_are_named_and_can_be_learned(tmp_path):
    edit = rename("forklift", "lorry", "person")
    material = write_annotated(tmp_path, edit)
    dataset = taken(CocoDataset(*material, LVS))
    [note] = dataset.notes
    assert "taken for background: forklift, lorry" in note
    assert "such as 'forklift'" in note
    file = tmp_path / "groups.txt"
    file.write_text("forklift\nheavy = lorry, truck\n")
    groups = class_groups(str(file))
    dataset = taken(CocoDataset(*material, LabelMaker(groups)))
    assert census.pixels(dataset)[1:3].tolist() == [400, 400]
    assert dataset.notes == []
    _, labels, weights = dataset.read(1)
    assert (labels[2:12, 4:14] == 2).all()
    assert weights.max() == 5
    (tmp_path / "other").mkdir()
    labels, pictures = write_labels(tmp_path / "other", square(1))
    folder = taken(LabelFolder(labels, pictures, LabelMaker(groups), ("background", "lorry")))
    assert census.pixels(folder)[2] == 1200
    assert folder.read(1)[2].max() == 5


def test_many_images_are_counted_by_a_sample(tmp_path, monkeypatch):
    """A class that it lacks is looked for where the annotations say."""

    def edit(data):
        data["annotations"][1]["category_id"] = 2
        data["categories"].append({"id": 2, "name": "dog"})

    monkeypatch.setattr(census, "COUNTED", 4)
    dataset = taken(CocoDataset(*write_annotated(tmp_path, edit), LVS))
    assert sorted(dataset.pixels) == ["00.png", "01.png", "03.png", "06.png", "09.png"]
    described = census.describe(dataset, GROUPS.names)
    assert (described["counted"], described["images"]) == (5, 12)
    assert "5 of 12 images" in census.table(described)[0]
    assert census.notes([dataset], GROUPS.names)[0].startswith("no image shows bike, auto, bird, h")


# Label images


def write_labels(folder, ids, suffix=".png"):
    """Writes COUNT images and a label of these ids for each: (labels, images)."""
    labels, pictures = folder / "labels", folder / "pictures"
    labels.mkdir()
    pictures.mkdir()
    for i in range(COUNT):
        assert cv2.imwrite(str(pictures / f"{i:02d}.jpg"), texture(SIZE, i))
        path = labels / f"{i:02d}{suffix}"
        if suffix == ".jpg":
            assert cv2.imwrite(str(path), ids)
        else:
            path.write_bytes(png(ids))
    return labels, pictures


def square(value):
    ids = np.zeros(SIZE, np.uint8)
    ids[2:12, 4:14] = value
    return ids


@pytest.mark.parametrize(
    ("ids", "suffix", "classes", "named"),
    [
        (square(255), ".png", "background,person", ("(id 255, 1200", "255=person")),
        (square(0), ".png", "background,person", ("background (id 0, 7200 pixels)",)),
        (square(7), ".png", "background,person", ("12 of the 12", "without a name: 7")),
        (square(1), ".png", "background,lorry", ("background, lorry", "'truck = truck, lorry'")),
        (square(1), ".jpg", "background,person", ("12 .jpg", "JPEG")),
        (square(1), "_mask.png", "background,person", ("without a label", "'00_mask.png'")),
        (square(1)[:9], ".png", "background,person", ("annotated as 9×30",)),
    ],
)
def test_label_images_of_nothing_are_refused(tmp_path, ids, suffix, classes, named):
    labels, pictures = write_labels(tmp_path, ids, suffix)
    with pytest.raises(UserError) as info:
        taken(LabelFolder(labels, pictures, LVS, tuple(classes.split(","))))
    assert [text for text in (repr(str(labels)), *named) if text not in str(info.value)] == []


def test_id_255_may_be_a_class(tmp_path):
    labels, pictures = write_labels(tmp_path, square(255), ".PNG")
    for classes in (("background", "255=person"), ("0=background", "255=person")):
        dataset = taken(LabelFolder(labels, pictures, LVS, classes))
        assert census.pixels(dataset)[PERSON] == 1200
        assert dataset.notes == []
        _, found, weights = dataset.read(0)
        np.testing.assert_array_equal(found, square(1))
        assert weights.all()


def test_labels_and_images_that_do_not_match_are_said(tmp_path):
    labels, pictures = write_labels(tmp_path, square(1))
    (labels / "gone.png").write_bytes(png(square(1)))
    (labels / "03.png").write_bytes(png(square(255)))
    (labels / "04.png").write_bytes(png(square(255)))
    (pictures / "01.bmp").write_bytes((pictures / "01.jpg").read_bytes())
    (pictures / "01.heic").write_bytes(b"x")
    dataset = taken(LabelFolder(labels, pictures, LVS, ("background", "person")))
    said = "\n".join(dataset.notes)
    for text in ("1 labels, such as gone.png", "1 images share", "1 .heic", "2 of the labels"):
        assert text in said


def test_names_in_another_order_are_noticed(tmp_path):
    dataset = taken(LabelFolder(*write_labels(tmp_path, square(1)), LVS, ("person", "background")))
    _, order = census.notes([dataset], GROUPS.names)
    assert "'person' is on 83% of the pixels" in order

"""Class maps as COCO's annotations and back; regions against a flood fill in Python."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from jitnet_tf.labels import coco

NAMES = ("background", "person", "auto", "dog")


@st.composite
def class_maps(draw):
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.choice(len(NAMES), size, p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint8)


def flooded(class_map):
    """The connected regions, as a set of (class id, pixels)."""
    left = {(y, x): int(class_map[y, x]) for y, x in np.ndindex(class_map.shape)}
    found = set()
    while left:
        start, class_id = left.popitem()
        region, edge = {start}, [start]
        while edge:
            y, x = edge.pop()
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                if left.get((y + dy, x + dx)) == class_id:
                    del left[y + dy, x + dx]
                    region.add((y + dy, x + dx))
                    edge.append((y + dy, x + dx))
        if class_id:
            found.add((class_id, frozenset(region)))
    return found


def pixels(mask, y=0, x=0):
    return frozenset((int(row) + y, int(column) + x) for row, column in np.argwhere(mask))


@given(class_maps())
def test_regions_are_those_of_a_flood_fill(class_map):
    found = list(coco.regions(class_map))
    assert {(class_id, pixels(mask, *at)) for class_id, mask, at in found} == flooded(class_map)
    assert len(found) == len(flooded(class_map))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Writes a data set of class maps and loads it by pycocotools."""
    path = tmp_path_factory.mktemp("coco") / "annotations.json"

    def load(class_maps, further=()):
        images = []
        for i, class_map in enumerate(class_maps):
            height, width = class_map.shape
            image = {"id": i, "file_name": f"{i}.jpg", "height": height, "width": width}
            images.append((image, [*coco.annotations(class_map), *further]))
        path.write_text(json.dumps(coco.data_set(NAMES, images)))
        return COCO(str(path))

    return load


def test_pycocotools_gives_the_masks_back(loaded):
    @settings(max_examples=30, deadline=None)
    @given(st.lists(class_maps(), min_size=1, max_size=3))
    def check(maps):
        dataset = loaded(maps)
        assert [each["name"] for each in dataset.loadCats(dataset.getCatIds())] == [*NAMES[1:]]
        for number, class_map in enumerate(maps):
            rows = dataset.loadAnns(dataset.getAnnIds(imgIds=number))
            again, found = np.zeros_like(class_map), set()
            for row in rows:
                mask = dataset.annToMask(row)
                again[mask > 0] = row["category_id"]
                found.add((row["category_id"], pixels(mask)))
                ys, xs = np.nonzero(mask)
                assert row["area"] == len(ys)
                sides = [np.ptp(xs) + 1, np.ptp(ys) + 1]
                assert row["bbox"] == [xs.min(), ys.min(), *sides]
                assert row["iscrowd"] == 0
            np.testing.assert_array_equal(again, class_map)
            assert found == flooded(class_map)

    check()


def test_an_ignored_region_is_a_crowd_of_each_class(loaded):
    ignored = np.zeros((6, 8), bool)
    ignored[2:5, 3:] = True
    dataset = loaded([np.zeros((6, 8), np.uint8)], coco.crowds(ignored, NAMES))
    rows = dataset.loadAnns(dataset.getAnnIds(iscrowd=True))
    assert [row["category_id"] for row in rows] == [1, 2, 3]
    for row in rows:
        np.testing.assert_array_equal(dataset.annToMask(row), ignored)
    assert coco.crowds(np.zeros((6, 8), bool), NAMES) == []

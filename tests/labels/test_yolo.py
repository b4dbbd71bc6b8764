"""Polygons, read as Ultralytics reads them, are the objects, but for what is counted as lost."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet_tf.labels import coco, yolo


def painted(text, size):
    """The class map that Ultralytics makes of a label file, and the number of objects.

    It cuts off the parts of pixels and fills polygons; smaller objects lie above larger ones.
    """
    H, W = size
    masks = []
    for line in text.splitlines():
        class_id, *values = line.split()
        corners = np.array(values, float).reshape(-1, 2)
        assert len(corners) >= 3
        assert ((corners > 0) & (corners < 1)).all()
        mask = np.zeros(size, np.uint8)
        cv2.fillPoly(mask, [(corners * (W, H)).astype(np.int32)], 1)
        masks.append((int(class_id) + 1, mask))
    found = np.zeros(size, np.uint8)
    for class_id, mask in sorted(masks, key=lambda each: -int(each[1].sum())):
        found[mask > 0] = class_id
    return found, len(masks)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20), st.integers(0, 3))
def test_polygons_are_the_regions_but_for_what_is_counted(seed, height, width, smooth):
    random = np.random.default_rng(seed)
    class_map = random.choice(4, (height, width), p=[0.5, 0.3, 0.1, 0.1]).astype(np.uint8)
    for _ in range(smooth):
        class_map = cv2.medianBlur(class_map, 3)
    lost = yolo.Lost()
    text = yolo.lines(class_map, lost)
    regions = list(coco.regions(class_map))
    assert text.count("\n") + lost.parts == len(regions)
    filled = 0
    for line, (class_id, mask, (y, x)) in zip(
        text.splitlines(), [each for each in regions if has_polygon(each[1])], strict=True
    ):
        found, _ = painted(line, class_map.shape)
        whole = np.zeros(class_map.shape, bool)
        whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        assert int(line.split()[0]) == class_id - 1
        assert (found[whole] == class_id).all()
        filled += np.count_nonzero(found) - np.count_nonzero(whole)
        # What is filled besides lies inside: a ring around the object's edge is clear.
        outline = cv2.dilate(whole.astype(np.uint8), np.ones((3, 3)))
        outside = cv2.copyMakeBorder(1 - outline, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
        cv2.floodFill(outside, None, (0, 0), 2)
        assert not found[outside[1:-1, 1:-1] == 2].any()
    assert lost.filled == filled
    assert lost.pixels == sum(mask.sum() for _, mask, _ in regions if not has_polygon(mask))


def has_polygon(mask):
    """Not a point, nor a straight line of pixels."""
    points = np.argwhere(mask)
    steps = points - points[0]
    y, x = steps[-1]
    straight = (steps[:, 0] * x == steps[:, 1] * y).all()
    return not (straight and (y == 0 or x == 0 or abs(y) == abs(x)))


def test_a_map_without_holes_comes_back():
    class_map = np.zeros((30, 50), np.uint8)
    class_map[3:12, 4:20] = 1
    cv2.circle(class_map, (35, 15), 9, 3, cv2.FILLED)
    class_map[20:29, 0:7] = 2
    lost = yolo.Lost()
    found, count = painted(yolo.lines(class_map, lost), class_map.shape)
    np.testing.assert_array_equal(found, class_map)
    assert (count, lost) == (3, yolo.Lost())
    assert lost.sentences() == []


def test_holes_lines_and_points_are_lost_and_said():
    class_map = np.zeros((30, 50), np.uint8)
    class_map[2:12, 2:12] = 1
    class_map[5:8, 5:8] = 0  # a hole
    class_map[6, 6] = 2  # a point in it
    class_map[20, 5:25] = 3  # a line
    lost = yolo.Lost()
    found, count = painted(yolo.lines(class_map, lost), class_map.shape)
    assert count == 1
    assert found[2:12, 2:12].all()
    assert (lost.filled, lost.parts, lost.pixels) == (9, 2, 21)
    holes, lines = lost.sentences()
    assert "9 pixels" in holes
    assert "2 objects" in lines
    assert "21 pixels" in lines


def test_data_yaml_names_the_classes_from_0():
    text = yolo.data_yaml(["background", "person", 'a "strange": name'])
    assert '  0: "person"\n  1: "a \\"strange\\": name"\n' in text
    assert "train: images\nval: images\n" in text

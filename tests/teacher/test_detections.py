"""Detections, and their masks pasted pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from teacher.detections import MASK_THRESHOLD, cover_frame, from_box_masks, from_rows, paste


def bilinear(mask, y, x):
    """The mask's value at a point in its own pixels' coordinates, its border continued."""
    h, w = mask.shape
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    upper = mask[y0, x0] * (1 - (x - x0)) + mask[y0, x1] * (x - x0)
    lower = mask[y1, x0] * (1 - (x - x0)) + mask[y1, x1] * (x - x0)
    return upper * (1 - (y - y0)) + lower * (y - y0)


def reference(mask, corners, frame_size):
    """Probabilities on the whole frame, 0 outside the box of whole pixels y0, x0, y1, x1."""
    y0, x0, y1, x1 = corners
    height, width = max(y1 - y0, 1), max(x1 - x0, 1)  # never less than a pixel
    frame = np.zeros(frame_size)
    for y in range(max(y0, 0), min(y0 + height, frame_size[0])):
        for x in range(max(x0, 0), min(x0 + width, frame_size[1])):
            # The middle of a pixel is half a pixel from its edge, on the frame and in the mask.
            v = (y + 0.5 - y0) * mask.shape[0] / height - 0.5
            u = (x + 0.5 - x0) * mask.shape[1] / width - 0.5
            frame[y, x] = bilinear(mask, v, u)
    return frame


def on_frame(pasted, frame_size):
    """The whole frame's boolean mask; fails where the part reaches out of the frame."""
    part, (y, x) = pasted
    assert part.dtype == bool
    assert part.ndim == 2
    assert y >= 0
    assert x >= 0
    assert y + part.shape[0] <= frame_size[0]
    assert x + part.shape[1] <= frame_size[1]
    frame = np.zeros(frame_size, bool)
    frame[y : y + part.shape[0], x : x + part.shape[1]] = part
    return frame


@st.composite
def placements(draw):
    """A mask, whole-pixel corners that may lie anywhere, and a frame size."""
    H, W = draw(st.integers(1, 16)), draw(st.integers(1, 16))
    y0, x0 = draw(st.integers(-H, 2 * H)), draw(st.integers(-W, 2 * W))
    y1, x1 = draw(st.integers(y0, 2 * H)), draw(st.integers(x0, 2 * W))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = random.random((draw(st.integers(1, 9)), draw(st.integers(1, 9)))).astype(np.float32)
    # A quarter of a pixel to and fro, so that only rounding gives these corners.
    jitter = random.uniform(-0.25, 0.25, 4)
    return mask, (y0, x0, y1, x1), jitter, (H, W)


@given(placements())
def test_paste_is_bilinear_with_half_pixel_centers(placement):
    mask, corners, jitter, (H, W) = placement
    size = np.array((H, W, H, W))
    box = (np.array(corners) + jitter) / size
    if (np.abs(box - 0.5) > 1.5 - 0.25 / size).any():
        box = np.array(corners) / size  # at the margin itself
    frame = on_frame(paste(mask, box, (H, W)), (H, W))
    expected = reference(mask, corners, (H, W))
    clear = np.abs(expected - 0.5) > 1e-4  # float32 may fall on either side of the threshold
    np.testing.assert_array_equal(frame[clear], expected[clear] >= 0.5)


def test_paste_of_a_mask_of_the_boxs_own_size_changes_nothing():
    mask = np.float32([[0.5, 0.49], [0, 1], [0.51, 0.5]])  # .5 itself belongs to the object
    part, origin = paste(mask, (0.2, 0.5, 0.5, 0.7), (10, 10))
    assert tuple(origin) == (2, 5)
    np.testing.assert_array_equal(part, [[True, False], [False, True], [True, True]])


def test_paste_by_hand():
    # Four pixels over two: their middles are at −.25, .25, .75 and 1.25 of the mask's pixels, so
    # 0, .25, .75, 1 of the way; with .9 and .4 that gives .9, .775, .525, .4.
    part, origin = paste(np.float32([[0.9, 0.4]]), (0, 0.25, 1, 0.75), (1, 8))
    assert tuple(origin) == (0, 2)
    np.testing.assert_array_equal(part, [[True, True, True, False]])
    # Here .45, .495, .585, .63; with aligned corners the second would be .51.
    part, _ = paste(np.float32([[0.45, 0.63]]), (0, 0, 1, 1), (1, 4))
    np.testing.assert_array_equal(part, [[False, False, True, True]])


@pytest.mark.parametrize(
    ("box", "shape", "origin"),
    [
        ((-0.1, -0.2, 0.3, 0.4), (6, 16), (0, 0)),
        ((0.7, 0.6, 1.1, 1.2), (6, 16), (14, 24)),
        ((-0.5, -0.5, 1.5, 1.5), (20, 40), (0, 0)),
        ((-0.5, 0.2, 1.5, 0.4), (20, 8), (0, 8)),
        ((0, 0, 1, 1), (20, 40), (0, 0)),
    ],
)
def test_paste_cuts_at_the_frame(box, shape, origin):
    part, where = paste(np.ones((9, 9), np.float32), box, (20, 40))
    assert part.all()
    assert part.shape == shape
    assert tuple(where) == origin


@pytest.mark.parametrize(
    "box",
    [
        *((-0.5, 0.2, -0.1, 0.4), (1.1, 0.2, 1.5, 0.4)),
        *((0.2, -0.5, 0.4, -0.1), (0.2, 1.1, 0.4, 1.5)),
        *((1.2, 1.2, 1.4, 1.4), (-0.9, -0.9, -0.2, -0.2)),
        *((0.2, 1.0, 0.4, 1.2), (1.0, 0.2, 1.2, 0.4), (-0.2, 0.2, 0.0, 0.4)),
    ],
)
def test_paste_outside_the_frame_is_empty(box):
    pasted = paste(np.ones((5, 5), np.float32), box, (20, 40))
    assert pasted[0].size == 0
    assert not on_frame(pasted, (20, 40)).any()


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.505, 0.502), (0.5, 0.5, 0.5, 0.5)])
def test_boxes_below_a_pixel_keep_one(box):
    part, origin = paste(np.full((7, 7), 0.9, np.float32), box, (20, 40))
    assert part.shape == (1, 1)
    assert part.all()
    assert tuple(origin) == (10, 20)


def test_a_pixel_takes_the_middle_of_its_mask():
    mask = np.zeros((3, 3), np.float32)
    mask[1, 1] = 1
    part, _ = paste(mask, (0.5, 0.5, 0.55, 0.525), (20, 40))
    np.testing.assert_array_equal(part, [[True]])


def test_a_huge_box_takes_no_memory():
    part, origin = paste(np.ones((5, 5), np.float32), (-1e30, -1e30, 1e30, 1e30), (20, 40))
    assert part.shape == (20, 40)
    assert part.all()
    assert tuple(origin) == (0, 0)


# From a detector's arrays


def detected(n, **changes):
    rows = np.arange(n)
    arrays = {
        "boxes": np.stack([rows * 0 + 0.1, rows * 0.1, rows * 0 + 0.5, rows * 0.1 + 0.1], 1),
        "classes": np.ones(n),
        "scores": np.full(n, 0.9),
        "masks": np.ones((n, 4, 4), np.float32),
    }
    for name, (row, value) in changes.items():
        arrays[name][row] = value
    return from_box_masks(**arrays, frame_size=(20, 40))


def test_fields():
    seen = detected(3)
    assert len(seen) == 3
    assert (seen.boxes.dtype, seen.boxes.shape) == (np.float32, (3, 4))
    assert (seen.classes.dtype, seen.classes.shape) == (np.int32, (3,))
    assert (seen.scores.dtype, seen.scores.shape) == (np.float32, (3,))
    assert (seen.origins.dtype, seen.origins.shape) == (np.int32, (3, 2))
    np.testing.assert_array_equal(seen.origins, [[2, 0], [2, 4], [2, 8]])
    assert [mask.shape for mask in seen.masks] == [(8, 4)] * 3


def test_best_score_first_and_the_rest_with_it():
    boxes = [[0, 0, 0.5, 0.1], [0, 0.1, 0.5, 0.3], [0, 0.3, 0.5, 0.6], [0, 0.6, 0.5, 1]]
    masks = np.ones((4, 2, 2), np.float32)
    masks[0] = 0
    seen = from_box_masks(boxes, [11, 22, 33, 44], [0.2, 0.9, 0.2, 0.5], masks, (10, 10))
    np.testing.assert_array_equal(seen.classes, [22, 44, 11, 33])  # equal ones as they came
    np.testing.assert_array_equal(seen.scores, np.float32([0.9, 0.5, 0.2, 0.2]))
    np.testing.assert_array_equal(seen.boxes, np.float32(boxes)[[1, 3, 0, 2]])
    np.testing.assert_array_equal(seen.origins, [[0, 1], [0, 6], [0, 0], [0, 3]])
    assert [mask.all() for mask in seen.masks] == [True, True, False, True]
    assert [mask.shape for mask in seen.masks] == [(5, 2), (5, 4), (5, 1), (5, 3)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("field", "cell"),
    [*(("boxes", (1, side)) for side in range(4)), ("classes", 1), ("scores", 1)],
)
def test_rows_that_are_not_finite_are_left_out(field, cell, bad):
    seen = detected(3, **{field: (cell, bad)})
    np.testing.assert_array_equal(seen.origins, [[2, 0], [2, 8]])


@pytest.mark.parametrize("class_id", [0, -1, 91, 1000])
def test_classes_outside_coco_are_left_out(class_id):
    assert len(detected(3, classes=(1, class_id))) == 2


@pytest.mark.parametrize(
    "box",
    [
        (0.5, 0.1, 0.1, 0.5),
        (0.1, 0.5, 0.5, 0.1),
        (0.1, 0.1, 0.1, 0.5),
        (0.1, 0.1, 0.5, 0.1),
        (0,) * 4,
    ],
)
def test_inverted_and_empty_boxes_are_left_out(box):
    assert len(detected(3, boxes=(1, box))) == 2


def test_classes_come_as_floats():
    seen = from_box_masks(
        np.tile([0.1, 0.1, 0.5, 0.5], (4, 1)),
        np.float32([1, 2.9999998, 89.99999, 90]),
        [0.9] * 4,
        np.ones((4, 2, 2)),
        (9, 9),
    )
    np.testing.assert_array_equal(seen.classes, [1, 3, 90, 90])


def test_min_score_is_inclusive():
    arrays = (np.tile([0.1, 0.1, 0.5, 0.5], (3, 1)), [1, 2, 3], [0.05, 0.04999, 0.3])
    seen = from_box_masks(*arrays, np.ones((3, 2, 2)), (9, 9), 0.05)
    np.testing.assert_array_equal(seen.classes, [3, 1])
    assert len(from_box_masks(*arrays, np.ones((3, 2, 2)), (9, 9))) == 3


def test_no_object():
    seen = from_box_masks(np.zeros((0, 4)), [], [], np.zeros((0, 33, 33)), (9, 9))
    assert len(seen) == 0
    assert seen.boxes.shape == (0, 4)
    assert seen.origins.shape == (0, 2)
    assert seen.masks == ()
    assert len(seen.above(0.5)) == 0


def test_an_object_outside_the_frame_stays_with_an_empty_mask():
    seen = detected(3, boxes=(1, (0.1, 1.2, 0.5, 1.4)))
    assert [mask.size > 0 for mask in seen.masks] == [True, False, True]
    assert len(seen) == 3


def test_above_selects_whole_rows():
    seen = from_box_masks(
        [[0, 0, 0.5, 0.1], [0, 0.1, 0.5, 0.3], [0, 0.3, 0.5, 0.6]],
        [11, 22, 33],
        [0.7, 0.3, 0.5],
        np.ones((3, 2, 2)),
        (10, 10),
    ).above(0.5)
    np.testing.assert_array_equal(seen.classes, [11, 33])
    np.testing.assert_array_equal(seen.scores, np.float32([0.7, 0.5]))
    np.testing.assert_array_equal(seen.origins, [[0, 0], [0, 3]])
    assert [mask.shape for mask in seen.masks] == [(5, 1), (5, 3)]
    np.testing.assert_array_equal(seen.boxes[:, 1], np.float32([0, 0.3]))


def test_thresholds_are_the_released_codes():
    assert MASK_THRESHOLD == 0.5


# Masks of the whole frame

HALVES = np.float32([[0.1, 0.2, 0.5, 0.4], [0.3, 0.3, 1.0, 0.8]])


def whole_masks(size, boxes=HALVES):
    """A triangle in each box."""
    masks = np.zeros((len(boxes), *size), np.float32)
    for mask, (y0, x0, y1, x1) in zip(
        masks, np.rint(boxes * (*size, *size)).astype(int), strict=True
    ):
        mask[y0:y1, x0:x1] = np.tri(y1 - y0, x1 - x0) * 0.9
    return masks


@pytest.mark.parametrize("kind", [np.float32, np.uint8, bool])
def test_masks_of_the_frames_size_are_pasted_whole(kind):
    size = (60, 100)
    masks = (whole_masks(size) > 0.5).astype(kind)
    seen = from_rows(HALVES, np.array([3, 1]), np.float32([0.6, 0.9]), masks, size)
    np.testing.assert_array_equal(seen.classes, [1, 3])
    np.testing.assert_array_equal(seen.boxes, HALVES[::-1])
    for mask, origin, whole in zip(seen.masks, seen.origins, masks[::-1], strict=True):
        np.testing.assert_array_equal(on_frame((mask, origin), size), whole)
    assert seen.masks[1].shape == (24, 20)  # only the object's part is kept


def test_an_empty_mask_of_the_frame_stays_empty():
    seen = from_rows(HALVES[:1], np.ones(1), np.ones(1), np.zeros((1, 60, 100)), (60, 100))
    assert len(seen) == 1
    assert seen.masks[0].size == 0


def test_large_masks_of_another_size_are_resized_to_the_frame():
    masks = whole_masks((180, 300))
    seen = from_rows(HALVES, np.ones(2), np.float32([0.9, 0.8]), masks, (60, 100))
    expected = whole_masks((60, 100)) > 0.5
    for mask, origin, whole in zip(seen.masks, seen.origins, expected, strict=True):
        assert (on_frame((mask, origin), (60, 100)) != whole).sum() <= 40  # along the diagonal


CROPS = np.stack([np.tri(112), np.ones((112, 112))])


@pytest.mark.parametrize(
    ("masks", "frame_size", "is_whole"),
    [
        (CROPS, (112, 112), False),  # a frame of a crop's size
        (whole_masks((112, 112)), (112, 112), True),
        (whole_masks((112, 112)), (60, 100), False),  # as any export's
        (np.ones((2, 160, 160)), (60, 100), False),
        (whole_masks((160, 160)), (60, 100), True),
        (np.zeros((2, 160, 160)), (60, 100), False),
        (np.zeros((2, 60, 100)), (60, 100), True),
        (np.zeros((0, 60, 100)), (60, 100), True),
        (np.zeros((0, 33, 33)), (60, 100), False),
    ],
)
def test_size_and_place_of_masks_tell_whether_they_are_whole(masks, frame_size, is_whole):
    assert cover_frame(masks, HALVES[: len(masks)], frame_size) == is_whole


def test_boxes_of_another_order_than_whole_masks_are_refused():
    with pytest.raises(UserError, match=r"60×100.*ymin"):
        cover_frame(whole_masks((60, 100)), HALVES[:, [1, 0, 3, 2]] * 0.6, (60, 100))

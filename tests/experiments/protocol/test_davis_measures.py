"""J and F of masks by hand, and against the published code."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.protocol import davis_measures
from experiments.protocol.davis_measures import (
    Statistics,
    contour,
    contour_accuracy,
    disk,
    mean_statistics,
    region_similarity,
    statistics,
)

SIZE = (60, 80)  # whose diagonal is 100 pixels: .008 of it is .8, which is rounded up to 1
SEEDS = st.integers(0, 2**32)


def square(y, x, side=10, size=SIZE):
    mask = np.zeros(size, bool)
    mask[max(y, 0) : y + side, max(x, 0) : x + side] = True
    return mask


def blobs(seed, size=(40, 53)):
    """Two similar masks of round shapes that may touch the border."""
    random = np.random.default_rng(seed)
    masks = []
    for shift in (0, random.integers(-4, 5)):
        mask = np.zeros(size, np.uint8)
        for y, x, radius in np.random.default_rng(seed).integers(0, (*size, 12), (3, 3)):
            cv2.circle(mask, (int(x + shift), int(y)), int(radius), 1, -1)
        masks.append(mask.astype(bool))
    return masks


# J


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (square(20, 20), 1),
        (square(20, 25), 50 / 150),  # half of each
        (square(25, 25), 25 / 175),
        (square(20, 30), 0),
        (square(22, 22, 5), 25 / 100),
        (np.zeros(SIZE, bool), 0),
        (np.ones(SIZE, bool), 100 / 4800),
    ],
)
def test_region_similarity(prediction, expected):
    annotation = square(20, 20)
    assert region_similarity(annotation, prediction) == expected
    assert region_similarity(prediction, annotation) == expected


def test_two_empty_masks_agree():
    empty = np.zeros(SIZE, bool)
    assert region_similarity(empty, empty) == 1
    assert contour_accuracy(empty, empty) == 1


# Contours


def test_contour_of_a_square():
    """A square of pixels 2 and 3: its contour is from 1, half a pixel before the first, to 3."""
    expected = [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    found = contour(square(2, 2, 2, (5, 5)))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.bool_(expected))


def test_contour_at_the_border():
    """A square that reaches over the corner has two sides, none along the border."""
    first = contour(square(0, 0, 3, (5, 6)))
    assert np.argwhere(first).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1], [2, 2]]
    last = contour(square(3, 4, 2, (5, 6)))
    assert np.argwhere(last).tolist() == [[2, 3], [2, 4], [2, 5], [3, 3], [4, 3]]
    assert not contour(np.ones((5, 6), bool)).any()
    assert not contour(np.zeros((5, 6), bool)).any()


@given(SEEDS)
def test_contour_as_published(seed):
    """XOR with the pixels to the right, below and diagonal; border rows on their own."""
    mask = np.random.default_rng(seed).random((7, 9)) < 0.5
    right, below, between = (np.zeros_like(mask) for _ in range(3))
    right[:, :-1] = mask[:, 1:]
    below[:-1, :] = mask[1:, :]
    between[:-1, :-1] = mask[1:, 1:]
    expected = mask ^ right | mask ^ below | mask ^ between
    expected[-1, :] = mask[-1, :] ^ right[-1, :]
    expected[:, -1] = mask[:, -1] ^ below[:, -1]
    expected[-1, -1] = False
    np.testing.assert_array_equal(contour(mask), expected)


def test_disks():
    assert disk(0).tolist() == [[1]]
    assert disk(1).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    assert disk(2).sum() == 13
    # DAVIS's own: 854 x 480, .008 of whose diagonal is 7.84. Its points within 8, by Gauss.
    assert disk(8).sum() == 197


# F


@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (1, 0), (0, -1), (-1, 0)])
def test_a_shift_within_tolerance(dy, dx):
    assert contour_accuracy(square(20, 20), square(20 + dy, 20 + dx)) == 1


def test_a_diagonal_shift_at_the_tolerance():
    """Each contour is a ring of 40 pixels, 11 x 11; moved by (1, 1), the corners are √2 away.

    Of the ring from 0 to 10, only the corner (0, 0) is further than 1 from the ring from 1 to 11,
    and of that only (11, 11).
    """
    assert contour_accuracy(square(20, 20), square(21, 21)) == 39 / 40


def test_a_shift_beyond_tolerance():
    """By two pixels: rings from (0, 0) and (0, 2), 11 x 11 each, of 40 pixels.

    Of the first, the top and bottom rows meet the other's in columns 2 to 10, or are next to it in
    column 1: 2 × 10. Its left side, 11 pixels with two corners counted among rows' (column 0, out),
    is 2 away; its right side, column 10, is 2 from 12 and far from 2, but for its ends, which are
    in rows, and the pixels next to the ends: rows 1 and 9. So 20 + 2 of 40, and the same by
    symmetry for the second.
    """
    assert contour_accuracy(square(20, 20), square(20, 22)) == pytest.approx(22 / 40)


def test_precision_and_recall_differ():
    """A second square, far off: precision is a half, recall 1."""
    annotation = square(20, 20)
    both = annotation | square(40, 60)
    expected = 2 * 0.5 * 1 / (0.5 + 1)
    assert contour_accuracy(annotation, both) == pytest.approx(expected)
    assert contour_accuracy(both, annotation) == pytest.approx(expected)


@pytest.mark.parametrize("other", [np.zeros(SIZE, bool), square(40, 60), np.ones(SIZE, bool)])
def test_no_contour_in_common(other):
    """The last mask is full and has no contour."""
    assert contour_accuracy(square(10, 10), other) == 0
    assert contour_accuracy(other, square(10, 10)) == 0


def test_the_tolerance_grows_with_the_frame():
    """480 x 854 allows 8 pixels: shifted by 8 all match, by 9 the sides do not."""
    size = (480, 854)
    annotation = square(100, 100, 200, size)
    assert contour_accuracy(annotation, square(100, 108, 200, size)) == 1
    by_nine = contour_accuracy(annotation, square(100, 109, 200, size))
    # Rings of 800 pixels, 201 each way. Of one side 201 - 2 · (1 + 8) are out, from where rows are
    # no longer within 8; of the other, too; but of each row's last 9 pixels only the corner.
    outer, inner = 201, 201 - 2 * 9
    assert by_nine == pytest.approx(1 - (outer + inner) / 800)


@given(SEEDS)
def test_contour_accuracy_as_published(seed):
    """Searches each contour pixel in the other contour by distance."""
    annotation, prediction = blobs(seed)
    radius = np.ceil(0.008 * np.linalg.norm(annotation.shape))

    def near(pixels, others):
        return [np.hypot(*(others - pixel).T).min() <= radius for pixel in pixels]

    found, wanted = np.argwhere(contour(prediction)), np.argwhere(contour(annotation))
    if len(found) == 0 and len(wanted) > 0:
        precision, recall = 1, 0
    elif len(found) > 0 and len(wanted) == 0:
        precision, recall = 0, 1
    elif len(found) == len(wanted) == 0:
        precision = recall = 1
    else:
        precision, recall = np.mean(near(found, wanted)), np.mean(near(wanted, found))
    both = precision + recall
    expected = 2 * precision * recall / both if both else 0
    assert contour_accuracy(annotation, prediction) == pytest.approx(expected)


# Statistics


def test_statistics_by_hand():
    """Nine values: quarters are 0–2, 2–4, 4–6 and 6–8."""
    found = statistics([1, 0.9, 0.8, 0.5, 0.51, 0.5, 0.2, 0.1, 0])
    assert found.mean == pytest.approx(4.51 / 9)
    assert found.recall == 4 / 9  # .5 itself is not above it
    assert found.decay == pytest.approx(0.9 - 0.1)


@pytest.mark.parametrize("count", [9, 13, 49, 101])
def test_decay_of_a_ramp(count):
    """From 1 to 0, with quarters of equal length: their middles are three quarters apart."""
    ramp = np.linspace(1, 0, count)
    found = statistics(ramp)
    assert found.mean == pytest.approx(0.5)
    assert found.decay == pytest.approx(0.75)
    assert statistics(ramp[::-1]).decay == pytest.approx(-0.75)
    assert found.recall == (count // 2) / count


def test_halves_are_rounded_up():
    """Seven values: edges at 0, 1.5, 3, 4.5 and 6, of which 1.5 is 2 and 4.5 is 5."""
    assert statistics([3, 3, 3, 0, 0, 1, 1]).decay == 2
    assert statistics([0, 0, 1, 0, 0, 0, 0]).decay == pytest.approx(1 / 3)
    assert statistics([0, 0, 0, 0, 1, 0, 0]).decay == 0


@given(SEEDS, st.integers(1, 102))
def test_statistics_as_published(seed, count):
    values = np.random.default_rng(seed).random(count)
    ids = np.round(np.linspace(1, count, 5) + 1e-10) - 1
    ids = ids.astype(np.uint8)  # which would wrap beyond 256 frames
    bins = [values[ids[i] : ids[i + 1] + 1] for i in range(4)]
    found = statistics(values)
    assert found.decay == pytest.approx(np.mean(bins[0]) - np.mean(bins[3]))
    assert found.mean == pytest.approx(values.mean())
    assert found.recall == pytest.approx(np.mean(values > 0.5))


def test_decay_of_a_long_sequence():
    """Quarters are right where the published code's uint8 overflows."""
    assert statistics(np.linspace(1, 0, 1001)).decay == pytest.approx(0.75)


@pytest.mark.parametrize(("values", "mean"), [([0.7], 0.7), ([0.9, 0.7], 0.8), ([0.6] * 3, 0.6)])
def test_few_values(values, mean):
    found = statistics(values)
    assert (found.mean, found.recall) == (pytest.approx(mean), 1)
    assert math.isfinite(found.decay)


def test_statistics_of_no_value():
    found = statistics([])
    assert all(map(math.isnan, (found.mean, found.recall, found.decay)))


def test_first_and_last_frames_are_left_out():
    assert [7, 1, 2, 9][davis_measures.SCORED] == [1, 2]


def test_mean_of_sequences():
    """Each counts the same, however long it is."""
    short, long = statistics([1.0, 1.0]), statistics([0.0] * 98)
    assert mean_statistics([short, long]) == Statistics(0.5, 0.5, 0)


def test_real_annotations(shared):
    """Compares annotations with themselves, moved by one pixel (tolerated) and by twenty."""
    folder = shared("davis/Annotations/480p")
    mask = cv2.imread(str(folder / "dog" / "00030.png"), cv2.IMREAD_GRAYSCALE) > 0
    assert region_similarity(mask, mask) == contour_accuracy(mask, mask) == 1
    near, far = (np.roll(mask, shift, axis=1) for shift in (1, 20))
    assert contour_accuracy(mask, near) == 1
    assert 0.9 < region_similarity(mask, near) < 1
    assert 0.1 < contour_accuracy(mask, far) < 0.8
    assert davis_measures.TOLERANCE == 0.008

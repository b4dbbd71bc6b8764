"""Random crops: inside the image, within the bounds, aligned with their labels."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.pretraining.augmentation import LUMA, Augmentation
from tests.materials import augmentation, texture

NOTHING = Augmentation(64, min_scale=1, max_scale=1, stretch=1, flip=False, color=0)


@st.composite
def augmentations(draw):
    least = draw(st.floats(0.1, 3))
    return Augmentation(
        draw(st.sampled_from([1, 8, 33])),
        least,
        draw(st.floats(least, 4)),
        draw(st.floats(1, 3)),
        draw(st.booleans()),
        draw(st.sampled_from([0, 0.3])),
    )


SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))
SEEDS = st.integers(0, 2**32)


def labeled_image(size, seed=0):
    """A frame, labels and weights that have nothing to do with each other."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 9, size, np.uint8)
    return texture(size, seed), labels, random.random(size, np.float32)


def place(size):
    """An image whose labels and weights are the row and the column of each pixel."""
    rows, columns = np.indices(size)
    return np.zeros((*size, 3), np.uint8), rows.astype(np.uint8), columns.astype(np.float32)


@given(augmentations(), SIZES, SEEDS)
def test_any_image_gives_a_crop_that_depends_on_the_generator_only(augment, size, seed):
    contents = labeled_image(size)
    before = [a.copy() for a in contents]
    frame, labels, weights = crop = augment(np.random.default_rng(seed), *contents)
    S = augment.crop
    assert (frame.dtype, frame.shape) == (np.uint8, (S, S, 3))
    assert (labels.dtype, labels.shape) == (np.uint8, (S, S))
    assert (weights.dtype, weights.shape) == (np.float32, (S, S))
    assert all(a.flags.c_contiguous for a in crop)
    assert set(np.unique(labels)) <= set(np.unique(contents[1]))
    assert set(np.unique(weights)) <= set(np.unique(contents[2]))
    for a, b in zip(crop, augment(np.random.default_rng(seed), *contents), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(contents, before, strict=True):
        np.testing.assert_array_equal(a, b)


@given(augmentations(), SIZES, SEEDS)
def test_scale_and_aspect_are_within_the_bounds(augment, size, seed):
    """Bounds hold to a pixel, unless the image is too small to fill the crop."""
    rng = np.random.default_rng(seed)
    window = augment.window(rng, size)
    assert all(0 <= part.start < part.stop <= side for part, side in zip(window, size, strict=True))
    h, w = (part.stop - part.start for part in window)
    S, root = augment.crop, augment.stretch**0.5
    # Without their stretch, the sides are within the bounds of the scale.
    assert max(h, w) <= S / augment.min_scale * root + 1
    fills = min(size) >= S / augment.min_scale * root
    if fills:
        assert min(h, w) >= S / augment.max_scale / root - 1
        area = (S / augment.max_scale) ** 2, (S / augment.min_scale) ** 2
        assert (area[0] ** 0.5 - 1) ** 2 - 1 <= h * w <= (area[1] ** 0.5 + 1) ** 2 + 1
    ratio = (h - 0.5) / (w + 0.5), (h + 0.5) / max(w - 0.5, 0.1)
    assert ratio[0] <= augment.stretch + 1e-9
    assert ratio[1] >= 1 / augment.stretch - 1e-9


@given(SIZES, SEEDS)
def test_a_small_image_is_cropped_to_its_shorter_side(size, seed):
    """Gives a square, or with `stretch` a rectangle that reaches two opposite edges."""
    for stretch in (1, 1.5):
        augment = augmentation(100, min_scale=0.01, max_scale=0.02, stretch=stretch)
        window = augment.window(np.random.default_rng(seed), size)
        h, w = (part.stop - part.start for part in window)
        assert h == size[0] or w == size[1]
        if stretch == 1:
            assert h == w == min(size)


def test_scale_stretch_and_place_are_uniform():
    """Scale and stretch in the logarithm."""
    augment = augmentation(16, min_scale=0.5, max_scale=2, stretch=1.5)
    rng = np.random.default_rng(0)
    windows = [augment.window(rng, (400, 500)) for _ in range(4000)]
    sides = np.array([[part.stop - part.start for part in window] for window in windows])
    scale = np.log2(16 / np.sqrt(sides.prod(1)))
    stretch = np.log(sides[:, 0] / sides[:, 1]) / np.log(1.5)
    centers = np.array([[part.start + part.stop for part in window] for window in windows]) / 2
    for values, least, most in (
        (scale, -1, 1),
        (stretch, -1, 1),
        (centers[:, 0], 0, 400),
        (centers[:, 1], 0, 500),
    ):
        counts, _ = np.histogram(values, 5, (least, most))
        assert counts.sum() > 3800
        assert counts.min() > 0.75 * len(values) / 5
        assert counts.max() < 1.25 * len(values) / 5


@given(augmentations(), SIZES, SEEDS)
def test_labels_are_of_the_nearest_pixel(augment, size, seed):
    _, rows, columns = augment(np.random.default_rng(seed), *place(size))
    assert (rows == rows[:, :1]).all()
    assert (columns == columns[:1]).all()
    down, across = rows[:, 0].astype(int), columns[0].astype(int)
    if across[0] > across[-1]:
        assert augment.flip
        across = across[::-1]
    window = augment.window(np.random.default_rng(seed), size)
    for shown, part in zip((down, across), window, strict=True):
        centers = part.start + (np.arange(augment.crop) + 0.5) * (
            (part.stop - part.start) / augment.crop
        )
        assert (shown <= centers + 1e-9).all()
        assert (centers <= shown + 1 + 1e-9).all()


@given(
    st.tuples(st.integers(40, 120), st.integers(40, 120)),
    st.floats(0.4, 2),
    st.floats(1, 1.5),
    st.booleans(),
    SEEDS,
)
def test_frame_and_labels_stay_aligned(size, scale, stretch, flip, seed):
    """An image painted by its labels still matches them in the crop, away from edges."""
    random = np.random.default_rng(seed)
    colors = random.integers(0, 256, (9, 3), np.uint8)
    labels = random.integers(0, 9, (4, 5), np.uint8)
    labels = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
    weights = labels.astype(np.float32) / 2
    augment = Augmentation(48, scale / 2, scale, stretch, flip, color=0)
    frame, labels, weights = augment(random, colors[labels], labels, weights)
    np.testing.assert_array_equal(weights, labels.astype(np.float32) / 2)
    reach = np.ones((9, 9), np.uint8)
    inside = cv2.erode(labels, reach) == cv2.dilate(labels, reach)
    difference = np.abs(frame.astype(int) - colors[labels])[inside]
    assert difference.max(initial=0) <= 1


@given(SEEDS, st.booleans())
def test_without_variation_the_image_is_only_cropped(seed, larger):
    size = (90, 100) if larger else (64, 64)
    contents = labeled_image(size)
    crop = NOTHING(np.random.default_rng(seed), *contents)
    y, x = (part.start for part in NOTHING.window(np.random.default_rng(seed), size))
    for a, b in zip(crop, contents, strict=True):
        np.testing.assert_array_equal(a, b[y : y + 64, x : x + 64])


def test_half_of_the_crops_are_mirrored():
    augment = dataclasses.replace(NOTHING, flip=True)
    contents = labeled_image((64, 64))
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(200):
        crop = augment(rng, *contents)
        turn = np.s_[:, ::-1] if (crop[1] != contents[1]).any() else np.s_[:]
        mirrored += turn != np.s_[:]
        for a, b in zip(crop, contents, strict=True):
            np.testing.assert_array_equal(a, b[turn])
    assert 70 < mirrored < 130


def test_reduced_frames_are_averaged():
    """A fine checkerboard becomes gray."""
    board = np.indices((128, 128)).sum(0) % 2 * 255
    frame = np.dstack([board] * 3).astype(np.uint8)
    augment = dataclasses.replace(NOTHING, min_scale=0.5, max_scale=0.5)
    shown, _, _ = augment(np.random.default_rng(0), frame, frame[..., 0], np.ones((128, 128)))
    assert np.abs(shown.astype(int) - 127.5).max() <= 1


# Colors


@given(SIZES, SEEDS)
def test_colors_change_by_one_affine_map_and_labels_not(size, seed):
    contents = labeled_image(size)
    plain = augmentation(16, color=0)
    vivid = dataclasses.replace(plain, color=0.4)
    one, other = (augment(np.random.default_rng(seed), *contents) for augment in (plain, vivid))
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(one[2], other[2])
    rng = np.random.default_rng(seed)
    vivid.window(rng, size)
    rng.random()  # decides on mirroring
    matrix = vivid.color_matrix(rng).astype(np.float64)
    expected = np.clip(one[0] @ matrix[:, :3].T + matrix[:, 3], 0, 255)
    assert np.abs(other[0] - expected).max() <= 1


@pytest.mark.parametrize("color", [0.1, 0.4, 0.9])
def test_changes_of_color_are_within_the_bounds(color):
    """Brightness, contrast and saturation change by `color` at most, a channel by a quarter."""
    augment, rng = dataclasses.replace(NOTHING, color=color), np.random.default_rng(0)
    seen = []
    for _ in range(500):
        matrix = augment.color_matrix(rng).astype(np.float64)
        assert matrix.shape == (3, 4)
        gray = matrix[:, :3].sum(1)  # the image of gray, by channel: contrast × channel
        assert (gray >= (1 - color) * (1 - color / 4) - 1e-6).all()
        assert (gray <= (1 + color) * (1 + color / 4) + 1e-6).all()
        # The saturation is the same in all channels, apart from their own factors.
        mix = matrix[:, :3] / gray[:, None]
        saturation = (mix - LUMA)[np.diag_indices(3)] / (1 - LUMA)
        np.testing.assert_allclose(saturation, saturation[0], atol=1e-5)
        np.testing.assert_allclose(mix @ np.ones(3), 1, atol=1e-6)
        assert abs(saturation[0] - 1) <= color + 1e-6
        assert abs(matrix[0, 3]) <= 127.5 * 2 * color + 1e-3
        seen.append([gray.mean() - 1, saturation[0] - 1, matrix[0, 3] / 255])
    assert (np.max(seen, 0) > 0.6 * color).all()
    assert (np.min(seen, 0) < -0.6 * color).all()


def test_contrast_does_not_change_the_middle_gray():
    augment, rng = dataclasses.replace(NOTHING, color=0.4), np.random.default_rng(0)
    for _ in range(100):
        matrix = augment.color_matrix(rng)
        middle = matrix @ (127.5, 127.5, 127.5, 1)
        assert (np.abs(middle / 127.5 - 1) <= 0.4 + 0.1 * 1.4 + 1e-6).all()

"""The region to ignore: PNGs of every kind, resized as worked out pixel by pixel."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import region
from tests.materials import GRAY, GRAY_ALPHA, PALETTE, RGB, png

SIZE = (48, 64)
BITS = np.arange(48 * 64).reshape(SIZE) % 5 == 0


def written(tmp_path, content):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("bits", "kind", "value"),
    [
        *[(bits, GRAY, 1) for bits in (1, 2, 4, 8, 16)],
        (8, RGB, (0, 0, 1)),
        (16, RGB, (0, 300, 0)),
        (8, PALETTE, 255),
        (8, GRAY_ALPHA, (7, 1)),
        (8, 6, (0, 9, 0, 255)),
    ],
)
def test_what_is_neither_black_nor_transparent_is_ignored(tmp_path, bits, kind, value):
    pixels = np.zeros((*SIZE, np.size(value)), int)
    pixels[BITS] = value
    found = region.read_region(written(tmp_path, png(pixels, bits, kind)), SIZE)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, BITS)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = True


@pytest.mark.parametrize(("kind", "channels"), [(GRAY_ALPHA, 2), (6, 4)])
def test_transparent_white_is_not_ignored(tmp_path, kind, channels):
    """Painting programs write it where nothing is painted."""
    pixels = np.full((*SIZE, channels), 255)
    pixels[~BITS, -1] = 0
    found = region.read_region(written(tmp_path, png(pixels, 8, kind)), SIZE)
    np.testing.assert_array_equal(found, BITS)


@given(st.data())
def test_resized_as_pixel_by_pixel(data):
    h, w = (data.draw(st.integers(1, 12)) for _ in range(2))
    scale = data.draw(st.floats(0.3, 3))
    H, W = (max(round(side * scale), 1) for side in (h, w))
    given_region = np.random.default_rng(h * w).integers(0, 2, (h, w)).astype(bool)
    found = region.resized(given_region, (H, W), "m.png")
    for y, x in np.ndindex(H, W):  # the pixel that the center lies in
        center = int((y + 0.5) * h / H + 1e-9), int((x + 0.5) * w / W + 1e-9)
        assert found[y, x] == given_region[center]


@pytest.mark.parametrize("size", [(720, 960), (48, 63), (240, 320), (135, 180)])
def test_sizes_of_the_same_shape_are_taken(size):
    assert region.resized(np.ones(size, bool), SIZE, "m.png").shape == SIZE


def test_odd_sides_are_rounded():
    assert region.resized(np.ones((720, 1280), bool), (240, 426), "m.png").shape == (240, 426)
    assert region.resized(np.ones((240, 426), bool), (720, 1280), "m.png").shape == (720, 1280)


@pytest.mark.parametrize("size", [(64, 48), (48, 66), (720, 1310), (10, 16)])
def test_another_shape_is_refused(size):
    with pytest.raises(UserError, match=rf"--ignore_mask=m\.png is of {size[0]}x{size[1]}.*48x64"):
        region.resized(np.ones(size, bool), SIZE, "m.png")


def jpeg():
    return cv2.imencode(".jpg", np.zeros(SIZE, np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (jpeg(), "no PNG"),
        (b"", "no PNG"),
        (png(BITS * 1)[:40], "damaged"),
        (png(np.ones(SIZE, int)), "every pixel"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, content, named):
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=rf"--ignore_mask={path} .*{named}"):
        region.read_region(path, SIZE)


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"--ignore_mask=\S*nowhere.png cannot be read"):
        region.read_region(tmp_path / "nowhere.png", SIZE)


def test_digests_tell_regions_apart():
    other = BITS.copy()
    other[20, 20] ^= True
    digests = {region.digest(each) for each in (BITS, other, BITS.T, BITS.reshape(64, 48))}
    assert len(digests) == 4
    assert region.digest(BITS.copy()) == region.digest(BITS)

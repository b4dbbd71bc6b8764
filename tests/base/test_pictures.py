"""Decoding of image files, and PNGs that hold more than they say."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from experiments.robustness import damage
from jitnet_tf.base import pictures
from tests.materials import png


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_images_of_noise_are_decoded(suffix):
    """Which cannot be compressed."""
    image = np.random.default_rng(0).integers(0, 255, (65, 97, 3), np.uint8)
    data = cv2.imencode(suffix, image, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].ravel()
    np.testing.assert_array_equal(pictures.decode(data, cv2.IMREAD_COLOR), cv2.imdecode(data, 1))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"text" * 20])
def test_what_is_no_image_is_none(data):
    assert pictures.decode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None


def bomb(side):
    """A PNG of side × side gray pixels with 400 MB of zeros."""
    whole = png(np.zeros((4, 4), np.uint8))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packed = b"\x78\xda" + damage.zeros(400 << 20)
    return whole[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [4, 4000, 1 << 15])
def test_a_png_of_too_many_pixels_or_more_than_it_says_is_not_unpacked(monkeypatch, side):
    if side > 4000:
        monkeypatch.setattr(zlib, "decompressobj", lambda: pytest.fail("it was unpacked"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    data = np.frombuffer(bomb(side), np.uint8)
    assert pictures.decode(data, cv2.IMREAD_COLOR) is None


def test_a_large_png_that_is_half_flat_is_decoded():
    """Its packed data is repetitive, too, but unpacks to what it says."""
    image = np.zeros((1200, 1200), np.uint8)
    image[:400] = np.random.default_rng(0).integers(0, 255, (400, 1200), np.uint8)
    data = cv2.imencode(".png", image)[1].ravel()
    assert len(data) > 1 << 18
    np.testing.assert_array_equal(pictures.decode(data, cv2.IMREAD_GRAYSCALE), image)

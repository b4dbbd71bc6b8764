"""Decoding of image files, and PNGs that hold more than they say."""

import struct
import zlib

import cv2
import numpy as np
import pytest

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


def test_a_png_of_more_pixels_than_it_says_is_not_unpacked(monkeypatch):
    small = png(np.zeros((4, 4), np.uint8))
    end = small.index(b"IDAT") - 4
    bomb = small[:end] + chunk(b"IDAT", zlib.compress(bytes(1 << 23))) + chunk(b"IEND", b"")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    assert pictures.decode(np.frombuffer(bomb, np.uint8), cv2.IMREAD_COLOR) is None

"""Class ids in the pixels of PNGs."""

import io
import pathlib

import numpy as np
from PIL import Image

# Pillow's modes of images with one channel or a palette; others are colors.
ONE_CHANNEL = ("1", "L", "P")
SIXTEEN_BITS = ("I", "I;16")
# Pillow spreads gray values of few bits over 0…255: raw mode → the step between two ids.
GRAY_STEPS = {"L;2": 85, "L;4": 17}


def read_ids(path):
    """Reads the class ids in a PNG: its gray values or the indices of its palette, uint8 [H, W].

    Raises:
      ValueError: the file is not such a PNG, or damaged.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from None
    image = open_ids(io.BytesIO(data))
    try:
        step = GRAY_STEPS.get(image.tile[0][3], 1)
        image.verify()  # checksums, which decoding ignores; the image cannot be decoded after it
        ids = np.asarray(open_ids(io.BytesIO(data)), np.uint8)
    except Exception:  # Pillow raises many kinds for damaged files
        raise ValueError("damaged") from None
    return ids // step


def open_ids(file):
    """Opens a PNG of class ids, reading only its header; ValueError if it is something else."""
    try:
        image = Image.open(file, formats=["PNG"])
    except Exception:  # Pillow raises many kinds for damaged files
        raise ValueError("not a PNG, or damaged") from None
    if image.mode in SIXTEEN_BITS:
        raise ValueError("16 bits a pixel, but class ids have at most 8")
    if image.mode not in ONE_CHANNEL:
        raise ValueError("a color image, not class ids in one channel or a palette")
    return image

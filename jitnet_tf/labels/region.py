"""The region to ignore: a mask painted over a picture of the stream."""

import hashlib
import pathlib

import cv2
import numpy as np

from jitnet_tf.base import pictures
from jitnet_tf.base.errors import UserError

_PNG = b"\x89PNG\r\n\x1a\n"


def read_region(path, frame_size):
    """Reads the region to ignore, as --ignore_mask names it.

    Its pixels are those of any color but black that are not fully transparent. The PNG has the
    frames' aspect ratio and any size; it is resized by nearest neighbor.

    Args:
      path: of a PNG of any mode.
      frame_size: (H, W) of the frames, as they are shown.

    Returns:
      bool [H, W], read-only; True is ignored.

    Raises:
      UserError: it is no PNG, is of another shape, or ignores every pixel.
    """
    region = resized(_painted(path), frame_size, path)
    if region.all():
        raise UserError(
            f"--ignore_mask={path} ignores every pixel: what is black (or transparent) in it "
            "counts, so paint only what to ignore"
        )
    region.flags.writeable = False
    return region


def digest(region):
    """Returns a text that differs for different regions."""
    content = repr(region.shape).encode() + np.packbits(region).tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def resized(region, frame_size, path):
    """Resizes a region, bool [h, w], by nearest neighbor to (H, W).

    Raises UserError, naming the path, if the shapes differ by more than a pixel.
    """
    (h, w), (H, W) = region.shape, frame_size
    # Scaled to one side of the other, the second sides are as long up to rounding.
    if abs(w * H - h * W) > max(h, w, H, W):
        raise UserError(
            f"--ignore_mask={path} is of {h}x{w} (height x width) and the frames are of {H}x{W}, "
            "which is another shape: paint it over a frame of this stream"
        )
    rows, columns = (
        (2 * np.arange(side) + 1) * given // (2 * side) for side, given in ((H, h), (W, w))
    )
    return region[rows[:, None], columns]


def _painted(path):
    """Returns the painted pixels of a PNG, bool [h, w]."""
    try:
        data = np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f"--ignore_mask={path} cannot be read ({error.strerror})") from None
    is_png = data[: len(_PNG)].tobytes() == _PNG  # JPEG is not black where it was painted black
    pixels = pictures.decode(data, cv2.IMREAD_UNCHANGED) if is_png else None
    if pixels is None:
        raise UserError(f"--ignore_mask={path} is no PNG, or damaged: save the mask as PNG")
    if pixels.ndim == 2:
        return pixels > 0
    painted = (pixels[..., :3] > 0).any(-1)
    return painted & (pixels[..., 3] > 0) if pixels.shape[-1] == 4 else painted

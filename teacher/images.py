"""Image files in a folder: their names and pixels."""

import pathlib

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Key of an annotation file: the images that could not be read, file name → problem.
UNREAD = "unread"


class UnreadableError(Exception):
    """An image file is missing, damaged, not an image, or of another size than expected."""


def names(folder):
    """Returns the images of a folder and its subfolders: relative paths with /, sorted.

    Raises:
      UserError: no such folder, or no image in it.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UserError(f"{str(folder)!r} is not a folder: give the one with the images")
    found = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise UserError(f"{str(folder)!r} holds no images ({', '.join(SUFFIXES)})")
    return found


def read(path, size=None):
    """Reads an image: uint8 RGB [H, W, 3].

    Rotated as its EXIF data says, unless only the image as stored has the (H, W) of `size`:
    annotations exist for either.

    Raises:
      UnreadableError: it cannot be read, or not with this size.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableError(f"{path} ({error.strerror})") from None
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        try:
            bgr = cv2.imdecode(data, flags)
        except cv2.error:  # for example an empty file
            bgr = None
        if bgr is None:
            raise UnreadableError(f"{path} (not an image, or damaged)")
        if size is None or bgr.shape[:2] == tuple(size):
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    found = "×".join(map(str, bgr.shape[:2]))
    raise UnreadableError(f"{path} ({found} pixels, annotated as {size[0]}×{size[1]})")

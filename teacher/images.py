"""Photographs in a folder, as teachers see them and as students learn from them."""

import pathlib

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# In an annotation file: what could not be read when it was made, a text by file name.
UNREAD = "unread"


class UnreadableError(Exception):
    """A file is missing, cut off, no picture, or not of the size announced; says which."""


def names(folder):
    """The pictures in a folder and its subfolders: paths relative to it with /, sorted.

    Raises:
      UserError: no such folder, or no picture in it.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UserError(f"{str(folder)!r} is not a folder: give the one that holds the photographs")
    found = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise UserError(f"{str(folder)!r} holds no photographs ({', '.join(SUFFIXES)})")
    return found


def read(path, size=None):
    """Reads a picture: uint8 RGB [H, W, 3].

    Turned as the camera noted, unless only the picture as stored has the (H, W) of `size`: some
    annotations are of the one, some of the other.

    Raises:
      UnreadableError: see there.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableError(f"{path} ({error.strerror})") from None
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        try:
            bgr = cv2.imdecode(data, flags)
        except cv2.error:  # an empty file, say
            bgr = None
        if bgr is None:
            raise UnreadableError(f"{path} (no picture, or damaged)")
        if size is None or bgr.shape[:2] == tuple(size):
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    found = "×".join(map(str, bgr.shape[:2]))
    raise UnreadableError(f"{path} ({found} pixels, annotated as {size[0]}×{size[1]})")

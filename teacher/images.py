"""Images in a folder, which `teacher.annotate` labels and `jitnet_tf.pretrain` trains on."""

import pathlib

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Key of an annotation file: the images that could not be read, file name → problem.
UNREAD = "unread"


class UnreadableError(Exception):
    """An image is missing, damaged or of the wrong size; the message names the file."""


def list_images(folder):
    """Returns the images in a folder and its subfolders: sorted relative paths with /.

    Raises:
      UserError: there is no such folder, or no image in it.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UserError(f"{str(folder)!r} is not a folder: give the folder of the images")
    found = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise UserError(f"{str(folder)!r} holds no images ({', '.join(SUFFIXES)})")
    return found


def read_image(path, size=None):
    """Reads an image: uint8 RGB [H, W, 3].

    The image is rotated as its EXIF orientation says, unless only the stored image has the
    (H, W) of `size`: annotations are found for either.

    Raises:
      UnreadableError: the file is missing, damaged, or of another size.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableError(f"{path} ({error.strerror})") from None
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        try:
            bgr = cv2.imdecode(data, flags)
        except cv2.error:  # an empty file, for example
            bgr = None
        if bgr is None:
            raise UnreadableError(f"{path} (not an image, or damaged)")
        if size is None or bgr.shape[:2] == tuple(size):
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    found = "×".join(map(str, bgr.shape[:2]))
    raise UnreadableError(f"{path} ({found} pixels, annotated as {size[0]}×{size[1]})")

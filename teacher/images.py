"""Images in a folder, which `teacher.annotate` labels and `jitnet_tf.pretrain` trains on."""

import collections
import os
import pathlib
import unicodedata

import cv2
import numpy as np
from PIL import Image

from jitnet_tf.base import pictures
from jitnet_tf.base.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jpe", ".jfif")
TEXTS = (".json", ".txt", ".xml", ".csv", ".md")  # belong to images and are none
# Key of an annotation file: the images that could not be read, file name → problem.
UNREAD = "unread"
NOTES = "notes"  # key of an annotation file: what its reader has to know, a list of sentences
NO_SUFFIX, LINKED_FOLDER, CLOSED_FOLDER = "without a suffix", "linked folder", "closed folder"
EXIF_ORIENTATION = 0x112
UPRIGHT = 1  # value of it that changes nothing
TURNED_BY_90 = (5, 6, 7, 8)
# 16-bit values below it are shown at a quarter of the brightness or less: cameras of 10, 12 or 14
# bits write such files.
LOW_16_BITS = 1 << 14
# Remarks on images.
SEVERAL = "animated or have several pages: the first picture alone is taken"
LOW_VALUES = f"of 16 bits, but with values below {LOW_16_BITS} alone: they look dark or black"
AMBIGUOUS = "turned or mirrored by EXIF to the same size: their labels are taken to be turned, too"
AS_STORED = "turned by EXIF, but labeled as they are stored: they are not turned"


class UnreadableError(Exception):
    """An image is missing, damaged or of the wrong size; the message names the file."""


def list_images(folder):
    """Returns the images in a folder and its subfolders: sorted relative paths with /.

    Raises:
      UserError: there is no such folder, or no image in it.
    """
    found, others = scan(folder)
    if not found:
        there = f", but {in_words(others)}" if others else ""
        raise UserError(f"{str(folder)!r} holds no images ({', '.join(SUFFIXES)}){there}")
    return found


def scan(folder):
    """Looks for images in a folder and its subfolders.

    Returns:
      (sorted relative paths of the images, with /; suffix → number of the files passed over).
      The latter also counts folders that links lead to, or that may not be read. Hidden files,
      such as those that macOS adds, and TEXTS are neither.

    Raises:
      UserError: there is no such folder.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UserError(f"{str(folder)!r} is not a folder: give the folder of the images")
    found, others = [], collections.Counter()

    def closed(_):
        others[CLOSED_FOLDER] += 1

    for place, folders, files in os.walk(root, onerror=closed):
        place = pathlib.Path(place)
        others[LINKED_FOLDER] += sum((place / name).is_symlink() for name in folders)
        for name in files:
            path = place / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in SUFFIXES and path.is_file():
                found.append(path.relative_to(root).as_posix())
            elif path.suffix.lower() not in TEXTS:
                others[path.suffix.lower() or NO_SUFFIX] += 1
    return sorted(found), +others


def written_otherwise(folder, names):
    """Looks for the images that a program of another system has named.

    Windows writes \\ for /; macOS takes letters with accents apart.

    Args:
      folder: the folder of the images.
      names: relative paths.

    Returns:
      Name → path of the image in the folder, for the names of missing files that have one.
    """
    if not pathlib.Path(folder).is_dir():
        return {}
    there, _ = scan(folder)
    missing = set(names).difference(there)
    of_form = {unicodedata.normalize("NFC", name): name for name in there}
    found = {
        name: of_form.get(unicodedata.normalize("NFC", name.replace("\\", "/")))
        for name in missing
        if not (pathlib.Path(folder) / name).is_file()
    }
    return {name: path for name, path in found.items() if path}


def passed_over(folder):
    """Returns what `scan` passed over as a sentence, or ''."""
    _, others = scan(folder)
    if not others:
        return ""
    return (
        f"{str(folder)!r}: passed over {in_words(others)}; images end in {', '.join(SUFFIXES)}: "
        "convert others"
    )


def in_words(counts):
    """Returns counts by name as a text, most first."""
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return ", ".join(f"{count} {name}" for name, count in rows)


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
        bgr = pictures.decode(data, flags)
        if bgr is None:
            raise UnreadableError(f"{path} (not an image, or damaged)")
        if size is None or bgr.shape[:2] == tuple(size):
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    raise UnreadableError(_other_size(path, bgr.shape[:2], size))


def remarked(remarks):
    """Returns sentences for remarks of `inspect`, a list. remarks: remark → images."""
    return [f"{len(some)} images, such as {some[0]}, are {what}" for what, some in remarks.items()]


def inspect(path, size=None):
    """Looks at an image without decoding it, unless it has 16 bits.

    Args:
      path: the image.
      size: (H, W) of its labels, or None.

    Returns:
      Remarks on it, texts that follow "3 images, such as a.jpg, are ".

    Raises:
      UnreadableError: the file is missing, no image, or of another size.
    """
    try:
        with Image.open(path) as image:
            stored, kind = image.size[::-1], image.format
            # Telephones put a second, smaller picture into JPEGs, which are then of kind MPO.
            several = getattr(image, "is_animated", False) and kind != "MPO"
            deep = kind == "TIFF" or (kind == "PNG" and "16" in str(image.tile[0][3]))
            # Pillow decodes a PNG to look for EXIF behind its pixels.
            has_exif = kind != "PNG" or "exif" in image.info
            orientation = image.getexif().get(EXIF_ORIENTATION) if has_exif else None
    except Exception:  # Pillow raises many kinds, also for images that OpenCV reads
        read_image(path, size)
        return []
    remarks = [SEVERAL] if several else []
    if deep and _is_low(path):
        remarks.append(LOW_VALUES)
    if size is None:
        return remarks
    shown = stored[::-1] if orientation in TURNED_BY_90 else stored
    if tuple(size) not in (stored, shown):
        raise UnreadableError(_other_size(path, stored, size))
    if orientation in (None, UPRIGHT):
        return remarks
    if shown == stored:
        remarks.append(AMBIGUOUS)
    elif shown != tuple(size):
        remarks.append(AS_STORED)
    return remarks


def _is_low(path):
    data = pictures.decode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return data is not None and data.dtype == np.uint16 and data.max() < LOW_16_BITS


def _other_size(path, found, size):
    found = "×".join(map(str, found))
    return f"{path} ({found} pixels, annotated as {size[0]}×{size[1]})"

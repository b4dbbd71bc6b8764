"""The class masks of a run, as `sinks.mask_writer` has written them."""

import pathlib
import re

import cv2
import numpy as np

from jitnet_tf.base import files, pictures, segment_names
from jitnet_tf.base.errors import UserError

CLASSES = "classes.json"


def mask_files(folder):
    """Returns (frame index, path) of the masks of a run, in the order of the frames.

    Those of a run with segments are in folders by their names. OSError if one goes meanwhile.
    """
    inside = list(pathlib.Path(folder).iterdir())
    for path in [path for path in inside if segment_names.first_of(path.name) is not None]:
        inside.extend(path.iterdir())
    found = ((re.fullmatch(r"([0-9]{6,})\.png", path.name), path) for path in inside)
    return sorted((int(name[1]), path) for name, path in found if name)


def class_names(folder):
    """Returns the names of the classes by id, background first. UserError without them."""
    path = pathlib.Path(folder) / CLASSES
    try:
        named = files.parse_json(path.read_bytes())
        names = [named[str(number)] for number in range(len(named))]
        if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
            raise ValueError("no names of classes")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{str(path)!r} does not name the classes of masks ({error})") from None
    return names


def read_mask(path, count):
    """Reads a mask, uint8 [H, W]. UserError if it is damaged or has other classes than 0…count."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f"the mask {path} cannot be read ({error.strerror})") from None
    mask = pictures.decode(content, cv2.IMREAD_UNCHANGED)
    if mask is None or mask.dtype != np.uint8 or mask.ndim != 2:
        raise UserError(f"{path} is no mask of a run, or damaged")
    if mask.max() >= count:
        raise UserError(f"{path} has class {mask.max()}, and {CLASSES} beside it {count} classes")
    return mask

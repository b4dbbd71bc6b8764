"""Annotations in COCO's format, and their masks: polygons and run lengths, also invalid ones."""

import math
import typing

import numpy as np
from pycocotools import mask as coco_mask

from teacher.encoding import decode_mask

# Polygons may reach outside the image, but not further than this many times its longer side.
MAX_REACH = 10
MIN_CORNERS = 3


class Annotation(typing.NamedTuple):
    """One annotated object, or a crowd of them.

    Attributes:
      category: COCO's category id.
      segmentation: see `decode`; None if there is only a box.
      box: (x, y, width, height), pixels.
      score: 1 unless a teacher made the annotation.
      is_crowd: True for a region of many objects.
    """

    category: int
    segmentation: typing.Any
    box: tuple[float, float, float, float]
    score: float
    is_crowd: bool

    def reaches_beyond(self, reach):
        """Returns whether a coordinate is above `reach`; True for masks that are no polygons."""
        if not isinstance(self.segmentation, list):
            return True
        numbers = (number for one in self.segmentation if isinstance(one, list) for number in one)
        return any(not isinstance(number, int | float) or not number <= reach for number in numbers)

    def window(self, size):
        """Returns the box as two slices of an image of size (H, W)."""
        x, y, w, h = self.box
        ends = np.clip([y, y + h, x, x + w], 0, np.repeat(size, 2))
        return np.s_[
            math.floor(ends[0]) : math.ceil(ends[1]), math.floor(ends[2]) : math.ceil(ends[3])
        ]


def parse(row, category):
    """Returns an Annotation from a row of the file; raises ValueError, TypeError or KeyError."""
    box = tuple(map(float, row["bbox"]))
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"invalid box {row['bbox']}")
    score, is_crowd = float(row.get("score", 1.0)), bool(row.get("iscrowd", 0))
    segmentation = row.get("segmentation")
    if not segmentation or (isinstance(segmentation, list) and not _has_area(segmentation)):
        segmentation = None
    return Annotation(category, segmentation, box, score, is_crowd)


def _has_area(polygons):
    """Returns whether some polygon has corners enough; True for values that are no polygons."""
    return not all(
        isinstance(one, list)
        and len(one) < 2 * MIN_CORNERS
        and all(isinstance(number, int | float) for number in one)
        for one in polygons
    )


def decode(segmentation, size):
    """Decodes an annotation's mask, cropped to the pixels that it covers.

    Args:
      segmentation: polygons, or run lengths as numbers or in pycocotools' text encoding.
      size: (H, W) of the image.

    Returns:
      (bool [h, w], (y, x) of its first pixel).

    Raises:
      ValueError: the mask is of another size, or not in COCO's format.
    """
    try:
        if isinstance(segmentation, list):
            rle = _fill(segmentation, size)
        elif tuple(segmentation["size"]) != tuple(size):
            raise ValueError("a mask of another size")
        elif isinstance(segmentation["counts"], list):
            rle = _compress(segmentation)
        else:
            rle = segmentation
        mask = _uncompress(rle)
        x, y, w, h = coco_mask.toBbox(rle).astype(int)
    except Exception as error:  # pycocotools raises even Exception itself
        raise ValueError(f"annotation: {error}") from None
    return mask[y : y + h, x : x + w].astype(bool), (y, x)


# Given invalid polygons or run lengths, pycocotools reads and writes outside its memory or leaves
# memory uninitialized. The functions below pass only valid ones on, and raise for others.


def _fill(polygons, size):
    """Polygons, [x, y, x, y, …] each, as compressed run lengths."""
    polygons = [np.array(polygon, np.float64) for polygon in polygons]
    for polygon in polygons:
        if polygon.ndim != 1:
            raise ValueError("a polygon that is no list of numbers x, y, x, y, …")
        if len(polygon) % 2:
            raise ValueError("a polygon with half a corner")
        if not (np.abs(polygon) <= MAX_REACH * max(size)).all():
            raise ValueError("a polygon far outside")
    # Points and lines cover no pixel, and pycocotools takes four numbers for a box.
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return coco_mask.encode(np.zeros(size, np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def _compress(segmentation):
    """Run lengths given as numbers, as compressed ones."""
    H, W = segmentation["size"]
    counts = np.array(segmentation["counts"])
    if counts.dtype.kind != "i" or counts.min() < 0 or counts.sum() != H * W:
        raise ValueError("run lengths that do not cover the image")
    return coco_mask.frPyObjects(segmentation, H, W)


def _uncompress(rle):
    """Compressed run lengths as a mask [H, W]. Text comes from a file and may be invalid."""
    if isinstance(rle["counts"], str):
        return decode_mask(rle["size"], rle["counts"])
    return coco_mask.decode(rle)

"""Detections on a frame, for the same frame at a smaller size."""

import math

import cv2
import numpy as np

from teacher.detections import Detections


def scaled(detections, before, after):
    """Returns the Detections on a frame of size `before`, (H, W), for that of size `after`.

    A pixel belongs to an object if at least half of its area did. Objects whose mask vanishes stay,
    with an empty one: their boxes still count.
    """
    pairs = [
        _scaled_mask(mask, origin, before, after)
        for mask, origin in zip(detections.masks, detections.origins.tolist(), strict=True)
    ]
    return Detections(
        detections.boxes,  # in units of the frame
        detections.classes,
        detections.scores,
        tuple(mask for mask, _ in pairs),
        np.array([origin for _, origin in pairs], np.int32).reshape(-1, 2),
    )


def _scaled_mask(mask, origin, before, after):
    """Returns (mask, (y, x) of its first pixel) at the size `after`."""
    (top, bottom, new_top, new_bottom), (left, right, new_left, new_right) = (
        _blocks(start, length, *sides)
        for start, length, *sides in zip(origin, mask.shape, before, after, strict=True)
    )
    if not mask.any():
        return np.zeros((0, 0), bool), (new_top, new_left)
    window = np.zeros((bottom - top, right - left), np.uint8)
    y, x = origin[0] - top, origin[1] - left
    window[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = 255
    size = (new_right - new_left, new_bottom - new_top)
    small = cv2.resize(window, size, interpolation=cv2.INTER_AREA) >= 128
    rows, columns = np.flatnonzero(small.any(1)), np.flatnonzero(small.any(0))
    if not rows.size:
        return np.zeros((0, 0), bool), (new_top, new_left)
    small = small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.ascontiguousarray(small), (new_top + int(rows[0]), new_left + int(columns[0]))


def _blocks(start, length, before, after):
    """Returns the least whole blocks that hold a stretch of a side: (from, to, new from, new to).

    A block is a number of pixels that become a whole number, so that a window can be resized alone.
    before, after: the side's pixels.
    """
    common = math.gcd(before, after)
    block, new_block = before // common, after // common
    first, last = start // block, -(-(start + length) // block)
    return first * block, last * block, first * new_block, last * new_block

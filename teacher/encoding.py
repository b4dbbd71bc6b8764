"""The encoding of detections in recordings, and thumbnails to recognize frames."""

import json
import re
import zlib

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from jitnet_tf.base import files
from teacher.detections import Detections

# A frame is recognized by its 16×16 gray thumbnail. Decoders and color conversions differ by a
# level or two between platforms, another scene by tens.
THUMBNAIL = 16
THUMBNAIL_TOLERANCE = 6.0
# More than any teacher detects on a frame: bounds the memory that a damaged file can cost.
MAX_TEXT = 1 << 24  # characters of JSON
MAX_COVER = 100  # pixels of all masks together, in frames
# COCO's run lengths: base-32 digits from "0" on, with bit 5 set on all but the last digit.
# pycocotools reads past the end of other texts.
RUN_LENGTHS = re.compile("(?:[P-o]{0,6}[0-O])+")
COCO_IDS = range(1, 91)
FLOAT32_MAX = float(np.finfo(np.float32).max)


def thumbnail(frame):
    """Returns the thumbnail that a frame is recognized by: uint8 [16, 16]."""
    small = cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def is_like(frame, stored):
    """Returns whether a frame, uint8 RGB [H, W, 3], is the one with this thumbnail."""
    difference = np.abs(thumbnail(frame).astype(int) - stored)
    return difference.mean() <= THUMBNAIL_TOLERANCE


def encode(detections):
    """Packs Detections into bytes: zlib-compressed JSON."""
    rows = []
    for i in range(len(detections)):
        mask = detections.masks[i]
        counts = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
        rows.append(
            [
                int(detections.classes[i]),
                float(detections.scores[i]),
                [float(x) for x in detections.boxes[i]],
                [int(x) for x in detections.origins[i]],
                list(mask.shape),
                counts.decode("ascii"),
            ]
        )
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 9)


def decode(data, frame_size, ids=COCO_IDS):
    """Unpacks the bytes of `encode` into equal Detections on a frame of frame_size (H, W).

    ids: those that categories may have.

    Raises:
      ValueError, TypeError, RecursionError or zlib.error: the bytes are damaged.
    """
    rows = decode_rows(data, frame_size, ids)
    classes, scores, boxes, origins, sizes, counts = zip(*rows, strict=True) if rows else [()] * 6
    if sum(h * w for h, w in sizes) > MAX_COVER * frame_size[0] * frame_size[1]:
        raise ValueError("masks are too large")
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int32),
        np.array(scores, np.float32),
        # Older recordings store empty masks as ''.
        tuple(decode_mask(size, text or "0") for size, text in zip(sizes, counts, strict=True)),
        np.array(origins, np.int32).reshape(-1, 2),
    )


def decode_rows(data, frame_size, ids=COCO_IDS):
    """Returns the rows that `encode` packed; raises as `decode`."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, MAX_TEXT)
    if not unpacker.eof:
        raise ValueError("compressed data is cut off or too long")
    rows = files.parse_json(text)
    if type(rows) is not list:
        raise ValueError("not a list of objects")
    for row in rows:
        _check(row, frame_size, ids)
    return rows


def _check(row, frame_size, ids):
    """Raises ValueError or TypeError if a row is invalid on a frame of this size."""
    class_id, score, (y0, x0, y1, x1), (y, x), (h, w), _ = row
    if not (
        all(type(n) is int for n in (class_id, y, x, h, w))
        and all(type(n) is float and abs(n) <= FLOAT32_MAX for n in (score, y0, x0, y1, x1))
        and class_id in ids
        and 0 <= y <= y + h <= frame_size[0]
        and 0 <= x <= x + w <= frame_size[1]
    ):
        raise ValueError("invalid object")


def decode_mask(size, text):
    """Returns a mask, boolean [H, W], from pycocotools' run lengths.

    Args:
      size: (H, W).
      text: the run lengths.

    Raises:
      ValueError: they are invalid, or of a mask of another size.
    """
    if not RUN_LENGTHS.fullmatch(text):
        raise ValueError("not a run-length mask")
    mask = coco_mask.decode({"size": size, "counts": text})
    # Runs that end early leave pixels uninitialized.
    if coco_mask.encode(mask)["counts"] != text.encode():
        raise ValueError("a mask of another size")
    return mask.astype(bool)


def read_thumbnail(data):
    """Returns a thumbnail from its bytes; raises ValueError or TypeError if they are damaged."""
    return np.frombuffer(data, np.uint8).reshape(THUMBNAIL, THUMBNAIL)

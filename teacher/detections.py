"""A teacher's detections on one frame."""

import dataclasses

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError

# Objects below this score are never kept, and no run may set a lower threshold: they are padding
# and noise, a hundred a frame for the TF2 zoo's models.
MIN_SCORE = 0.05
MASK_THRESHOLD = 0.5
# Fraction of the frame by which boxes may reach outside; beyond it they are invalid, and would only
# cost memory.
BOX_MARGIN = 1.0
# Side, in pixels, of the largest masks that are cropped to boxes for certain: exports have 14…112.
# Larger ones are of the whole frame if this share of them lies in boxes that do not fill it.
LARGEST_CROP = 128
SHARE_IN_BOX = 0.8


@dataclasses.dataclass(frozen=True)
class Detections:
    """The objects of one frame, N of them, best score first.

    Attributes:
      boxes: float32 [N, 4], (ymin, xmin, ymax, xmax) in units of the frame's height and width;
        may reach slightly outside 0…1.
      classes: int32 [N], COCO category ids 1…90.
      scores: float32 [N], 0…1.
      masks: N boolean arrays [h, w], pixels of the frame that belong to the object.
      origins: int32 [N, 2], (y, x) of each mask's first pixel in the frame.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    masks: tuple[np.ndarray, ...]
    origins: np.ndarray

    def __len__(self):
        return len(self.scores)

    def above(self, score):
        """Returns the objects with at least this score."""
        return self.take(np.flatnonzero(self.scores >= score))

    def take(self, keep):
        """Returns the objects of these numbers, int [n]."""
        return Detections(
            self.boxes[keep],
            self.classes[keep],
            self.scores[keep],
            tuple(self.masks[i] for i in keep),
            self.origins[keep],
        )


def paste(mask, box, frame_size):
    """Resizes the mask of a box to the frame's pixels.

    As in EastGit0: the box is rounded to whole pixels, the mask resized bilinearly and thresholded
    at .5.

    Args:
      mask: float32 [h, w] probabilities inside the box, any size.
      box: (ymin, xmin, ymax, xmax), normalized.
      frame_size: (H, W) in pixels.

    Returns:
      (boolean array, (y, x) of its first pixel), cropped to the frame; empty when outside it.
    """
    H, W = frame_size
    box = np.clip(np.asarray(box, np.float64), -BOX_MARGIN, 1 + BOX_MARGIN)
    y0, x0, y1, x1 = np.rint(box * (H, W, H, W)).astype(int)
    height, width = max(y1 - y0, 1), max(x1 - x0, 1)
    resized = cv2.resize(
        np.asarray(mask, np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    top, left = max(y0, 0), max(x0, 0)
    inside = resized[top - y0 : max(H - y0, 0), left - x0 : max(W - x0, 0)] >= MASK_THRESHOLD
    return inside, (min(top, H), min(left, W))


def crop(mask, frame_size):
    """Cuts a mask of the whole frame down to its object's pixels; returns as `paste` does.

    mask: [h, w] probabilities, resized as in `paste` unless it has the size of the frame.
    """
    H, W = frame_size
    if mask.shape != (H, W):
        mask = cv2.resize(np.asarray(mask, np.float32), (W, H), interpolation=cv2.INTER_LINEAR)
    inside = mask >= MASK_THRESHOLD
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return np.zeros((0, 0), bool), (0, 0)
    y, x = rows[0], columns[0]
    return inside[y : rows[-1] + 1, x : columns[-1] + 1].copy(), (y, x)


def cover_frame(masks, boxes, frame_size):
    """Returns whether masks are of the whole frame, and not cropped to their boxes.

    Those of the frame's size are, such as the `detection_masks_reframed` of TensorFlow 2's API.
    Squares that a box's crop could have, and large masks of another size, are if they lie in their
    boxes.

    Args:
      masks: [N, h, w] probabilities.
      boxes: [N, 4], as in `Detections`.
      frame_size: (H, W) in pixels.

    Raises:
      UserError: masks of the frame's size are elsewhere than their boxes.
    """
    h, w = masks.shape[1:]
    same, is_small = (h, w) == tuple(frame_size), max(h, w) <= LARGEST_CROP
    is_frame = same and not (is_small and h == w)
    if is_small and not same:
        return False
    total = inside = 0
    for mask, box in zip(masks, np.clip(boxes, 0, 1), strict=True):
        if (box[2] - box[0]) * (box[3] - box[1]) > 0.5:
            continue  # it lies in its box anyway
        y0, x0 = np.floor(box[:2] * (h, w)).astype(int) - 1
        y1, x1 = np.ceil(box[2:] * (h, w)).astype(int) + 1
        pixels = mask >= MASK_THRESHOLD
        total += np.count_nonzero(pixels)
        inside += np.count_nonzero(pixels[max(y0, 0) : y1, max(x0, 0) : x1])
    if not total:
        return is_frame
    if is_frame and inside < total / 2:
        raise UserError(
            f"masks of the frame's size, {h}×{w}, have {100 - 100 * inside // total} % of their "
            "pixels outside their boxes, expected inside: boxes are (ymin, xmin, ymax, xmax)"
        )
    return is_frame or inside >= SHARE_IN_BOX * total


def from_box_masks(boxes, classes, scores, masks, frame_size, min_score=0.0):
    """Returns Detections from arrays of LVS.

    Detectors pad their outputs, so rows are left out that have a score below `min_score`, a number
    that is not finite, an inverted box or a class outside 1…90.

    Args:
      boxes: [N, 4], as in `Detections`.
      classes: [N], COCO category ids.
      scores: [N].
      masks: [N, h, w], probabilities inside the boxes.
      frame_size: (H, W) in pixels.
      min_score: the least score.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    classes = np.asarray(classes, np.float32)
    usable = (
        np.isfinite(boxes).all(1)
        & np.isfinite(scores)
        & (boxes[:, 2] > boxes[:, 0])
        & (boxes[:, 3] > boxes[:, 1])
        & (scores >= min_score)
        & (classes >= 1)
        & (classes <= 90)
    )
    rows = np.flatnonzero(usable)
    return _pasted(boxes, classes, scores, masks, rows, paste, frame_size)


def from_rows(boxes, classes, scores, masks, frame_size):
    """Returns Detections from the rows of a detector that `checks.detector_output` has passed.

    Rows without an area are left out. Masks are pasted into their boxes, or whole (see
    `cover_frame`).
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    rows = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    if cover_frame(masks[rows], boxes[rows], frame_size):

        def place(mask, _, frame_size):
            return crop(mask, frame_size)
    else:
        place = paste
    return _pasted(boxes, classes, scores, masks, rows, place, frame_size)


def _pasted(boxes, classes, scores, masks, rows, place, frame_size):
    """Returns the Detections of these rows, best score first; place: as `paste`."""
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    placed = [place(masks[i], boxes[i], frame_size) for i in rows]
    return Detections(
        boxes[rows],
        np.rint(classes[rows]).astype(np.int32),
        scores[rows],
        tuple(mask for mask, _ in placed),
        np.array([origin for _, origin in placed], np.int32).reshape(-1, 2),
    )

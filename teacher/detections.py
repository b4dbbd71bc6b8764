"""A teacher's detections on one frame."""

import dataclasses

import cv2
import numpy as np

# Objects below this score are never kept, and no run may set a lower threshold: they are padding
# and noise, a hundred a frame for the TF2 zoo's models.
MIN_SCORE = 0.05
MASK_THRESHOLD = 0.5
# Fraction of the frame by which boxes may reach outside; beyond it they are invalid, and would only
# cost memory.
BOX_MARGIN = 1.0


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
        keep = np.flatnonzero(self.scores >= score)
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


def from_box_masks(boxes, classes, scores, masks, frame_size, min_score=0.0):
    """Returns Detections from arrays of the Object Detection API or of LVS.

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
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    pasted = [paste(masks[i], boxes[i], frame_size) for i in rows]
    return Detections(
        boxes[rows],
        np.rint(classes[rows]).astype(np.int32),
        scores[rows],
        tuple(mask for mask, _ in pasted),
        np.array([origin for _, origin in pasted], np.int32).reshape(-1, 2),
    )

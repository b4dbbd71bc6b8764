"""Region similarity J and contour accuracy F of the DAVIS benchmark, and their statistics.

From Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation"
(CVPR 2016). Details not in the paper are from the published code, in which DAVIS 2016
(fperazzi/davis, python/lib/davis/measures) and 2017 (davisvideochallenge/davis2017-evaluation)
agree.
"""

import dataclasses
import math

import cv2
import numpy as np

TOLERANCE = 0.008  # distance of matching contours, as a part of the frame's diagonal
RECALL_THRESHOLD = 0.5
BINS = 4
# The first frame is given to semi-supervised methods; the last is left out in 2016 and in 2017.
SCORED = slice(1, -1)


def region_similarity(annotation, prediction):
    """J: intersection over union of two masks, boolean [H, W]; 1 if both are empty."""
    union = np.count_nonzero(annotation | prediction)
    return np.count_nonzero(annotation & prediction) / union if union else 1.0


def contour_accuracy(annotation, prediction, tolerance=TOLERANCE):
    """F: the F-measure of two masks' contours, boolean [H, W]; 1 if neither has one.

    Precision and recall are the parts of either contour's pixels within the tolerance of the other
    contour: dilation by a disk approximates the matching of single pixels.
    """
    radius = math.ceil(tolerance * math.hypot(*annotation.shape))
    wanted, found = contour(annotation), contour(prediction)
    if not (wanted.any() and found.any()):
        return float(wanted.any() == found.any())
    precision = np.count_nonzero(found & _dilated(wanted, radius)) / np.count_nonzero(found)
    recall = np.count_nonzero(wanted & _dilated(found, radius)) / np.count_nonzero(wanted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask):
    """Returns a mask's contour, boolean [H, W] as the mask (the published code's seg2bmap).

    A pixel is on it if it differs from the one to the right, the one below or the one diagonally
    below. The frame's border is not on it.
    """
    square = np.ones((2, 2), np.uint8)
    mask = mask.astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, square, anchor=(0, 0)).astype(bool)


def disk(radius):
    """Returns a disk for morphology, uint8 [2 radius + 1, 2 radius + 1].

    scikit-image's disk is the same, OpenCV's ellipse is not.
    """
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (y * y + x * x <= radius * radius).astype(np.uint8)


def _dilated(mask, radius):
    return cv2.dilate(mask.astype(np.uint8), disk(radius)).astype(bool)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """A measure over a sequence, or the mean of sequences' statistics (`mean_statistics`).

    Attributes:
      mean: over the frames; higher is better.
      recall: the part of the frames above RECALL_THRESHOLD; higher is better.
      decay: the mean of the first quarter of the frames minus that of the last; lower is better.
    """

    mean: float
    recall: float
    decay: float


def statistics(values):
    """Returns the Statistics of a measure's values on the SCORED frames; NaN without any.

    Neighboring quarters share a frame, as in the published code.
    """
    if len(values) == 0:
        return Statistics(math.nan, math.nan, math.nan)
    values = np.asarray(values, np.float64)
    # Halves are rounded up, as in MATLAB.
    edges = np.floor(np.linspace(0, len(values) - 1, BINS + 1) + 0.5 + 1e-10).astype(int)
    first, last = values[: edges[1] + 1], values[edges[-2] :]
    return Statistics(
        float(values.mean()),
        float((values > RECALL_THRESHOLD).mean()),
        float(first.mean() - last.mean()),
    )


def mean_statistics(sequences):
    """Returns the mean of sequences' Statistics, of equal weight, as the benchmark reports it."""
    rows = [dataclasses.astuple(sequence) for sequence in sequences]
    return Statistics(*map(float, np.mean(rows, axis=0)))

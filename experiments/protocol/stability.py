"""Temporal stability: how much a segmentation flickers beyond the motion of the scene.

Flicker is 1 − the temporal consistency of Liu et al. ("Efficient Semantic Video Segmentation with
Per-frame Inference", ECCV 2020): the mean IoU of one frame's segmentation, warped to the next frame
by optical flow, and that frame's own. Only pixels where forward and backward flow agree count
(Sundaram et al., ECCV 2010), which leaves out occlusions and objects that enter. Flicker does not
measure accuracy; read it beside the IoU.
"""

import cv2
import numpy as np

from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.outputs import flow

# Every third pair is measured, for speed. The distance is odd because strides are powers of two and
# a student changes on teacher frames: an even one would meet these too often or never.
PAIR_DISTANCE = 3


def consistent(forward, backward):
    """Returns the pixels where two flows agree: bool [H, W], on the frame of `forward`.

    forward, backward: float32 [H, W, 2], from the frame to the other and back.
    """
    to = flow.targets(forward)
    back = cv2.remap(backward, to, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    H, W = forward.shape[:2]
    inside = (to >= 0).all(-1) & (to[..., 0] <= W - 1) & (to[..., 1] <= H - 1)
    length = np.square(forward).sum(-1) + np.square(back).sum(-1)
    return inside & (np.square(forward + back).sum(-1) < 0.01 * length + 0.5)


class Flicker:
    """Counts the flicker of a method and of its teacher over a stream.

    Attributes:
      prediction, reference: int64 [C, C], pixels by the class warped from the previous frame (row)
        and by their own (column).
    """

    def __init__(self, num_classes, estimator=None):
        self._estimator = estimator or flow.DIS("fast")
        self._previous = None
        self.prediction = np.zeros((num_classes, num_classes), np.int64)
        self.reference = np.zeros((num_classes, num_classes), np.int64)

    def add(self, result):
        """Adds the next FrameResult; it needs a reference."""
        if self._previous is not None and result.index % PAIR_DISTANCE == 0:
            previous = self._previous
            back = self._estimator(result.frame, previous.frame)
            known = consistent(back, self._estimator(previous.frame, result.frame))
            for counts, before, now in (
                (self.prediction, previous.prediction, result.prediction),
                (self.reference, previous.reference.labels, result.reference.labels),
            ):
                warped = flow.warp(before, back)
                counts += metrics.confusion(warped[known], now[known], len(counts))
        # Keeps a frame only if the next one is measured.
        self._previous = result if (result.index + 1) % PAIR_DISTANCE == 0 else None


def flicker(counts, classes):
    """Returns 1 − temporal consistency over the class ids `classes`; None if none occurs."""
    iou = metrics.class_iou(np.asarray(counts))[list(classes)]
    iou = iou[~np.isnan(iou)]
    return float(1 - iou.mean()) if len(iou) else None

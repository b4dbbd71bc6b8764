"""Temporal stability: how much a segmentation flickers beyond the motion of the scene.

The measure is the temporal consistency of Liu et al. ("Efficient Semantic Video Segmentation with
Per-frame Inference", ECCV 2020): the segmentation of one frame, warped to the next by optical
flow, against that frame's own, as mean IoU. Flicker is what is missing to 1. Flow is known only
where it agrees forward and backward (Sundaram et al., ECCV 2010), so that neither occlusions nor
objects that enter count. Flicker says nothing of accuracy; read it beside the IoU.
"""

import cv2
import numpy as np

from experiments.methods import flow
from jitnet_tf.distillation import metrics

# Every third pair is measured, for speed. An odd distance, because strides are powers of two and a
# student changes on teacher frames: an even one would meet these too often or never.
PAIR_DISTANCE = 3


def consistent(forward, backward):
    """Where two flows agree: bool [H, W] on the frame that `forward` starts from.

    forward, backward: float32 [H, W, 2], of the frame to the other and back.
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
      prediction, reference: int64 [C, C], pixels by the class that the previous frame predicts for
        them (row) and their own (column).
    """

    def __init__(self, num_classes, estimator=None):
        self._estimator = estimator or flow.DIS("fast")
        self._previous = None
        self.prediction = np.zeros((num_classes, num_classes), np.int64)
        self.reference = np.zeros((num_classes, num_classes), np.int64)

    def add(self, result):
        """Adds a FrameResult that has reference labels; all, in order."""
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
        # Only a frame before a measured one is kept.
        self._previous = result if (result.index + 1) % PAIR_DISTANCE == 0 else None


def flicker(counts, classes):
    """1 − temporal consistency over the class ids `classes`; None where none occurs."""
    iou = metrics.class_iou(np.asarray(counts))[list(classes)]
    iou = iou[~np.isnan(iou)]
    return float(1 - iou.mean()) if len(iou) else None

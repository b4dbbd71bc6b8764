"""The flow baseline (paper §5.4): the teacher's latest label, moved along by optical flow."""

import cv2
import numpy as np

from jitnet_tf.distillation.result import FrameResult, TeacherFrame
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch


class DIS:
    """OpenCV's Dense Inverse Search flow; preset: 'ultrafast', 'fast' or 'medium'."""

    def __init__(self, preset):
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        self._estimator = cv2.DISOpticalFlow_create(presets[preset])

    def __call__(self, frame, other):
        """Float32 [H, W, 2], (dx, dy) in pixels: frame[y, x] is found at other[y + dy, x + dx].

        frame, other: uint8 RGB [H, W, 3].
        """
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (frame, other)]
        return self._estimator.calc(*grey, None)


def targets(flow):
    """Where each pixel is found by a flow [H, W, 2]: float32 [H, W, 2], (x, y) in pixels."""
    H, W = flow.shape[:2]
    return flow + np.dstack(np.meshgrid(np.arange(W), np.arange(H))).astype(np.float32)


def warp(values, flow):
    """Values of `other` as `frame` has them by the flow that an estimator finds for the two.

    Takes the nearest pixel, for a class id has no halves; what comes from outside the frame is 0.
    values: uint8 [H, W]; flow: float32 [H, W, 2]. Returns uint8 [H, W].
    """
    return cv2.remap(values, targets(flow), None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)


class FlowPropagation(Segmenter):
    """Asks the teacher on every `stride`-th frame and warps its label to those between.

    Labels, not features, are moved, since that is as effective (§5.4), in one step from the teacher
    frame to each later one, as Deep Feature Flow does.

    Args:
      estimator: callable (frame, other) → flow; `DIS` or `pwcnet.PWCNet`.
      teacher, label_maker: as the Distiller's.
      stride: frames from one teacher frame to the next.
    """

    def __init__(self, estimator, teacher, label_maker, stride):
        self._estimator = estimator
        self._teacher = teacher
        self._label_maker = label_maker
        self._stride = stride
        self._key_frame = None
        self.index = 0

    def step(self, frame):
        """Segments the next frame, uint8 RGB [H, W, 3]; a teacher frame as the teacher does."""
        watch = Stopwatch()
        ended = None
        if self.index % self._stride == 0:
            with watch("teacher"):
                detections = self._teacher(frame, self.index)
            with watch("labels"):
                prediction = self._label_maker.labels(detections, frame.shape[:2])
            self._key_frame = (frame, prediction)
            ended = TeacherFrame(self.index, frame, prediction, prediction)
        else:
            key_frame, key_labels = self._key_frame
            with watch("flow"):
                flow = self._estimator(frame, key_frame)
            with watch("warp"):
                prediction = warp(key_labels, flow)
        result = FrameResult(
            self.index, frame, prediction, self._stride, watch.seconds, teacher=ended
        )
        self.index += 1
        return result

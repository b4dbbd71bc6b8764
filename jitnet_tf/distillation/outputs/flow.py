"""Optical flow by OpenCV's Dense Inverse Search (Kroeger et al., ECCV 2016), and warping by it."""

import functools

import cv2
import numpy as np

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class DIS:
    """OpenCV's Dense Inverse Search flow; preset: 'ultrafast', 'fast' or 'medium'."""

    def __init__(self, preset):
        self._estimator = cv2.DISOpticalFlow_create(PRESETS[preset])

    def __call__(self, frame, other):
        """Estimates the flow from a frame to another.

        frame, other: uint8 RGB [H, W, 3]. Returns float32 [H, W, 2], (dx, dy) in pixels:
        frame[y, x] ≈ other[y + dy, x + dx].
        """
        gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (frame, other)]
        return self.of_gray(*gray)

    def of_gray(self, gray, other, start=None):
        """Estimates the flow between gray images.

        gray, other: uint8 [H, W]. start: a flow like it to start from, or None. Returns float32
        [H, W, 2].
        """
        # Zeros, not None: OpenCV would start from what it has left of an earlier one.
        flow = np.zeros((*gray.shape, 2), np.float32) if start is None else start.copy()
        return self._estimator.calc(gray, other, flow)


def estimates(size):
    """Returns whether `DIS` takes images of a size (H, W): neither small nor very long ones."""
    if min(size) < 16:
        return False
    blank = np.zeros(size, np.uint8)
    try:
        DIS("ultrafast").of_gray(blank, blank)
    except cv2.error:
        return False
    return True


@functools.lru_cache(maxsize=4)
def _grid(height, width):
    return np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)


def targets(flow):
    """Returns the places that a flow [H, W, 2] points to: float32 [H, W, 2], (x, y) in pixels."""
    return flow + _grid(*flow.shape[:2])


def warp(values, flow):
    """Warps values of `other` to `frame` by the flow from `frame` to `other`.

    Takes the nearest pixel, as class ids cannot be averaged; 0 from outside the frame.
    values: uint8 [H, W]; flow: float32 [H, W, 2]. Returns uint8 [H, W].
    """
    return cv2.remap(values, targets(flow), None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)


def resize_flow(flow, size):
    """Resizes a flow [h, w, 2] to a size (H, W) of the frame, in whose pixels it then is."""
    h, w = flow.shape[:2]
    H, W = size
    if (h, w) == (H, W):
        return flow
    # Multiplied while it is small; interpolated it would take ten times as long, for nothing.
    scaled = flow * np.array([W / w, H / h], np.float32)
    return cv2.resize(scaled, (W, H), interpolation=cv2.INTER_NEAREST)


def chain(first, second):
    """Returns the flow along one flow and then another, both float32 [H, W, 2]."""
    moved = cv2.remap(
        second, targets(first), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return first + moved

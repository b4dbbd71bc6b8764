"""Labels of a key frame, or of two, moved to the current frame by flow."""

import functools

import cv2
import numpy as np

from jitnet_tf.distillation.outputs import flow

RESIDUAL_BOX = 7  # pixels of half the frame's size
# Of two keys, the one with the lower cost is taken: a frame of age costs as much as so many gray
# levels of residual.
LEVELS_A_FRAME = 0.1
OUTSIDE = 255.0  # levels that a place outside the key frame costs


class Moved:
    """The labels of a key frame, moved to the current frame.

    Args:
      key: a `Key`.
      age: of its labels, in frames.
      gray: of the current frame, uint8, at the size of the flow.
      to_key: the flow from the current frame to the key, float32 [h, w, 2].
      size: (H, W).

    Attributes:
      labels: uint8 [H, W].
    """

    def __init__(self, key, age, gray, to_key, size):
        self._key, self._age, self._gray, self._to_key = key, age, gray, to_key
        self._half = tuple((side + 1) // 2 for side in size)
        self.labels = flow.warp(key.labels, flow.resize_flow(to_key, size))

    @functools.cached_property
    def _place(self):
        return flow.targets(self._to_key)

    @functools.cached_property
    def residual(self):
        """Gray levels by which the key frame, moved, differs: uint8, at half the frame's size."""
        matched = cv2.remap(
            self._key.gray, self._place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        h, w = self._half
        residual = cv2.resize(
            cv2.absdiff(self._gray, matched), (w, h), interpolation=cv2.INTER_AREA
        )
        return cv2.blur(residual, (RESIDUAL_BOX, RESIDUAL_BOX))

    def at(self, rows, columns):
        """Returns age, residual and whether it is from inside the key frame, of pixels.

        rows, columns: of half the frame's size, int [N].
        """
        h, w = self._half
        flow_h, flow_w = self._to_key.shape[:2]
        x, y = self._place[rows * flow_h // h, columns * flow_w // w].T
        inside = (x >= 0) & (x <= flow_w - 1) & (y >= 0) & (y <= flow_h - 1)
        return self._age, self.residual[rows, columns], inside

    def cost(self, rows, columns):
        """Returns what speaks against the labels of pixels, in gray levels; see `at`."""
        age, residual, inside = self.at(rows, columns)
        return residual + LEVELS_A_FRAME * age + np.where(inside, 0, OUTSIDE)


class FromBothSides:
    """The labels of the key before the current frame and of the one after it, as one `Moved`.

    Where they differ, those count that flow explains better; a little less well, if they are
    nearer in time.

    earlier, later: Moved.
    """

    def __init__(self, earlier, later):
        self._sides = earlier, later
        one, other = (side.labels[::2, ::2] for side in self._sides)
        self._differ = one != other
        self._takes_later = np.zeros(one.shape, bool)
        places = np.nonzero(self._differ)
        costs = (side.cost(*places) for side in self._sides)
        self._takes_later[places] = np.greater(*costs)
        H, W = earlier.labels.shape
        mask = cv2.resize(self._takes_later.view(np.uint8), (W, H), interpolation=cv2.INTER_NEAREST)
        self.labels = cv2.copyTo(later.labels, mask, earlier.labels.copy())

    def at(self, rows, columns):
        """Returns age, residual, inside of the labels taken; the better ones where both agree."""
        one, other = (side.at(rows, columns) for side in self._sides)
        agree = ~self._differ[rows, columns]
        costs = (side.cost(rows, columns) for side in self._sides)
        later = np.where(agree, np.greater(*costs), self._takes_later[rows, columns])
        return tuple(np.where(later, b, a) for a, b in zip(one, other, strict=True))

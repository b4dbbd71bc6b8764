"""Random crops of images: place, scale, aspect, mirroring and colors."""

import dataclasses
import math

import cv2
import numpy as np

# Luma of RGB (ITU-R BT.601): a change of saturation keeps it.
LUMA = np.float32([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random crops of images with their labels and weights.

    Attributes:
      crop: side of the square crop, pixels.
      min_scale, max_scale: range of the scale by which an image is resized, uniform in the
        logarithm. An image is not reduced so far that it no longer fills the crop.
      stretch: greatest ratio of the scales of height and width, at least 1.
      flip: mirror half of the crops.
      color: greatest relative change of brightness, contrast and saturation, 0 for none; the
        single channels change by a quarter of it.
    """

    crop: int
    min_scale: float
    max_scale: float
    stretch: float
    flip: bool
    color: float

    @classmethod
    def of(cls, config):
        """Returns the Augmentation of a PretrainConfig, which has the fields of the same names."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})

    def __call__(self, rng, frame, labels, weights):
        """Returns one random crop.

        Args:
          rng: numpy Generator; the same state gives the same crop.
          frame: uint8 [H, W, 3].
          labels: uint8 [H, W].
          weights: float32 [H, W].

        Returns:
          The same three, [crop, crop]: the frame interpolated, or averaged if reduced; labels and
          weights of the nearest pixel.
        """
        window = self.window(rng, labels.shape)
        crop, labels, weights = (a[window] for a in (frame, labels, weights))
        if labels.shape != (self.crop, self.crop):
            crop = self._resized(crop)
            nearest = self._nearest(labels.shape)
            labels, weights = labels[nearest], weights[nearest]
        if self.flip and rng.random() < 0.5:
            crop, labels, weights = (a[:, ::-1] for a in (crop, labels, weights))
        if self.color:
            crop = cv2.transform(np.ascontiguousarray(crop), self.color_matrix(rng))
        return tuple(map(np.ascontiguousarray, (crop, labels, weights)))

    def _resized(self, frame):
        reduced = frame.shape[0] * frame.shape[1] > self.crop**2
        interpolation = cv2.INTER_AREA if reduced else cv2.INTER_LINEAR
        return cv2.resize(frame, (self.crop, self.crop), interpolation=interpolation)

    def _nearest(self, size):
        """Returns the index of the pixels nearest to those of the crop, for arrays of `size`."""
        centers = np.arange(self.crop) + 0.5
        return np.ix_(*((centers * side / self.crop).astype(int) for side in size))

    def window(self, rng, size):
        """Returns the part of an image of this (H, W) to crop: two slices."""
        logs = np.log([1 / self.max_scale, 1 / self.min_scale])
        side = self.crop * math.exp(rng.uniform(*logs))
        ratio = math.exp(rng.uniform(-0.5, 0.5) * math.log(self.stretch))
        slices = []
        # Reduced in both directions if it does not fit: only `stretch` may change the aspect.
        side = min(side, size[0] / ratio, size[1] * ratio)
        for have, want in zip(size, (side * ratio, side / ratio), strict=True):
            length = min(max(round(want), 1), have)
            start = rng.integers(have - length + 1)
            slices.append(slice(start, start + length))
        return tuple(slices)

    def color_matrix(self, rng):
        """Returns a random affine map of RGB colors, float32 [3, 4]."""
        brightness, contrast, saturation = rng.uniform(-self.color, self.color, 3)
        channels = 1 + rng.uniform(-self.color, self.color, 3) / 4
        mix = (1 + saturation) * np.eye(3) - saturation * LUMA
        matrix = (1 + contrast) * channels[:, None] * mix
        # Contrast is about the middle gray; the unit of brightness is half the range.
        offset = 127.5 * (brightness - contrast)
        return np.column_stack([matrix, np.full(3, offset)]).astype(np.float32)

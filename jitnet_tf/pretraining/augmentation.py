"""Random crops of photographs: place, size, aspect, side and colors."""

import dataclasses
import math

import cv2
import numpy as np

# Luma of RGB (ITU-R BT.601), along which saturation leaves a color where it is.
LUMA = np.float32([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How photographs are varied.

    Attributes:
      crop: side of the square that comes out, pixels.
      min_scale, max_scale: how far a photograph is reduced or magnified, evenly in the logarithm.
        Never reduced below what fills the crop.
      stretch: greatest ratio by which height and width are scaled differently, from 1.
      flip: mirror every other crop.
      color: 0 for none, else the greatest relative change of brightness, contrast and
        saturation; a quarter of it for the single channels.
    """

    crop: int
    min_scale: float
    max_scale: float
    stretch: float
    flip: bool
    color: float

    @classmethod
    def of(cls, config):
        """The one that a PretrainConfig describes, whose fields have the same names."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})

    def __call__(self, rng, frame, labels, weights):
        """One crop.

        Args:
          rng: numpy Generator; the same state gives the same crop.
          frame: uint8 [H, W, 3]; labels: uint8 [H, W]; weights: float32 [H, W].

        Returns:
          The same three, [crop, crop]: the frame interpolated (averaged where reduced), labels
          and weights of the nearest pixel.
        """
        window = self._window(rng, labels.shape)
        crop, labels, weights = (a[window] for a in (frame, labels, weights))
        if crop.shape[:2] != (self.crop, self.crop):
            reduced = crop.shape[0] * crop.shape[1] > self.crop**2
            how = cv2.INTER_AREA if reduced else cv2.INTER_LINEAR
            crop = cv2.resize(crop, (self.crop, self.crop), interpolation=how)
            rows, columns = (
                ((np.arange(self.crop) + 0.5) * side / self.crop).astype(int)
                for side in labels.shape
            )
            nearest = np.ix_(rows, columns)
            labels, weights = labels[nearest], weights[nearest]
        if self.flip and rng.random() < 0.5:
            crop, labels, weights = (a[:, ::-1] for a in (crop, labels, weights))
        if self.color:
            crop = cv2.transform(np.ascontiguousarray(crop), self._colors(rng))
        return tuple(map(np.ascontiguousarray, (crop, labels, weights)))

    def _window(self, rng, size):
        """The part of the photograph to take, as slices."""
        logs = np.log([1 / self.max_scale, 1 / self.min_scale])
        side = self.crop * math.exp(rng.uniform(*logs))
        ratio = math.exp(rng.uniform(-0.5, 0.5) * math.log(self.stretch))
        slices = []
        # Both at once where it would not fit: only `stretch` is to change the aspect.
        side = min(side, size[0] / ratio, size[1] * ratio)
        for have, want in zip(size, (side * ratio, side / ratio), strict=True):
            length = min(max(round(want), 1), have)
            start = rng.integers(have - length + 1)
            slices.append(slice(start, start + length))
        return tuple(slices)

    def _colors(self, rng):
        """A random affine map of colors, float32 [3, 4]."""
        brightness, contrast, saturation = rng.uniform(-self.color, self.color, 3)
        channels = 1 + rng.uniform(-self.color, self.color, 3) / 4
        mix = (1 + saturation) * np.eye(3) - saturation * LUMA
        matrix = (1 + contrast) * channels[:, None] * mix
        # Contrast about the middle grey; brightness in parts of half the range.
        offset = 127.5 * (brightness - contrast)
        return np.column_stack([matrix, np.full(3, offset)]).astype(np.float32)

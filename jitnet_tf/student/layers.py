"""Layers that the architectures share: input, normalization, resizing."""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.base import options
from jitnet_tf.config import StudentConfig
from jitnet_tf.config.names import INPUT_NORMALIZATIONS

_CHOICES = {field.name: about.choices for field, about in options.options(StudentConfig)}
FRAME, _ = NORMALIZATIONS = _CHOICES["normalization"]
CENTERED, RAW, STANDARDIZED = INPUT_NORMALIZATIONS
EPSILON = 1e-5
# The authors pretrain with .997: online, such averages lag hundreds of updates behind the weights.
MOVING_DECAY = 0.9
# These only map 0…255 to -1…1; the network's first normalization adjusts the contrast.
INPUT_MEAN = 127.5
INPUT_SCALE = 127.5
# Mean and scale by the option `input_normalization`: ours; the authors' raw 0…255; EastGit0's
# ImageNet-like statistics, which it states for 0…1.
INPUTS = {
    CENTERED: (INPUT_MEAN, INPUT_SCALE),
    RAW: (0.0, 1.0),
    STANDARDIZED: (
        tuple(255 * mean for mean in (0.439, 0.413, 0.375)),
        tuple(255 * deviation for deviation in (0.243, 0.236, 0.234)),
    ),
}


class FrameNormalization(keras.layers.Layer):
    """Normalizes each channel by the mean and variance of the frame itself, in training and after.

    Moving averages lag behind weights that change at a learning rate of .01; EastGit0's and
    ShadowTutor's students normalize online by the frame's own statistics instead. Each frame of a
    batch has its own statistics, so that a network computes the same for a frame alone and in a
    batch. [B, H, W, C] → [B, H, W, C], same dtype; statistics are computed in float32.

    A frame alone is normalized by TensorFlow's fused batch normalization: on a CPU it takes 2/3 of
    the plain operations' time, forward and backward.
    """

    def __init__(self, name=None):
        # Input and weights keep their dtypes: the kernel needs a float32 scale for any input.
        super().__init__(dtype="float32", autocast=False, name=name)

    def build(self, input_shape):
        """Creates the scale `gamma` and the offset `beta`, one per channel."""
        channels = (input_shape[-1],)
        # The fused kernel needs float32, whatever the compute dtype.
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros")
        super().build(input_shape)

    def call(self, x):
        """Normalizes x, [B, H, W, C]."""
        if x.shape[0] == 1:
            # oneDNN has no fast kernel for bfloat16 if the channels fill no whole vectors.
            computed = x if x.shape[-1] % 16 == 0 else tf.cast(x, tf.float32)
            normalized, *_ = tf.compat.v1.nn.fused_batch_norm(
                computed, self.gamma, self.beta, epsilon=EPSILON, is_training=True
            )
            return tf.cast(normalized, x.dtype)
        mean, variance = tf.nn.moments(tf.cast(x, tf.float32), [1, 2], keepdims=True)
        scale = self.gamma * tf.math.rsqrt(variance + EPSILON)
        offset = self.beta - mean * scale
        return x * tf.cast(scale, x.dtype) + tf.cast(offset, x.dtype)


class InputNormalization(keras.layers.Layer):
    """Normalizes uint8 RGB [B, H, W, 3] as `kind`, one of INPUTS, says, in the compute dtype."""

    def __init__(self, kind=CENTERED, **options):
        super().__init__(**options)
        self._mean, self._scale = INPUTS[kind]

    def call(self, frames):
        """Converts frames to the compute dtype and normalizes them."""
        return (tf.cast(frames, self.compute_dtype) - self._mean) / self._scale


class InputScaling(keras.layers.Layer):
    """Resizes pixels [B, H, W, 3] bilinearly, as the option `input_scale` says.

    Args:
      scale: of height and width, 0…1.
      xla: for XLA; see `ResizeLike`.
    """

    def __init__(self, scale, xla=False, **options):
        super().__init__(**options)
        self._scale = scale
        self._xla = xla

    def call(self, x):
        """Resizes x."""
        size = [
            max(round(side * self._scale), 1)
            if side is not None
            else tf.maximum(tf.cast(tf.round(self._scale * tf.cast(s, tf.float32)), tf.int32), 1)
            for side, s in zip(x.shape[1:3], tf.unstack(tf.shape(x)[1:3]), strict=True)
        ]
        if not self._xla:
            return tf.cast(tf.image.resize(x, size), x.dtype)
        for axis, after in zip((1, 2), size, strict=True):
            before = x.shape[axis]
            place = (np.arange(after) + 0.5) * before / after - 0.5
            x = _resize_side(x, axis, place)
        return x


class ResizeLike(keras.layers.Layer):
    """Resizes x bilinearly to the height and width of `like`, an earlier tensor.

    So odd sizes are restored exactly. Corners are aligned, as in the authors' code.
    [B, h, w, C], [B, H, W, *] → [B, H, W, C].

    Args:
      xla: computes the same by two gathers a side, for static sizes. XLA would turn TensorFlow's
        own operation into a convolution hundreds of pixels wide.
    """

    def __init__(self, xla=False, **options):
        super().__init__(**options)
        self._xla = xla

    def call(self, x, like):
        """Resizes x to the height and width of `like`."""
        if self._xla:
            for axis in (1, 2):
                x = _resize_side(x, axis, np.linspace(0, x.shape[axis] - 1, like.shape[axis]))
            return x
        size = like.shape[1:3] if like.shape[1:3].is_fully_defined() else tf.shape(like)[1:3]
        resized = tf.raw_ops.ResizeBilinear(images=x, size=size, align_corners=True)
        return tf.cast(resized, x.dtype)


def _resize_side(x, axis, place):
    """Interpolates x linearly along one axis, at the places given, float64 [N]."""
    before = x.shape[axis]
    low = np.minimum(place.astype(int), max(before - 2, 0))
    high = np.minimum(low + 1, before - 1)
    part = (place - low).reshape([-1 if i == axis else 1 for i in range(4)])
    part = tf.constant(part, x.dtype)
    return tf.gather(x, low, axis=axis) * (1 - part) + tf.gather(x, high, axis=axis) * part


class Subsample(keras.layers.Layer):
    """Keeps every second row and column, the shortcut of a strided block of unchanged depth.

    It is an average over one pixel: on a CPU that takes 1/7 of a strided slice's time, and its
    gradient 1/5.
    """

    def call(self, x):
        """Subsamples x, [B, H, W, C] → [B, ⌈H/2⌉, ⌈W/2⌉, C]."""
        return tf.nn.avg_pool2d(x, 1, 2, "VALID")


def normalization_layer(normalization, dtype, name):
    """Returns the layer of the option `normalization`, see `jitnet.build_jitnet`. ValueError."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization is {normalization!r}, not one of {NORMALIZATIONS}")
    if normalization == FRAME:
        return FrameNormalization(name=name)
    return keras.layers.BatchNormalization(
        momentum=MOVING_DECAY, epsilon=EPSILON, dtype=dtype, name=name
    )


def network_input(frame_size, dtype, xla, input_scale=1.0, input_normalization=CENTERED):
    """Makes the first layers of all students; the arguments are those of `jitnet.build_jitnet`.

    Returns the Keras input, uint8 [B, H, W, 3], and the normalized and scaled pixels, [B, h, w, 3].
    """
    frames = keras.Input((*frame_size, 3), dtype="uint8", name="frame")
    layer = InputNormalization(input_normalization, dtype=dtype, name="input_normalization")
    x = layer(frames)
    if input_scale != 1:
        x = InputScaling(input_scale, xla, dtype=dtype, name="input_scaling")(x)
    return frames, x

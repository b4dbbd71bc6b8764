"""JITNet, the student network (paper §3.1, figure 2; sizes from the authors' `src/res_seg.py`)."""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.config import ALL_LAYERS, JITNET, LAST_LAYER
from jitnet_tf.student.initial_weights import CLASS_LAYER

NORMALIZATIONS = ("frame", "moving")
EPSILON = 1e-5
# The authors pretrain with .997, which online lags hundreds of updates behind the weights.
MOVING_DECAY = 0.9
# Contrast is left to the first normalisation; this only brings 0…255 near zero mean, unit range.
INPUT_MEAN = 127.5
INPUT_SCALE = 127.5
# Mean and scale by the option `input_normalization`: ours; the authors' raw 0…255; EastGit0's
# ImageNet-like statistics, which it states for 0…1.
INPUTS = {
    "centred": (INPUT_MEAN, INPUT_SCALE),
    "raw": (0.0, 1.0),
    "standardised": (
        tuple(255 * mean for mean in (0.439, 0.413, 0.375)),
        tuple(255 * deviation for deviation in (0.243, 0.236, 0.234)),
    ),
}
# Layers up to the deepest features, by the beginnings of their names.
ENCODER = ("stem", "encoder", "stage")


class FrameNormalization(keras.layers.Layer):
    """Normalises each channel by the mean and variance of the frame itself, when training or not.

    Moving averages lag behind weights that change at a learning rate of .01; EastGit0's and
    ShadowTutor's students normalise online by the frame's own statistics instead. Each frame of a
    batch has its own, so a network means the same for one frame as for a batch of crops.
    [B, H, W, C] → [B, H, W, C], same dtype; statistics are taken in float32.

    One frame is the batch of one that the fused kernel of batch normalisation is for: on a CPU it
    takes 2/3 of the plain operations' time, forward and backward.
    """

    def __init__(self, name=None):
        # Input and weights keep their dtypes: the kernel wants a float32 scale for any input.
        super().__init__(dtype="float32", autocast=False, name=name)

    def build(self, input_shape):
        """Creates the scale `gamma` and the offset `beta`, one per channel."""
        channels = (input_shape[-1],)
        # float32 whatever the compute dtype: the fused kernel wants them so.
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros")
        super().build(input_shape)

    def call(self, x):
        """See the class."""
        if x.shape[0] == 1:
            # oneDNN has no fast kernel for a bfloat16 with channels that fill no vector.
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
    """uint8 RGB [B, H, W, 3] → pixels as `kind`, one of INPUTS, has them, in the compute dtype."""

    def __init__(self, kind="centred", **options):
        super().__init__(**options)
        self._mean, self._scale = INPUTS[kind]

    def call(self, frames):
        """See the class."""
        return (tf.cast(frames, self.compute_dtype) - self._mean) / self._scale


class InputScaling(keras.layers.Layer):
    """Pixels [B, H, W, 3] made smaller, bilinearly: the option `input_scale`.

    Args:
      scale: 0…1, of both sides.
      xla: for XLA; see `ResizeLike`.
    """

    def __init__(self, scale, xla=False, **options):
        super().__init__(**options)
        self._scale = scale
        self._xla = xla

    def call(self, x):
        """See the class."""
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
    """Resizes x bilinearly to the height and width of `like`, as recorded on the way down.

    Sizes are read from tensors, so odd ones come back exactly. Corners are aligned, as in the
    authors' code. [B, h, w, C], [B, H, W, *] → [B, H, W, C].

    Args:
      xla: for XLA, which makes of TensorFlow's own operation a convolution hundreds of pixels
        wide. The same function as two gathers a side; sizes have to be static.
    """

    def __init__(self, xla=False, **options):
        super().__init__(**options)
        self._xla = xla

    def call(self, x, like):
        """See the class."""
        if self._xla:
            for axis in (1, 2):
                x = _resize_side(x, axis, np.linspace(0, x.shape[axis] - 1, like.shape[axis]))
            return x
        size = like.shape[1:3] if like.shape[1:3].is_fully_defined() else tf.shape(like)[1:3]
        resized = tf.raw_ops.ResizeBilinear(images=x, size=size, align_corners=True)
        return tf.cast(resized, x.dtype)


def _resize_side(x, axis, place):
    """Linear interpolation along one axis, at places within it, float64 [N]."""
    before = x.shape[axis]
    low = np.minimum(place.astype(int), max(before - 2, 0))
    high = np.minimum(low + 1, before - 1)
    part = (place - low).reshape([-1 if i == axis else 1 for i in range(4)])
    part = tf.constant(part, x.dtype)
    return tf.gather(x, low, axis=axis) * (1 - part) + tf.gather(x, high, axis=axis) * part


class Subsample(keras.layers.Layer):
    """Keeps every second row and column, the shortcut of a strided block of unchanged depth.

    As the average of one pixel: on a CPU it takes 1/7 of a strided slice's time, its gradient 1/5.
    """

    def call(self, x):
        """See the class."""
        return tf.nn.avg_pool2d(x, 1, 2, "VALID")


def normalization_layer(normalization, dtype, name):
    """The layer that a student's option `normalization` names: see `build_jitnet`."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization is {normalization!r}, not one of {NORMALIZATIONS}")
    if normalization == "frame":
        return FrameNormalization(name=name)
    return keras.layers.BatchNormalization(
        momentum=MOVING_DECAY, epsilon=EPSILON, dtype=dtype, name=name
    )


def network_input(frame_size, dtype, xla, input_scale=1.0, input_normalization="centred"):
    """The first layers of all students; the arguments are `build_jitnet`'s.

    Returns the Keras input, and what comes next [B, h, w, 3].
    """
    frames = keras.Input((*frame_size, 3), dtype="uint8", name="frame")
    layer = InputNormalization(input_normalization, dtype=dtype, name="input_normalization")
    x = layer(frames)
    if input_scale != 1:
        x = InputScaling(input_scale, xla, dtype=dtype, name="input_scaling")(x)
    return frames, x


def build_jitnet(
    num_classes,
    *,
    width=0.5,
    units=1,
    skip=True,
    separable=False,
    normalization="frame",
    dtype="float32",
    frame_size=(None, None),
    xla=False,
    input_scale=1.0,
    input_normalization="centred",
):
    """Builds the student.

    Args:
      num_classes: classes including background (id 0), 2…255.
      width: channel multiplier. .5 is the network that the paper times (Table 1's 15.2 GFLOP),
        1.0 the one that has its 3 M parameters.
      units: residual units per encoder and decoder block (authors: 1 online, 2 for COCO).
      skip: concatenate encoder features to the decoder at strides 16 and 8 (§3.1).
      separable: replace every 3×3 after the stem by a depthwise 3×3 and a pointwise 1×1.
      normalization: 'frame' (each frame's own statistics) or 'moving' (batch normalisation with
        moving averages at inference, as the authors pretrain; see MOVING_DECAY).
      dtype: Keras dtype policy, e.g. 'float32' or 'mixed_bfloat16'.
      frame_size: (H, W) where known, for static shapes; weights do not depend on it.
      xla: made to be compiled by XLA (see `ResizeLike`), which needs frame_size; same function.
      input_scale: of the frames on their way in, 0…1; logits have the frames' own size.
      input_normalization: 'centred' (-1…1), 'raw' (0…255, the authors), or 'standardised'
        (EastGit0).

    Returns:
      A Keras model: uint8 RGB frames [B, H, W, 3] of any size → float32 logits
      [B, H, W, num_classes]. Input normalisation is inside.
    """
    floor = 8 if num_classes <= 8 else 16 if num_classes <= 16 else 32

    def depth(channels, least=8):
        return max(int(channels * width), least)

    def normalize_relu(x, name):
        x = normalization_layer(normalization, dtype, f"{name}_norm")(x)
        return keras.layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)

    def conv(x, filters, kernel, name, stride=1, bias=True, kind=keras.layers.Conv2D):
        padding = "same"
        if stride == 2 and kernel == 3:
            # Centres each window on the pixel that the shortcut keeps, whatever the size's parity.
            x = keras.layers.ZeroPadding2D(1, dtype=dtype, name=f"{name}_pad")(x)
            padding = "valid"
        init = "kernel" if kind is keras.layers.Conv2D else "pointwise"
        inits = {f"{init}_initializer": "he_normal"}
        layer = kind(
            filters, kernel, stride, padding, use_bias=bias, dtype=dtype, name=name, **inits
        )
        return layer(x)

    def conv3x3(x, filters, name, stride=1, stem=False):
        kind = keras.layers.SeparableConv2D if separable and not stem else keras.layers.Conv2D
        return normalize_relu(conv(x, filters, 3, name, stride, bias=False, kind=kind), name)

    def unit(x, filters, stride, name):
        """A modified residual unit: 3×3, then the second 3×3 as a 1×3 and a 3×1 (§3.1)."""
        preact = normalize_relu(x, f"{name}_preact")
        if x.shape[-1] != filters:
            shortcut = conv(preact, filters, 1, f"{name}_shortcut", stride)
        else:
            shortcut = Subsample(dtype=dtype, name=f"{name}_shortcut")(x) if stride == 2 else x
        residual = conv3x3(preact, filters, f"{name}_3x3", stride)
        residual = conv(residual, filters, (1, 3), f"{name}_1x3")
        residual = conv(residual, filters, (3, 1), f"{name}_3x1")
        return keras.layers.Add(dtype=dtype, name=f"{name}_add")([shortcut, residual])

    def block(x, filters, name, stride=1):
        for i in range(units):
            x = unit(x, filters, stride if i == 0 else 1, f"{name}_unit{i + 1}")
        return x

    def resize(x, like, name):
        return ResizeLike(xla, dtype=dtype, name=name)(x, like)

    def join(x, encoded, name):
        x = resize(x, encoded, f"{name}_resize")
        return keras.layers.Concatenate(dtype=dtype, name=name)([encoded, x]) if skip else x

    frames, x = network_input(frame_size, dtype, xla, input_scale, input_normalization)
    stride2 = conv3x3(x, depth(16), "stem1", 2, stem=True)
    stride4 = conv3x3(stride2, depth(64), "stem2", 2, stem=True)
    stride8 = block(stride4, depth(128), "encoder1", 2)
    stride16 = block(stride8, depth(128), "encoder2", 2)
    stride32 = block(stride16, depth(256), "encoder3", 2)
    x = block(stride32, depth(256, floor), "decoder1")
    x = block(join(x, stride16, "join16"), depth(128, floor), "decoder2")
    x = block(join(x, stride8, "join8"), depth(64, floor), "decoder3")
    x = resize(resize(x, stride4, "resize4"), stride2, "resize2")
    x = conv3x3(x, depth(64, floor), "head1")
    x = conv3x3(x, depth(16, floor), "head2")
    x = resize(x, frames, "resize1")
    x = conv(x, num_classes, 1, CLASS_LAYER)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits_float32")(x)
    return keras.Model(frames, logits, name=JITNET)


def at_half_size(model):
    """The same network without its last resizing: logits of every second row and column.

    `build_jitnet`'s logits come from a 1×1 convolution, which commutes with resizing: logits at
    full size are these, resized. The layers, and so the weights, are the same. None of a network
    that does not end so.
    """
    names = {layer.name for layer in model.layers}
    if model.name != JITNET or "input_scaling" in names:
        return None
    x = model.get_layer("head2_relu").output
    for name in (CLASS_LAYER, "logits_float32"):
        x = model.get_layer(name)(x)
    return keras.Model(model.input, x, name="jitnet_half_size")


def updated_variables(model, part):
    """The trainable variables of a part of a network of this package.

    part: 'all' (§3.2 of the paper), 'decoder' (all after the encoder), or 'last' (the layer that
    makes logits).
    """

    def is_in(layer):
        if part == LAST_LAYER:
            return layer.name == CLASS_LAYER
        return part == ALL_LAYERS or not layer.name.startswith(ENCODER)

    return [v for layer in model.layers if is_in(layer) for v in layer.trainable_variables]

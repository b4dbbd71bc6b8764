"""JITNet, the student network (paper §3.1, figure 2; sizes from the authors' `src/res_seg.py`)."""

from tensorflow import keras

from jitnet_tf.student.base import CLASS_LAYER, Architecture
from jitnet_tf.student.layers import ResizeLike, Subsample, network_input, normalization_layer


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
    input_normalization="centered",
):
    """Builds the network.

    Args:
      num_classes: classes including background (id 0), 2…255.
      width: channel multiplier. At .5 the network has the 15.2 GFLOP of the paper's Table 1, at
        1.0 its 3 M parameters.
      units: residual units per encoder and decoder block (authors: 1 online, 2 for COCO).
      skip: concatenate encoder features to the decoder at strides 16 and 8 (§3.1).
      separable: replace every 3×3 after the stem by a depthwise 3×3 and a pointwise 1×1.
      normalization: 'frame' (each frame's own statistics) or 'moving' (batch normalization with
        moving averages at inference, as the authors pretrain; see `layers.MOVING_DECAY`).
      dtype: Keras dtype policy, e.g. 'float32' or 'mixed_bfloat16'.
      frame_size: (H, W) where known, for static shapes; weights do not depend on it.
      xla: builds the same function for XLA (see `ResizeLike`); frame_size has to be given.
      input_scale: scale of the frames at the first layer, 0…1; logits have the frames' own size.
      input_normalization: 'centered' (-1…1), 'raw' (0…255, the authors), or 'standardized'
        (EastGit0).

    Returns:
      A Keras model: uint8 RGB frames [B, H, W, 3] of any size → float32 logits
      [B, H, W, num_classes]. Input normalization is inside.
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
            # Centers each window on the pixel that the shortcut keeps, whatever the size's parity.
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
        """Builds a residual unit whose second 3×3 is replaced by a 1×3 and a 3×1 (§3.1)."""
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
    return keras.Model(frames, logits, name="jitnet")


class JITNet(Architecture):
    """The paper's student network."""

    encoder_layers = ("stem", "encoder")

    def build(self, num_classes, config, *, dtype, frame_size, xla):
        """Builds the network with the options of a StudentConfig; see `build_jitnet`."""
        return build_jitnet(
            num_classes,
            width=config.width,
            units=config.units,
            skip=config.skip,
            separable=config.separable,
            normalization=config.normalization,
            dtype=dtype,
            frame_size=frame_size,
            xla=xla,
            input_scale=config.input_scale,
            input_normalization=config.input_normalization,
        )

    def half_resolution(self, model):
        """Returns the network without its last resizing, or None if it scales its input.

        The last layer is a 1×1 convolution, which commutes with resizing: the network's logits
        are these logits, of every second row and column, resized. Layers and weights are shared.
        """
        if "input_scaling" in {layer.name for layer in model.layers}:
            return None
        x = model.get_layer("head2_relu").output
        for name in (CLASS_LAYER, "logits_float32"):
            x = model.get_layer(name)(x)
        return keras.Model(model.input, x, name="jitnet_half_size")

"""MobileNetV2 with DeepLab's head, a student of an off-the-shelf architecture (§3.1).

Encoder: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 2,
at output stride 16 by atrous convolution, with image-level features beside its last layer, as in
their §6 and in TensorFlow's DeepLab model zoo ([35] and [43] of the paper). Decoder: DeepLabv3+'s
(Chen et al., 2018) with fewer channels, which adds the encoder's features of stride 4. The paper
does not say which decoder its MobileNetV2 student has.
"""

from tensorflow import keras

from jitnet_tf.student.base import CLASS_LAYER, Architecture
from jitnet_tf.student.layers import ResizeLike, network_input, normalization_layer

STEM = 32
# Table 2's rows: expansion, channels, units, stride. The row of 160 channels has stride 2 there. At
# output stride 16 it has stride 1, and all units after its first are atrous.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
OUTPUT_STRIDE = 16
DECODER_STRIDE = 4
ENCODED = 256  # channels of DeepLab's encoder output and of its image-level features
LOW_LEVEL = 48  # channels of the decoder's features of stride 4
DECODED = 64  # DeepLabv3+ has 256, for 21 classes learned offline


def build_mobilenetv2(
    num_classes,
    *,
    normalization="frame",
    dtype="float32",
    frame_size=(None, None),
    xla=False,
    input_scale=1.0,
    input_normalization="centered",
):
    """Builds the network; arguments and the returned model are as in `jitnet.build_jitnet`."""

    def normalize(x, name):
        return normalization_layer(normalization, dtype, f"{name}_norm")(x)

    def relu6(x, name):
        return keras.layers.ReLU(6.0, dtype=dtype, name=f"{name}_relu")(x)

    def pad(x, stride, name):
        """Pads as JITNet does, so that windows do not move with the parity of the size."""
        if stride == 1:
            return x, "same"
        return keras.layers.ZeroPadding2D(1, dtype=dtype, name=f"{name}_pad")(x), "valid"

    def conv(x, filters, name, kernel=1, stride=1, bias=False):
        x, padding = pad(x, stride, name)
        layer = keras.layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            use_bias=bias,
            kernel_initializer="he_normal",
            dtype=dtype,
            name=name,
        )
        return layer(x)

    def depthwise(x, name, stride=1, rate=1):
        x, padding = pad(x, stride, name)
        # He's normal initialization for nine inputs of each output.
        init = keras.initializers.TruncatedNormal(stddev=(2 / 9) ** 0.5)
        layer = keras.layers.DepthwiseConv2D(
            3,
            stride,
            padding,
            dilation_rate=rate,
            use_bias=False,
            depthwise_initializer=init,
            dtype=dtype,
            name=name,
        )
        return relu6(normalize(layer(x), name), name)

    def unit(x, expansion, filters, stride, rate, name):
        """Builds an inverted residual: expansion, depthwise 3×3, linear projection."""
        expanded = x
        if expansion > 1:
            expanded = conv(x, expansion * x.shape[-1], f"{name}_expand")
            expanded = relu6(normalize(expanded, f"{name}_expand"), f"{name}_expand")
        residual = depthwise(expanded, f"{name}_depthwise", stride, rate)
        residual = normalize(conv(residual, filters, f"{name}_project"), f"{name}_project")
        if stride > 1 or x.shape[-1] != filters:
            return residual
        return keras.layers.Add(dtype=dtype, name=f"{name}_add")([x, residual])

    def resize(x, like, name):
        return ResizeLike(xla, dtype=dtype, name=name)(x, like)

    def conv_relu6(x, filters, name):
        return relu6(normalize(conv(x, filters, name), name), name)

    def separable(x, filters, name):
        return conv_relu6(depthwise(x, f"{name}_depthwise"), filters, f"{name}_pointwise")

    def join(parts, name):
        return keras.layers.Concatenate(dtype=dtype, name=name)(parts)

    frames, x = network_input(frame_size, dtype, xla, input_scale, input_normalization)
    x = relu6(normalize(conv(x, STEM, "stem", kernel=3, stride=2), "stem"), "stem")
    at, rate, low_level = 2, 1, None
    for row, (expansion, filters, units, stride) in enumerate(STAGES, start=1):
        atrous = 1
        if at * stride > OUTPUT_STRIDE:
            atrous, stride = stride, 1
        for i in range(units):
            x = unit(
                x, expansion, filters, stride if i == 0 else 1, rate, f"stage{row}_unit{i + 1}"
            )
            if i == 0:
                at, rate = at * stride, rate * atrous
        if at == DECODER_STRIDE:
            low_level = x

    encoded = conv_relu6(x, ENCODED, "encoded")
    image = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype=dtype, name="image_pool")(x)
    # Not normalized, unlike DeepLab's: one pixel normalized by its own statistics is always 0.
    image = relu6(conv(image, ENCODED, "image", bias=True), "image")
    x = join([encoded, resize(image, encoded, "image_resize")], "join16")
    x = conv_relu6(x, ENCODED, "joined")
    low_level = conv_relu6(low_level, LOW_LEVEL, "low_level")
    x = join([resize(x, low_level, "resize4"), low_level], "join4")
    x = separable(separable(x, DECODED, "decoder1"), DECODED, "decoder2")
    # A 1×1 convolution commutes with bilinear resizing; there are fewer classes than channels.
    x = conv(x, num_classes, CLASS_LAYER, bias=True)
    x = resize(x, frames, "resize1")
    logits = keras.layers.Activation("linear", dtype="float32", name="logits_float32")(x)
    return keras.Model(frames, logits, name="mobilenetv2")


class MobileNetV2(Architecture):
    """MobileNetV2 with DeepLab's head."""

    encoder_layers = ("stem", "stage")

    def build(self, num_classes, config, *, dtype, frame_size, xla):
        """Builds the network with the options of a StudentConfig."""
        return build_mobilenetv2(
            num_classes,
            normalization=config.normalization,
            dtype=dtype,
            frame_size=frame_size,
            xla=xla,
            input_scale=config.input_scale,
            input_normalization=config.input_normalization,
        )

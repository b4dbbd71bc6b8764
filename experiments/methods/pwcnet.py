"""PWC-Net, the optical flow of the paper's flow baselines (§5.4), in TensorFlow.

Sun et al., PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume (CVPR 2018,
arXiv:1709.02371). Layers, their names and the treatment of images follow the authors' PyTorch code,
NVlabs/PWC-Net, `models/PWCNet.py` and `script_pwc.py`, so that its weights can be used. They are
licensed for non-commercial use, and are not part of this project. To convert them, with PyTorch:

    state = torch.load("pwc_net.pth.tar", map_location="cpu")
    numpy.savez("pwc_net.npz", **{k: v.numpy() for k, v in state.get("state_dict", state).items()})
"""

import cv2
import numpy as np
import tensorflow as tf
from tensorflow import keras

from experiments.methods import converted_weights, pwcnet_operations
from jitnet_tf.base.errors import UserError

# dense: the published class PWCDCNet, 9.37 M parameters. small: PWC-Net-small of Sun et al.'s
# table of model sizes, without dense connections, 4.08 M; its weights were never published. The
# sizes of that table are those of a pyramid of two convolutions a level; PWCDCNet has three.
KINDS = ("dense", "small")
PYRAMID = (16, 32, 64, 96, 128, 196)  # channels at strides 2…64, the levels 1…6
ESTIMATOR = (128, 128, 96, 64, 32)
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))  # channels, dilation
LAST_LEVEL = 2  # flow is estimated down from level 6 to this one
SLOPE = 0.1
FLOW_SCALE = 20  # the network's flow is in units of 20 pixels of the frame
MULTIPLE = 64  # sizes are multiples of level 6's stride
# Published, but unused: the class defines this layer and never applies it.
UNUSED_WEIGHTS = {"deconv2.weight", "deconv2.bias"}


class Normalize(keras.layers.Layer):
    """Maps RGB 0…255 to BGR 0…1 (`script_pwc.py`)."""

    def call(self, image):
        """[B, H, W, 3] → [B, H, W, 3]."""
        return image[..., ::-1] / 255.0


class CostVolume(keras.layers.Layer):
    """Matches features within 4 pixels; see `pwcnet_operations.correlation_cost`."""

    def call(self, first, second):
        """[B, h, w, C] twice → [B, h, w, 81]."""
        return pwcnet_operations.correlation_cost(first, second)


class Warp(keras.layers.Layer):
    """Warps the other frame's features to this frame by the flow.

    [B, h, w, C] and (dx, dy) [B, h, w, 2] → [B, h, w, C]: at (y, x), features[y + dy, x + dx],
    bilinear, and 0 outside the image. This is the published `warp`: PyTorch's grid_sample, masked
    where one of its four pixels is outside.

    Args:
      scale: pixels of this level per unit of the flow.
    """

    def __init__(self, scale, **options):
        super().__init__(**options)
        self._scale = scale

    def call(self, features, flow):
        """Features [B, h, w, C] and flow [B, h, w, 2] → [B, h, w, C]."""
        flow = flow * self._scale
        height, width = features.shape[1:3]
        x = tf.range(width, dtype=tf.float32) + flow[..., 0]
        y = tf.range(height, dtype=tf.float32)[:, tf.newaxis] + flow[..., 1]
        inside = _inside(x, width) * _inside(y, height)
        inside = tf.where(inside < 0.9999, 0.0, inside)
        return (
            pwcnet_operations.dense_image_warp(features, -flow[..., ::-1]) * inside[..., tf.newaxis]
        )


def _inside(place, size):
    """Returns the part of a bilinear sample's weights, along one axis, inside 0…size - 1."""
    return tf.clip_by_value(tf.minimum(place + 1, size - place), 0.0, 1.0)


def build_pwcnet(kind, size):
    """Builds PWC-Net with random weights.

    Args:
      kind: 'dense' or 'small': see KINDS.
      size: (H, W), multiples of 64.

    Returns:
      A Keras model: two frames, float32 RGB 0…255 [B, H, W, 3] → flows in units of 20 pixels of
      the frame, (dx, dy) such that frame[y, x] ≈ other[y + dy, x + dx], float32
      [B, H / s, W / s, 2] for s in 4, 8, 16, 32, 64. The first is the result; the others are for
      training. Layers are named as the published ones.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, not one of {KINDS}")
    if any(side % MULTIPLE for side in size):
        raise ValueError(f"size is {size}, not multiples of {MULTIPLE}")
    dense = kind == "dense"

    def conv(filters, name, stride=1, dilation=1):
        """Makes a 3×3 convolution with its activation, to be applied once or to both frames."""
        # With stride 2, TensorFlow's "same" pads less above and left; PyTorch pads both sides.
        pad = keras.layers.ZeroPadding2D(1) if stride == 2 else None
        layer = keras.layers.Conv2D(
            filters,
            3,
            stride,
            "valid" if pad else "same",
            dilation_rate=dilation,
            kernel_initializer="he_normal",
            name=name,
        )
        activation = keras.layers.LeakyReLU(SLOPE)
        return lambda x: activation(layer(pad(x) if pad else x))

    def conv_flow(x, name):
        return keras.layers.Conv2D(2, 3, 1, "same", kernel_initializer="he_normal", name=name)(x)

    def upsample(x, name):
        return keras.layers.Conv2DTranspose(
            2, 4, 2, "same", kernel_initializer="he_normal", name=name
        )(x)

    def join(*parts):
        return keras.layers.Concatenate()(list(parts))

    frames = [keras.Input((*size, 3), name=name) for name in ("frame", "other")]
    normalize = Normalize()
    features = [[normalize(x)] for x in frames]  # of each frame, by level; level 0 is the image
    for level, filters in enumerate(PYRAMID, 1):
        names = ("a", "aa", "b") if dense else ("a", "b")
        if dense and level == 6:  # sic
            names = ("aa", "a", "b")
        for i, name in enumerate(names):
            layer = conv(filters, f"conv{level}{name}", stride=2 if i == 0 else 1)
            for pyramid in features:
                if i == 0:
                    pyramid.append(layer(pyramid[-1]))
                else:
                    pyramid[-1] = layer(pyramid[-1])

    x, flows = None, []
    for level in range(len(PYRAMID), LAST_LEVEL - 1, -1):
        first, second = (pyramid[level] for pyramid in features)
        if flows:
            up_flow = upsample(flows[-1], f"deconv{level + 1}")
            up_features = upsample(x, f"upfeat{level + 1}")
            second = Warp(FLOW_SCALE / 2**level)(second, up_flow)
        x = keras.layers.LeakyReLU(SLOPE)(CostVolume()(first, second))
        if flows:
            x = join(x, first, up_flow, up_features)
        for i, filters in enumerate(ESTIMATOR):
            found = conv(filters, f"conv{level}_{i}")(x)
            x = join(found, x) if dense else found
        flows.append(conv_flow(x, f"predict_flow{level}"))
    for i, (filters, dilation) in enumerate(CONTEXT, 1):
        x = conv(filters, f"dc_conv{i}", dilation=dilation)(x)
    flows[-1] = keras.layers.Add()([flows[-1], conv_flow(x, "dc_conv7")])
    return keras.Model(frames, flows[::-1], name=f"pwcnet_{kind}")


def published_names(model):
    """Returns a model's weights by their published names: {name in state_dict: variable}."""
    names = {}
    for layer in model.layers:
        if layer.weights:
            # PyTorch's convolutions with an activation are the first part of a Sequential.
            alone = layer.name.startswith(("predict_flow", "deconv", "upfeat", "dc_conv7"))
            prefix = layer.name if alone else f"{layer.name}.0"
            names[f"{prefix}.weight"] = layer.kernel
            names[f"{prefix}.bias"] = layer.bias
    return names


def load_weights(model, path):
    """Sets a model of `build_pwcnet` to weights converted from PyTorch; see the module.

    Raises UserError; see `converted_weights.load`.
    """
    converted_weights.load(path, published_names(model), model.name, UNUSED_WEIGHTS)


class PWCNet:
    """Estimates optical flow between two frames of one size.

    Args:
      kind: 'dense' or 'small': see KINDS.
      weights_path: the weights: see `load_weights`.
      frame_size: (H, W) in pixels.

    Raises:
      UserError: the weights are missing or unusable.
    """

    def __init__(self, kind, weights_path, frame_size):
        if not weights_path:
            raise UserError(
                f"PWC-Net ({kind}) has no weights: {converted_weights.CONVERT} and give that file "
                f"as --pwcnet_{kind}, or give --flow=dis"
            )
        self.frame_size = tuple(frame_size)
        self._size = tuple(-(-side // MULTIPLE) * MULTIPLE for side in self.frame_size)
        self.model = build_pwcnet(kind, self._size)
        load_weights(self.model, weights_path)
        frame = tf.TensorSpec((*self._size, 3), tf.uint8)
        self._estimate = tf.function(self._estimate_step, [frame, frame])
        self._estimate.get_concrete_function()

    def __call__(self, frame, other):
        """Estimates the flow from a frame to another.

        frame, other: uint8 RGB [H, W, 3]. Returns float32 [H, W, 2], (dx, dy) in pixels such that
        frame[y, x] ≈ other[y + dy, x + dx].
        """
        for image in (frame, other):  # another size would scale the flow wrongly
            if image.shape != (*self.frame_size, 3):
                raise ValueError(f"a frame is {image.shape}, not {(*self.frame_size, 3)}")
        # Resized by OpenCV, as integers, as in script_pwc.py that the weights were published with.
        (height, width), (resized_height, resized_width) = self.frame_size, self._size
        frame, other = (cv2.resize(x, (resized_width, resized_height)) for x in (frame, other))
        flow = cv2.resize(self._estimate(frame, other).numpy(), (width, height))
        return flow * np.float32([width / resized_width, height / resized_height])

    def _estimate_step(self, frame, other):
        frames = [tf.cast(x[tf.newaxis], tf.float32) for x in (frame, other)]
        return self.model(frames, training=False)[0][0] * FLOW_SCALE

"""The network of OSVOS (see `osvos`), and weights converted from the published ones.

Names of weights are those of the authors' PyTorch code, kmaninis/OSVOS-PyTorch,
`networks/vgg_osvos.py`, so that its parent network can be used: VGG-16 trained on ImageNet and then
on DAVIS, which is no part of this project. To convert it, with PyTorch:

    state = torch.load("parent_epoch-239.pth", map_location="cpu")
    numpy.savez("osvos_parent.npz", **{k: v.numpy() for k, v in state.items()})
"""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from experiments.methods import converted_weights

STAGES = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)  # VGG-16 without its last pool
SIDE_CHANNELS = 16  # what each stage but the first passes on to the result
MEAN = (104.00699, 116.66877, 122.67892)  # BGR, of ImageNet


class Normalize(keras.layers.Layer):
    """RGB 0…255 → BGR less its mean."""

    def call(self, image):
        """See the class."""
        return image[..., ::-1] - tf.constant(MEAN)


class Upsample(keras.layers.Layer):
    """Brings one channel to an image's size: a fixed bilinear deconvolution and a central crop.

    [B, h, w, 1] and the image [B, H, W, C] → [B, H, W, 1]. factor: of the size, a power of 2.
    """

    def __init__(self, factor, **options):
        super().__init__(**options)
        self._factor = factor
        ramp = 1 - np.abs(np.arange(2 * factor) - (factor - 0.5)) / factor
        self._kernel = np.outer(ramp, ramp).astype(np.float32)[..., np.newaxis, np.newaxis]

    def call(self, x, image):
        """See the class."""
        batch, height, width = (tf.shape(x)[i] for i in range(3))
        factor = self._factor
        size = ((height + 1) * factor, (width + 1) * factor)
        x = tf.nn.conv2d_transpose(x, self._kernel, (batch, *size, 1), factor, "VALID")
        wanted = tf.shape(image)[1], tf.shape(image)[2]
        top, left = ((have - want) // 2 for have, want in zip(size, wanted, strict=True))
        x = x[:, top : top + wanted[0], left : left + wanted[1]]
        return tf.ensure_shape(x, (*image.shape[:3], 1))


class Fuse(keras.layers.Layer):
    """The 1×1 convolution of all side features, upsampled and side by side.

    Upsampling treats all channels alike and so may come second: the same within rounding, for a
    sixteenth of the work and memory.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self._upsample = [Upsample(2**i) for i in range(1, len(STAGES))]

    def build(self, *_):
        """See keras.layers.Layer."""
        shape = (1, 1, SIDE_CHANNELS * len(self._upsample), 1)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=small())
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")
        self.built = True

    def call(self, sides, image):
        """Features [B, h, w, 16] of each stage, the image [B, H, W, C] → [B, H, W, 1]."""
        kernels = tf.split(tf.convert_to_tensor(self.kernel), len(sides), axis=2)
        parts = [
            upsample(tf.nn.conv2d(side, kernel, 1, "SAME"), image)
            for side, kernel, upsample in zip(sides, kernels, self._upsample, strict=True)
        ]
        return tf.add_n(parts) + self.bias


def small():
    """The published initial values of all that is not VGG's."""
    return keras.initializers.RandomNormal(stddev=0.001)


def build_osvos():
    """Builds the network with random weights: He's in VGG, as published in the layers beside it.

    Returns:
      A Keras model: frames of any size, float32 RGB 0…255 [B, H, W, 3] → logits of the foreground,
      float32 [B, H, W, 1], of the stages 2, 3, 4 and 5 alone, which only the training of a parent
      network uses, and at last the result's.
    """
    frame = keras.Input((None, None, 3), name="frame")
    x = Normalize()(frame)
    sides, outputs = [], []
    for stage, channels in enumerate(STAGES):
        if stage:
            x = keras.layers.MaxPooling2D(2, 2, "same")(x)
        for i, filters in enumerate(channels):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                # Its place in PyTorch's Sequential, between ReLUs and after a pool.
                name=f"stages_{stage}_{2 * i + (stage > 0)}",
            )(x)
        if stage:
            conv = keras.layers.Conv2D(
                SIDE_CHANNELS,
                3,
                padding="same",
                kernel_initializer=small(),
                name=f"side_prep_{stage - 1}",
            )
            sides.append(conv(x))
            score = keras.layers.Conv2D(
                1, 1, kernel_initializer=small(), name=f"score_dsn_{stage - 1}"
            )
            outputs.append(Upsample(2**stage)(score(sides[-1]), frame))
    outputs.append(Fuse(name="fuse")(sides, frame))
    return keras.Model(frame, outputs, name="osvos")


def published_name(layer):
    """A layer's name in the published code: 'stages_1_3' is stages.1.3, 'side_prep_0' side_prep.0.

    Keras allows no dots in names.
    """
    part, _, numbers = layer.partition("stages_")
    if numbers:
        return "stages." + numbers.replace("_", ".")
    part, _, number = layer.rpartition("_")
    return f"{part}.{number}" if part else layer


def published_names(model):
    """The published names of a model's weights: name in PyTorch's state_dict → variable."""
    names = {}
    for layer in model.layers:
        if layer.weights:
            names[f"{published_name(layer.name)}.weight"] = layer.kernel
            names[f"{published_name(layer.name)}.bias"] = layer.bias
    return names


def load_weights(model, path):
    """Gives a model of `build_osvos` weights converted from PyTorch (see the module).

    Upsampling, which the file has as well, is fixed there and here. UserError: see
    `converted.load`.
    """
    unused = {f"{name}.{i}.weight" for name in ("upscale", "upscale_") for i in range(4)}
    converted_weights.load(path, published_names(model), "OSVOS", unused)

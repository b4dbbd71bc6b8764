"""The network of OSVOS in TensorFlow: its layers, its loss and its fine-tuning.

Network, loss and fine-tuning follow the authors' code, scaelles/OSVOS-TensorFlow (`osvos.py`,
`dataset.py`, `osvos_demo.py`), without the paper's boundary snapping, which that code lacks too.

Names of weights are those of the authors' PyTorch code, kmaninis/OSVOS-PyTorch,
`networks/vgg_osvos.py`, so that its parent network can be used: VGG-16 trained on ImageNet and then
on DAVIS. It is not part of this project. To convert it, with PyTorch:

    state = torch.load("parent_epoch-239.pth", map_location="cpu")
    numpy.savez("osvos_parent.npz", **{k: v.numpy() for k, v in state.items()})
"""

import functools
import math
import time

import cv2
import numpy as np
import tensorflow as tf
from tensorflow import keras

from experiments.methods import converted_weights
from jitnet_tf.distillation.training import DivergedError
from jitnet_tf.student.devices import make_repeatable

STAGES = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)  # VGG-16 without its last pool
SIDE_CHANNELS = 16  # of the features that each stage but the first adds to the result
MEAN = (104.00699, 116.66877, 122.67892)  # BGR, of ImageNet
AUGMENTATION_SCALES = (0.5, 0.8, 1.0)  # each also mirrored
THRESHOLD = 162 / 255  # least probability of a foreground pixel
# Fine-tuning of a parent network, as published; see `OSVOS` for random weights.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-8, 0.9, 2e-4
# The best of 1e-4 to 1e-3 with up to 100 steps, on the first 30 frames of animals-horses and of
# animals-dog-person; with 200 steps or more, 1e-3 is as good on the first and better on the second.
# SGD at .01, He's initialization of all layers, and weight decay were no better.
RANDOM_LEARNING_RATE = 3e-4


class Normalize(keras.layers.Layer):
    """Maps RGB 0…255 to BGR minus the mean of ImageNet."""

    def call(self, image):
        """Converts an image, [B, H, W, 3] → [B, H, W, 3]."""
        return image[..., ::-1] - tf.constant(MEAN)


class Upsample(keras.layers.Layer):
    """Upsamples one channel to an image's size by a fixed bilinear deconvolution and a center crop.

    factor: a power of 2, of height and width.
    """

    def __init__(self, factor, **options):
        super().__init__(**options)
        self._factor = factor
        ramp = 1 - np.abs(np.arange(2 * factor) - (factor - 0.5)) / factor
        self._kernel = np.outer(ramp, ramp).astype(np.float32)[..., np.newaxis, np.newaxis]

    def call(self, x, image):
        """Upsamples x, [B, h, w, 1], to the size of the image, [B, H, W, C] → [B, H, W, 1]."""
        batch, height, width = (tf.shape(x)[i] for i in range(3))
        factor = self._factor
        size = ((height + 1) * factor, (width + 1) * factor)
        x = tf.nn.conv2d_transpose(x, self._kernel, (batch, *size, 1), factor, "VALID")
        wanted = tf.shape(image)[1], tf.shape(image)[2]
        top, left = ((have - want) // 2 for have, want in zip(size, wanted, strict=True))
        x = x[:, top : top + wanted[0], left : left + wanted[1]]
        return tf.ensure_shape(x, (*image.shape[:3], 1))


class Fuse(keras.layers.Layer):
    """Convolves the side features of all stages, upsampled and concatenated, by 1×1.

    It upsamples after the convolution, not before: the same within rounding, as upsampling treats
    all channels alike, for a sixteenth of the work and memory.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self._upsample = [Upsample(2**i) for i in range(1, len(STAGES))]

    def build(self, *_):
        """Creates kernel and bias."""
        shape = (1, 1, SIDE_CHANNELS * len(self._upsample), 1)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=small())
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")
        self.built = True

    def call(self, sides, image):
        """Fuses features [B, h, w, 16] of each stage to the image's size → [B, H, W, 1]."""
        kernels = tf.split(tf.convert_to_tensor(self.kernel), len(sides), axis=2)
        parts = [
            upsample(tf.nn.conv2d(side, kernel, 1, "SAME"), image)
            for side, kernel, upsample in zip(sides, kernels, self._upsample, strict=True)
        ]
        return tf.add_n(parts) + self.bias


def small():
    """Returns the published initializer of all layers that are not VGG's."""
    return keras.initializers.RandomNormal(stddev=0.001)


def build_osvos():
    """Builds the network with random weights: He's in VGG, and as published in the other layers.

    Returns:
      A Keras model: frames of any size, float32 RGB 0…255 [B, H, W, 3] → a list of logits of the
      foreground, float32 [B, H, W, 1]: those of stages 2 to 5, which only the training of a parent
      network uses, then those of the result.
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
                # The number is its place in PyTorch's Sequential, which counts ReLUs and pools.
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
    """Returns a layer's name in the published code: 'stages_1_3' → 'stages.1.3'.

    Keras allows no dots in names.
    """
    part, _, numbers = layer.partition("stages_")
    if numbers:
        return "stages." + numbers.replace("_", ".")
    part, _, number = layer.rpartition("_")
    return f"{part}.{number}" if part else layer


def published_names(model):
    """Returns a model's weights by their published names: {name in state_dict: variable}."""
    names = {}
    for layer in model.layers:
        if layer.weights:
            names[f"{published_name(layer.name)}.weight"] = layer.kernel
            names[f"{published_name(layer.name)}.bias"] = layer.bias
    return names


def load_weights(model, path):
    """Sets a model of `build_osvos` to weights converted from PyTorch; see the module.

    The upsampling filters in the file are ignored: they are fixed. Raises UserError, see
    `converted_weights.load`.
    """
    unused = {f"{name}.{i}.weight" for name in ("upscale", "upscale_") for i in range(4)}
    converted_weights.load(path, published_names(model), "OSVOS", unused)


def balanced_cross_entropy(mask, logits):
    """Returns the published loss, summed over pixels; foreground and background weigh the same.

    mask: float32, 1 in the foreground, 0 elsewhere. logits: float32 of the same shape. Returns a
    float32 scalar; 0 for a mask that is all foreground or all background.
    """
    foreground = tf.reduce_mean(mask)
    weights = tf.where(mask > 0, 1 - foreground, foreground)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=mask, logits=logits)
    return tf.reduce_sum(weights * losses)


class OSVOS:
    """Learns the foreground of one frame and finds it in others of the same size.

    Converted weights are fine-tuned as published: SGD at LEARNING_RATE on the summed loss, with
    WEIGHT_DECAY, biases at twice the rate and the fusion at a hundredth of it. Random weights learn
    nothing that way; they are trained by Adam at RANDOM_LEARNING_RATE on the mean loss, without
    decay.

    Args:
      frame_size: (H, W) in pixels.
      weights_path: see `load_weights`; None: random weights.
      scale: scale of the frames at the first layer; masks have the frame's size.
      seed: of random weights and of the order of augmentations.

    Raises:
      UserError: the weights are unusable.
    """

    def __init__(self, frame_size, weights_path=None, scale=1.0, seed=0):
        make_repeatable(seed)
        self.frame_size = tuple(frame_size)
        self._size = scaled(self.frame_size, scale)
        self._random = np.random.default_rng(seed)
        self.model = build_osvos()
        self._is_published = weights_path is not None
        if self._is_published:
            load_weights(self.model, weights_path)
            self._optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
        else:
            self._optimizer = keras.optimizers.Adam(RANDOM_LEARNING_RATE)
        self._trained = {  # not the scores of single stages
            name: variable
            for name, variable in published_names(self.model).items()
            if not name.startswith("score_dsn")
        }
        self._optimizer.build(list(self._trained.values()))
        frame, mask = tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((None, None), tf.bool)
        compiled = functools.partial(tf.function, autograph=False)
        self._infer = compiled(self._infer_step, [frame])
        self._update = compiled(self._update_step, [frame, mask])
        self._initial = [variable.numpy() for variable in self._state()]
        self._warm_up()

    def start(self, keeps_weights):
        """Begins a fine-tuning.

        keeps_weights: start from the last weights, not from the initial ones. Momentum starts at 0
        either way, as in each run of the published code. Adam's moments stay with the weights:
        without them its first steps are too long where gradients are tiny, which once turned an IoU
        of .73 on animals-horses into .43.
        """
        if keeps_weights and not self._is_published:
            return
        kept = len(self.model.weights) if keeps_weights else 0
        for variable, value in list(zip(self._state(), self._initial, strict=True))[kept:]:
            variable.assign(value)

    def fine_tune(self, frame, mask, steps, seconds, on_step=lambda: None):
        """Learns the foreground of a frame, in three sizes and mirrored; one image a step.

        It does nothing for a mask that is all foreground or background: the published loss is 0.

        Args:
          frame: uint8 RGB [H, W, 3].
          mask: bool [H, W].
          steps: greatest number of steps.
          seconds: no step begins later than that.
          on_step: called after each step.

        Returns:
          The loss before each step, a list.

        Raises:
          DivergedError: a loss became NaN or infinite.
        """
        if mask.all() or not mask.any():
            return []
        start, losses = time.perf_counter(), []
        images, waiting = self._augmented(frame, mask), []
        while len(losses) < steps and time.perf_counter() - start < seconds:
            waiting = waiting or self._random.permutation(len(images)).tolist()
            losses.append(float(self._update(*images[waiting.pop()])))
            if not math.isfinite(losses[-1]):
                raise DivergedError(
                    f"OSVOS diverged at step {len(losses)} of a fine-tuning (loss {losses[-1]}): "
                    "try another --seed, or other --osvos_weights"
                )
            on_step()
        return losses

    def segment(self, frame):
        """Finds the foreground: uint8 RGB [H, W, 3] → bool [H, W]."""
        logits = self._infer(_resized(frame, self._size)).numpy()
        height, width = self.frame_size
        return cv2.resize(logits, (width, height)) > math.log(THRESHOLD / (1 - THRESHOLD))

    def _augmented(self, frame, mask):
        images = []
        for scale in AUGMENTATION_SCALES:
            height, width = size = scaled(self._size, scale)
            image = _resized(frame, size)
            target = cv2.resize(
                mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
            ).astype(bool)
            images += [(image, target), (image[:, ::-1], target[:, ::-1])]
        return images

    def _warm_up(self):
        """Runs every step once, as first runs take longer, and restores the weights."""
        frame, mask = np.zeros((*self.frame_size, 3), np.uint8), np.zeros(self.frame_size, bool)
        for example in self._augmented(frame, mask)[::2]:
            self._update(*example)
        self.segment(frame)
        self.start(keeps_weights=False)

    def _state(self):
        return [*self.model.weights, *self._optimizer.variables]

    def _infer_step(self, frame):
        return self._logits(frame)[0, ..., 0]

    def _logits(self, frame):
        return self.model(tf.cast(frame[tf.newaxis], tf.float32))[-1]

    def _update_step(self, frame, mask):
        mask = tf.cast(mask[tf.newaxis, ..., tf.newaxis], tf.float32)
        variables = list(self._trained.values())
        with tf.GradientTape() as tape:
            loss = balanced_cross_entropy(mask, self._logits(frame))
            if not self._is_published:
                loss /= tf.cast(tf.size(mask), tf.float32)
        gradients = tape.gradient(loss, variables)
        if self._is_published:
            gradients = [
                published_rate(name) * (gradient + weight_decay(name) * variable)
                for (name, variable), gradient in zip(self._trained.items(), gradients, strict=True)
            ]
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss


def published_rate(name):
    """Returns a weight's part of the learning rate, by its published name (`parameter_lr`)."""
    return (0.01 if name.startswith("fuse") else 1.0) * (2.0 if name.endswith("bias") else 1.0)


def weight_decay(name):
    """Returns a weight's decay, by its published name."""
    return 0.0 if name.endswith("bias") else WEIGHT_DECAY


def scaled(size, scale):
    """Returns (H, W) at a scale, in whole pixels, at least one."""
    return tuple(max(int(side * scale), 1) for side in size)


def _resized(frame, size):
    if frame.shape[:2] == tuple(size):
        return frame
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)

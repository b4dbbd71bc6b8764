"""OSVOS, the video object segmentation that the paper compares with (§5.5), in TensorFlow.

Caelles et al., One-Shot Video Object Segmentation (CVPR 2017, arXiv:1611.05198). Network, loss and
fine-tuning follow the authors' code, scaelles/OSVOS-TensorFlow: `osvos.py`, `dataset.py` and
`osvos_demo.py`, without the paper's boundary snapping, which is not in it either.

That code is also what JITNet's authors ran, by a script found in an index of public code that does
not tell its repository (`osvos_seg.py`, with `osvos_dataset.py`): on 480×854 frames, 500 steps on
every 30th, "30 sec runtime on GCE V100", for 3600 frames from the 5400th on, of a stream's first
class. It takes height for width when it resizes what the network learns from; not so here.
"""

import functools
import hashlib
import math
import pathlib
import time

import cv2
import numpy as np
import tensorflow as tf
from tensorflow import keras

from experiments.methods.osvos_network import build_osvos, load_weights, published_names
from jitnet_tf.distillation.distiller import DivergedError
from jitnet_tf.distillation.result import FrameResult, TeacherFrame
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch
from jitnet_tf.student.devices import make_repeatable

AUGMENTATION_SCALES = (0.5, 0.8, 1.0)  # each also mirrored
THRESHOLD = 162 / 255  # the probability from which a pixel is foreground
# Fine-tuning of a parent network, as published; see `OSVOS` for that of random weights.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-8, 0.9, 2e-4
# The best of 1e-4 to 1e-3 with up to 100 steps, on the first 30 frames of animals-horses and of
# animals-dog-person; from 200 on, 1e-3 is as good on the one and better on the other. SGD at .01,
# He's weights beside VGG, too, and weight decay were no better.
RANDOM_LEARNING_RATE = 3e-4


def origin(weights_path, seed):
    """What a network starts from, in words."""
    if not weights_path:
        return f"random, seed {seed}"
    digest = hashlib.sha256(pathlib.Path(weights_path).read_bytes()).hexdigest()
    return f"{pathlib.Path(weights_path).name}, sha256 {digest}"


def balanced_cross_entropy(mask, logits):
    """The published loss: both sides of a mask weigh the same, however small. Summed over pixels.

    mask: float32, 1 in the foreground, 0 elsewhere; logits: float32; both of one shape. Returns a
    float32 scalar; 0 for a mask that is all one side.
    """
    foreground = tf.reduce_mean(mask)
    weights = tf.where(mask > 0, 1 - foreground, foreground)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=mask, logits=logits)
    return tf.reduce_sum(weights * losses)


class OSVOS:
    """The network on frames of one size: learns one frame's foreground, and finds it in others.

    From converted weights it is fine-tuned as published: SGD at LEARNING_RATE on the summed loss,
    with WEIGHT_DECAY, offsets twice as fast as kernels and the fusion at a hundredth. From random
    weights that learns nothing; there it is Adam at RANDOM_LEARNING_RATE on the mean loss, without
    decay.

    Args:
      frame_size: (H, W) in pixels.
      weights_path: see `load_weights`; None: random weights.
      scale: of frames on their way into the network; what it finds has the frame's size again.
      seed: of random weights and of the order of augmentations.

    Raises:
      UserError: the weights cannot be used.
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
        self._trained = {  # the scores of single stages are not
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

        keeps_weights: go on from the last one's weights, not from the initial ones. Momentum starts
        anew with either, as in each run of the published code. What Adam has learned of gradients
        stays with the weights: without, its first steps are as long where gradients are tiny, which
        on animals-horses once made .43 of an IoU of .73.
        """
        if keeps_weights and not self._is_published:
            return
        kept = len(self.model.weights) if keeps_weights else 0
        for variable, value in list(zip(self._state(), self._initial, strict=True))[kept:]:
            variable.assign(value)

    def fine_tune(self, frame, mask, steps, seconds, on_step=lambda: None):
        """Learns the foreground of a frame, in three sizes and mirrored, one of them a step.

        From a mask that is all one side there is nothing to learn: the published loss is 0.

        Args:
          frame: uint8 RGB [H, W, 3].
          mask: bool [H, W].
          steps: at most so many.
          seconds: no step begins later than so many.
          on_step: called after each.

        Returns:
          The loss before each step, a list.

        Raises:
          DivergedError: a loss is no number.
        """
        if mask.all() or not mask.any():
            return []
        start, losses = time.perf_counter(), []
        pictures, waiting = self._augmented(frame, mask), []
        while len(losses) < steps and time.perf_counter() - start < seconds:
            waiting = waiting or self._random.permutation(len(pictures)).tolist()
            losses.append(float(self._update(*pictures[waiting.pop()])))
            if not math.isfinite(losses[-1]):
                raise DivergedError(
                    f"OSVOS diverged at step {len(losses)} of a fine-tuning (loss {losses[-1]}): "
                    "try another --seed, or other --osvos_weights"
                )
            on_step()
        return losses

    def segment(self, frame):
        """Where the foreground is: uint8 RGB [H, W, 3] → bool [H, W]."""
        logits = self._infer(_resized(frame, self._size)).numpy()
        height, width = self.frame_size
        return cv2.resize(logits, (width, height)) > math.log(THRESHOLD / (1 - THRESHOLD))

    def _augmented(self, frame, mask):
        pictures = []
        for scale in AUGMENTATION_SCALES:
            height, width = size = scaled(self._size, scale)
            picture = _resized(frame, size)
            target = cv2.resize(
                mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
            ).astype(bool)
            pictures += [(picture, target), (picture[:, ::-1], target[:, ::-1])]
        return pictures

    def _warm_up(self):
        """Runs everything once and undoes what it changed: first runs take longer."""
        frame, mask = np.zeros((*self.frame_size, 3), np.uint8), np.zeros(self.frame_size, bool)
        for picture in self._augmented(frame, mask)[::2]:
            self._update(*picture)
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
    """A weight's share of the learning rate, by its published name (`parameter_lr`)."""
    return (0.01 if name.startswith("fuse") else 1.0) * (2.0 if name.endswith("bias") else 1.0)


def weight_decay(name):
    """A weight's decay, by its published name."""
    return 0.0 if name.endswith("bias") else WEIGHT_DECAY


def scaled(size, scale):
    """(H, W) at a scale, in whole pixels, at least one."""
    return tuple(max(int(side * scale), 1) for side in size)


def _resized(frame, size):
    if frame.shape[:2] == tuple(size):
        return frame
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)


class OneShotSegmentation(Segmenter):
    """Asks the teacher now and then, and has OSVOS find one class of its label until next time.

    A teacher frame, too, shows what the network makes of it, after it has learned the label, as a
    student's does. Where the label has no pixel of the class, it learns nothing, as published, and
    finds what it finds with the weights that it then has. (To learn there that all is background
    cost mode A .05 of IoU on 420 frames of fixed-one-by-one-person.)

    Args:
      network: an OSVOS.
      teacher, label_maker: as the Distiller's.
      class_id: of the foreground; all other pixels of a prediction are 0.
      stride: frames from one teacher frame to the next; the paper's is 30.
      keeps_weights: whether a fine-tuning goes on from the last one's weights (the paper's mode A)
        or from the initial ones (B); see `OSVOS.start`.
      steps, seconds, on_step: see `OSVOS.fine_tune`. Steps that seconds cut off count as done for
        on_step.
    """

    def __init__(
        self,
        network,
        teacher,
        label_maker,
        class_id,
        *,
        stride,
        keeps_weights,
        steps,
        seconds,
        on_step=lambda: None,
    ):
        self._network = network
        self._teacher = teacher
        self._label_maker = label_maker
        self._class_id = class_id
        self._stride = stride
        self._keeps_weights = keeps_weights
        self._steps = steps
        self._seconds = seconds
        self._on_step = on_step
        self.index = 0

    def step(self, frame):
        """Segments the next frame, uint8 RGB [H, W, 3], after learning where the teacher is due."""
        watch, labels = Stopwatch(), None
        if self.index % self._stride == 0:
            with watch("teacher"):
                detections = self._teacher(frame, self.index)
            with watch("labels"):
                labels = self._label_maker.labels(detections, frame.shape[:2])
            with watch("update"):
                losses = self._learn(frame, labels == self._class_id)
        with watch("infer"):
            foreground = self._network.segment(frame)
        prediction = foreground.astype(np.uint8) * self._class_id
        result = FrameResult(self.index, frame, prediction, self._stride, watch.seconds)
        if labels is not None:
            result.teacher = TeacherFrame(
                self.index, frame, labels, prediction, losses=tuple(losses)
            )
        self.index += 1
        return result

    def _learn(self, frame, mask):
        self._network.start(self._keeps_weights)
        losses = self._network.fine_tune(frame, mask, self._steps, self._seconds, self._on_step)
        for _ in range(self._steps - len(losses)):
            self._on_step()
        return losses


def make(context, stride, keeps_weights):
    """The segmenter of a `methods.Context`, of the first of its stream's classes."""
    settings, names = context.settings, context.label_maker.groups.names
    network = OSVOS(context.frame_size, settings.osvos_weights, settings.osvos_scale, settings.seed)
    return OneShotSegmentation(
        network,
        context.teacher,
        context.label_maker,
        names.index(context.stream.classes[0]),
        stride=stride,
        keeps_weights=keeps_weights,
        steps=settings.osvos_steps,
        seconds=settings.osvos_seconds,
        on_step=context.on_step,
    )

"""The student on one stream: compiled inference and update steps on a Keras model."""

import functools

import numpy as np
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.config.names import ADAM, SGD
from jitnet_tf.student import fused_head
from jitnet_tf.student import weights as network_weights
from jitnet_tf.student.architectures import half_resolution
from jitnet_tf.student.base import StudentProtocol, Trial
from jitnet_tf.student.loss import weighted_cross_entropy


class Student(StudentProtocol):
    """Segments frames of one size and learns from labels.

    The steps are tf.functions with static signatures, traced when first called: every frame costs
    the same but the first (see `warm_up`).

    Args:
      model: Keras model, uint8 frames [B, H, W, 3] → float32 logits [B, H, W, C].
      frame_size: (H, W) in pixels.
      learning_rate, momentum: of the optimizer.
      optimizer: 'sgd', the paper's stochastic gradient descent (§3.2), or 'adam', ShadowTutor's,
        with `momentum` as its first decay.
      variables: the variables of the model that updates change; None: all trainable ones (§3.2).
      xla: compile by XLA. The model should be built for it, too: see `Architecture.build`.
      fused: if the network allows it, compute class ids and loss from logits at half size (see
        `fused_head`): equal within rounding, and faster.
      ignored: the region to ignore, bool [H, W]: class ids are background there, and a Trial's
        confusion leaves it out. Labels have to be background there, and weights 0.
    """

    def __init__(
        self,
        model,
        frame_size,
        *,
        learning_rate=0.01,
        momentum=0.9,
        optimizer=SGD,
        variables=None,
        xla=False,
        fused=True,
        ignored=None,
    ):
        self.model = model
        self.frame_size = tuple(frame_size)
        self._half = half_resolution(model) if fused else None
        self._counted = None if ignored is None else tf.constant(~ignored, tf.uint8)
        self._ignored_pixels = 0 if ignored is None else int(np.count_nonzero(ignored))
        self._updated = list(model.trainable_variables if variables is None else variables)
        if optimizer == ADAM:
            self.optimizer = keras.optimizers.Adam(learning_rate, beta_1=momentum)
        else:
            self.optimizer = keras.optimizers.SGD(learning_rate, momentum=momentum)
        # Momentum variables have to exist before tracing: a function may not create any later.
        self.optimizer.build(self._updated)
        frame = tf.TensorSpec((*self.frame_size, 3), tf.uint8, "frame")
        labels = tf.TensorSpec(self.frame_size, tf.uint8, "labels")
        weights = tf.TensorSpec(self.frame_size, tf.float32, "weights")
        threshold = tf.TensorSpec((), tf.float64, "threshold")
        # AutoGraph would double the time that tracing takes; no step has loops over tensors.
        compiled = functools.partial(tf.function, jit_compile=xla, autograph=False)
        self._infer = compiled(self._infer_step, [frame])
        self._infer_with_logits = compiled(self._infer_with_logits_step, [frame])
        self._update = compiled(self._update_step, [frame, labels, weights])
        self._train = compiled(self._train_step)
        # One forward pass serves inference and update if it is the same in both.
        differs = any(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)
        shares = self._half is not None and not differs
        attempt = self._shared_attempt_step if shares else self._separate_attempt_step
        self._attempt = compiled(attempt, [frame, labels, weights, threshold])

    def infer(self, frame):
        """Segments a frame: uint8 RGB [H, W, 3] → class ids, uint8 [H, W]."""
        return self._infer(frame).numpy()

    def infer_with_logits(self, frame):
        """Segments a frame and returns the logits at half its size, rounded up.

        frame: uint8 RGB [H, W, 3]. Returns class ids, uint8 [H, W], and float32 [h, w, C].
        """
        class_ids, logits = self._infer_with_logits(frame)
        return class_ids.numpy(), _view(logits)

    def attempt(self, frame, labels, weights, threshold):
        """Segments a frame and, if its mean IoU is below `threshold`, updates on it.

        Where it can, the update reuses the forward pass, which makes both a quarter cheaper.

        Args:
          frame, labels, weights: as for `update`.
          threshold: mean IoU, 0…1, as `metrics.mean_iou` defines it; 0 never updates.

        Returns:
          A Trial.
        """
        class_ids, counts, wanted, loss = self._attempt(frame, labels, weights, threshold)
        loss = float(loss) if wanted else None
        prediction, confusion = class_ids.numpy(), counts.numpy().astype(np.int64)
        # Background in both maps, which no accuracy depends on.
        confusion[0, 0] -= self._ignored_pixels
        return Trial(prediction, confusion, loss)

    def update(self, frame, labels, weights):
        """Takes one step of gradient descent on a frame.

        frame: uint8 [H, W, 3]; labels: uint8 [H, W]; weights: float32 [H, W]. Returns the loss
        before the step.
        """
        return float(self._update(frame, labels, weights))

    def train(self, frames, labels, weights):
        """Takes one step of gradient descent on a batch.

        frames: uint8 [B, H, W, 3]; labels: uint8 [B, H, W]; weights: float32 [B, H, W]. Traced at
        the first batch of each B. Returns the mean loss before the step.
        """
        batch = (tf.constant(array) for array in (frames, labels, weights))
        return float(self._train(*batch))

    def set_learning_rate(self, learning_rate):
        """Changes the learning rate from the next step on."""
        self.optimizer.learning_rate.assign(learning_rate)

    def warm_up(self, frame):
        """Runs every step once and restores the state: first runs take longer."""
        state = self.get_state()
        labels, weights = np.zeros(self.frame_size, np.uint8), np.ones(self.frame_size, np.float32)
        self.infer(frame)
        self.attempt(frame, labels, weights, threshold=2.0)  # above any accuracy: updates
        self.set_state(state)

    def get_state(self):
        """Returns everything that training changes, as {name: array}: see `set_state`."""
        return network_weights.arrays(self._variables())

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where names or shapes differ."""
        network_weights.assign(self._variables(), state)

    def _infer_step(self, frame):
        return self._segment(frame)[0]

    def _infer_with_logits_step(self, frame):
        return self._segment(frame)

    def _segment(self, frame):
        """Returns the class ids, uint8 [H, W], and logits of half size, float32 [h, w, C]."""
        if self._half is not None:
            logits = self._half(frame[tf.newaxis], training=False)[0]
            return self._class_ids(logits), logits
        logits = self.model(frame[tf.newaxis], training=False)[0]
        class_ids = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
        return self.without_ignored(class_ids), logits[::2, ::2]

    def _update_step(self, frame, labels, weights):
        return self._train_step(frame[tf.newaxis], labels[tf.newaxis], weights[tf.newaxis])

    def _train_step(self, frames, labels, weights):
        with tf.GradientTape() as tape:
            loss = self._loss(frames, labels, weights)
        self._apply_gradients(tape.gradient(loss, self._updated))
        return loss

    def _loss(self, frames, labels, weights):
        if self._half is None:
            logits = self.model(frames, training=True)
            return weighted_cross_entropy(labels, logits, weights)
        logits = self._half(frames, training=True)
        batch = zip(*map(tf.unstack, (labels, logits, weights)), strict=True)
        return tf.reduce_mean([fused_head.weighted_cross_entropy(*frame) for frame in batch])

    def _shared_attempt_step(self, frame, labels, weights, threshold):
        with tf.GradientTape() as tape:
            logits = self._half(frame[tf.newaxis], training=True)[0]
        class_ids = self._class_ids(logits)
        counts, wanted = score_in_graph(labels, class_ids, logits.shape[-1], threshold)

        def update():
            with tf.GradientTape() as loss_tape:
                loss_tape.watch(logits)
                loss = fused_head.weighted_cross_entropy(labels, logits, weights)
            gradient = loss_tape.gradient(loss, logits)
            self._apply_gradients(tape.gradient(logits, self._updated, gradient))
            return loss

        return class_ids, counts, wanted, tf.cond(wanted, update, lambda: 0.0)

    def _separate_attempt_step(self, frame, labels, weights, threshold):
        class_ids, logits = self._segment(frame)
        counts, wanted = score_in_graph(labels, class_ids, logits.shape[-1], threshold)
        loss = tf.cond(wanted, lambda: self._update_step(frame, labels, weights), lambda: 0.0)
        return class_ids, counts, wanted, loss

    def _class_ids(self, logits):
        return self.without_ignored(fused_head.class_ids(logits, self.frame_size))

    def without_ignored(self, class_ids):
        """Returns class ids, integers […, H, W], with background in the ignored region."""
        if self._counted is None:
            return class_ids
        return class_ids * tf.cast(self._counted, class_ids.dtype)

    def probabilities(self, logits):
        """Returns those of logits, float32 [N, H, W, C]; in the ignored region background has 1."""
        found = tf.nn.softmax(logits)
        if self._counted is None:
            return found
        return tf.where(self._counted[..., None] > 0, found, tf.one_hot(0, logits.shape[-1]))

    def _apply_gradients(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self._updated, strict=True))

    def _variables(self):
        if isinstance(self.optimizer, keras.optimizers.SGD):
            prefix, variables = "momentum", self.optimizer.momentums
        else:
            prefix, variables = "optimizer", self.optimizer.variables
        state = {f"{prefix}/{i:03d}": variable for i, variable in enumerate(variables)}
        return {**network_weights.named(self.model), **state}


def _view(tensor):
    """Returns a tensor's values, read-only: not copied where they are in the CPU's memory."""
    on_cpu = "CPU" in tensor.backing_device
    return np.asarray(memoryview(tensor)) if on_cpu else tensor.numpy()


def score_in_graph(labels, class_ids, num_classes, threshold):
    """Lines 8 and 9 of Algorithm 1 in TensorFlow; see `metrics.confusion`, `metrics.mean_iou`.

    labels, class_ids: uint8 [H, W]. Returns the confusion, int32 [C, C], and whether its mean IoU
    is below the threshold.
    """
    pairs = tf.cast(labels, tf.int32) * num_classes + tf.cast(class_ids, tf.int32)
    # Not tf.math.bincount: for XLA, the number of bins has to be a constant.
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(pairs, [-1]), size=num_classes**2, weights=tf.constant([], tf.int32)
    )
    counts = tf.reshape(counts, [num_classes, num_classes])
    hits = tf.linalg.diag_part(counts)
    union = tf.reduce_sum(counts, 0) + tf.reduce_sum(counts, 1) - hits
    hits, union = (tf.cast(x[1:], tf.float64) for x in (hits, union))  # without background
    present = tf.reduce_sum(tf.cast(union > 0, tf.float64))
    # One after the other, as numpy adds up to seven numbers: an accuracy equal to the threshold is.
    total = sum(tf.unstack(tf.math.divide_no_nan(hits, union)))
    accuracy = tf.where(present > 0, total / tf.maximum(present, 1.0), 1.0)
    return counts, accuracy < threshold

"""A student on one stream: its compiled inference and update steps, and all its weights."""

import dataclasses
import functools
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.config import ADAM, JITNET, MOBILENETV2, SGD
from jitnet_tf.student import fused_head, initial_weights, weights
from jitnet_tf.student.jitnet import at_half_size, build_jitnet, updated_variables
from jitnet_tf.student.loss import weighted_cross_entropy
from jitnet_tf.student.mobilenetv2 import build_mobilenetv2

BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16")  # as Linux names them


def has_gpu():
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def computes_bfloat16_fast():
    """Whether bfloat16 has arithmetic units here.

    Any CUDA GPU since Ampere has, and a CPU with AMX or with AVX-512's own instructions for it.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        return capability is not None and capability >= (8, 0)
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return any(f" {unit}" in text for unit in BFLOAT16_UNITS)


def use_xla(choice):
    """Whether to compile by XLA, for 'on', 'off' or 'auto': on a GPU only."""
    return choice == "on" or (choice == "auto" and has_gpu())


def dtype_policy(precision):
    """The Keras dtype policy for a precision of 'float32', 'bfloat16' or 'auto'.

    Weights, statistics, logits and loss are float32 in either; bfloat16 is for what lies between.
    """
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16_fast() else "float32"
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]


def build_network(num_classes, config, frame_size=(None, None), xla=False):
    """The network that a StudentConfig describes; see `model.build_jitnet`."""
    options = dataclasses.asdict(config)
    name, policy = options.pop("student"), dtype_policy(options.pop("precision"))
    build = {JITNET: build_jitnet, MOBILENETV2: build_mobilenetv2}[name]
    for option in () if name == JITNET else ("width", "units", "skip", "separable"):
        del options[option]
    return build(num_classes, **options, dtype=policy, frame_size=frame_size, xla=xla)


def make_repeatable(seed):
    """Seeds all that is random, and has a CPU compute the same to the last bit each time."""
    keras.utils.set_random_seed(seed)
    if not has_gpu():  # where it would cost much, and reject kernels
        tf.config.experimental.enable_op_determinism()


class Student:
    """Segments frames of one size and learns from labels.

    Both steps are tf.functions with static signatures, traced when first called: what a frame
    costs does not depend on which frame it is, but for the first (see `warm_up`).

    Args:
      model: Keras model, uint8 frames [B, H, W, 3] → float32 logits [B, H, W, C]; any that does.
      frame_size: (H, W) in pixels.
      learning_rate, momentum: of the optimizer.
      optimizer: 'sgd', the paper's stochastic gradient descent (§3.2), or 'adam', ShadowTutor's,
        with `momentum` as its first decay.
      variables: those of the model that updates change; None: all trainable ones (§3.2).
      xla: compile by XLA. The model should be made for it, too: see `build_jitnet`.
      fused: compute a JITNet's class ids and loss from logits at half size, by `full_size`: the
        same within rounding, and faster.
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
    ):
        self.model = model
        self.frame_size = tuple(frame_size)
        self._at_half_size = at_half_size(model) if fused else None
        self._updated = list(model.trainable_variables if variables is None else variables)
        if optimizer == ADAM:
            self.optimizer = keras.optimizers.Adam(learning_rate, beta_1=momentum)
        else:
            self.optimizer = keras.optimizers.SGD(learning_rate, momentum=momentum)
        # The momentum has to exist before tracing; a function may not make variables later on.
        self.optimizer.build(self._updated)
        frame = tf.TensorSpec((*self.frame_size, 3), tf.uint8, "frame")
        labels = tf.TensorSpec(self.frame_size, tf.uint8, "labels")
        weights = tf.TensorSpec(self.frame_size, tf.float32, "weights")
        # AutoGraph would double the time that tracing takes; no step has loops over tensors.
        compiled = functools.partial(tf.function, jit_compile=xla, autograph=False)
        self._infer = compiled(self._infer_step, [frame])
        self._update = compiled(self._update_step, [frame, labels, weights])
        self._train = compiled(self._train_step)
        # Where the forward pass is the same in training. XLA does without: no calls of Python.
        moves = any(isinstance(x, keras.layers.BatchNormalization) for x in model.layers)
        self._attempt = None
        if self._at_half_size and not moves and not xla:
            self._attempt = compiled(self._attempt_step, [frame, labels, weights])
        self._wants_update = None

    def infer(self, frame):
        """Segments a frame: uint8 RGB [H, W, 3] → class ids uint8 [H, W]."""
        return self._infer(frame).numpy()

    def attempt(self, frame, labels, weights, wants_update):
        """Segments a frame as `infer` does and, if need be, updates on it as `update` does.

        Both share a forward pass where they can, which makes them a quarter cheaper.

        Args:
          frame, labels, weights: as for `update`.
          wants_update: called with the class ids, uint8 [H, W]; whether to update.

        Returns:
          The loss before the update, None without one.
        """
        if self._attempt is None:
            wanted = wants_update(self.infer(frame))
            return self.update(frame, labels, weights) if wanted else None
        self._wants_update = wants_update
        wanted, loss = self._attempt(frame, labels, weights)
        self._wants_update = None
        return float(loss) if wanted else None

    def update(self, frame, labels, weights):
        """Takes one step of gradient descent on a frame.

        frame: uint8 [H, W, 3]; labels: uint8 [H, W]; weights: float32 [H, W]. Returns the loss
        before the step.
        """
        return float(self._update(frame, labels, weights))

    def train(self, frames, labels, weights):
        """Takes one step of gradient descent on a batch, as `update` on a frame.

        frames: uint8 [B, H, W, 3]; labels: uint8 [B, H, W]; weights: float32 [B, H, W]. Traced at
        the first batch of each B. Returns the mean loss before the step.
        """
        batch = (tf.constant(array) for array in (frames, labels, weights))
        return float(self._train(*batch))

    def set_learning_rate(self, learning_rate):
        """Changes the learning rate from the next step on."""
        self.optimizer.learning_rate.assign(learning_rate)

    def _infer_step(self, frame):
        if self._at_half_size:
            return self._class_ids_step(self._at_half_size(frame[tf.newaxis], training=False)[0])
        logits = self.model(frame[tf.newaxis], training=False)[0]
        return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)

    def _update_step(self, frame, labels, weights):
        return self._train_step(frame[tf.newaxis], labels[tf.newaxis], weights[tf.newaxis])

    def _train_step(self, frames, labels, weights):
        with tf.GradientTape() as tape:
            loss = self._loss(frames, labels, weights)
        self._apply_step(tape.gradient(loss, self._updated))
        return loss

    def _loss(self, frames, labels, weights):
        if self._at_half_size is None:
            logits = self.model(frames, training=True)
            return weighted_cross_entropy(labels, logits, weights)
        logits = self._at_half_size(frames, training=True)
        batch = zip(*map(tf.unstack, (labels, logits, weights)), strict=True)
        return tf.reduce_mean([fused_head.weighted_cross_entropy(*frame) for frame in batch])

    def _attempt_step(self, frame, labels, weights):
        with tf.GradientTape() as tape:
            logits = self._at_half_size(frame[tf.newaxis], training=True)[0]
        class_ids = self._class_ids_step(logits)
        # Not in the graph: whether to update is the schedule's decision.
        wanted = tf.numpy_function(lambda ids: bool(self._wants_update(ids)), [class_ids], tf.bool)
        wanted = tf.ensure_shape(wanted, [])

        def update():
            with tf.GradientTape() as loss_tape:
                loss_tape.watch(logits)
                loss = fused_head.weighted_cross_entropy(labels, logits, weights)
            gradient = loss_tape.gradient(loss, logits)
            self._apply_step(tape.gradient(logits, self._updated, gradient))
            return loss

        return wanted, tf.cond(wanted, update, lambda: 0.0)

    def _class_ids_step(self, logits):
        return fused_head.class_ids(logits, self.frame_size)

    def _apply_step(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self._updated, strict=True))

    def warm_up(self, frame):
        """Runs the steps once and undoes what they changed: first runs take longer."""
        state = self.get_state()
        labels, weights = np.zeros(self.frame_size, np.uint8), np.ones(self.frame_size, np.float32)
        self.infer(frame)
        self.attempt(frame, labels, weights, lambda class_ids: True)
        self.set_state(state)

    def get_state(self):
        """Everything that training changes, as {name: array}: see `set_state`."""
        return weights.arrays(self._variables())

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where names or shapes differ."""
        weights.assign(self._variables(), state)

    def _variables(self):
        if isinstance(self.optimizer, keras.optimizers.SGD):
            prefix, variables = "momentum", self.optimizer.momentums
        else:
            prefix, variables = "optimizer", self.optimizer.variables
        state = {f"{prefix}/{i:03d}": variable for i, variable in enumerate(variables)}
        return {**weights.named(self.model), **state}


def make_student(config, groups, frame_size):
    """The student that a RunConfig describes.

    groups: ClassGroups, the classes that it tells apart. frame_size: (H, W) of the frames.

    Raises:
      UserError: the weights to start from do not fit.
    """
    make_repeatable(config.seed)
    xla = use_xla(config.xla)
    model = build_network(len(groups.names), config.student, frame_size, xla)
    student = Student(
        model,
        frame_size,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        optimizer=config.optimizer,
        variables=updated_variables(model, config.updated_layers),
        xla=xla,
        fused=config.xla != "off",
    )
    initial_weights.start(weights.named(model), config.init, groups, config.student)
    return student

"""The training of a student on batches of photographs: its step, on however many devices."""

import math

import numpy as np
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.student import initial_weights, weights
from jitnet_tf.student.architectures import build_network, half_resolution
from jitnet_tf.student.loss import weighted_cross_entropy

TRAINED, AVERAGED = "trained/", "averaged/"  # prefixes of names in checkpoints
OPTIMIZER = "optimizer/"


def devices_strategy():
    """MirroredStrategy over all GPUs, or without any over all CPU devices, of which there is one.

    (Tests split the one into several.)
    """
    if gpus := tf.config.list_logical_devices("GPU"):
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    cpus = [cpu.name for cpu in tf.config.list_logical_devices("CPU")]
    # Collective operations would wait for each other on the few threads of a CPU.
    reduction = tf.distribute.ReductionToOneDevice("CPU:0")
    return tf.distribute.MirroredStrategy(cpus, cross_device_ops=reduction)


def learning_rate(step, config):
    """The learning rate at a step: it rises over the first steps, holds, and falls to 0 at the end.

    ("Warmup–stable–decay", Hägele et al. 2024: as good as a cosine, and the steps can be made more
    when it is resumed before it falls.)

    config: a PretrainConfig; `cooldown` is the part of the steps over which it falls.
    """
    rising = (step + 1) / (config.warmup + 1)
    falling = (
        (config.steps - step) / (config.cooldown * config.steps) if config.cooldown else math.inf
    )
    return config.learning_rate * min(1.0, rising, falling)


class Trainer:
    """A student that learns from batches, each divided among the devices.

    With `normalization` 'frame' no photograph's result depends on others of the batch, so the
    number of devices changes nothing but rounding.

    Args:
      config: a PretrainConfig.
      num_classes: classes including background.
      strategy: a tf.distribute.Strategy.
      xla: compile by XLA.

    Attributes:
      averaged: the student with the average of its weights over the last steps, for frames of any
        size: what the training is for.
    """

    def __init__(self, config, num_classes, strategy, xla=False):
        self._config = config
        self._strategy = strategy
        size = (config.crop, config.crop)
        with strategy.scope():
            self._model = build_network(num_classes, config.student, size, xla)
            self.averaged = build_network(num_classes, config.student)
            half = half_resolution(self._model) if config.half_size_loss else None
            self._learner = half or self._model
            self._optimizer = keras.optimizers.AdamW(
                config.learning_rate, weight_decay=config.weight_decay, epsilon=config.epsilon
            )
            # Biases and scales are few and not what overfits.
            self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            self._optimizer.build(self._model.trainable_variables)
        self._start_average()
        self._gradients = tf.function(self._replica_gradients, jit_compile=xla)
        self._compiled = tf.function(self._step)

    def train(self, batch, step):
        """Takes one step of gradient descent; returns the loss before it, a scalar tensor.

        batch: (frames uint8 [B, S, S, 3], labels uint8 [B, S, S], weights float32 [B, S, S]), as
        `distributed` hands it out. step: its number, from 0.
        """
        self._optimizer.learning_rate.assign(learning_rate(step, self._config))
        # While there are few steps to average over, over those.
        decay = min(self._config.ema_decay, (1 + step) / (10 + step))
        return self._compiled(batch, tf.constant(decay, tf.float32))

    def distributed(self, batches):
        """A tf.data.Dataset of batches with each divided among the devices."""
        return self._strategy.experimental_distribute_dataset(batches)

    def _step(self, batch, decay):
        replica_losses = self._strategy.run(self._replica_step, batch)
        for average, variable in zip(self.averaged.weights, self._model.weights, strict=True):
            average.assign(decay * average + (1 - decay) * variable)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, replica_losses, axis=None)

    def _replica_step(self, frames, labels, weights):
        loss, gradients = self._gradients(frames, labels, weights)
        variables = self._model.trainable_variables
        # Sums the gradients over the devices.
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _replica_gradients(self, frames, labels, weights):
        with tf.GradientTape() as tape:
            logits = self._learner(frames, training=True)
            if self._learner is not self._model:
                labels, weights = (subsample(a, logits.shape[1:3]) for a in (labels, weights))
            loss = weighted_cross_entropy(labels, logits, weights)
            loss /= self._strategy.num_replicas_in_sync
        return loss, tape.gradient(loss, self._model.trainable_variables)

    def start_from(self, init, groups):
        """Starts from the weights that `init` names; see `initial.start`."""
        variables = weights.named(self._model)
        initial_weights.start(variables, init, groups, self._config.student)
        self._start_average()

    def _start_average(self):
        named = weights.arrays(weights.named(self._model))
        weights.assign(weights.named(self.averaged), named)

    def weights(self):
        """The student that comes out, {name: array}: what whoever starts from it takes."""
        return weights.restore_scale(weights.arrays(weights.named(self.averaged)))

    def get_state(self):
        """Everything that training changes, and `weights`: {name: array}."""
        return {**weights.arrays(self._variables()), **self.weights()}

    def set_state(self, state):
        """Restores `get_state`'s arrays. Raises as `parameters.assign`."""
        changed = {k: v for k, v in state.items() if not k.startswith(weights.PREFIX)}
        weights.assign(self._variables(), changed)

    def _variables(self):
        networks = {
            f"{prefix}{name}": variable
            for prefix, network in ((TRAINED, self._model), (AVERAGED, self.averaged))
            for name, variable in weights.named(network).items()
        }
        optimizer = {
            f"{OPTIMIZER}{i:04d}": variable for i, variable in enumerate(self._optimizer.variables)
        }
        return {**networks, **optimizer}


def subsample(pixels, size):
    """[B, H, W] at the nearest of `size` places whose first and last are the corners."""
    rows, columns = (
        np.rint(np.linspace(0, have - 1, want)).astype(int)
        for have, want in zip(pixels.shape[1:], size, strict=True)
    )
    return tf.gather(tf.gather(pixels, rows, axis=1), columns, axis=2)

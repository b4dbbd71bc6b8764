"""The training step of a pretraining, on one or more devices."""

import math

import numpy as np
import tensorflow as tf
from tensorflow import keras

from jitnet_tf.student import initial_weights, weights
from jitnet_tf.student.architectures import build_network, half_resolution
from jitnet_tf.student.loss import weighted_cross_entropy

# Prefixes of names in checkpoints.
TRAINED, AVERAGED, OPTIMIZER = "trained/", "averaged/", "optimizer/"


def devices_strategy():
    """Returns a MirroredStrategy over all GPUs, or over the CPU if there is none.

    Tests split the CPU into several devices.
    """
    if gpus := tf.config.list_logical_devices("GPU"):
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    cpus = [cpu.name for cpu in tf.config.list_logical_devices("CPU")]
    # Collective operations would wait for each other on the few threads of a CPU.
    reduction = tf.distribute.ReductionToOneDevice("CPU:0")
    return tf.distribute.MirroredStrategy(cpus, cross_device_ops=reduction)


def learning_rate(step, config):
    """Returns the learning rate of a step: it rises at first, is constant, and falls to 0.

    "Warmup–stable–decay" (Hägele et al. 2024) is as good as a cosine, and a training can still be
    made longer before the rate falls.

    step: from 0. config: a PretrainConfig; the rate falls over the part `cooldown` of the steps.
    """
    rising = (step + 1) / (config.warmup + 1)
    falling = (
        (config.steps - step) / (config.cooldown * config.steps) if config.cooldown else math.inf
    )
    return config.learning_rate * min(1.0, rising, falling)


class Trainer:
    """Trains a student on batches, each divided among the devices.

    With `normalization` 'frame', an image's result does not depend on others of the batch, so the
    number of devices changes rounding only.

    Args:
      config: a PretrainConfig.
      num_classes: classes including background.
      strategy: a tf.distribute.Strategy.
      xla: compile by XLA.

    Attributes:
      averaged: the result of the training: the student with the moving average of its weights, a
        Keras model for frames of any size.
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
            # Biases and scales are few and do not overfit.
            self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            self._optimizer.build(self._model.trainable_variables)
        self._start_average()
        self._gradients = tf.function(self._replica_gradients, jit_compile=xla)
        self._compiled = tf.function(self._step)

    def train(self, batch, step):
        """Takes one step of gradient descent; returns the loss before it, a scalar tensor.

        Args:
          batch: a batch of `distributed`: frames uint8 [B, S, S, 3], labels uint8 [B, S, S],
            weights float32 [B, S, S].
          step: the step's number, from 0.
        """
        self._optimizer.learning_rate.assign(learning_rate(step, self._config))
        # The first steps are averaged over fewer steps, since there are no more.
        decay = min(self._config.ema_decay, (1 + step) / (10 + step))
        return self._compiled(batch, tf.constant(decay, tf.float32))

    def distributed(self, batches):
        """Returns a tf.data.Dataset of batches with each divided among the devices."""
        return self._strategy.experimental_distribute_dataset(batches)

    def _step(self, batch, decay):
        replica_losses = self._strategy.run(self._replica_step, batch)
        for average, variable in zip(self.averaged.weights, self._model.weights, strict=True):
            average.assign(decay * average + (1 - decay) * variable)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, replica_losses, axis=None)

    def _replica_step(self, frames, labels, weights):
        loss, gradients = self._gradients(frames, labels, weights)
        variables = self._model.trainable_variables
        # apply_gradients sums the gradients over the devices.
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
        """Sets the weights to those that `init` names; see `initial_weights.start`."""
        variables = weights.named(self._model)
        initial_weights.start(variables, init, groups, self._config.student)
        self._start_average()

    def _start_average(self):
        named = weights.arrays(weights.named(self._model))
        weights.assign(weights.named(self.averaged), named)

    def weights(self):
        """Returns the trained weights by name, ready for --init."""
        return weights.restore_scale(weights.arrays(weights.named(self.averaged)))

    def get_state(self):
        """Returns everything that training changes, and `weights`, as {name: array}."""
        return {**weights.arrays(self._variables()), **self.weights()}

    def set_state(self, state):
        """Restores `get_state`'s arrays; raises KeyError or ValueError if they do not fit."""
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
    """Samples [B, H, W] at the pixels nearest to a grid of `size` with aligned corners."""
    rows, columns = (
        np.rint(np.linspace(0, have - 1, want)).astype(int)
        for have, want in zip(pixels.shape[1:], size, strict=True)
    )
    return tf.gather(tf.gather(pixels, rows, axis=1), columns, axis=2)

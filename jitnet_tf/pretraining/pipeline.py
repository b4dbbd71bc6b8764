"""Batches of augmented samples from labeled images, by tf.data."""

import math

import numpy as np
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher.images import UnreadableError


def draws(seed, counts, rate, start):
    """Yields the image of each sample, without end: (dataset, image, sample), numbers.

    In every range of samples the second dataset has its rate, to within one sample. A dataset's
    images come in rounds: each once a round, in an order of that round. All of it depends on the
    sample's number only, so a training can be resumed at any.

    Args:
      seed: seed of the orders.
      counts: the number of images of each dataset; one or two datasets.
      rate: the second dataset's share of the samples, 0…1.
      start: the number of the first sample.
    """
    orders = {}
    number = start
    while True:
        before = math.floor(number * rate) if len(counts) > 1 else 0
        second = len(counts) > 1 and math.floor((number + 1) * rate) > before
        chosen = int(second)
        turn, place = divmod(before if second else number - before, counts[chosen])
        if orders.get(chosen, (None,))[0] != turn:
            order = np.random.default_rng([seed, chosen, turn]).permutation(counts[chosen])
            orders[chosen] = (turn, order)
        yield chosen, int(orders[chosen][1][place]), number
        number += 1


class Samples:
    """Batches of augmented samples.

    Args:
      datasets: one or two LabeledDatasets.
      rate: the second dataset's share of the samples.
      augmentation: an Augmentation.
      seed: seed of the images' order and of the augmentation.

    Attributes:
      failure: the UserError that ended the iteration over a batch, or None.
    """

    def __init__(self, datasets, rate, augmentation, seed):
        self._datasets = datasets
        self._rate = rate
        self._augment = augmentation
        self._seed = seed
        self.failure = None

    def batches(self, batch_size, step):
        """Returns a tf.data.Dataset of the batches from number `step` on, without end.

        Elements: frames uint8 [B, S, S, 3], labels uint8 [B, S, S], weights float32 [B, S, S].
        Iterating raises tf.errors.OpError if too many images are damaged; then `failure` is the
        UserError to report.
        """
        counts = [len(dataset) for dataset in self._datasets]
        side = self._augment.crop
        numbers = tf.data.Dataset.from_generator(
            lambda: draws(self._seed, counts, self._rate, step * batch_size),
            output_signature=(tf.TensorSpec((), tf.int64),) * 3,
        )

        def load(dataset, image, number):
            frame, labels, weights = tf.numpy_function(
                self._sample,
                [dataset, image, number],
                (tf.uint8, tf.uint8, tf.float32),
                # A sample depends on its number only. Were the function called stateful, tf.data
                # would make one sample at a time when operations have to be deterministic.
                stateful=False,
            )
            frame.set_shape((side, side, 3))
            labels.set_shape((side, side))
            weights.set_shape((side, side))
            return frame, labels, weights

        samples = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return samples.batch(batch_size, drop_remainder=True).prefetch(2)

    def _sample(self, dataset, image, number):
        """Returns one augmented sample; the next readable image replaces an unreadable one."""
        dataset = self._datasets[dataset]
        rng = np.random.default_rng([self._seed, int(number)])
        for offset in range(len(dataset)):
            try:
                contents = dataset.read((int(image) + offset) % len(dataset))
            except UnreadableError:
                self._check_unreadable(dataset)
                continue
            return self._augment(rng, *contents)
        raise AssertionError("check_unreadable raises before all images are unreadable")

    def _check_unreadable(self, dataset):
        """Keeps the UserError in `failure`: tf.data passes only its text on."""
        try:
            dataset.check_unreadable()
        except UserError as error:
            self.failure = error
            raise

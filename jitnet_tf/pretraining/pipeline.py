"""From annotated photographs to batches, in tf.data."""

import math

import numpy as np
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher.images import UnreadableError


def draws(seed, counts, rate, start):
    """Which photograph each sample shows, without end: yields (set, photograph, sample).

    Of every stretch of samples the second set has its rate, to within one; within a set each
    photograph comes once in every round, in an order of that round. All follows from the number
    of the sample, so training can go on at any.

    Args:
      seed: of the orders.
      counts: photographs in each set, of which there are one or two.
      rate: the second set's share of the samples, 0…1.
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
    """Batches of varied photographs.

    Args:
      sets: one or two Annotated.
      rate: the second's share of the samples.
      augmentation: an Augmentation.
      seed: of the order of the photographs and of all that varies them.
    """

    def __init__(self, sets, rate, augmentation, seed):
        self._sets = sets
        self._rate = rate
        self._augment = augmentation
        self._seed = seed
        self.failure = None

    def batches(self, batch_size, step):
        """tf.data.Dataset of the batches from number `step` on, without end.

        Elements: frames uint8 [B, S, S, 3], labels uint8 [B, S, S], weights float32 [B, S, S].
        Iterating raises tf.errors.OpError when too many photographs turn out to be damaged;
        `failure` is the UserError to report then.
        """
        counts = [len(annotated) for annotated in self._sets]
        side = self._augment.crop
        numbers = tf.data.Dataset.from_generator(
            lambda: draws(self._seed, counts, self._rate, step * batch_size),
            output_signature=(tf.TensorSpec((), tf.int64),) * 3,
        )

        def load(chosen, photograph, number):
            frame, labels, weights = tf.numpy_function(
                self._sample,
                [chosen, photograph, number],
                (tf.uint8, tf.uint8, tf.float32),
                # All follows from the number. Else, with deterministic operations, tf.data would
                # make one sample at a time.
                stateful=False,
            )
            frame.set_shape((side, side, 3))
            labels.set_shape((side, side))
            weights.set_shape((side, side))
            return frame, labels, weights

        samples = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return samples.batch(batch_size, drop_remainder=True).prefetch(2)

    def _sample(self, chosen, photograph, number):
        annotated = self._sets[chosen]
        rng = np.random.default_rng([self._seed, int(number)])
        # Others in place of what is damaged, which `annotated` notes.
        for other in range(len(annotated)):
            try:
                contents = annotated.read((int(photograph) + other) % len(annotated))
            except UnreadableError:
                try:
                    annotated.check_lost()
                except UserError as error:
                    self.failure = error
                    raise
                continue
            return self._augment(rng, *contents)
        raise AssertionError("check_lost lets not all be lost")

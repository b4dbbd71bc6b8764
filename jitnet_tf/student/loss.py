"""The training loss (paper §3.2)."""

import tensorflow as tf


def weighted_cross_entropy(labels, logits, weights):
    """Mean over all pixels of weight × cross-entropy, a float32 scalar.

    As in EastGit0 the sum is divided by the number of pixels, not by the sum of the weights: a
    frame full of objects takes larger steps than an empty one.

    labels: uint8 [..., H, W]; logits: float32 [..., H, W, C]; weights: float32 [..., H, W].
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.cast(labels, tf.int32), logits=logits
    )
    return tf.reduce_mean(losses * weights)

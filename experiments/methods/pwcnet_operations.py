"""The operations of PWC-Net: cost volume and warping, by tensorflow-addons if installed."""

import functools
import warnings

import tensorflow as tf


@functools.cache
def addons():
    """Returns the module tensorflow_addons, or None: its last release is for TensorFlow 2.15.

    Its import is slow and prints that it has reached its end of life, so it happens at first use
    and quietly.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow_addons
        except ImportError:
            return None
    return tensorflow_addons


def correlation_cost(first, second, radius=4):
    """The cost volume of PWC-Net (§3): the match of each pixel's features with those near it.

    Entry (dy + radius) · (2 · radius + 1) + dx + radius is the mean over channels of
    first[y, x] · second[y + dy, x + dx], 0 outside the image. Computed by tensorflow-addons'
    CorrelationCost if installed, except for the gradient: on a CPU, its kernel's threads add to the
    same elements of second's gradient without a lock and lose some.

    Args:
      first, second: float32 [B, H, W, C], height and width static.
      radius: the greatest displacement, in pixels.

    Returns:
      float32 [B, H, W, (2 · radius + 1)²].
    """
    if addons() is None:
        return plain_correlation_cost(first, second, radius)
    layer = addons().layers.CorrelationCost(1, radius, 1, 1, radius, "channels_last")

    @tf.custom_gradient
    def cost(first, second):
        def gradient(upstream):
            with tf.GradientTape() as tape:
                tape.watch([first, second])
                volume = plain_correlation_cost(first, second, radius)
            return tape.gradient(volume, [first, second], upstream)

        return layer([first, second]), gradient

    return cost(first, second)


def plain_correlation_cost(first, second, radius=4):
    """`correlation_cost` by TensorFlow's own operations."""
    height, width = first.shape[1:3]
    side = 2 * radius + 1
    padded = tf.pad(second, [[0, 0], [radius, radius], [radius, radius], [0, 0]])
    # All horizontal displacements at once take half the time of one product each (CPU).
    moved = tf.stack([padded[:, :, dx : dx + width] for dx in range(side)], axis=3)
    rows = [
        tf.reduce_mean(first[:, :, :, tf.newaxis] * moved[:, dy : dy + height], axis=-1)
        for dy in range(side)
    ]
    return tf.concat(rows, axis=-1)


def dense_image_warp(image, flow):
    """Samples an image bilinearly at the places a flow points back to; beyond its edge, the edge.

    Computed by tensorflow-addons if installed.

    Args:
      image: float32 [B, H, W, C], at least 2 × 2.
      flow: float32 [B, H, W, 2], (dy, dx) in pixels.

    Returns:
      float32 [B, H, W, C]: at (y, x), image[y - dy, x - dx].
    """
    if addons() is None:
        return plain_dense_image_warp(image, flow)
    return addons().image.dense_image_warp(image, flow)


def plain_dense_image_warp(image, flow):
    """`dense_image_warp` by TensorFlow's own operations, its gradient included."""
    batch = tf.shape(image)[0]
    height, width = image.shape[1:3]
    y, x = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    places = tf.cast(tf.stack([y, x], axis=-1), flow.dtype) - flow
    last = tf.constant([height - 2, width - 2], flow.dtype)
    low = tf.minimum(tf.maximum(0.0, tf.floor(places)), last)
    # Where both arguments are equal, their order sets the gradient: to 0, as in addons.
    part = tf.minimum(tf.maximum(0.0, places - low), 1.0)
    part_y, part_x = part[..., :1], part[..., 1:]
    low = tf.cast(low, tf.int32)
    pixels = tf.reshape(image, [-1, image.shape[3]])
    first = tf.reshape(tf.range(batch), [-1, 1, 1]) * height * width
    index = first + low[..., 0] * width + low[..., 1]
    top_left = tf.gather(pixels, index)
    bottom_left = tf.gather(pixels, index + width)
    top = top_left + part_x * (tf.gather(pixels, index + 1) - top_left)
    bottom = bottom_left + part_x * (tf.gather(pixels, index + width + 1) - bottom_left)
    return top + part_y * (bottom - top)

"""Class ids and the loss at full size, from logits of half the size, without a full-size logit.

JITNet's last resizing and 1×1 convolution commute (`Architecture.half_resolution`). A map
resized to twice its size with corners aligned consists of four maps of half the size, its phases:
the pixels of even or odd rows and even or odd columns. Each pixel of a phase interpolates between a
logit and its neighbor above or below, and left or right, with weights that change evenly along a
row or column:

    y[2q]     = x[q] + q / (2n − 1) · (x[q − 1] − x[q])
    y[2q + 1] = x[q] + (n − 1 − q) / (2n − 1) · (x[q + 1] − x[q])

for 2n pixels; for 2n − 1 pixels, y[2q] = x[q], and y[2q + 1] is halfway between x[q] and x[q + 1].
So nothing is gathered. XLA compiles each function here to few loops, which read maps of half the
size and, for class ids and loss, write one value a pixel. They are compiled also if the network
itself is not. On a CPU the loss with its gradient is 5 times, and class ids are 8 times, as fast as
by TensorFlow's resizing, softmax and argmax.

Maps are [C, h, w] here, one class after the other, so that the loops can be vectorized.
"""

import functools

import numpy as np
import tensorflow as tf

# Classes that a loop is written out for: with more, it is compiled for too long.
GROUP = 16
# Without AutoGraph, which would take longer than everything else: all loops are over constants.
_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (row, column): 0 is even, 1 is odd


def half_of(frame_size):
    """Returns half of a size (H, W), rounded up: (h, w)."""
    return tuple((side + 1) // 2 for side in frame_size)


def class_ids(logits, frame_size):
    """Returns the class of the greatest logit of each pixel, of equal ones the first.

    logits: float32 [h, w, C], h and w half of frame_size (H, W), rounded up. Returns uint8 [H, W].
    """
    groups = _groups(_padded(logits))
    phases = []
    for place in _places(frame_size):
        best = ids = None
        for maps, first in groups:
            best, ids = _greatest(maps, first, best, ids, *place)
        phases.append(ids)
    h, w = half_of(frame_size)
    whole = tf.transpose(tf.reshape(tf.stack(phases), [2, 2, h, w]), [2, 0, 3, 1])
    return tf.reshape(whole, [2 * h, 2 * w])[: frame_size[0], : frame_size[1]]


def weighted_cross_entropy(labels, logits, weights):
    """Returns `loss.weighted_cross_entropy` of logits resized to the size of the labels.

    labels: uint8 [H, W]; logits: float32 [h, w, C], h and w half of H and W, rounded up; weights:
    float32 [H, W]. Has gradients for the logits only.
    """
    frame_size = tuple(labels.shape)
    labels, weights = _phases(labels, frame_size), _phases(weights, frame_size)
    weights = [part / (frame_size[0] * frame_size[1]) for part in weights]
    places = _places(frame_size)

    @tf.custom_gradient
    def loss(logits):
        padded = _padded(logits)
        *others, last = _groups(padded)
        total, normalizers = 0.0, []
        for phase_labels, phase_weights, place in zip(labels, weights, places, strict=True):
            state = None
            for maps, first in others:
                state = _with_classes(state, maps, first, phase_labels, *place)
            phase_loss, normalizer = _loss(state, *last, phase_labels, phase_weights, *place)
            total += phase_loss
            normalizers.append(normalizer)

        def gradient(upstream):
            phases = zip(normalizers, labels, weights, places, strict=True)
            pixels = [_pixel_gradients(padded, *phase[:3], *phase[3]) for phase in phases]
            return upstream * tf.transpose(_resize_gradient(pixels, frame_size), [1, 2, 0])

        return total, gradient

    return loss(logits)


def _padded(logits):
    """Pads logits, [h, w, C] → [C, h + 2, w + 2]; the padding is multiplied by 0 later."""
    return tf.pad(tf.transpose(logits, [2, 0, 1]), [[0, 0], [1, 1], [1, 1]])


def _groups(maps):
    """Splits maps [C, …] into (maps of some classes, the first one's id) of about equal size."""
    count = maps.shape[0]
    size = -(-count // -(-count // GROUP))
    return [(maps[i : i + size], tf.constant(i)) for i in range(0, count, size)]


def _phases(pixels, frame_size):
    """Splits pixels [H, W] into the phases, four [h, w]; 0 beyond the frame."""
    h, w = half_of(frame_size)
    pixels = tf.pad(pixels, [[0, 2 * h - frame_size[0]], [0, 2 * w - frame_size[1]]])
    phases = tf.transpose(tf.reshape(pixels, [h, 2, w, 2]), [1, 3, 0, 2])
    return [phases[phase] for phase in PHASES]


def _parts(side, odd):
    """Returns the neighbor's share in each pixel of an even or odd phase: float32 [⌈side / 2⌉]."""
    n = (side + 1) // 2
    q = np.arange(n)
    parts = np.full(n, odd / 2) if side % 2 else (n - 1 - q if odd else q) / (2 * n - 1)
    return parts.astype(np.float32)


def _places(frame_size):
    """Returns the arguments of `_phase` by phase: offset and shares of the neighbors."""
    return [
        (
            tf.constant([2 * row, 2 * column]),
            tf.constant(_parts(frame_size[0], row)[:, None]),
            tf.constant(_parts(frame_size[1], column)),
        )
        for row, column in PHASES
    ]


def _phase(padded, neighbors, part_y, part_x):
    """Returns one phase of maps: [C, h + 2, w + 2] → [C, h, w]; see `_places` for the others.

    They are tensors, so that a function is compiled once for all phases.
    """
    count, h, w = padded.shape[0], part_y.shape[0], part_x.shape[0]

    def along_row(y):
        here = tf.slice(padded, [0, y, 1], [count, h, w])
        return here + part_x * (tf.slice(padded, [0, y, neighbors[1]], [count, h, w]) - here)

    here = along_row(1)
    return here + part_y * (along_row(neighbors[0]) - here)


@_compiled
def _greatest(padded, first, best, ids, *place):
    """Updates the greatest logit of each pixel, `best`, and its class by further classes."""
    for c in range(padded.shape[0]):
        value, class_id = _phase(padded[c : c + 1], *place)[0], tf.cast(first + c, tf.uint8)
        if best is None:
            best, ids = value, tf.fill(value.shape, class_id)
            continue
        greater = value > best
        best, ids = tf.where(greater, value, best), tf.where(greater, class_id, ids)
    return best, ids


def _add_classes(state, padded, first, labels, *place):
    """Adds classes to the running quantities of a softmax.

    Returns (greatest logit, sum of exp(logit − greatest), the label's logit), each [h, w].
    """
    count = padded.shape[0]
    values = [_phase(padded[c : c + 1], *place)[0] for c in range(count)]
    before, total, at_label = state or (values[0], 0.0, 0.0)
    greatest = functools.reduce(tf.maximum, values, before)
    total *= tf.exp(before - greatest)
    for c, value in enumerate(values):
        total += tf.exp(value - greatest)
        at_label = tf.where(tf.cast(labels, tf.int32) == first + c, value, at_label)
    return greatest, total, at_label


_with_classes = _compiled(_add_classes)


@_compiled
def _loss(state, padded, first, labels, weights, *place):
    """Returns the loss of one phase and the logarithm of each pixel's sum of exponentials."""
    greatest, total, at_label = _add_classes(state, padded, first, labels, *place)
    normalizer = greatest + tf.math.log(total)
    return tf.reduce_sum(weights * (normalizer - at_label)), normalizer


@_compiled
def _pixel_gradients(padded, normalizer, labels, weights, *place):
    """Returns the gradient of the loss by the resized logits of one phase, [C, h, w]."""
    softmax = tf.exp(_phase(padded, *place) - normalizer)
    classes = tf.range(padded.shape[0])[:, None, None]
    return weights * (softmax - tf.cast(tf.cast(labels, tf.int32) == classes, tf.float32))


@_compiled
def _resize_gradient(phases, frame_size):
    """Returns the gradient by the logits [C, h, w], from the gradients by the phases.

    It is compiled on its own: together with the function above, XLA would compute exponentials
    repeatedly.
    """
    by_phase = dict(zip(PHASES, phases, strict=True))
    rows = []
    for row in (0, 1):
        columns = (by_phase[row, odd] for odd in (0, 1))
        rows.append(_resize_gradient_along(2, columns, frame_size[1]))
    return _resize_gradient_along(1, rows, frame_size[0])


def _resize_gradient_along(axis, phases, side):
    """Returns the gradient along one axis, from those by its even and odd phase."""
    total = 0.0
    for odd, phase in enumerate(phases):
        n = phase.shape[axis]
        parts = _parts(side, odd).reshape([n if i == axis else 1 for i in range(3)])
        neighbors = phase * tf.constant(parts)
        # An even pixel's neighbor is the pixel before it, which so gets a share of its gradient.
        padding = [[0, 0]] * 3
        padding[axis] = [1, 0] if odd else [0, 1]
        first = [0, 0, 0]
        first[axis] = 0 if odd else 1
        moved = tf.slice(tf.pad(neighbors, padding), first, phase.shape)
        total += phase - neighbors + moved
    return total

"""Class ids and the loss at full size, from logits of half the size, without a full-size logit.

JITNet's last resizing and 1×1 convolution commute (`model.at_half_size`), and what is resized to
twice its size with corners aligned is four maps of half the size, its phases: the pixels of even
or odd rows and even or odd columns. Each of their pixels lies between a logit and its neighbours
above or below and left or right, at a place that moves evenly from edge to edge:

    y[2q]     = x[q] + q / (2n − 1) · (x[q − 1] − x[q])
    y[2q + 1] = x[q] + (n − 1 − q) / (2n − 1) · (x[q + 1] − x[q])

for 2n pixels, and x[q] and halfway to x[q + 1] for 2n − 1. So nothing is gathered, and XLA makes
of each function here few loops that read half-size maps and, for class ids and loss, write one
value a pixel; also where the network itself is computed without XLA. The whole is 5 (loss and
gradient) to 8 (class ids) times as fast as resizing, softmax and argmax of TensorFlow on a CPU.

Maps are [C, h, w] here: one after the other, for which loops vectorise.
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
    """The (h, w) that stride 2 makes of (H, W)."""
    return tuple((side + 1) // 2 for side in frame_size)


def class_ids(logits, frame_size):
    """The class of the greatest logit of each pixel, the first of equals.

    logits: float32 [h, w, C], h and w half of frame_size (H, W), rounded up. Returns uint8 [H, W].
    """
    padded = _padded(logits)
    best = ids = None
    for first, group in _groups(padded):
        best, ids = _greatest(first, group, best, ids, tuple(frame_size))
    h, w = half_of(frame_size)
    whole = tf.transpose(tf.reshape(tf.stack(ids), [2, 2, h, w]), [2, 0, 3, 1])
    return tf.reshape(whole, [2 * h, 2 * w])[: frame_size[0], : frame_size[1]]


def weighted_cross_entropy(labels, logits, weights):
    """`losses.weighted_cross_entropy` of logits resized to the size of the labels.

    labels: uint8 [H, W]; logits: float32 [h, w, C], h and w half of H and W, rounded up; weights:
    float32 [H, W]. Differentiable in the logits alone.
    """
    frame_size = tuple(labels.shape)
    labels, weights = _phases(labels, frame_size), _phases(weights, frame_size)
    weights = weights / (frame_size[0] * frame_size[1])

    @tf.custom_gradient
    def loss(logits):
        padded = _padded(logits)
        *others, last = _groups(padded)
        state = None
        for group in others:
            state = _with_classes(state, *group, labels, frame_size)
        total, normalisers = _loss(state, *last, labels, weights, frame_size)

        def gradient(upstream):
            pixels = _pixel_gradients(padded, normalisers, labels, weights, frame_size)
            return upstream * tf.transpose(_resize_gradient(pixels, frame_size), [1, 2, 0])

        return total, gradient

    return loss(logits)


def _padded(logits):
    """[h, w, C] → [C, h + 2, w + 2]. What stands at the edge counts 0 times."""
    return tf.pad(tf.transpose(logits, [2, 0, 1]), [[0, 0], [1, 1], [1, 1]])


def _groups(maps):
    """(first class id, maps of some classes): equal sizes but for the last."""
    count = maps.shape[0]
    size = -(-count // -(-count // GROUP))
    return [(tf.constant(i), maps[i : i + size]) for i in range(0, count, size)]


def _phases(pixels, frame_size):
    """[H, W] → [2, 2, h, w], 0 beyond the frame."""
    h, w = half_of(frame_size)
    pixels = tf.pad(pixels, [[0, 2 * h - frame_size[0]], [0, 2 * w - frame_size[1]]])
    return tf.transpose(tf.reshape(pixels, [h, 2, w, 2]), [1, 3, 0, 2])


def _parts(side, odd):
    """How much of its neighbour is in each pixel of an even or odd phase: float32 [⌈side / 2⌉]."""
    n = (side + 1) // 2
    q = np.arange(n)
    if side % 2:
        parts = np.full(n, odd / 2)
    else:
        parts = (n - 1 - q if odd else q) / (2 * n - 1)
    return parts.astype(np.float32)


def _phase(padded, phase, frame_size):
    """One phase of maps: [..., h + 2, w + 2] → [..., h, w]."""
    h, w = half_of(frame_size)
    row, column = (2 * odd for odd in phase)  # where the neighbours begin
    part_y = tf.constant(_parts(frame_size[0], phase[0])[:, None])
    part_x = tf.constant(_parts(frame_size[1], phase[1]))

    def along_row(y):
        here = padded[..., y : y + h, 1 : w + 1]
        return here + part_x * (padded[..., y : y + h, column : column + w] - here)

    here = along_row(1)
    return here + part_y * (along_row(row) - here)


@_compiled
def _greatest(first, padded, best, ids, frame_size):
    """The greatest logit and its class of each phase, here or among those of classes before."""
    best = list(best or [])
    ids = list(ids or [])
    for i, phase in enumerate(PHASES):
        for c in range(padded.shape[0]):
            value = _phase(padded[c], phase, frame_size)
            class_id = tf.cast(first + c, tf.uint8)
            if len(best) == i:
                best.append(value)
                ids.append(tf.fill(value.shape, class_id))
                continue
            greater = value > best[i]
            best[i] = tf.where(greater, value, best[i])
            ids[i] = tf.where(greater, class_id, ids[i])
    return best, ids


def _add_classes(state, first, padded, labels, frame_size):
    """What the softmax of each phase needs to know of its classes, these and those before.

    Returns for each phase (greatest logit, sum of exp(logit − greatest), the label's logit).
    """
    after = []
    for i, phase in enumerate(PHASES):
        values = [_phase(maps, phase, frame_size) for maps in tf.unstack(padded)]
        before, total, at_label = state[i] if state else (values[0], 0.0, 0.0)
        greatest = before
        for value in values:
            greatest = tf.maximum(greatest, value)
        total *= tf.exp(before - greatest)
        for c, value in enumerate(values):
            total += tf.exp(value - greatest)
            at_label = tf.where(tf.cast(labels[phase], tf.int32) == first + c, value, at_label)
        after.append((greatest, total, at_label))
    return after


_with_classes = _compiled(_add_classes)


@_compiled
def _loss(state, first, padded, labels, weights, frame_size):
    """The loss, and the logarithm of each pixel's sum of exponentials by phase."""
    state = _add_classes(state, first, padded, labels, frame_size)
    loss, normalisers = 0.0, []
    for phase, (greatest, total, at_label) in zip(PHASES, state, strict=True):
        normaliser = greatest + tf.math.log(total)
        loss += tf.reduce_sum(weights[phase] * (normaliser - at_label))
        normalisers.append(normaliser)
    return loss, normalisers


@_compiled
def _pixel_gradients(padded, normalisers, labels, weights, frame_size):
    """The loss's gradient by the resized logits, a [C, h, w] for each phase."""
    classes = tf.range(padded.shape[0])[:, None, None]
    gradients = []
    for phase, normaliser in zip(PHASES, normalisers, strict=True):
        softmax = tf.exp(_phase(padded, phase, frame_size) - normaliser)
        wanted = tf.cast(tf.cast(labels[phase], tf.int32) == classes, tf.float32)
        gradients.append(weights[phase] * (softmax - wanted))
    return gradients


@_compiled
def _resize_gradient(phases, frame_size):
    """From the gradient by each phase to that by what they were made of, [C, h, w].

    A function of its own: together with the one before, XLA computes exponentials repeatedly.
    """
    by_phase = dict(zip(PHASES, phases, strict=True))
    rows = []
    for row in (0, 1):
        columns = (by_phase[row, odd] for odd in (0, 1))
        rows.append(_resize_gradient_along(2, columns, frame_size[1]))
    return _resize_gradient_along(1, rows, frame_size[0])


def _resize_gradient_along(axis, phases, side):
    """The same along one axis, of its even and odd phase."""
    total = 0.0
    for odd, phase in enumerate(phases):
        n = phase.shape[axis]
        parts = _parts(side, odd).reshape([n if i == axis else 1 for i in range(3)])
        neighbours = phase * tf.constant(parts)
        # An even pixel's neighbour is the one before, which therefore gets the next one's share.
        padding = [[0, 0]] * 3
        padding[axis] = [1, 0] if odd else [0, 1]
        moved = tf.pad(neighbours, padding)
        moved = moved[tuple(
            slice(0 if odd else 1, None if not odd else n) if i == axis else slice(None)
            for i in range(3)
        )]
        total += phase - neighbours + moved
    return total

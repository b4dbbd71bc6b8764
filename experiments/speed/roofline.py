"""Lower bounds of a network's time on this machine: by arithmetic, and by memory.

Arithmetic is limited by the machine's rate of matrix products, memory by its rate of copying. The
least bytes to move are each convolution's input, kernel and output, once: all between two
convolutions can be computed on the way. Caches can save some of that, and the statistics of a frame
need a second pass, so that the limit is a guide and no proof. An update counts as three inferences:
forward, the gradient in the activations, the gradient in the weights.
"""

import concurrent.futures
import os
import time

import numpy as np

from experiments.speed.peers import BFLOAT16, FLOAT32

MATRIX = 2048  # rows and columns of the products
COPIED = 1 << 28  # bytes, more than any cache holds
REPEATS = 8
BYTES = {FLOAT32: 4, BFLOAT16: 2}
UPDATE = 3  # inferences that an update counts as


def best(function):
    """Returns the least seconds of several calls."""
    seconds = []
    function()
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def product_rate(precision):
    """Returns the floating-point operations a second of TensorFlow's matrix products."""
    import tensorflow as tf

    left = tf.cast(tf.random.normal((MATRIX, MATRIX)), precision)
    step = tf.function(tf.matmul)
    return 2 * MATRIX**3 / best(lambda: step(left, left).numpy())


def copy_rate():
    """Returns the bytes a second, read and written, that all cores copy."""
    source, target = (np.ones(COPIED, np.uint8) for _ in range(2))
    parts = np.array_split(np.arange(COPIED // 4096) * 4096, os.cpu_count())

    def copy(part):
        rows = slice(part[0], part[-1] + 4096)
        np.copyto(target[rows], source[rows])

    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        return 2 * COPIED / best(lambda: list(pool.map(copy, parts)))


def bytes_of_convolutions(model, frame_size, size=4):
    """Returns the bytes that a JITNet's convolutions read and write, on a frame of (H, W).

    The 1×1 convolution to logits counts at half the frame's size, since it commutes with resizing.
    The first reads the frame in bytes; class ids are written, a byte a pixel. size: bytes a number.
    """
    from tensorflow import keras

    from jitnet_tf.student.fused_head import half_of

    numbers = 0
    half = half_of(frame_size)
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        inputs, outputs = layer.input.shape, layer.output.shape
        at_end = layer.name == "logits"
        numbers += sum(int(np.prod(weight.shape)) for weight in layer.weights)
        numbers += _number(outputs, half if at_end else None)
        if layer.name != "stem1":
            numbers += _number(inputs, half if at_end else None)
    return size * numbers + (3 + 1) * frame_size[0] * frame_size[1]


def _number(shape, size):
    height, width = size or shape[1:3]
    return int(height) * int(width) * int(shape[3])


def measure(network):
    """Returns the limits for a `peers.Network`, by precision, as plain values."""
    from experiments.speed import flops
    from experiments.speed.peers.ours import make_student

    model = make_student(network, FLOAT32).model
    operations = flops.of_model(model, network.frame_size).total
    found = {"copy_bytes_per_second": copy_rate(), "operations": operations, "update": UPDATE}
    for precision, size in BYTES.items():
        rate = product_rate(precision)
        moved = bytes_of_convolutions(model, network.frame_size, size)
        found[precision] = {
            "operations_per_second": rate,
            "bytes": moved,
            "arithmetic_ms": 1000 * operations / rate,
            "memory_ms": 1000 * moved / found["copy_bytes_per_second"],
        }
    return found

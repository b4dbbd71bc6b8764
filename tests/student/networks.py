"""Small networks with random weights."""

import functools

import numpy as np
from tensorflow import keras

from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.mobilenetv2 import build_mobilenetv2


@functools.cache
def jitnet(num_classes=5, **options):
    """Builds a JITNet, by default of the smallest width, once for all tests."""
    keras.utils.set_random_seed(0)
    model = build_jitnet(num_classes, **{"width": 0.25, **options})
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:  # as after training: offsets are not 0
        variable.assign(variable.numpy() + random.normal(0, 0.05, variable.shape))
    return model


@functools.cache
def mobilenetv2(**options):
    """Builds a MobileNetV2 student once for all tests."""
    keras.utils.set_random_seed(0)
    return build_mobilenetv2(5, **options)


def frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)

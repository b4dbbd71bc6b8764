"""The hardware that a student runs on: GPUs, XLA, precision, reproducibility."""

import pathlib

import tensorflow as tf
from tensorflow import keras

BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16")  # as Linux names them


def has_gpu():
    """Returns whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def computes_bfloat16_fast():
    """Returns whether this machine has arithmetic units for bfloat16.

    CUDA GPUs have them since Ampere, CPUs with AMX or AVX-512's bfloat16 instructions.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        return capability is not None and capability >= (8, 0)
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return any(f" {unit}" in text for unit in BFLOAT16_UNITS)


def use_xla(choice):
    """Resolves --xla, 'on', 'off' or 'auto' (on a GPU only), to whether to compile by XLA."""
    return choice == "on" or (choice == "auto" and has_gpu())


def dtype_policy(precision):
    """Returns the Keras dtype policy for --precision, 'float32', 'bfloat16' or 'auto'.

    Weights, statistics, logits and loss are always float32; only the layers between use bfloat16.
    """
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16_fast() else "float32"
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]


def make_repeatable(seed):
    """Seeds all randomness; on a CPU, also makes every result reproducible to the last bit."""
    keras.utils.set_random_seed(seed)
    if not has_gpu():  # on a GPU it is slow, and some kernels have no deterministic version
        tf.config.experimental.enable_op_determinism()

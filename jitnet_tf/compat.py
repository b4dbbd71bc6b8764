"""What differs between the two TensorFlow versions that the project runs on, and nothing else."""

import os

import tensorflow as tf


def tflite_interpreter(content):
    """An interpreter of a TFLite model's bytes: TensorFlow's own up to 2.15, then LiteRT's."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    return Interpreter(model_content=content, num_threads=os.cpu_count())

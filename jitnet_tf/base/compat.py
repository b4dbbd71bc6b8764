"""The differences between TensorFlow 2.15 (Keras 2) and later versions (Keras 3)."""

import os

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def weight_name(variable):
    """Returns a weight's own name: 'kernel' of 'conv/kernel:0' (Keras 2) and 'kernel' (Keras 3)."""
    return variable.name.split("/")[-1].split(":")[0]


def tflite_interpreter(content):
    """Returns an interpreter of a TFLite model: LiteRT's if installed, else TensorFlow's."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    return Interpreter(model_content=content, num_threads=os.cpu_count())


def tflite_converter(function):
    """Returns a TFLite converter for a tf.function of one argument that returns a dictionary.

    Variables become constants first: of Keras 3's variables the converter loses the values.
    """
    concrete = function.get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete)
    names = sorted(concrete.structured_outputs)  # the order of `frozen`'s outputs

    @tf.function(input_signature=function.input_signature)
    def constant(frame):
        return dict(zip(names, frozen(frame), strict=True))

    holder = tf.Module()
    holder.function = constant
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [constant.get_concrete_function()], holder
    )

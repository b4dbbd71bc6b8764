"""What differs between the two TensorFlow versions that the project runs on, and nothing else."""

import os

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def weight_name(variable):
    """A weight's own name: of 'conv/kernel:0' in Keras 2 and of 'kernel' in Keras 3, 'kernel'."""
    return variable.name.split("/")[-1].split(":")[0]


def tflite_interpreter(content):
    """An interpreter of a TFLite model's bytes: TensorFlow's own up to 2.15, then LiteRT's."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    return Interpreter(model_content=content, num_threads=os.cpu_count())


def tflite_converter(function):
    """A TFLite converter of a tf.function of one argument that returns a dictionary.

    Its variables are made constants first: of Keras 3's, the converter would keep the names alone.
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

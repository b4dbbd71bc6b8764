"""The differences between TensorFlow 2.15 (Keras 2) and later versions (Keras 3)."""

import contextlib
import ctypes
import os
import pathlib

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def weight_name(variable):
    """Returns a weight's own name: 'kernel' of 'conv/kernel:0' (Keras 2) and 'kernel' (Keras 3)."""
    return variable.name.split("/")[-1].split(":")[0]


def obey_log_level():
    """Applies TF_CPP_MIN_LOG_LEVEL to all of TensorFlow.

    TensorFlow 2.15 takes Abseil's log for some messages, such as the estimates of costs that fail
    for CropAndResize, without passing the level on; later versions do.
    """
    library = pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2"
    with contextlib.suppress(OSError, AttributeError, ValueError):  # of another version or system
        level = int(os.environ["TF_CPP_MIN_LOG_LEVEL"])
        # absl::SetMinLogLevel(absl::LogSeverityAtLeast), of the release that it was built with
        ctypes.CDLL(str(library))[
            "_ZN4absl12lts_2023012514SetMinLogLevelENS0_18LogSeverityAtLeastE"
        ](level)


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

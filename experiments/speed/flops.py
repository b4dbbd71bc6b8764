"""Floating-point operations by TensorFlow's profiler, as the paper counts them (Table 1).

A multiplication and an addition are two. The profiler has rules for convolutions, matrix products
and arithmetic by the element, none for fused batch normalisation, resizing and cropping: these
count nothing, here as in the paper. It needs static shapes.
"""

import collections
import contextlib
import dataclasses
import io

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import graph_util, ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from jitnet_tf.student.student import Student

# A function's inside is not part of the graph that calls it.
CALLS = ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While")

PRODUCTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "BatchMatMulV3")


@dataclasses.dataclass(frozen=True)
class Count:
    """How many operations a graph has.

    Attributes:
      total: floating-point operations of one run.
      missed: type → number of the graph's nodes that have a rule, but no static shape to apply it
        to, or call functions: what they do is not in the total.
    """

    total: int
    missed: dict[str, int]

    @property
    def partial(self):
        """Whether it missed any of what makes up most of a network."""
        return bool(self.missed.keys() & {*PRODUCTS, *CALLS})


def _depthwise_gradient(graph, node):
    """As many multiplications and additions as going forward has, from its output's gradient."""
    kernel = node.input[1]
    if node.op == "DepthwiseConv2dNativeBackpropFilter":
        kernel = node.name
    shapes = [graph_util.tensor_shape_from_node_def_name(graph, n) for n in (node.input[2], kernel)]
    for shape in shapes:
        shape.assert_is_fully_defined()
    gradient, kernel = shapes
    return ops.OpStats("flops", 2 * gradient.num_elements() * kernel[0] * kernel[1])


# The profiler knows these of dense convolutions alone. Without them, a network of depthwise ones
# would seem cheaper to train than it is.
for _type in ("DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"):
    ops.RegisterStatistics(_type, "flops")(_depthwise_gradient)


def of_graph(graph):
    """The Count of a tf.Graph."""
    missed = collections.Counter()
    for operation in graph.get_operations():
        try:
            ops.get_stats_for_node_def(graph, operation.node_def, "flops")
        except ValueError:
            missed[operation.type] += 1
        if operation.type in CALLS:
            missed[operation.type] += 1
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    with contextlib.redirect_stderr(io.StringIO()):  # it tells how many it missed, not which
        counted = profiler.profile(graph, options=options)
    return Count(counted.total_float_ops, dict(missed))


def of_inference(function):
    """The Count of a concrete function that changes nothing, with the functions that it calls.

    A loop's body counts once, however often it runs.
    """
    return of_graph(convert_variables_to_constants_v2(function).graph)


def of_model(model, frame_size):
    """The Count of a Keras model on one uint8 frame of frame_size (H, W)."""
    frame = tf.TensorSpec((1, *frame_size, 3), tf.uint8)
    step = tf.function(lambda frame: model(frame, training=False))
    return of_inference(step.get_concrete_function(frame))


def of_update(student):
    """The Count of a Student's update step: forward, backward and the optimizer.

    With logits at full size, as `of_model` counts them, whatever the student computes.
    """
    plain = Student(student.model, student.frame_size, fused=False)
    return of_graph(plain._update.get_concrete_function().graph)


def of_saved_model(directory, frame_size):
    """A SavedModel's serving signature on a uint8 frame of frame_size (H, W).

    Returns its Count and the number of its trainable parameters. Where it takes frames of any
    size, shapes that follow from this frame's are still static.
    """
    loaded = tf.saved_model.load(str(directory))  # holds the variables for as long as it lives
    function = loaded.signatures["serving_default"]
    [name] = function.structured_input_signature[1]
    frame = tf.TensorSpec((1, *frame_size, 3), tf.uint8)
    step = tf.function(lambda frame: function(**{name: frame})).get_concrete_function(frame)
    return of_inference(step), number_of(function.trainable_variables)


def number_of(variables):
    """How many numbers they hold."""
    return sum(int(np.prod(variable.shape)) for variable in variables)

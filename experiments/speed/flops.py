"""Floating-point operations by TensorFlow's profiler, as the paper counts them (Table 1).

A multiplication and an addition are two operations. The profiler has rules for convolutions, matrix
products and elementwise arithmetic, but none for fused batch normalization, resizing and cropping,
which count nothing, as in the paper. It needs static shapes.
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

# The body of a function is not part of the graph that calls it.
CALLS = ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While")

PRODUCTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "BatchMatMulV3")


@dataclasses.dataclass(frozen=True)
class Count:
    """The operations of a graph.

    Attributes:
      total: floating-point operations of one run.
      missed: type → number of the graph's nodes that are not in the total: they call functions, or
        have a rule but no static shape to apply it to.
    """

    total: int
    missed: dict[str, int]

    @property
    def partial(self):
        """True if it missed operations that make up most of a network."""
        return bool(self.missed.keys() & {*PRODUCTS, *CALLS})


def _depthwise_gradient(graph, node):
    """Counts as many operations as the forward pass has, by the shape of the output's gradient."""
    kernel = node.input[1]
    if node.op == "DepthwiseConv2dNativeBackpropFilter":
        kernel = node.name
    shapes = [graph_util.tensor_shape_from_node_def_name(graph, n) for n in (node.input[2], kernel)]
    for shape in shapes:
        shape.assert_is_fully_defined()
    gradient, kernel = shapes
    return ops.OpStats("flops", 2 * gradient.num_elements() * kernel[0] * kernel[1])


# The profiler counts gradients of dense convolutions only. Without these, training a network of
# depthwise convolutions would seem cheaper than it is.
for _type in ("DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"):
    ops.RegisterStatistics(_type, "flops")(_depthwise_gradient)


def of_graph(graph):
    """Returns the Count of a tf.Graph."""
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
    with contextlib.redirect_stderr(io.StringIO()):  # it prints only the number of those it missed
        counted = profiler.profile(graph, options=options)
    return Count(counted.total_float_ops, dict(missed))


def of_inference(function):
    """Returns the Count of a concrete function without side effects, and of all that it calls.

    A loop's body counts once.
    """
    return of_graph(convert_variables_to_constants_v2(function).graph)


def of_model(model, frame_size):
    """Returns the Count of a Keras model on one uint8 frame of frame_size (H, W)."""
    frame = tf.TensorSpec((1, *frame_size, 3), tf.uint8)
    step = tf.function(lambda frame: model(frame, training=False))
    return of_inference(step.get_concrete_function(frame))


def of_update(student):
    """Returns the Count of a Student's update step: forward, backward and the optimizer.

    It is counted with logits at full size, as in `of_model`, even if the student uses half size.
    """
    plain = Student(student.model, student.frame_size, fused=False)
    return of_graph(plain._update.get_concrete_function().graph)


def of_saved_model(directory, frame_size):
    """Returns (Count, number of trainable parameters) of a SavedModel's serving signature.

    It is counted on a uint8 frame of frame_size (H, W), which makes the shapes static that depend
    on the frame's.
    """
    loaded = tf.saved_model.load(str(directory))  # owns the variables, so keep a reference
    function = loaded.signatures["serving_default"]
    [name] = function.structured_input_signature[1]
    frame = tf.TensorSpec((1, *frame_size, 3), tf.uint8)
    step = tf.function(lambda frame: function(**{name: frame})).get_concrete_function(frame)
    return of_inference(step), number_of(function.trainable_variables)


def number_of(variables):
    """Returns the total size of variables."""
    return sum(int(np.prod(variable.shape)) for variable in variables)

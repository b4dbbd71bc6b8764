"""FLOP counts against counts by hand."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from experiments.speed import flops
from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.student import Student

SIZE = (12, 20)
PIXELS = 12 * 20


def graph_of(function, *specs):
    return tf.function(function).get_concrete_function(*specs).graph


def test_a_convolution_and_a_product():
    image, kernel = tf.TensorSpec((1, 12, 20, 3)), tf.TensorSpec((3, 5, 3, 7))
    count = flops.of_graph(graph_of(lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), image, kernel))
    assert count == flops.Count(2 * 6 * 10 * 3 * 5 * 3 * 7, {})
    matrices = tf.TensorSpec((4, 5)), tf.TensorSpec((5, 6))
    assert flops.of_graph(graph_of(tf.matmul, *matrices)).total == 2 * 4 * 5 * 6


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("depthwise", [False, True])
def test_gradients_cost_what_the_convolution_costs(depthwise, stride):
    """Both the gradient of the input and the gradient of the kernel."""

    def forward(x, kernel):
        if depthwise:
            return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")
        return tf.nn.conv2d(x, kernel, stride, "SAME")

    def both(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = forward(x, kernel)
        return tape.gradient(y, [x, kernel])

    specs = tf.TensorSpec((2, 8, 16, 6)), tf.TensorSpec((3, 3, 6, 1))
    once = flops.of_graph(graph_of(forward, *specs)).total
    outputs = 2 * (8 // stride) * (16 // stride) * (6 if depthwise else 1)
    assert once == 2 * outputs * 9 * (1 if depthwise else 6)
    count = flops.of_graph(graph_of(both, *specs))
    # The forward pass is needed for its shape only, and is not run; the graph has it.
    assert count == flops.Count(3 * once, {})


def linear():
    """Logits of 4 classes from 3 colors by one matrix."""
    frames = keras.Input((*SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(frames)
    return keras.Model(frames, keras.layers.Conv2D(4, 1, use_bias=False)(x))


def test_a_model_and_its_update():
    model = linear()
    inference = flops.of_model(model, SIZE)
    product = 2 * PIXELS * 3 * 4
    rescaling = 2 * PIXELS * 3
    assert inference == flops.Count(product + rescaling, {})
    assert flops.number_of(model.trainable_variables) == 12
    update = flops.of_update(Student(model, SIZE))
    # The frame has no gradient; loss and optimizer are arithmetic by the element.
    rest = update.total - (2 * product + rescaling)
    assert 0 < rest < 20 * PIXELS * 4
    assert update.missed == {}


def test_training_the_network_that_the_paper_times():
    """Here 45.6 GFLOP, three times an inference; the paper's Table 1 has 42.0."""
    size = (720, 1280)
    student = Student(build_jitnet(23, width=0.5, frame_size=size), size)
    count = flops.of_update(student)
    assert count.total == pytest.approx(45.6e9, rel=0.01)
    assert count.missed == {}


def test_shapes_that_are_not_static_are_named():
    image, kernel = tf.TensorSpec((1, None, None, 3)), tf.TensorSpec((3, 3, 3, 7))
    count = flops.of_graph(graph_of(lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), image, kernel))
    assert count == flops.Count(0, {"Conv2D": 1})
    assert count.partial
    assert not flops.Count(5, {"Less": 1}).partial


def test_functions_that_are_called_are_named(capfd):
    inner = tf.function(lambda x: tf.matmul(x, x))
    function = tf.function(lambda x: inner(x)).get_concrete_function(tf.TensorSpec((4, 4)))
    called = flops.of_graph(function.graph)
    assert called.total == 0
    assert called.partial
    assert flops.of_inference(function) == flops.Count(2 * 4 * 4 * 4, {})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(1, None, None, 3), (1, *SIZE, 3)])
def test_saved_model(tmp_path, shape):
    module = tf.Module()
    module.kernel = tf.Variable(np.ones((3, 3, 3, 5), np.float32))
    module.frozen = tf.Variable(np.ones(5, np.float32), trainable=False)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, "image")])
    def serve(image):
        x = tf.nn.conv2d(tf.cast(image, tf.float32), module.kernel, 1, "SAME")
        return {"features": x * module.frozen}

    tf.saved_model.save(module, str(tmp_path), {"serving_default": serve})
    count, parameters = flops.of_saved_model(tmp_path, SIZE)
    assert count == flops.Count(2 * PIXELS * 5 * 27 + PIXELS * 5, {})
    assert parameters == 3 * 3 * 3 * 5

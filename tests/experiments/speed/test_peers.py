"""Other runtimes compute the same network from the same weights."""

import importlib.metadata
import importlib.util
import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from experiments.speed import peers
from experiments.speed.peers import (
    GRAPHS,
    LOGITS_FIRST,
    REFERENCE,
    Network,
    onnxruntime,
    ours,
    tflite,
)
from experiments.speed.peers import openvino as openvino_peer
from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import StudentConfig
from jitnet_tf.student import initial_weights
from jitnet_tf.student import weights as network_weights
from jitnet_tf.student.jitnet import build_jitnet
from jitnet_tf.student.student import Student

KERAS = importlib.metadata.version("keras")
SIZES = [(64, 96), (67, 93)]


def material(size, num_classes):
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (*size, 3), np.uint8)
    labels = random.integers(0, num_classes, size).astype(np.uint8)
    return frame, labels, random.uniform(0, 5, size).astype(np.float32)


def seeded_network(size, **changes):
    options = {"frame_size": size, "num_classes": 5, "width": 0.25, "normalization": "frame"}
    network = Network(**{**options, **changes})
    return Network(**{**options, **changes}, arrays=ours.initial_arrays(network))


@pytest.fixture
def here(monkeypatch):
    """Runs conversions in this process, which has imported TensorFlow."""
    monkeypatch.setattr(peers, "call_in_process", lambda function, *arguments: function(*arguments))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("num_classes", "options"),
    [
        (9, {}),
        (5, {"units": 2, "skip": False, "width": 0.3}),
        (20, {"normalization": "moving", "width": 0.25}),
    ],
)
def test_pytorch_is_the_same_network(size, num_classes, options):
    torch = pytest.importorskip("torch", reason="experiments/requirements_peers.txt")
    from experiments.speed.peers import torch_network

    keras.utils.set_random_seed(0)
    model = build_jitnet(num_classes, frame_size=size, **options)
    arrays = network_weights.arrays(network_weights.named(model))
    frame, labels, weights = material(size, num_classes)
    expected = model(frame[None], training=False).numpy()
    student = Student(model, size, fused=False)
    losses = [student.update(frame, labels, weights) for _ in range(3)]
    after = torch_network.converted(network_weights.arrays(network_weights.named(model)))
    batch = [torch.from_numpy(array)[None] for array in (frame, labels, weights)]
    for graph in GRAPHS:
        network = torch_network.JITNet(num_classes, graph=graph, **options)
        torch_network.load(network, arrays)
        logits = network.eval()(batch[0]).detach().permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        optimizer = torch.optim.SGD(network.train().parameters(), 0.01, momentum=0.9)
        found = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = torch_network.loss(network(batch[0]), *batch[1:])
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        # A ReLU at its kink can go either way, and a step later all differs a little.
        np.testing.assert_allclose(found, losses, rtol=2e-3)
        before, wrong, moved = torch_network.converted(arrays), [], []
        for name, tensor in torch_network.named(network).items():
            # Keras 3 takes the variance that is biased, PyTorch and Keras 2 the other.
            if not (name.endswith("running_var") and KERAS.startswith("3")):
                wrong.append(np.ravel(tensor - after[name]))
                moved.append(np.ravel(before[name] - after[name]))
        wrong, moved = (np.linalg.norm(np.concatenate(each)) for each in (wrong, moved))
        assert wrong < 0.1 * moved


@pytest.mark.parametrize("kernel", ["batch", "instance", "plain"])
def test_normalizations_are_the_same(kernel):
    torch = pytest.importorskip("torch", reason="experiments/requirements_peers.txt")
    from experiments.speed.peers import torch_network
    from jitnet_tf.student.layers import FrameNormalization

    x = np.random.default_rng(0).normal(3, 2, (1, 5, 7, 4)).astype(np.float32)
    gamma, beta = np.float32([1, 2, -1, 0.5]), np.float32([0, 1, 2, 3])
    layer = FrameNormalization()
    layer(x)
    layer.set_weights([gamma, beta])
    there = torch_network.FrameNormalization(4, kernel)
    there.load_state_dict({"weight": torch.tensor(gamma), "bias": torch.tensor(beta)})
    found = there(torch.tensor(x.transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, layer(x), atol=1e-5)


def test_weights_that_do_not_fit_are_refused():
    pytest.importorskip("torch", reason="experiments/requirements_peers.txt")
    from experiments.speed.peers import pytorch, torch_network

    network = seeded_network((64, 96))
    made = pytorch.make_network(network)
    without = dict(network.arrays)
    without.pop("weights/logits/bias")
    with pytest.raises(KeyError, match=r"logits\.bias"):
        torch_network.load(made, without)
    with pytest.raises(ValueError, match=r"logits\.bias: \(4,\), not \(5,\)"):
        torch_network.load(made, {**network.arrays, "weights/logits/bias": np.zeros(4, "f")})


@pytest.mark.parametrize("memory_format", ["channels first", "channels last"])
def test_steps_of_pytorch(memory_format):
    pytest.importorskip("torch", reason="experiments/requirements_peers.txt")
    from experiments.speed.peers import pytorch

    network = seeded_network((64, 96))
    student = ours.make_student(network, "float32")
    frame, labels, weights = material((64, 96), 5)
    for precision, least in (("float32", 0.999), ("bfloat16", 0.9)):
        steps = pytorch.build(network, precision, LOGITS_FIRST, memory_format, compiled=False)
        found = steps.infer(frame)
        assert (found.dtype, found.shape) == (np.uint8, (64, 96))
        assert np.mean(found == student.infer(frame)) >= least
        assert steps.update(frame, labels, weights) == pytest.approx(
            ours.make_student(network, "float32").update(frame, labels, weights), rel=0.02
        )


def assert_same_classes(network, steps):
    frame = material(network.frame_size, network.num_classes)[0]
    found = steps.infer(frame)
    assert (found.dtype, found.shape) == (np.uint8, network.frame_size)
    expected = ours.make_student(network, "float32").infer(frame)
    assert len(np.unique(expected)) > 1
    assert np.mean(found == expected) >= 0.999


@pytest.mark.parametrize("graph", GRAPHS)
def test_tflite(here, graph):
    network = seeded_network((67, 93))
    assert_same_classes(network, tflite.build(network, graph))


@pytest.mark.parametrize(
    ("peer", "module", "count", "form"),
    [
        *(("onnxruntime", onnxruntime, 4, form) for form in range(4)),
        *(("openvino", openvino_peer, 6, form) for form in range(6)),
    ],
)
def test_converted_networks(here, peer, module, count, form):
    for package in module.PACKAGES:
        pytest.importorskip(package, reason="experiments/requirements_peers.txt")
    network = seeded_network((67, 93))
    variants = module.variants(peer, network, "float32")
    assert len(variants) == count
    assert_same_classes(network, variants[form].build())


def test_graphs_for_converters_are_the_same():
    from experiments.speed.peers import graphs

    network = seeded_network((67, 93))
    frame = material((67, 93), 5)[0][None]
    found = []
    for graph in (REFERENCE, LOGITS_FIRST):
        function, _model = graphs.classes_function(network, graph)
        found.append(function(tf.constant(frame))["classes"].numpy())
    assert np.mean(found[0] == found[1]) >= 0.999


def test_ours_starts_from_pretrained_weights_if_they_fit():
    fits = Network((64, 96), 9, StudentConfig.width, "frame")
    assert ours.config_of(fits, "bfloat16").init == initial_weights.PRETRAINED
    for other in (
        Network((64, 96), 8, 0.5, "frame"),
        Network((64, 96), 9, 0.25, "frame"),
        Network((64, 96), 9, 0.5, "moving"),
    ):
        assert ours.config_of(other, "float32").init == initial_weights.RANDOM
    with pytest.raises(UserError, match="--width"):
        ours.config_of(Network((64, 96), 9, 0.1, "frame"), "float32")


def test_given_weights_are_used():
    network = seeded_network((64, 96))
    changed = {name: array + 1 for name, array in network.arrays.items()}
    student = ours.make_student(Network((64, 96), 5, 0.25, "frame", changed), "float32")
    for name, variable in network_weights.named(student.model).items():
        np.testing.assert_array_equal(variable, network.arrays[name] + 1)


def test_missing_packages_are_named(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else there(name)
    )
    assert "onnx" in peers.missing("onnxruntime")
    assert "onnx" not in peers.missing("openvino")
    assert peers.missing("ours") == peers.missing("tflite") == []


def test_a_call_in_a_process_of_its_own():
    assert peers.call_in_process(math.sqrt, 4) == 2
    with pytest.raises(RuntimeError, match="ValueError: math domain error"):
        peers.call_in_process(math.sqrt, -1)
    with pytest.raises(UserError, match="'big'"):
        peers.call_in_process(video.parse_size, "big")

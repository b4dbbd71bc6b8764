"""Bytes of convolutions by hand, and rates of the machine."""

import numpy as np
from tensorflow import keras

from experiments.speed import flops, peers, roofline
from experiments.speed.peers import ours


def test_bytes_by_hand():
    frames = keras.Input((6, 9, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(frames)
    x = keras.layers.Conv2D(2, 3, 2, "same", use_bias=False, name="stem1")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.UpSampling2D(2)(x)[:, :6, :9]
    model = keras.Model(frames, keras.layers.Conv2D(5, 1, name="logits")(x))
    stem1 = 3 * 3 * 3 * 2 + 3 * 5 * 2
    logits = 2 * 5 + 5 + 3 * 5 * (2 + 5)  # at half the size
    frame_and_classes = 6 * 9 * (3 + 1)
    assert roofline.bytes_of_convolutions(model, (6, 9)) == 4 * (stem1 + logits) + frame_and_classes
    assert roofline.bytes_of_convolutions(model, (6, 9), 2) == (
        2 * (stem1 + logits) + frame_and_classes
    )


def test_measured_rates(monkeypatch):
    monkeypatch.setattr(roofline, "COPIED", 1 << 20)
    monkeypatch.setattr(roofline, "MATRIX", 64)
    network = peers.Network((64, 96), 5, 0.25, "frame")
    found = roofline.measure(network)
    model = ours.make_student(network, peers.FLOAT32).model
    assert found["operations"] == flops.of_model(model, (64, 96)).total
    single, half = found[peers.FLOAT32], found[peers.BFLOAT16]
    frame_and_classes = 64 * 96 * 4
    assert single["bytes"] - frame_and_classes == 2 * (half["bytes"] - frame_and_classes)
    for limits in (single, half):
        seconds = found["operations"] / limits["operations_per_second"]
        np.testing.assert_allclose(limits["arithmetic_ms"], 1000 * seconds)
        seconds = limits["bytes"] / found["copy_bytes_per_second"]
        np.testing.assert_allclose(limits["memory_ms"], 1000 * seconds)


def test_copying_reaches_every_byte(monkeypatch):
    made = []
    monkeypatch.setattr(roofline, "COPIED", 5 * 4096)
    monkeypatch.setattr(roofline.np, "ones", lambda *a: made.append(fresh(len(made))) or made[-1])

    def fresh(number):
        return np.full(5 * 4096, 1 + number, np.uint8)

    assert roofline.copy_rate() > 0
    source, target = made
    assert (source == 1).all()
    np.testing.assert_array_equal(target, source)

"""Rows of peers with given times, and steps and packages that fail."""

import types

import numpy as np
import pytest

from experiments.speed import comparison, peers, turns
from experiments.speed.peer_process import INFER, UPDATE, Built
from experiments.speed.peers import BFLOAT16, FLOAT32
from jitnet_tf.base.errors import UserError
from tests.builders import made_peer_row as row


def test_the_fastest_variant_that_computes_the_same_is_the_row():
    variants = [
        row(INFER, "openvino (from pytorch)", 50.0, variant="logits first", differs=True),
        row(INFER, "openvino (from pytorch)", 80.0, variant="reference graph"),
        row(INFER, "openvino (from tensorflow)", 90.0),
        row(UPDATE, "ours", 10.0),
        row(INFER, "ours", 9.0),
        row(INFER, "ours", 8.0, precision=BFLOAT16),
    ]
    best = comparison.best_rows(variants)
    assert [(r["what"], r["peer"], r["precision"], r["median_ms"]) for r in best] == [
        (INFER, "openvino", FLOAT32, 80.0),
        (INFER, "ours", FLOAT32, 9.0),
        (INFER, "ours", BFLOAT16, 8.0),
        (UPDATE, "ours", FLOAT32, 10.0),
    ]
    assert best[0]["variant"] == "from pytorch, reference graph"


def test_rows_name_peers_that_compute_something_else():
    classes = np.zeros((10, 100), np.uint8)
    other = classes.copy()
    other[0, :2] = 1  # 2 of 1,000 pixels
    reference = Built("ours", "default", classes, 2.0)
    built = [
        Built("a", "same", classes, 2.0),
        Built("a", "ids", other),
        Built("a", "loss", classes, 2.1),
    ]
    process = types.SimpleNamespace(built=built, precision=FLOAT32)
    times = {(i, step): [3.0, 1.0, 2.0] for i in range(3) for step in process.built[i].steps}
    rows = comparison.rows_of(process, times, 100.0, reference)
    assert [(r["variant"], r["what"], r["differs"]) for r in rows] == [
        ("same", INFER, False),
        ("same", UPDATE, False),
        ("ids", INFER, True),
        ("loss", INFER, False),
        ("loss", UPDATE, True),
    ]
    assert (rows[0]["median_ms"], rows[0]["min_ms"], rows[0]["max_ms"]) == (2.0, 1.0, 3.0)
    assert rows[2]["agreement"] == pytest.approx(0.998)
    process.precision = BFLOAT16  # for which it is stated only
    rows = comparison.rows_of(process, times, 100.0, reference)
    assert not any(r["differs"] for r in rows)


class Told:
    """A fake PeerProcess with given results."""

    precision = FLOAT32

    def __init__(self, name, calls, fails=()):
        self.built = [Built(name, "v", None, 1.0), Built(name, "w"), Built(name, "x", failure="!")]
        self.calls, self.fails = calls, fails

    def run(self, variant, step):
        call = (self.built[variant].peer, self.built[variant].name, step)
        self.calls.append(call)
        if self.calls.count(call) == 2 and step in self.fails:
            raise turns.StepError("out of memory")
        return float(len(self.calls))


def test_processes_take_turns_and_steps_that_fail_are_dropped():
    calls, skipped = [], []
    processes = [Told("a", calls), Told("b", calls, fails=(UPDATE,))]
    times = comparison.time_steps(processes, 3, skipped)
    a = [("a", "v", INFER), ("a", "v", UPDATE), ("a", "w", INFER)]
    b = [("b", "v", INFER), ("b", "v", UPDATE), ("b", "w", INFER)]
    assert calls == [*a, *b, *a, *b, *a, b[0], b[2]]
    assert times[0, 0, UPDATE] == [2.0, 8.0, 14.0]
    assert (1, 0, UPDATE) not in times
    assert len(times) == 5
    assert skipped == [
        {"peer": "b", "precision": FLOAT32, "variant": "v, update", "why": "out of memory"}
    ]


def test_missing_packages_are_named_and_the_rest_is_measured(monkeypatch):
    monkeypatch.setattr(peers, "missing", lambda name: [] if name == "ours" else ["abacus"])
    monkeypatch.setattr(comparison, "sample_material", lambda network: None)
    started = []

    def start(name, network, precision, material, stack, skipped):
        started.append((name, precision))

    monkeypatch.setattr(comparison, "start_process", start)
    with pytest.raises(UserError, match="abacus not installed"):
        comparison.compare(["ours", "tflite"], None, 1)
    assert started == [("ours", FLOAT32), ("ours", BFLOAT16)]

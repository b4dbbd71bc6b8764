"""Warm-up of variants, without a process."""

import numpy as np

from experiments.speed import peer_process
from experiments.speed.peer_process import INFER, Built
from experiments.speed.peers import Steps, Variant


def test_warm_ups_that_fail_give_their_error():
    material = peer_process.Material(*(np.zeros(0),) * 3)

    def fails():
        raise RuntimeError("no\nkernel")

    assert peer_process._warm_up(Variant("p", "v", fails), material) == (
        None,
        Built("p", "v", failure="RuntimeError: no kernel"),
    )
    calls = []
    steps = Steps(lambda frame: calls.append("infer") or [[1]])
    _, built = peer_process._warm_up(Variant("p", "v", lambda: steps), material)
    assert (built.steps, built.classes.tolist()) == ((INFER,), [[1]])
    assert len(calls) == peer_process.WARM_UP_RUNS

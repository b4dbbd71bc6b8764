"""The order of steps, and steps that fail."""

import types

from experiments.speed import turns


def test_steps_take_turns():
    calls = []
    steps = {key: lambda key=key: calls.append(key) or float(len(calls)) for key in "abc"}
    times, failed = turns.take_turns(steps, 3)
    assert calls == list("abc") * 3
    assert times == {"a": [1, 4, 7], "b": [2, 5, 8], "c": [3, 6, 9]}
    assert failed == {}


def test_a_step_that_fails_is_not_run_again():
    calls = []

    def fails():
        calls.append("b")
        if len(calls) == 4:
            raise turns.StepError("out of memory")

    times, failed = turns.take_turns({"a": lambda: calls.append("a"), "b": fails}, 3)
    assert calls == list("ababa")
    assert list(times) == ["a"]
    assert {key: str(error) for key, error in failed.items()} == {"b": "out of memory"}


def test_milliseconds_are_of_the_call_alone(monkeypatch):
    now = iter([2.0, 2.25])
    monkeypatch.setattr(turns, "time", types.SimpleNamespace(perf_counter=lambda: next(now)))
    assert turns.milliseconds(lambda: None) == 250

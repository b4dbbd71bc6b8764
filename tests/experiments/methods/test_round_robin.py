"""Round robin, by hand."""

from experiments.methods.round_robin import RoundRobin
from jitnet_tf.fleet.scheduling import Request


def test_round_robin_goes_by_turn():
    scheduler = RoundRobin()
    for name in "abc":
        scheduler.add(Request(name, 0.0))
    assert [scheduler.next(0.0).stream for _ in range(2)] == ["a", "b"]
    scheduler.add(Request("a", 0.0))
    scheduler.add(Request("d", 9.0))
    # c and d were never answered; then a, whatever the times.
    assert [scheduler.next(0.0).stream for _ in range(3)] == ["c", "d", "a"]


def test_a_stream_that_was_removed_begins_anew():
    scheduler = RoundRobin()
    for name in "ab":
        scheduler.add(Request(name, 0.0))
    assert [scheduler.next(0.0).stream for _ in range(2)] == ["a", "b"]
    scheduler.remove("b")
    for name in "ab":
        scheduler.add(Request(name, 1.0))
    assert scheduler.next(1.0).stream == "b"

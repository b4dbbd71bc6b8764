"""Schedulers of requests, by hand and by properties."""

import collections
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.fleet.scheduling import ByNeed, Decay, FirstCome, Request

SCHEDULERS = [FirstCome, ByNeed]


def order(scheduler, now=0.0):
    """Returns the streams in the order in which they are answered at one time."""
    found = []
    while request := scheduler.next(now):
        found.append(request.stream)
    return found


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_nothing_waits(kind):
    scheduler = kind()
    assert scheduler.next(0.0) is None
    assert len(scheduler) == 0


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_one_request_a_stream(kind):
    scheduler = kind()
    scheduler.add(Request("a", 1.0))
    with pytest.raises(ValueError, match="a"):
        scheduler.add(Request("a", 2.0))
    assert scheduler.next(3.0) == Request("a", 1.0)
    scheduler.add(Request("a", 2.0))
    scheduler.remove("a")
    scheduler.remove("a")
    assert scheduler.next(3.0) is None


def test_first_come_goes_by_time():
    scheduler = FirstCome()
    for name, made in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 1.0)):
        scheduler.add(Request(name, made))
    assert order(scheduler) == ["b", "d", "c", "a"]


def test_need_grows_with_decay_and_with_the_square_of_the_age():
    """At time 10: .4·1, .1·4, .1·9, .01·100, and what has no labels yet."""
    scheduler = ByNeed(longest_wait=math.inf)
    scheduler.add(Request("young", 9.0, labeled=9.0, decay=0.4))
    scheduler.add(Request("steady", 9.0, labeled=8.0, decay=0.11))
    scheduler.add(Request("older", 9.0, labeled=7.0, decay=0.1))
    scheduler.add(Request("oldest", 9.0, labeled=0.0, decay=0.01))
    scheduler.add(Request("unlabeled", 9.5))
    assert order(scheduler, 10.0) == ["unlabeled", "oldest", "older", "steady", "young"]


def test_a_stream_that_loses_nothing_still_gets_its_turn():
    scheduler = ByNeed(longest_wait=math.inf, least_decay=0.001)
    scheduler.add(Request("busy", 0.0, labeled=99.0, decay=0.5))
    scheduler.add(Request("still", 0.0, labeled=70.0, decay=0.0))
    assert order(scheduler, 100.0) == ["still", "busy"]  # .9 and .5
    scheduler.add(Request("busy", 0.0, labeled=99.0, decay=0.5))
    scheduler.add(Request("unknown", 0.0, labeled=70.0))
    assert order(scheduler, 100.0) == ["unknown", "busy"]


def test_streams_that_lose_the_same_get_labels_in_proportion_to_their_budgets():
    """All ask again at once; one is answered a second."""
    scheduler, answers = ByNeed(longest_wait=math.inf), collections.Counter()
    budgets = {str(place): 0.04 if place < 4 else 0.02 for place in range(12)}
    for name, budget in budgets.items():
        scheduler.add(Request(name, 0.0, 0.0, 0.1, budget))
    for now in range(1, 1601):
        name = scheduler.next(float(now)).stream
        answers[name] += 1
        scheduler.add(Request(name, float(now), float(now), 0.1, budgets[name]))
    assert {name: answers[name] for name in budgets} == pytest.approx(
        {name: 1600 * budget / 0.32 for name, budget in budgets.items()}, rel=0.05
    )


def test_who_has_waited_too_long_comes_first():
    scheduler = ByNeed(longest_wait=5.0)
    scheduler.add(Request("needy", 4.0, labeled=0.0, decay=1.0))
    scheduler.add(Request("patient", 0.0, labeled=3.9, decay=0.0))
    scheduler.add(Request("more patient", -1.0, labeled=3.9, decay=0.0))
    assert scheduler.next(3.9).stream == "needy"
    assert [scheduler.next(5.0).stream for _ in range(2)] == ["more patient", "patient"]


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), min_size=2, max_size=12),
    st.floats(0.1, 2.0),
)
def test_none_waits_longer_than_the_bound(streams, service):
    """All streams ask again at once; one request is answered every `service` seconds."""
    longest_wait = 4.0
    scheduler = ByNeed(longest_wait)
    for number, (made, decay) in enumerate(streams):
        scheduler.add(Request(str(number), made, None, decay))
    now, waits = 3.0, []
    for _ in range(20 * len(streams)):
        request = scheduler.next(now)
        waits.append(now - request.made)
        decay = streams[int(request.stream)][1]
        scheduler.add(Request(request.stream, now, now, decay))
        now += service
    assert max(waits) <= longest_wait + len(streams) * service + 3.0 + 1e-9


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.sampled_from(SCHEDULERS))
def test_every_request_is_answered_once(names, kind):
    scheduler, added, answered = kind(), [], []
    for time, name in enumerate(names):
        try:
            scheduler.add(Request(name, float(time)))
        except ValueError:  # one is waiting: answer any
            answered.append(scheduler.next(float(time)))
        else:
            added.append(Request(name, float(time)))
    while request := scheduler.next(99.0):
        answered.append(request)
    assert sorted(answered, key=lambda request: request.made) == added
    assert len(scheduler) == 0


# Decay


def test_decay_of_a_stream_by_hand():
    decay = Decay()
    decay.add(0.0, None, 0.9)
    assert decay.value is None
    decay.add(2.0, 0.5, 0.8)  # .4 in 2 s
    assert decay.value == pytest.approx(0.2)
    decay.add(3.0, 0.7, 0.9)  # .1 in 1 s
    assert decay.value == pytest.approx(0.15)
    decay.add(4.0, 0.95, 1.0)  # it got better by itself
    assert decay.value == pytest.approx(0.075)


def test_a_label_without_evidence_is_left_out():
    decay = Decay()
    decay.add(0.0, 0.5, 0.9)
    decay.add(2.0, None, None)
    decay.add(3.0, 0.1, 0.9)
    assert decay.value is None
    decay.add(4.0, 0.4, 0.9)
    assert decay.value == pytest.approx(0.5)


def test_two_labels_of_one_time_are_no_interval():
    decay = Decay()
    decay.add(1.0, 0.5, 0.9)
    decay.add(1.0, 0.5, 0.9)
    assert decay.value is None

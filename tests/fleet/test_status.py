"""A fleet's table, metrics and notes, of states made by hand."""

import pytest

from jitnet_tf.fleet import status
from jitnet_tf.fleet.dispatch import Figures
from jitnet_tf.fleet.members import PAUSED, RUNNING, STARTING, Member
from jitnet_tf.fleet.metrics import FleetMetrics
from jitnet_tf.fleet.outcome import ENDED
from jitnet_tf.fleet.streams import Stream

KNOWN = {
    **{"frames": 100, "dropped": 0, "teacher_frames": 4, "updates": 9, "reconnects": 0},
    **{"fps": 24.8, "seconds_since_frame": 0.1, "lag": 0.5, "teacher_share": 0.04},
    **{"accuracy": 0.7, "accuracy_sum": 3.2, "accuracy_count": 4, "stride": 8, "gap": None},
}


def member(state, figures=None, summary=None, restarts=0):
    made = Member(Stream("a", {"video": "a.mp4"}, 2), None)
    made.state, made.figures, made.summary, made.restarts = state, figures, summary, restarts
    return made


OF_RUN = {"complete": True, "frames": 200, "accuracy_before_update": 0.75, "teacher_fraction": 0.03}


@pytest.mark.parametrize(
    ("of_stream", "cells"),
    [
        (member(STARTING), ["starting", "–", "–", "–", "–", "–", "0"]),
        (
            member(RUNNING, KNOWN),
            ["running", "100", "24.8", "0.5", "s", "80.0", "%", "4.0", "%", "0"],
        ),
        # The rate and lag of a process that has died are no longer true.
        (
            member(STARTING, KNOWN, restarts=2),
            ["starting", "100", "–", "–", "80.0", "%", "4.0", "%", "2"],
        ),
        (member(PAUSED, KNOWN), ["paused", "100", "–", "–", "80.0", "%", "4.0", "%", "0"]),
        (member(ENDED, KNOWN, OF_RUN), ["ended", "200", "–", "–", "75.0", "%", "3.0", "%", "0"]),
    ],
)
def test_a_line_of_the_table(of_stream, cells):
    head, line = status.table({"a": of_stream}).splitlines()
    assert tuple(head.split()) == status.HEAD
    assert line.split() == ["a", *cells]


@pytest.mark.parametrize(
    ("state", "is_up"), [(RUNNING, True), (STARTING, False), (PAUSED, False), (ENDED, False)]
)
def test_only_what_runs_is_up_and_has_figures(state, is_up):
    metrics = FleetMetrics()
    metrics.show_fleet({"a": member(state, KNOWN, restarts=2)}, None)
    _, text = metrics.answer()
    lines = text.decode().splitlines()
    assert f'jitnet_up{{run="a"}} {float(is_up)}' in lines
    assert 'jitnet_restarts_total{run="a"} 2.0' in lines
    assert ('jitnet_fps{run="a"} 24.8' in lines) == is_up


def pool(*teachers):
    return list(teachers), 0, 0.0, 0.0


REFUSED = Figures(problem="no such model", refused=True)
DEAD = Figures(problem="its process has died")


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, ""),
        (pool(Figures()), ""),
        (pool(REFUSED, REFUSED), "no such model"),
        (pool(REFUSED, DEAD), ""),  # which is started again
        (pool(REFUSED, Figures(batch=1)), ""),
        (pool(Figures(answered=3, problem="no such model", refused=True)), ""),
    ],
)
def test_a_teacher_is_refused_if_none_can_be_opened_and_none_ever_was(known, reason):
    assert status.refusal(known) == reason


def test_a_fleet_has_a_teacher_if_one_can_be_asked():
    assert not status.has_teacher(None)
    assert not status.has_teacher(pool(Figures(), DEAD))
    assert status.has_teacher(pool(DEAD, Figures(batch=4)))


def test_a_teacher_that_does_not_come_is_told_after_a_while():
    teachers, there, gone = status.Teachers(), Figures(batch=1), Figures()
    assert teachers.problems(None, 0.0) == []
    assert teachers.problems(pool(gone, there), 0.0) == []
    assert teachers.problems(pool(gone, there), 59.0) == []
    [one] = teachers.problems(pool(gone, gone), 60.0)
    assert "teacher 0 has been missing for 60 s" in one
    assert len(teachers.problems(pool(gone, gone), 119.0)) == 2
    assert teachers.problems(pool(there, there), 120.0) == []
    assert teachers.problems(pool(gone, there), 179.0) == []


def test_the_reason_of_a_teacher_that_cannot_be_asked_is_told_at_once():
    [one] = status.Teachers().problems(pool(DEAD, Figures(batch=1)), 0.0)
    assert one == "teacher 0 cannot be asked now (its process has died)"


def test_each_death_of_a_teacher_is_told():
    teachers = status.Teachers()
    assert teachers.news(None) == []
    assert teachers.news(pool(Figures(deaths=1), Figures())) != []  # told late is better than never
    assert teachers.news(pool(Figures(deaths=1), Figures())) == []
    [one] = teachers.news(pool(Figures(deaths=1), Figures(deaths=2)))
    assert one.startswith("teacher 1 has not answered")
    assert teachers.news(pool(Figures(), Figures())) == []  # of a dispatcher that was started again
    assert len(teachers.news(pool(Figures(deaths=1), Figures(deaths=1)))) == 2

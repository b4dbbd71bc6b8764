"""The life of a fleet's streams, on hand-worked traces."""

import itertools
import weakref

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.members import (
    GRACE,
    LONGEST_PAUSE,
    MOST_DEATHS,
    PAUSED,
    RUNNING,
    START_GRACE,
    STARTING,
    STOPPING,
    DiedError,
    Member,
    Members,
)
from jitnet_tf.fleet.outcome import AWAY, CRASHED, ENDED, FAILED, IN_USE, STOPPED, Outcome
from jitnet_tf.fleet.streams import Stream

SUMMARY = {"complete": True, "frames": 9}


class Process:
    """A process that does what the test says."""

    def __init__(self):
        self.outcome, self.dies, self.known = None, False, None
        self.was_stopped = self.was_killed = False

    def poll(self):
        if self.dies:
            raise DiedError("exit code -9")
        return self.outcome

    def figures(self):
        return self.known

    def stop(self):
        self.was_stopped = True

    def kill(self):
        self.was_killed = True


class Starter:
    """Starts processes, and remembers the rows that they are of."""

    def __init__(self):
        self.rows, self.processes, self.error = [], [], None

    def __call__(self, stream):
        if self.error:
            raise self.error
        self.rows.append(stream)
        self.processes.append(Process())
        return self.processes[-1]

    @property
    def latest(self):
        return self.processes[-1]


def row(name="a", line=2, **options):
    return Stream(name, {"video": f"{name}.mp4", **options}, line)


@pytest.fixture
def start():
    return Starter()


@pytest.fixture
def member(start):
    return Member(row(), start)


def test_a_stream_runs_to_its_end(member, start):
    assert member.state == STARTING
    member.step(0.0)
    assert (member.state, len(start.processes)) == (STARTING, 1)
    member.step(0.5)
    assert (member.state, len(start.processes)) == (STARTING, 1)
    start.latest.known = {"frames": 3}
    member.step(1.0)
    assert (member.state, member.figures) == (RUNNING, {"frames": 3})
    start.latest.outcome = Outcome(ENDED, SUMMARY)
    member.step(2.0)
    assert (member.state, member.summary, member.restarts) == (ENDED, SUMMARY, 0)
    assert member.is_over
    member.step(3.0)
    assert len(start.processes) == 1


def test_a_dead_stream_is_started_again_after_growing_pauses(member, start):
    starts = []
    for tick in range(200):
        before = len(start.processes)
        member.step(float(tick))
        if len(start.processes) > before:
            starts.append(tick)
            start.latest.dies = True
        if member.is_over:
            break
    # A step sees the death, the pause begins there: 1, 2, 4, … seconds.
    assert [later - earlier - 1 for earlier, later in itertools.pairwise(starts)] == [
        min(2**n, LONGEST_PAUSE) for n in range(MOST_DEATHS - 1)
    ]
    assert (member.state, member.restarts) == (FAILED, MOST_DEATHS)
    assert "exit code -9" in member.reason


def test_a_stream_that_gets_on_between_its_deaths_is_started_for_ever(member, start):
    now = 0.0
    for death in range(3 * MOST_DEATHS):
        member.step(now)
        start.latest.known = {"frames": death + 1}
        member.step(now)
        assert member.state == RUNNING
        start.latest.dies = True
        member.step(now)
        assert (member.state, member.restarts) == (PAUSED, death + 1)
        now += 1.0  # the first pause, every time


def test_a_users_mistake_is_final(member, start):
    member.step(0.0)
    start.latest.outcome = Outcome(FAILED, None, "no such file")
    member.step(1.0)
    assert (member.state, member.reason, member.restarts) == (FAILED, "no such file", 0)


def test_a_row_that_cannot_be_started_has_failed(member, start):
    start.error = UserError("width='x'")
    member.step(0.0)
    assert (member.state, member.reason) == (FAILED, "width='x'")


def test_a_folder_that_is_still_held_is_waited_for(member, start):
    member.step(0.0)
    start.latest.outcome = Outcome(IN_USE, reason="in use by process 7")
    member.step(1.0)
    assert (member.state, member.reason, member.restarts) == (PAUSED, "in use by process 7", 0)
    member.step(2.0)
    assert (member.state, member.reason) == (STARTING, "")
    assert len(start.processes) == 2


def test_a_process_that_is_started_again_is_starting_until_it_has_figures(member, start):
    member.step(0.0)
    start.latest.known = {"frames": 3}
    member.step(1.0)
    start.latest.dies = True
    member.step(2.0)
    assert member.state == PAUSED
    member.step(4.0)
    assert (member.state, member.figures) == (STARTING, {"frames": 3})
    start.latest.known = {"frames": 2}
    member.step(5.0)
    assert (member.state, member.figures) == (RUNNING, {"frames": 2})


def test_a_stopped_stream_ends_in_order(member, start):
    member.step(0.0)
    member.stop(1.0)
    assert member.state == STOPPING
    assert start.latest.was_stopped
    start.latest.outcome = Outcome(STOPPED, {"complete": False})
    member.step(2.0)
    assert (member.state, member.summary) == (STOPPED, {"complete": False})


@pytest.mark.parametrize(("known", "grace"), [({"frames": 1}, GRACE), (None, START_GRACE)])
def test_a_stream_that_does_not_stop_is_killed(member, start, known, grace):
    member.step(0.0)
    start.latest.known = known
    member.step(0.5)
    member.stop(1.0)
    member.step(grace)
    assert (member.state, start.latest.was_killed) == (STOPPING, False)
    member.step(grace + 1)
    assert (member.state, start.latest.was_killed) == (STOPPED, True)


def test_a_stream_that_dies_while_it_stops_is_not_started_again(member, start):
    member.step(0.0)
    member.stop(1.0)
    start.latest.dies = True
    member.step(2.0)
    assert (member.state, member.restarts) == (STOPPED, 0)


@pytest.mark.parametrize("paused", [False, True])
def test_a_stream_that_does_not_run_is_stopped_at_once(member, start, paused):
    if paused:
        member.step(0.0)
        start.latest.dies = True
        member.step(0.0)
    member.stop(0.5)
    assert member.state == STOPPED


def test_another_row_of_the_name_goes_on_once_the_old_one_has_ended(member, start):
    member.step(0.0)
    member.replace(row(width=".5"), 1.0)
    member.step(2.0)
    assert member.state == STOPPING
    start.latest.outcome = Outcome(STOPPED, {"complete": False})
    member.step(3.0)
    assert member.state == STARTING
    member.step(4.0)
    assert [found.options.get("width") for found in start.rows] == [None, ".5"]
    member.replace(row(width=".25"), 5.0)
    member.stop(6.0)  # of all streams: nothing is started any more
    start.latest.outcome = Outcome(STOPPED, {"complete": False})
    member.step(7.0)
    assert member.state == STOPPED


def test_a_failed_stream_is_tried_again_with_another_row(member, start):
    start.error = UserError("no")
    member.step(0.0)
    start.error = None
    member.replace(row(width=".5"), 1.0)
    member.step(1.0)
    assert (member.state, member.reason, len(start.processes)) == (STARTING, "", 1)


class Watch:
    """A list whose changes the test makes."""

    def __init__(self, *rows):
        self.streams = {stream.name: stream for stream in rows}
        self.added, self.removed = [], []

    def changes(self):
        found = self.added, self.removed
        self.added, self.removed = [], []
        return found


def test_streams_follow_the_list(start):
    watch = Watch(row("a"), row("b"), row("c"))
    members = Members(watch, start)
    members.step(0.0)
    assert [stream.name for stream in start.rows] == ["a", "b", "c"]
    for process in start.processes:
        process.known = {"frames": 1}
    watch.streams = {"a": row("a"), "b": row("b", width=".5"), "d": row("d")}
    watch.added, watch.removed = ["b", "d"], ["b", "c"]
    members.step(1.0)
    states = {name: member.state for name, member in members.by_name.items()}
    assert states == {"a": RUNNING, "b": STOPPING, "c": STOPPING, "d": STARTING}
    for process in start.processes[1:3]:
        process.outcome = Outcome(STOPPED, {"complete": False})
    members.step(2.0)
    members.step(3.0)
    assert members.by_name["b"].stream.options["width"] == ".5"
    states = {name: member.state for name, member in members.by_name.items()}
    assert states == {"a": RUNNING, "b": STARTING, "d": STARTING}
    news = ["added in the list: d", "removed in the list: c", "changed in the list: b"]
    assert members.news() == news
    assert members.news() == []


def test_a_reason_is_told_once(start):
    members = Members(Watch(row("a"), row("b")), start)
    for now in (0.0, 100.0, 200.0):
        members.step(now)
        start.processes[-1].outcome = Outcome(AWAY, reason="no\nroute")
        members.step(now + 50)
    assert members.news() == ["b: paused: no route"]
    start.error = UserError("wrong")
    members.step(400.0)
    assert members.news() == ["b: failed: wrong"]


def test_what_comes_again_after_a_frame_or_with_another_state_or_row_is_told_again(start):
    watch = Watch(row("a"))
    members = Members(watch, start)

    def goes_away(now, patience=300.0):
        members.step(now)
        start.latest.outcome = Outcome(AWAY, reason="no route", patience=patience)
        members.step(now + 1)
        return members.news()

    assert goes_away(0.0) == ["a: paused: no route"]
    assert goes_away(100.0) == []
    members.step(200.0)
    start.latest.known = {"frames": 3}
    members.step(201.0)
    start.latest.known = None
    assert goes_away(202.0) == ["a: paused: no route"]
    assert goes_away(1000.0) == ["a: failed: no route"]
    watch.streams = {"a": row("a", width=".5")}
    watch.added = watch.removed = ["a"]
    assert goes_away(2000.0) == ["changed in the list: a", "a: paused: no route"]


def test_a_fleet_is_over_when_all_its_streams_are(start):
    watch = Watch(row("a"), row("b"))
    members = Members(watch, start)
    members.step(0.0)
    start.processes[0].outcome = Outcome(ENDED, SUMMARY)
    members.step(1.0)
    assert not members.are_over
    members.stop(2.0)
    watch.added = ["c"]
    start.processes[1].outcome = Outcome(STOPPED, SUMMARY)
    members.step(3.0)
    assert members.are_over
    assert list(members.by_name) == ["a", "b"]


def test_a_removed_stream_is_forgotten_once_it_has_ended(start):
    watch = Watch(row("a"), row("b"))
    members = Members(watch, start)
    members.step(0.0)
    watch.removed = ["b"]
    members.step(1.0)
    assert list(members.by_name) == ["a", "b"]
    start.processes[1].outcome = Outcome(STOPPED, {"complete": False})
    members.step(2.0)
    assert list(members.by_name) == ["a"]


def test_a_stream_that_is_over_leaves_its_process(member, start):
    """Its memory, cores and GPU are free only then."""
    member.step(0.0)
    process = weakref.ref(start.processes.pop())
    process().outcome = Outcome(ENDED, SUMMARY)
    member.step(1.0)
    assert process() is None


@pytest.mark.parametrize("state", [CRASHED, IN_USE, AWAY])
def test_a_stream_that_was_asked_to_stop_is_over_however_it_ends(member, start, state):
    member.step(0.0)
    member.stop(1.0)
    start.latest.outcome = Outcome(state, reason="why")
    member.step(2.0)
    assert (member.state, member.reason) == (STOPPED, "why")


def test_an_error_of_ours_counts_as_a_death(member, start):
    member.step(0.0)
    start.latest.outcome = Outcome(CRASHED, reason="ValueError: x")
    member.step(1.0)
    assert (member.state, member.restarts, member.reason) == (PAUSED, 1, "ValueError: x")


def test_a_camera_that_is_away_is_waited_for_within_its_patience(member, start):
    now, starts = 0.0, []
    while not member.is_over:
        before = len(start.processes)
        member.step(now)
        if len(start.processes) > before:
            starts.append(now)
            start.latest.outcome = Outcome(AWAY, reason="no route", patience=300.0)
        now += 1.0
    assert (member.state, member.reason, member.restarts) == (FAILED, "no route", 0)
    assert 300 <= now <= 300 + LONGEST_PAUSE + 2
    assert max(later - earlier for earlier, later in itertools.pairwise(starts)) <= 61


def test_a_camera_that_comes_back_is_waited_for_anew(member, start):
    member.step(0.0)
    start.latest.outcome = Outcome(AWAY, reason="no route", patience=10.0)
    member.step(1.0)
    member.step(3.0)
    start.latest.known = {"frames": 3}
    member.step(4.0)
    start.latest.outcome = Outcome(AWAY, reason="no route", patience=10.0)
    start.latest.known = None
    member.step(50.0)
    assert member.state == PAUSED


def test_another_row_begins_without_the_figures_of_the_old_one(member, start):
    member.step(0.0)
    start.latest.known = {"frames": 3}
    start.latest.outcome = Outcome(ENDED, SUMMARY)
    member.step(1.0)
    member.replace(row(width=".5"), 2.0)
    assert (member.figures, member.summary) == (None, None)

"""The streams of a fleet: each started, watched, started again when it has died, and ended.

Pure state machines: what runs a stream is a `Process` that the caller's function starts, and the
caller gives the time.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.outcome import AWAY, CRASHED, ENDED, FAILED, STOPPED, Outcome
from jitnet_tf.fleet.streams import Stream

STARTING, RUNNING, PAUSED, STOPPING = "starting", "running", "paused", "stopping"
OVER = (ENDED, STOPPED, FAILED)
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a stream is started again
MOST_DEATHS = 8  # in a row, without a frame between them that was new
GRACE = 600.0  # seconds for a stream to end when asked to, and to write its last export
START_GRACE = 60.0  # the same for one that has not begun, and may not have been placed yet


class DiedError(Exception):
    """A stream's process has died."""


class Process(Protocol):
    """A running stream."""

    def poll(self) -> Outcome | None:
        """Returns the outcome once there is one. DiedError: it has died."""

    def figures(self) -> dict | None:
        """Returns the latest figures that are known; see `Figures.now`. Does not wait."""

    def stop(self) -> None:
        """Asks it to end."""

    def kill(self) -> None:
        """Ends it at once."""


class Member:
    """A stream of the fleet and how it stands.

    Args:
      stream: its Stream.
      start: starts the process of a Stream, from its checkpoint if it has one. UserError: it
        cannot be started.

    Attributes:
      stream: see above.
      state: STARTING until its process has figures, RUNNING, PAUSED before it is started again,
        STOPPING, or one of OVER.
      restarts: how often it was started again after it had died.
      reason: why it is paused or has failed; "".
      figures: the latest known, while it does not run those of its last process; or None.
      summary: of its run, once that has ended.
    """

    def __init__(self, stream: Stream, start: Callable[[Stream], Process]):
        self.stream = stream
        self.state = STARTING
        self.restarts = 0
        self.reason = ""
        self.figures: dict[str, Any] | None = None
        self.summary: dict[str, Any] | None = None
        self._start = start
        self._process: Process | None = None
        self._next: Stream | None = None
        self._due = self._grace = 0.0
        self._tries = self._deaths = self._most_frames = 0
        self._away_since: float | None = None

    @property
    def is_over(self) -> bool:
        """True if nothing more will come."""
        return self.state in OVER

    def step(self, now: float) -> None:
        """Does what is due. now: seconds."""
        if self._process:
            self._look(now)
        elif self.state == STARTING or (self.state == PAUSED and now >= self._due):
            self._begin()

    def stop(self, now: float) -> None:
        """Asks the stream to end; it is over at a later step."""
        self._next = None
        if self.state in (STARTING, RUNNING) and self._process:
            self._grace = GRACE if self.state == RUNNING else START_GRACE
            self.state, self._due = STOPPING, now + self._grace
            self._process.stop()
        elif self.state in (STARTING, PAUSED):
            self.state = STOPPED

    def replace(self, stream: Stream, now: float) -> None:
        """Goes on with another row of the same name, once what runs has ended."""
        self.stop(now)
        if self.is_over:
            self._anew(stream)
        else:
            self._next = stream

    def _anew(self, stream):
        self.stream, self.state, self.reason = stream, STARTING, ""
        self.figures = self.summary = None
        self._tries = self._deaths = self._most_frames = 0
        self._away_since = None

    def _begin(self):
        self.reason = ""
        try:
            self._process = self._start(self.stream)
        except UserError as error:
            self.state, self.reason = FAILED, str(error)
        else:
            self.state = STARTING

    def _look(self, now):
        if figures := self._process.figures():
            self.figures, self._away_since = figures, None
            if self.state == STARTING:
                self.state = RUNNING
        try:
            outcome = self._process.poll()
        except DiedError as error:
            outcome = Outcome(CRASHED, reason=str(error))
        if outcome is None:
            if self.state == STOPPING and now >= self._due:
                self._process.kill()
                self._over(Outcome(STOPPED, reason=f"it did not end within {self._grace:.0f} s"))
            return
        if self.state == STOPPING and outcome.state not in OVER:
            outcome = dataclasses.replace(outcome, state=STOPPED)
        if outcome.state in OVER:
            self._over(outcome)
        elif outcome.state == CRASHED:
            self._crashed(outcome, now)
        elif outcome.state == AWAY:
            self._away(outcome, now)
        else:
            self._pause(outcome.reason, now)

    def _crashed(self, outcome, now):
        frames = self.figures["frames"] if self.figures else 0
        if frames > self._most_frames:
            self._most_frames, self._tries, self._deaths = frames, 0, 0
        self._deaths += 1
        self.restarts += 1
        if self._deaths < MOST_DEATHS:
            self._pause(outcome.reason, now)
            return
        reason = f"{outcome.reason}; {MOST_DEATHS} times in a row without a new frame"
        self._over(dataclasses.replace(outcome, state=FAILED, reason=reason))

    def _away(self, outcome, now):
        if self._away_since is None:
            self._away_since, self._tries = now, 0
        if now - self._away_since >= outcome.patience:
            self._over(dataclasses.replace(outcome, state=FAILED))
        else:
            self._pause(outcome.reason, now)

    def _pause(self, reason, now):
        self._process = None  # which frees what is reserved for it
        self.state, self.reason = PAUSED, reason
        self._due = now + min(PAUSE * 2**self._tries, LONGEST_PAUSE)
        self._tries = min(self._tries + 1, 10)

    def _over(self, outcome):
        self._process = None
        self.state, self.reason = outcome.state, outcome.reason
        self.summary = outcome.summary or self.summary
        if self._next:
            self._anew(self._next)
            self._next = None


class Members:
    """All streams; follows the list as it changes. What it removes is forgotten once over.

    Args:
      watch: a `streams.Watch`.
      start: see `Member`.

    Attributes:
      watch: see above.
      by_name: name → Member.
    """

    def __init__(self, watch: Any, start: Callable[[Stream], Process]):
        self.watch = watch
        self._start = start
        self.by_name = {name: Member(row, start) for name, row in watch.streams.items()}
        self._news: list[str] = []
        self._told: dict[str, tuple[str, str]] = {}  # name → latest state and reason
        self._stopped = False
        self._removed: set[str] = set()

    @property
    def are_over(self) -> bool:
        """True if all streams are over."""
        return all(member.is_over for member in self.by_name.values())

    def step(self, now: float) -> None:
        """Takes changes of the list in, and does what is due. now: seconds."""
        if not self._stopped:
            self._follow(now)
        for name, member in self.by_name.items():
            member.step(now)
            if member.state == RUNNING:  # what happens after that is news
                self._told.pop(name, None)
            latest = member.state, member.reason
            if member.reason and latest != self._told.get(name):
                self._told[name] = latest
                self._news.append(f"{name}: {member.state}: {' '.join(member.reason.split())}")
        for name in [name for name in self._removed if self.by_name[name].is_over]:
            self._removed.remove(name)
            self._told.pop(name, None)
            del self.by_name[name]

    def news(self) -> list[str]:
        """Returns lines on what has happened since they were last asked for."""
        news, self._news = self._news, []
        return news

    def stop(self, now: float) -> None:
        """Asks all streams to end."""
        self._stopped = True
        for member in self.by_name.values():
            member.stop(now)

    def _follow(self, now):
        added, removed = self.watch.changes()
        changed = set(added) & set(removed)
        for what, names in (
            ("added", [name for name in added if name not in changed]),
            ("removed", [name for name in removed if name not in changed]),
            ("changed", [name for name in added if name in changed]),
        ):
            if names:
                self._news.append(f"{what} in the list: {', '.join(names)}")
        for name in removed:
            if name not in added:
                self._removed.add(name)
                self.by_name[name].stop(now)
        for name in added:
            stream = self.watch.streams[name]
            self._removed.discard(name)
            self._told.pop(name, None)
            if member := self.by_name.get(name):
                member.replace(stream, now)
            else:
                self.by_name[name] = Member(stream, self._start)

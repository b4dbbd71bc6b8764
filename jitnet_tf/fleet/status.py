"""A fleet as people and programs see it: a table, a summary, metrics."""

import dataclasses
import json

from jitnet_tf.base import files
from jitnet_tf.fleet.members import RUNNING, Member
from jitnet_tf.fleet.outcome import FAILED
from jitnet_tf.runs.summary import percent

SUMMARY = "fleet_summary.json"
# Entries of a stream's summary that the fleet's repeats.
REPEATED = (
    *("frames", "teacher_frames", "teacher_fraction", "updates", "accuracy_before_update"),
    *("accuracy_shown", "mean_iou", "processing_fps", "dropped_frames", "lag", "reconnects"),
    "problems",
)
HEAD = ("stream", "state", "frames", "fps", "lag", "accuracy", "teacher", "restarts")
LONGEST = 60  # characters of a reason in the table
PATIENCE = 60  # seconds after which a teacher that does not come is told


def table(members: dict[str, Member]) -> str:
    """Returns a line for each stream: state, frames, rate, lag, accuracy, teacher share, restarts.

    accuracy: mean over the teacher frames, before updates.
    """
    rows = [HEAD, *(_row(name, member) for name, member in members.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, reason in zip(rows, ["", *(m.reason for m in members.values())], strict=True):
        name, *others = (
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([name, *others, *([_short(reason)] if reason else [])]).rstrip())
    return "\n".join(lines)


def _row(name, member):
    now = member.figures
    if member.is_over and (of_run := member.summary):
        return (
            *(name, member.state, str(of_run["frames"]), "–", "–"),
            percent(of_run["accuracy_before_update"]),
            percent(of_run["teacher_fraction"]),
            str(member.restarts),
        )
    if not now:
        return name, member.state, "–", "–", "–", "–", "–", str(member.restarts)
    runs, counted = member.state == RUNNING, now["accuracy_count"]
    return (
        name,
        member.state,
        str(now["frames"]),
        f"{now['fps']:.1f}" if runs else "–",
        f"{now['lag']:.1f} s" if runs and now["lag"] is not None else "–",
        percent(now["accuracy_sum"] / counted if counted else None),
        percent(now["teacher_share"]),
        str(member.restarts),
    )


def _short(reason):
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def summary(members: dict[str, Member], pool: tuple | None) -> dict:
    """Returns the fleet's figures, as JSON values.

    complete: whether each stream's run is. pool: as `Dispatcher.figures` returns it, or None.
    """
    streams = {}
    for name, member in members.items():
        of_run = member.summary or {}
        known = {key: of_run[key] for key in REPEATED if key in of_run}
        if not of_run and member.figures:
            known = {"frames": member.figures["frames"]}
        about = {"state": member.state, "restarts": member.restarts}
        streams[name] = {**about, **({"reason": member.reason} if member.reason else {}), **known}
    runs = [member.summary for member in members.values()]
    return {
        "complete": all(run is not None and run["complete"] for run in runs),
        "frames": sum(stream.get("frames", 0) for stream in streams.values()),
        "restarts": sum(stream["restarts"] for stream in streams.values()),
        "failed": [name for name, member in members.items() if member.state == FAILED],
        "streams": streams,
        **(_of_pool(*pool) if pool else {}),
    }


def _of_pool(teachers, waiting, waited, longest):
    answered = sum(figures.answered for figures in teachers)
    return {
        "teachers": [dataclasses.asdict(figures) for figures in teachers],
        "requests": {
            "answered": answered,
            "waiting": waiting,
            "mean_wait": waited / answered if answered else None,
            "longest_wait": longest,
        },
    }


def refusal(pool: tuple | None) -> str:
    """Returns the reason why no teacher can be opened and none ever was; "" if there is none."""
    teachers = pool[0] if pool else []
    never = all(figures.refused and not figures.answered for figures in teachers)
    return teachers[0].problem if teachers and never else ""


def has_teacher(pool: tuple | None) -> bool:
    """Returns whether there is a teacher that can be asked."""
    return bool(pool) and any(figures.batch for figures in pool[0])


class Teachers:
    """Tells what happens to the teachers of a pool."""

    def __init__(self):
        self._there = {}  # a teacher's place → when it could last be asked, or was first looked at
        self._deaths = {}  # → how many are told

    def news(self, pool: tuple | None) -> list[str]:
        """Returns a line for each teacher that has failed since, most likely dead."""
        before = self._deaths
        self._deaths = {place: f.deaths for place, f in enumerate(pool[0] if pool else [])}
        return [
            f"teacher {place} has not answered; it is tried again, or started again if it has died"
            for place, deaths in self._deaths.items()
            if deaths > before.get(place, 0)
        ]

    def problems(self, pool: tuple | None, now: float) -> list[str]:
        """Returns a sentence for each teacher that cannot be asked, unless it has just started.

        now: seconds.
        """
        found = []
        for place, figures in enumerate(pool[0] if pool else []):
            if figures.batch:
                self._there[place] = now
                continue
            missing = now - self._there.setdefault(place, now)
            if figures.problem:
                found.append(f"teacher {place} cannot be asked now ({figures.problem})")
            elif missing >= PATIENCE:
                found.append(
                    f"teacher {place} has been missing for {missing:.0f} s: it is being loaded, or "
                    "waits for a machine with room for it"
                )
        return found


def report(found: dict) -> str:
    """Returns the report at the end. found: as `summary` returns it."""
    lines = [f"frames           {found['frames']}", f"restarts         {found['restarts']}"]
    if requests := found.get("requests"):
        wait = requests["mean_wait"]
        shown = (
            "–"
            if wait is None
            else f"{wait:.2f} s on average, {requests['longest_wait']:.2f} s at most"
        )
        deaths = sum(teacher["deaths"] for teacher in found["teachers"])
        lines.append(f"teacher answers  {requests['answered']}, waited {shown}")
        lines.append(f"teacher deaths   {deaths}")
    for name, stream in found["streams"].items():
        if reason := stream.get("reason"):
            lines.append(f"{name}: {stream['state']}: {' '.join(reason.split())}")
        lines += [f"{name}: note: {problem}" for problem in stream.get("problems", ())]
    return "\n".join(lines)


def write(path, content: dict) -> None:
    """Writes a summary as JSON, whole or not at all."""
    files.write_text(path, json.dumps(content, indent=2) + "\n")

"""Schedulers of teachers' time compared by simulation, on recordings replayed as many streams.

    python -m experiments.scheduling --streams=clips/streams.csv --output=runs/scheduling.json

Copies of the streams start at random places and play for ever. Each shows the labels that it got
last, unchanged, and asks again as soon as it may, every --min_stride frames at most. Teachers
answer as many requests a frame and stream as --shares say. There is no student: this measures the
order of answers, and shows less accuracy than a fleet has.
"""

import dataclasses
import json
import pathlib

import numpy as np
from absl import flags

from experiments.protocol import streams
from experiments.reports import markdown
from jitnet_tf import video
from jitnet_tf.base import command_line, files
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.distillation import metrics
from jitnet_tf.fleet.scheduling import ByNeed, Decay, FirstCome, Request, RoundRobin
from jitnet_tf.labels import LabelMaker
from teacher.recorded import Recording

FLAGS = flags.FLAGS
SIZE = (90, 160)  # of the label maps
FPS = 25.0
SCHEDULERS = {"first come": FirstCome, "round robin": RoundRobin, "by need": ByNeed}


class Replay:
    """The labels of a stream, played in a circle.

    Args:
      maps: uint8 [N, H, W].
    """

    def __init__(self, maps):
        self._maps = maps
        self._known = {}

    def __len__(self):
        return len(self._maps)

    def accuracy(self, place, shown):
        """Returns the mean IoU of the labels at one place, shown at another; None of no object."""
        pair = place % len(self), shown % len(self)
        if pair not in self._known:
            counts = metrics.confusion(*(self._maps[i] for i in pair), len(streams.GROUPS.names))
            known = metrics.mean_iou(counts) if metrics.has_foreground(counts) else None
            self._known[pair] = known
        return self._known[pair]


def read(stream):
    """Returns the Replay of a Stream. UserError if it cannot be read."""
    maker, maps = LabelMaker(streams.GROUPS), []
    with (
        Recording(stream.recording) as recording,
        video.open_source(stream.video, SIZE) as source,
    ):
        for index, frame in enumerate(source):
            if index == (stream.max_frames or len(recording)):
                break
            maps.append(maker.labels(recording(frame, index), SIZE))
    return Replay(np.array(maps))


@dataclasses.dataclass
class Copy:
    """A copy of a stream, and how it stands.

    Attributes:
      name: of it alone.
      replay: its Replay.
      start: the place of its first frame.
      shown: the step whose labels it shows; None before any.
      total, count: sum and number of the accuracies of its frames.
    """

    name: str
    replay: Replay
    start: int
    shown: int | None = None
    total: float = 0.0
    count: int = 0
    decay: Decay = dataclasses.field(default_factory=Decay)

    def accuracy(self, step):
        """Returns the accuracy at a step; 0 without labels, None without any object."""
        place = self.start + step
        if self.shown is None:
            return 0.0 if self.replay.accuracy(place, place) is not None else None
        return self.replay.accuracy(place, self.start + self.shown)

    def add(self, step):
        """Counts a frame."""
        accuracy = self.accuracy(step)
        if accuracy is not None:
            self.total += accuracy
            self.count += 1

    def label(self, step):
        """Takes the labels of a frame, which come after it."""
        shown = None if self.shown is None else self.accuracy(step)
        self.decay.add(step / FPS, shown, None if shown is None and self.shown else 1.0)
        self.shown = step


def simulate(copies, scheduler, share, steps, min_stride):
    """Plays the Copies for some steps, a frame of each a step.

    share: answers a frame and stream.

    Returns:
      Seconds that each answered request has waited.
    """
    by_name = {copy.name: copy for copy in copies}
    asked, credit, waits = {}, 0.0, []
    for step in range(steps):
        for copy in copies:
            copy.add(step)
            last = asked.get(copy.name)
            if last is None or (last == copy.shown and step - last >= min_stride):
                labeled = None if copy.shown is None else copy.shown / FPS
                scheduler.add(Request(copy.name, step / FPS, labeled, copy.decay.value))
                asked[copy.name] = step
        credit = min(credit + share * len(copies), len(copies))
        while credit >= 1 and len(scheduler):
            request = scheduler.next(step / FPS)
            by_name[request.stream].label(round(request.made * FPS))
            waits.append(step / FPS - request.made)
            credit -= 1
    return waits


def compare(replays, numbers, shares, steps, min_stride, seed=0):
    """Returns a row for each number of streams, share and scheduler, as JSON values."""
    rows = []
    work = [(n, share, name) for n in numbers for share in shares for name in SCHEDULERS]
    for number, share, name in progress_bar(work, unit="simulation"):
        generator = np.random.default_rng(seed)
        names = sorted(replays)
        copies = [
            Copy(f"{names[i % len(names)]} {i}", replay, int(generator.integers(len(replay))))
            for i in range(number)
            for replay in [replays[names[i % len(names)]]]
        ]
        waits = simulate(copies, SCHEDULERS[name](), share, steps, min_stride)
        accuracies = sorted(copy.total / copy.count for copy in copies if copy.count)
        rows.append(
            {
                "streams": number,
                "share": share,
                "scheduler": name,
                "mean_accuracy": float(np.mean(accuracies)),
                "lowest_tenth": float(np.mean(accuracies[: max(number // 10, 1)])),
                "worst": accuracies[0],
                "mean_wait": float(np.mean(waits)) if waits else None,
                "longest_wait": max(waits, default=None),
            }
        )
    return rows


def report(rows):
    """Returns the table of `compare`'s rows as Markdown text."""
    head = ["streams", "answers, % of frames", "scheduler", "mean IoU", "lowest tenth", "worst"]
    lines = [
        [
            f"{row['streams']}",
            f"{100 * row['share']:g}",
            row["scheduler"],
            *(f"{100 * row[name]:.1f}" for name in ("mean_accuracy", "lowest_tenth", "worst")),
            f"{row['mean_wait']:.1f}",
            f"{row['longest_wait']:.1f}",
        ]
        for row in rows
    ]
    return markdown.table([*head, "mean wait, s", "longest, s"], lines)


def define_flags():
    """Defines the flags of the simulation."""
    define_path("streams", None, "Stream list, a CSV file; see experiments.streams.", required=True)
    define_path("videos", None, "Folder of the videos. Default: as in the list.")
    define_path("recordings", None, "Folder of the recordings. Default: as in the list.")
    define_path("output", None, "JSON file for the figures.", required=True)
    flags.DEFINE_list("numbers", ["8", "100", "1000"], "Numbers of streams.")
    flags.DEFINE_list("shares", ["1", "2", "4", "8"], "Answers, in % of all frames.")
    flags.DEFINE_integer("steps", 750, "Frames of each stream.", lower_bound=1)
    flags.DEFINE_integer("min_stride", 8, "Fewest frames between two requests.", lower_bound=1)


def _numbers(name, kind, least):
    try:
        found = [kind(text) for text in FLAGS[name].value]
    except ValueError:
        found = []
    if not found or min(found) < least:
        raise UserError(f"--{name}={','.join(FLAGS[name].value)} is invalid: give numbers above 0")
    return found


def main():
    """Simulates, prints the table and writes the figures."""
    numbers, shares = _numbers("numbers", int, 1), _numbers("shares", float, 1e-6)
    listed = streams.read_list(FLAGS.streams, FLAGS.videos, FLAGS.recordings)
    replays = {stream.name: read(stream) for stream in listed}
    of_frames = [share / 100 for share in shares]
    rows = compare(replays, numbers, of_frames, FLAGS.steps, FLAGS.min_stride)
    files.write_text(pathlib.Path(FLAGS.output), json.dumps(rows, indent=2) + "\n")
    print(report(rows))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

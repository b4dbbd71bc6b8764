"""Schedulers of teachers' time compared by simulation, on recordings replayed as many streams.

    python -m experiments.scheduling --streams=clips/streams.csv --output=runs/scheduling.json
    python -m experiments.scheduling --print=runs/scheduling.json --plot=runs/scheduling.png

Copies of the streams start at random places and play in circles. Each shows the labels that it got
last, unchanged, and asks again as soon as it may, every --min_stride frames at most. Teachers
answer as many requests as --shares say, in % of all frames. There is no student: this measures the
order of answers, and shows less accuracy than a fleet has. All copies have the same options, so
that their budgets are equal. The first --warm_up frames do not count. Figures are means of the
seeds (least–greatest).
"""

import numpy as np
from absl import flags

from experiments.methods.round_robin import RoundRobin
from experiments.protocol import provenance, streams
from experiments.protocol.replayed_fleet import Playback, accuracies, read, simulate
from experiments.reports import figures, markdown, measurement
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.fleet.scheduling import ByNeed, FirstCome

FLAGS = flags.FLAGS
FORMAT = "experiments.scheduling, 3"
SETTINGS = ("streams", "numbers", "shares", "steps", "warm_up", "min_stride", "seeds")
SCHEDULERS = {"first come": FirstCome, "round robin": RoundRobin, "by need": ByNeed}
FIGURES = {"mean": "mean IoU", "lowest_tenth": "mean of the lowest tenth", "worst": "worst"}


def define_flags():
    """Defines the flags of the simulation."""
    measurement.define_flags()
    define_path("streams", None, "Stream list, a CSV file; see experiments.streams.")
    define_path("videos", None, "Folder of the videos. Default: as in the list.")
    define_path("recordings", None, "Folder of the recordings. Default: as in the list.")
    define_path("plot", None, "PNG file of the plot. Default: none.")
    flags.DEFINE_list("numbers", ["8", "100", "1000"], "Numbers of streams.")
    flags.DEFINE_list("shares", ["0.1", "0.5", "1", "2", "4", "8"], "Answers, in % of all frames.")
    flags.DEFINE_integer("steps", 3000, "Frames of each stream that count.", lower_bound=1)
    flags.DEFINE_integer("warm_up", 1000, "Frames of each stream before.", lower_bound=0)
    flags.DEFINE_integer("min_stride", 8, "Fewest frames between two requests.", lower_bound=1)
    flags.DEFINE_integer("seeds", 3, "Number of simulations of each kind.", lower_bound=1)


def _numbers(name, kind, least):
    def is_valid(number):
        return least <= number < float("inf")

    return measurement.numbers_of(name, kind, is_valid, "give numbers above 0")


def measure():
    """Simulates what is missing in the file, which it writes after each; returns its values."""
    numbers, shares = _numbers("numbers", int, 1), _numbers("shares", float, 1e-6)
    if not FLAGS.streams:
        raise UserError("--streams is missing")
    listed = streams.read_list(FLAGS.streams, FLAGS.videos, FLAGS.recordings)
    values = measurement.opened("experiments.scheduling", FORMAT, SETTINGS, {"rows": []})
    kinds = [(n, share, name) for n in numbers for share in shares for name in SCHEDULERS]
    done = {(row["streams"], row["share"], row["scheduler"]) for row in values["rows"]}
    missing = [kind for kind in kinds if kind not in done]
    if not missing:
        return values
    command_line.import_tensorflow()
    from jitnet_tf.runs.versions import versions

    values.update(machine=provenance.describe(), versions=versions())
    tables = [accuracies(read(stream), len(streams.GROUPS.names)) for stream in listed]
    for number, share, name in progress_bar(missing, unit="kind"):
        of_seeds = [_simulated(tables, number, share / 100, name, s) for s in range(FLAGS.seeds)]
        row = {"streams": number, "share": share, "scheduler": name, "seeds": of_seeds}
        values["rows"].append(row)
        measurement.write(FLAGS.output, values)
    return values


def _simulated(tables, number, share, name, seed):
    """Returns the figures of one simulation as JSON values."""
    found = simulate(
        Playback(tables, number, np.random.default_rng(seed)),
        SCHEDULERS[name](),
        share,
        steps=FLAGS.steps,
        min_stride=FLAGS.min_stride,
        warm_up=FLAGS.warm_up,
    )
    ordered = np.sort(found.accuracy)
    if not len(ordered):
        raise UserError(f"the recordings of --streams={FLAGS.streams} have no objects")
    return {
        "mean": float(ordered.mean()),
        "lowest_tenth": float(ordered[: max(len(ordered) // 10, 1)].mean()),
        "worst": float(ordered[0]),
        "mean_wait": float(found.waits.mean()) if len(found.waits) else None,
        "longest_wait": float(found.waits.max()) if len(found.waits) else None,
    }


def render(values):
    """Returns the table of a measurement's file."""
    head = ["streams", "answers, % of frames", "scheduler", *FIGURES.values()]
    lines = [
        [
            *(f"{row['streams']}", f"{row['share']:g}", row["scheduler"]),
            *(_percent([of_seed[name] for of_seed in row["seeds"]]) for name in FIGURES),
            _seconds(row, "mean_wait", np.mean),
            _seconds(row, "longest_wait", max),
        ]
        for row in values["rows"]
    ]
    table = markdown.table([*head, "mean wait, s", "longest, s"], lines)
    return f"{provenance.setting_in_words(values)}\n\n{table}"


def _percent(values):
    mean, low, high = (100 * f(values) for f in (np.mean, min, max))
    return f"{mean:.1f} ({low:.1f}–{high:.1f})"


def _seconds(row, name, over):
    known = [of_seed[name] for of_seed in row["seeds"] if of_seed[name] is not None]
    return f"{over(known):.1f}" if known else "–"


def draw(values):
    """Draws the mean IoU against the answers as a matplotlib figure, a part for each number."""
    rows = values["rows"]
    numbers = list(dict.fromkeys(row["streams"] for row in rows))
    labels = [f"{number} streams: answers, % of all frames" for number in numbers]
    figure, axes = figures.side_by_side("mean IoU, %", *labels)
    for axis, number in zip(axes, numbers, strict=True):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xticks(sorted({row["share"] for row in rows}), minor=False)
        axis.minorticks_off()
        # The widest first: lines may lie on each other.
        for name, color, width in zip(SCHEDULERS, figures.COLORS, (5, 1.5, 1.5), strict=False):
            taken = [r for r in rows if (r["streams"], r["scheduler"]) == (number, name)]
            shares = [row["share"] for row in taken]
            for value, style in (("mean", "o-"), ("lowest_tenth", "o--")):
                means = [100 * np.mean([s[value] for s in row["seeds"]]) for row in taken]
                label = name if value == "mean" else f"{name}, {FIGURES[value]}"
                axis.plot(shares, means, style, ms=3, lw=width, color=color, label=label)
    figures.add_legend(figure, axes[0], 3)
    return figure


def main():
    """Simulates or reads a measurement, prints the table and draws the plot."""
    if FLAGS.plot:
        figures.check_output(FLAGS.plot, "plot")
    drawn = []

    def shown(values):
        drawn[:] = [draw(values)] if FLAGS.plot else []
        return render(values)

    measurement.measure_or_print(measure, shown, FORMAT, "experiments.scheduling")
    for figure in drawn:
        figures.save(figure, FLAGS.plot, "plot")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

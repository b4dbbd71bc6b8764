"""The efficiency curve: accuracy against teacher frames and against cost, by threshold.

    python -m experiments.efficiency --streams=clips/streams.csv --results=runs/efficiency --jobs=2
    python -m experiments.efficiency --print=runs/efficiency --teacher_ms=300 --plot=curve.png

It runs Algorithm 1 with thresholds from .5 to .95, a student at fixed strides, presets, flow,
and the offline oracle, to choose by. --teacher_ms is the time of your teacher, by default that
of the recordings' teacher. After an interruption the same command makes the missing results.
"""

import dataclasses

from absl import flags

from experiments import methods
from experiments.reports import command, costs, figures, markdown
from experiments.reports.results import Results
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError

FLAGS = flags.FLAGS
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
STRIDES = (8, 16, 32, 64)
NAME = "efficiency"
# Lines of the plot: {title: {label of a point: method}}.
CURVES = {
    "JITNet, by threshold": {f"{t:g}": f"accuracy_threshold={t}" for t in THRESHOLDS},
    "fixed stride, 0.8": {f"{s}": f"min_stride={s},max_stride={s}" for s in STRIDES},
    "presets": {preset: preset for preset in methods.PRESETS},
    "flow": {"slow": "flow_slow", "fast": "flow_fast"},
    "offline oracle": {"": "oracle"},
    "never adapted": {"": "never_adapted"},
}
COLORS = (*figures.COLORS, "0.4", "0.7")
METHODS = tuple(method for points in CURVES.values() for method in points.values())
NOTE = """\
Mean over the streams. A frame's milliseconds: (T·teacher + (N−T)·inference + U·update) ÷ N, with
what inference (of flow: flow and warping) and update took in these runs, and {teacher:.0f} ms for
the teacher. The oracle is trained on every fifth frame of the very stream, which is in no cost."""


@dataclasses.dataclass(frozen=True)
class Point:
    """Means over all streams: IoU and teacher frames in %, updates, ms a frame, speedup."""

    mean_iou: float
    teacher: float
    updates: float
    ms: float
    speedup: float


def point(results, teacher_ms=None):
    """Returns the Point of a method's results, one a stream.

    teacher_ms: the teacher's time on a frame. None: the time in the results.

    Raises:
      UserError: the teacher's time is unknown.
    """
    values = []
    for result in results:
        summary, method = result["summary"], methods.named(result["method"])
        measured = costs.measured(
            {**summary, "teacher_seconds_per_frame": _teacher_seconds(summary, teacher_ms)},
            method.stages,
        )
        counts = summary["frames"], summary["teacher_frames"], summary["updates"]
        speedup = costs.speedup(*counts, measured)
        values.append(
            (
                100 * (summary["mean_iou"] or 0.0),
                100 * summary["teacher_fraction"],
                summary["updates"],
                1000 * measured.teacher / speedup,
                speedup,
            )
        )
    return Point(*map(markdown.mean, zip(*values, strict=True)))


def _teacher_seconds(summary, teacher_ms):
    seconds = teacher_ms / 1000 if teacher_ms else summary["teacher_seconds_per_frame"]
    if not seconds:
        raise UserError("the recordings hold no times of their teacher: give --teacher_ms")
    return seconds


def curves(results, teacher_ms=None):
    """Returns {curve: {label: Point}}, of the methods of Results with a result on every stream.

    Raises:
      UserError: there is no such method.
    """
    found = {}
    for title, points in CURVES.items():
        of_methods = {label: results.over(results.streams, m) for label, m in points.items()}
        known = {label: point(r, teacher_ms) for label, r in of_methods.items() if r}
        if known:
            found[title] = known
    if not found:
        raise UserError("no method has a result on every stream: run the same command again")
    return found


def report(results, teacher_ms=None):
    """Returns the table of `curves` as Markdown text."""
    head = ["", "mean IoU", "teacher frames, %", "updates", "ms a frame", "speedup"]
    lines = [
        [
            f"{title}: {label}" if label else title,
            markdown.number(p.mean_iou),
            markdown.number(p.teacher),
            markdown.number(p.updates, 0),
            markdown.number(p.ms),
            markdown.times(p.speedup),
        ]
        for title, points in curves(results, teacher_ms).items()
        for label, p in points.items()
    ]
    teacher = 1000 * markdown.mean(_teacher_seconds(r["summary"], teacher_ms) for r in results)
    paragraphs = [
        markdown.table(head, lines),
        NOTE.format(teacher=teacher),
        f"Streams: {', '.join(sorted(results.streams))}. {results.machines()}.",
    ]
    return "\n\n".join(paragraphs)


def draw(found):
    """Draws `curves` as a matplotlib figure: mean IoU against teacher frames and milliseconds."""
    from matplotlib import ticker

    figure, axes = figures.side_by_side("mean IoU, %", "teacher frames, %", "milliseconds a frame")
    for axis, value in zip(axes, ("teacher", "ms"), strict=True):
        for (title, points), color in zip(found.items(), COLORS, strict=False):
            above = title == next(iter(CURVES))  # keeps two curves' names apart
            x = [getattr(p, value) for p in points.values()]
            y = [p.mean_iou for p in points.values()]
            axis.plot(x, y, "o-", ms=4, lw=1.5, color=color, label=title)
            for label, *place in zip(points, x, y, strict=True):
                figures.name_point(axis, label, place, color, above=above)
    axes[1].set_xscale("log")
    axes[1].xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes[1].xaxis.set_major_formatter("{x:g}")
    axes[1].xaxis.set_minor_formatter("")
    figures.add_legend(figure, axes[0], 6)
    return figure


def define_flags():
    """Defines the flags of the efficiency curve."""
    command.define_flags()
    command.define_plot_flag(NAME)
    methods.define_flags(METHODS)
    flags.DEFINE_float(
        "teacher_ms",
        None,
        "Milliseconds of the teacher on a frame. Default: the time in the results.",
        lower_bound=0.001,
    )


def main():
    """Makes the missing results, prints the table and draws the plot."""
    command.check_plot()
    if FLAGS.print:
        found = Results.load(FLAGS.print)
    else:
        names, chosen = methods.select(FLAGS.only, command.listed_streams(), METHODS)
        command.make_results(chosen, names, command.settings(), FLAGS.results)
        found = Results.load(FLAGS.results, {stream.name for stream in chosen})
    text = report(found, FLAGS.teacher_ms)
    command.show(text, lambda: draw(curves(found, FLAGS.teacher_ms)), NAME)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

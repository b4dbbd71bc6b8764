"""The frontier as Markdown and as a plot, from results alone."""

import itertools

import numpy as np

from experiments.methods import PRESETS
from experiments.reports import figures, markdown
from experiments.reports.curves import (
    BASE,
    LONG_STRIDE,
    THRESHOLDS,
    all_iou,
    flicker,
    measured_speedup,
    milliseconds,
    student_iou,
    teacher_share,
    updates,
)

STUDENT_FRAMES = "Mean IoU in %, frames that the teacher did not see"
STUDENT_NOTE = """\
Mean over streams; in brackets the least and the greatest of the seeds. Algorithm 1 is a line
through thresholds of {thresholds} and a fixed stride of {stride}, taken at the budget;
*: beyond its ends, of which the nearer one is shown. Flow asks on every ⌊1 / budget⌋-th frame.
Where no preset has the budget, balanced is given it."""
ALL_NOTE = "All methods show the teacher's labels on teacher frames."
POINTS_NOTE = """\
Milliseconds a frame: all parts as measured in these runs, the teacher with the time {teacher},
{ms} ms in the mean; decoding, reference and output do not count. Updates: a frame."""
SPEEDUP_NOTE = """
Speedup over {teachers}: N · the mean seconds of its calls ÷ the seconds of all parts, mean over
streams."""
FLICKER_NOTE = "Changes of a segmentation beyond the motion of the scene (`protocol.stability`)."


def report(found, budgets):
    """Returns all tables of a Frontier, as Markdown text."""
    thresholds = ", ".join(f"{t:g}" for t in THRESHOLDS)
    sections = [
        (
            f"{STUDENT_FRAMES}, by teacher frames",
            by_budget(found, budgets, student_iou),
            STUDENT_NOTE.format(thresholds=thresholds, stride=LONG_STRIDE),
        ),
        (
            "Mean IoU in %, all frames, by teacher frames",
            by_budget(found, budgets, all_iou),
            ALL_NOTE,
        ),
        *(
            (
                f"{STUDENT_FRAMES}, at {100 * budget:g} % teacher frames",
                by_stream(found, budget),
                "",
            )
            for budget in budgets
        ),
        ("Accuracy and cost of each method", points(found), _points_note(found.first)),
        ("Flicker in %", flickers(found), FLICKER_NOTE),
        ("Made with", found.first.origin(), ""),
    ]
    return markdown.sections(sections)


def by_budget(found, budgets, value):
    """Returns the table of curves by budgets, of the mean of all streams."""
    names = list(found.first.streams)
    lines = [
        [curve.title, *(_cell(*found.at(curve, budget, names, value)) for budget in budgets)]
        for curve in found.curves.values()
    ]
    return markdown.table(["", *(f"{100 * budget:g} %" for budget in budgets)], lines)


def by_stream(found, budget):
    """Returns the table of streams and categories by curves, and the presets' lead over flow."""
    curves = found.curves
    has_lead = {"flow", "presets"} <= curves.keys()
    lines = []
    for title, names in (*found.first.groups(), *found.first.each_stream()):
        cells = {
            name: found.at(curve, budget, names, student_iou) for name, curve in curves.items()
        }
        line = [title, *(_cell(*cell) for cell in cells.values())]
        if has_lead:
            ours, flow = (markdown.mean(cells[name][0]) for name in ("presets", "flow"))
            known = ours is not None and flow is not None
            line.append(f"{ours - flow:+.1f}" if known else markdown.UNKNOWN)
        lines.append(line)
    head = ["", *(curve.title for curve in curves.values())]
    return markdown.table([*head, "presets − flow"] if has_lead else head, lines)


def points(found):
    """Returns the table of all methods: accuracy, counts, times, and seeds."""
    names = list(found.first.streams)
    has_speedup = any(measured_speedup(r) is not None for r in found.first)
    columns = {
        "student frames": (student_iou, 1),
        "all frames": (all_iou, 1),
        "teacher frames, %": (teacher_share, 1),
        "updates": (updates, 2),
        "ms a frame": (milliseconds, 1),
    }
    head = ["", *columns, "ms against 0.8"]
    lines = []
    for curve in found.curves.values():
        for label, method in curve.points.items():
            cells = [
                markdown.spread(found.values(method, names, value), digits)
                for value, digits in columns.values()
            ]
            cells.append(markdown.spread(found.ratios(method, BASE, names, milliseconds), 2))
            if has_speedup:
                speedups = found.values(method, names, measured_speedup)
                cells.append(markdown.times(markdown.mean(speedups)))
            seeds = len(found.values(method, names, student_iou))
            lines.append([f"{curve.title}: {label}", *cells, f"{seeds}"])
    speedup = ["speedup over the teacher on every frame"] if has_speedup else []
    return markdown.table([*head, *speedup, "seeds"], lines)


def _points_note(results):
    ways = {r["summary"].get("teacher_time", "recorded") for r in results}
    seconds = markdown.mean(r["summary"]["teacher_seconds_per_frame"] for r in results)
    note = POINTS_NOTE.format(teacher=" or ".join(sorted(ways)), ms=markdown.milliseconds(seconds))
    settings = [r["settings"] for r in results if measured_speedup(r) is not None]
    teachers = {str(s.get("timed_teacher") or s.get("teacher")) for s in settings}
    return note + (SPEEDUP_NOTE.format(teachers=", ".join(sorted(teachers))) if teachers else "")


def flickers(found):
    """Returns the table of flicker by stream: the teacher's, Algorithm 1's at 0.8, the presets'."""
    presets = found.curves["presets"].points if "presets" in found.curves else {}
    columns = {"JITNet 0.8": BASE, **{name: presets[name] for name in PRESETS if name in presets}}
    lines = []
    for title, [name] in found.first.each_stream():
        [result, *_] = [r for r in found.first if r["stream"]["name"] == name]
        cells = (
            markdown.spread(found.values(method, [name], flicker)) for method in columns.values()
        )
        lines.append([title, markdown.percent(result["flicker"]["teacher"]), *cells])
    return markdown.table(["", "teacher", *columns], lines)


def _cell(values, is_beyond):
    return markdown.spread(values) + ("*" if is_beyond else "")


def draw(found):
    """Draws a Frontier: mean IoU of student frames against teacher frames and milliseconds."""
    figure, axes = figures.side_by_side(
        "mean IoU of student frames, %", "teacher frames, %", "milliseconds a frame, all parts"
    )
    names = list(found.first.streams)
    for axis, x_value in zip(axes, (teacher_share, milliseconds), strict=True):
        colors = itertools.cycle(figures.COLORS)
        for (name, curve), color in zip(found.curves.items(), colors, strict=False):
            spots = []
            for label, method in curve.points.items():
                x, y = (found.values(method, names, value) for value in (x_value, student_iou))
                if x and y:
                    spots.append((markdown.mean(x), markdown.mean(y), min(y), max(y), label))
            if not spots:
                continue
            spots.sort()
            x, y, least, greatest, labels = zip(*spots, strict=True)
            spread = np.array([np.subtract(y, least), np.subtract(greatest, y)])
            axis.errorbar(
                x,
                y,
                spread,
                fmt="o-",
                ms=4,
                lw=1.5,
                capsize=2,
                color=color,
                label=curve.title,
            )
            for label, *place in zip(labels, x, y, strict=True):
                if name != "presets" or label in PRESETS:
                    figures.name_point(axis, label, place, color, above=name == "presets")
    figures.add_legend(figure, axes[0], 4)
    return figure

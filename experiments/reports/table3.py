"""Table 3 as Markdown, from results alone."""

import collections

from experiments.reports import costs, markdown
from experiments.reports.results import title
from jitnet_tf.base.errors import UserError
from jitnet_tf.runs.summary import UNCOUNTED_STAGES

OSVOS = ("osvos_a", "osvos_b")
METHODS = (*OSVOS, "jitnet_0.8")
# The paper's Table 3: OSVOS A and B, fine-tuned from DAVIS's parent network, and JITNet 0.8. Mean
# IoU in % (its speedup over Mask R-CNN, its teacher frames).
PAPER = {
    "Overall": ("59.9", "60.0", "77.4 (14.5×, 4.6 %)"),
    "Sports (Fixed)": ("75.7", "75.7", "82.3 (24.0×, 1.6 %)"),
    "Sports (Moving)": ("69.1", "69.3", "78.7 (16.3×, 2.9 %)"),
    "Sports (Ego)": ("67.6", "68.1", "74.8 (9.5×, 5.9 %)"),
    "Animals": ("79.3", "79.8", "86.0 (19.7×, 2.1 %)"),
    "Traffic": ("22.3", "21.9", "70.8 (8.4×, 7.7 %)"),
    "Driving/Walking": ("36.7", "36.3", "66.8 (4.3×, 11.8 %)"),
}
ACCURACY_NOTE = """\
IoU of the class that follows a stream's name, against the teacher on every frame, and its mean over
streams. In brackets: speedup over the teacher on every frame, by time measured in the run without
decoding; part of the frames that are teacher frames. There a method shows its own prediction, after
its updates. OSVOS A continues from the weights of the last fine-tuning, B from the initial ones."""
COSTS_NOTE = """\
OSVOS infers once a frame and is trained on each teacher frame that has the class, until its limit
of steps or of seconds is reached. JITNet is trained on all classes, as long as it is less accurate
than .8. The paper's OSVOS: 30 s, or 500 steps, on each of 120 frames, one hour
for two minutes of video, .3× of its teacher's speed (300 ms a frame)."""


def report(results):
    """Returns all tables of `results.Results` (of `table3.evaluate`), as Markdown text.

    Raises:
      UserError: these are results of another table, or made from different initial weights.
    """
    if not set(METHODS).intersection(results.methods()):
        raise UserError("there is no result of OSVOS or JITNet 0.8 there: see --help")
    for r in results:
        if len(r["stream"]["classes"]) != 1 or not isinstance(r.get("initialised"), str):
            raise UserError(
                f"the result of {r['method']} on {r['stream']['name']} is not of "
                "experiments.table3: take another folder"
            )
    for method in results.methods():
        results.check_same(method, "initial weights", lambda r: r["initialised"])
    columns = [*METHODS, *(m for m in results.methods() if m not in METHODS)]
    return markdown.sections(
        [
            ("IoU in % (speedup, teacher frames)", accuracy(results, columns), ACCURACY_NOTE),
            ("Cost", costs_table(results, columns), COSTS_NOTE),
            ("Made with", results.origin(_further), ""),
        ]
    )


def accuracy(results, columns):
    """Returns the table of IoU, speedup and teacher frames, and the paper's."""
    rows = [*results.groups(), *results.each_stream()]
    lines = results.lines(rows, columns, _accuracy)
    others = ["–"] * (len(columns) - len(METHODS))
    lines += [[f"*the paper: {name}*", *cells, *others] for name, cells in PAPER.items()]
    return markdown.table(["", *map(title, columns)], lines)


def costs_table(results, columns):
    """Returns the table of costs: of each method on its streams, and over all of them."""
    lines = []
    for method in columns:
        found = results.of(method)
        lines += [[title(method), r["stream"]["name"], *_costs([r])] for r in found]
        if len(found) > 1:
            lines.append([title(method), "all", *_costs(found)])
    head = [
        "",
        "stream",
        "frames",
        "teacher frames",
        "steps on a teacher frame",
        "seconds of these",
        "inference, ms",
        "seconds for 30 frames",
        "seconds in all",
        "speedup over the teacher",
    ]
    return markdown.table(head, lines)


def _further(result):
    """Returns facts of a result's origin."""
    height, width = result["recorded"]["frame_size"]
    return {
        f"{title(result['method'])} started from": result["initialised"],
        "teacher's time": result["summary"]["teacher_time"],
        "frames": f"{result['stream']['name']} {height}×{width}",
    }


def _mean(found, key):
    return markdown.mean(r["summary"][key] for r in found)


def _accuracy(found):
    iou = markdown.percent(_mean(found, "mean_iou"))
    fraction = markdown.percent(_mean(found, "teacher_fraction"))
    return f"{iou} ({_times(_mean(found, 'speedup'))}, {fraction} %)"


def _costs(found):
    """Returns the cells of costs: sums over streams, and means made of these sums."""
    total = collections.Counter()
    for r in found:
        summary = r["summary"]
        spent = sum(s for stage, s in summary["seconds"].items() if stage not in UNCOUNTED_STAGES)
        teacher = summary["teacher_seconds_per_frame"] or 0.0
        total.update(
            frames=summary["frames"],
            teacher_frames=summary["teacher_frames"],
            steps=summary["updates"],
            update=summary["seconds"].get("update", 0.0),
            infer=summary["seconds"].get("infer", 0.0),
            inferences=costs.calls(summary, "infer"),
            spent=spent + summary["teacher_frames"] * teacher,
        )
    teacher_frames, frames = max(total["teacher_frames"], 1), total["frames"]
    return [
        f"{frames}",
        f"{total['teacher_frames']} ({markdown.percent(total['teacher_frames'] / frames)} %)",
        f"{total['steps'] / teacher_frames:.1f}",
        f"{total['update'] / teacher_frames:.2f}",
        markdown.milliseconds(total["infer"] / max(total["inferences"], 1)),
        f"{30 * total['spent'] / frames:.2f}",
        f"{total['spent']:.0f}",
        _times(_mean(found, "speedup")),
    ]


def _times(factor):
    """Writes a speedup; two digits of one that is far below 1."""
    return markdown.times(factor) if factor is None or factor >= 1 else f"{factor:.2g}×"

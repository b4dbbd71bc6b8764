"""Table 3 as Markdown, from results alone."""

import collections
import statistics

from experiments import methods
from experiments.protocol import provenance
from experiments.reports import markdown
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
streams. In brackets: speedup over the teacher on every frame, by time measured in the run, decoding
left out; frames that the teacher was asked for. On these a method shows its own prediction, after
learning. OSVOS A goes on from the last fine-tuning's weights, B starts afresh each time."""
COSTS_NOTE = """\
OSVOS infers once a frame and learns on each teacher frame that has the class, for as many steps as
its bounds in steps and seconds allow, whichever ends first. JITNet learns all classes, as long as
it is less accurate than .8. The paper's OSVOS: 30 s, or 500 steps, on each of 120 frames, one hour
for two minutes of video, .3× of its teacher's speed (300 ms a frame)."""


def report(results):
    """All tables of a list of results (`table3.evaluate`), as Markdown text.

    Raises:
      UserError: these are no such results, or of different settings.
    """
    table = Table([r for r in results if r["method"] in METHODS])
    sections = [
        ("IoU in % (speedup, teacher frames)", table.accuracy(), ACCURACY_NOTE),
        ("Cost", table.costs(), COSTS_NOTE),
        ("Made with", table.origin(), ""),
    ]
    return "\n\n".join(f"**{title}**\n\n{text}\n\n{note}".strip() for title, text, note in sections)


class Table:
    """Results by stream and method; see `report`."""

    def __init__(self, results):
        if not results:
            raise UserError("there is no result of OSVOS or JITNet 0.8 there: see --help")
        for r in results:
            if len(r["stream"]["classes"]) != 1 or not isinstance(r.get("initialised"), str):
                raise UserError(
                    f"the result of {r['method']} on {r['stream']['name']} is not of "
                    "experiments.table3: take another folder"
                )
        self._cells = {(r["stream"]["name"], r["method"]): r for r in results}
        self._streams = {r["stream"]["name"]: r["stream"] for r in results}
        self._categories = collections.defaultdict(list)
        for name, stream in self._streams.items():
            self._categories[stream["category"]].append(name)
        for method in METHODS:
            found = [r for r in results if r["method"] == method]
            for name in methods.named(method).settings:
                _check_same(method, name, {str(r["settings"][name]) for r in found})
            _check_same(method, "initial weights", {r["initialised"] for r in found})

    def accuracy(self):
        """Rows: overall, categories, streams, the paper's; columns: METHODS."""
        lines = [
            [title, *(self._over(names, method, _accuracy) for method in METHODS)]
            for title, names in self._rows()
        ]
        lines += [[f"*the paper: {title}*", *cells] for title, cells in PAPER.items()]
        return markdown.table(["", *map(_title, METHODS)], lines)

    def costs(self):
        """Rows: streams by method, then each method over all of its streams."""
        lines = []
        for method in METHODS:
            names = [name for name in self._streams if (name, method) in self._cells]
            for title, group in [*((name, [name]) for name in names), ("all", names)]:
                if group and (title != "all" or len(names) > 1):
                    found = [self._cells[name, method] for name in group]
                    lines.append([_title(method), title, *_costs(found)])
        return markdown.table(
            [
                "",
                "stream",
                "frames",
                "teacher frames",
                "steps on a teacher frame",
                "seconds of these",
                "inference, ms a frame",
                "seconds for 30 frames",
                "seconds in all",
                "speedup over the teacher",
            ],
            lines,
        )

    def origin(self):
        """What the results were made with."""
        facts = collections.defaultdict(set)
        for (_, method), r in self._cells.items():
            facts[f"{_title(method)} started from"].add(r["initialised"])
            facts["recorded teacher"].add(r["recorded"]["recorded_teacher"])
            facts["teacher's time"].add(r["summary"]["teacher_time"])
            facts["machine"].add(provenance.in_words(r["machine"]))
            facts["versions"].add(provenance.versions_in_words(r["versions"]))
            facts["side by side"].add(f"{r['jobs']} evaluations")
            for name in methods.named(method).settings:
                if r["settings"][name] is not None:
                    facts[name].add(str(r["settings"][name]))
            height, width = r["recorded"]["frame_size"]
            facts["frames"].add(f"{r['stream']['name']} {height}×{width}")
        lines = [[name, "; ".join(sorted(values))] for name, values in facts.items()]
        return markdown.table(["", ""], lines)

    def _rows(self):
        """Title and stream names of each row."""
        rows = [("overall", list(self._streams))]
        if len(self._categories) > 1:
            rows += sorted(self._categories.items())
        return rows + [
            (f"{name} ({stream['classes'][0]})", [name]) for name, stream in self._streams.items()
        ]

    def _over(self, names, method, cell):
        """The cell of a method's results on streams; a dash where one is missing."""
        found = [self._cells.get((name, method)) for name in names]
        return "–" if None in found else cell(found)


def _check_same(method, name, values):
    if len(values) > 1:
        raise UserError(
            f"results of {method} were made with different {name} ({', '.join(sorted(values))}): "
            "they belong in different folders"
        )


def _title(method):
    return methods.named(method).title


def _accuracy(found):
    iou = _mean([r["summary"]["mean_iou"] for r in found], lambda v: f"{100 * v:.1f}")
    speedup = _mean([r["summary"]["speedup"] for r in found], _times)
    fraction = _mean([r["summary"]["teacher_fraction"] for r in found], lambda v: f"{100 * v:.1f}")
    return f"{iou} ({speedup}, {fraction} %)"


def _costs(found):
    """Cells of a row of the costs: sums over streams, and means of what these sums make up."""
    total = collections.Counter()
    for r in found:
        summary = r["summary"]
        spent = sum(s for stage, s in summary["seconds"].items() if stage not in UNCOUNTED_STAGES)
        teacher = summary["teacher_seconds_per_frame"] or 0.0
        total.update(
            frames=summary["frames"],
            lessons=summary["teacher_frames"],
            steps=summary["updates"],
            update=summary["seconds"].get("update", 0.0),
            infer=summary["seconds"].get("infer", 0.0),
            spent=spent + summary["teacher_frames"] * teacher,
        )
    lessons, frames = max(total["lessons"], 1), total["frames"]
    return [
        f"{frames}",
        f"{total['lessons']} ({100 * total['lessons'] / frames:.1f} %)",
        f"{total['steps'] / lessons:.1f}",
        f"{total['update'] / lessons:.2f}",
        f"{1000 * total['infer'] / frames:.1f}",
        f"{30 * total['spent'] / frames:.2f}",
        f"{total['spent']:.0f}",
        _mean([r["summary"]["speedup"] for r in found], _times),
    ]


def _times(value):
    """A speedup; two digits of one that is far below 1, too."""
    return f"{value:.1f}×" if value >= 1 else f"{value:.2g}×"


def _mean(values, in_words):
    return "–" if None in values else in_words(statistics.fmean(values))

"""Table 2 as Markdown, from results alone."""

import collections
import statistics

from experiments.methods import METHODS
from experiments.protocol import provenance
from experiments.reports import costs, markdown
from jitnet_tf.base.errors import UserError

# By frame: what a method costs, and what only serves to judge it.
STAGES = ("teacher", "labels", "infer", "score", "update", "flow", "warp", "decode", "reference")
# Table 2's first row and §5.2: 30 streams of 30,000 frames, Detectron's Mask R-CNN as the teacher,
# COCO weights to start from. Mean IoU (teacher frames) in %; speedups, on a V100 and in FLOPs.
PAPER = {
    "oracle": ("80.3", "–", "–"),
    "flow_slow": ("76.6 (12.5)", "2.2×", "–"),
    "flow_fast": ("65.2 (6.2)", "3.2×", "–"),
    "jitnet_0.7": ("75.5 (3.2)", "17.4×", "26.2×"),
    "jitnet_0.8": ("78.6 (4.7)", "13.5×", "–"),
    "jitnet_0.9": ("82.5 (8.4)", "7.5×", "11.3×"),
}
ACCURACY_NOTE = """\
The mean over the stream's classes, and over streams. A teacher frame counts as the method shows it:
flow the teacher's label itself, a student its own prediction after learning from that label."""
STUDENT_NOTE = """\
The oracle asks no teacher while it runs, but every fifth frame here is one it was trained on."""
COSTS_NOTE = """\
Teacher on every frame ÷ method with its teacher frames; not comparable across columns. Wall-clock:
time measured in the run for teacher frames, inference, scoring, updates, without decoding. Cost
model: N·teacher ÷ ((N−T)·inference + T·teacher + U·update). The first two hold for this teacher on
this machine alone: a teacher that is cheaper than the paper's Mask R-CNN (300 ms on a V100) leaves
less to save. The oracle's training and labels come before the stream and are in no speedup."""
FLICKER_NOTE = """\
What a segmentation changes beyond the motion of the scene (`protocol.stability`). Flow is warped
by the kind of estimator that measures it, and so is steady by construction."""


def report(results):
    """All tables of a list of results (`evaluation.evaluate`), as Markdown text.

    Raises:
      UserError: results of a method were made with different settings.
    """
    table = Table(results)
    sections = [
        ("Mean IoU in % (teacher frames in %), all frames", table.accuracy(), ACCURACY_NOTE),
        (
            "Mean IoU in %, frames that the teacher did not see",
            table.accuracy("mean_iou_student_only", with_fraction=False),
            STUDENT_NOTE,
        ),
        ("Updates", table.updates(), ""),
        ("Speedup, mean over streams", table.costs(), COSTS_NOTE),
        ("Milliseconds, mean over streams", table.stages(), ""),
        ("Flicker in %", table.flicker(), FLICKER_NOTE),
        ("Made with", table.origin(), ""),
    ]
    return "\n\n".join(f"**{title}**\n\n{text}\n\n{note}".strip() for title, text, note in sections)


class Table:
    """Results by stream and method; see `report`."""

    def __init__(self, results):
        self._cells = {(r["stream"]["name"], r["method"]): r for r in results}
        self._methods = [m for m in METHODS if any(method == m for _, method in self._cells)]
        self._categories = collections.defaultdict(list)
        self._streams = {r["stream"]["name"]: r["stream"] for r in results}
        for name, stream in self._streams.items():
            self._categories[stream["category"]].append(name)
        for method in self._methods:
            for name in METHODS[method].settings:
                values = {str(r["settings"][name]) for r in self._of(method)}
                if len(values) > 1:
                    raise UserError(
                        f"results of {method} were made with different {name} ({', '.join(values)})"
                        ": they belong in different folders"
                    )

    def accuracy(self, key="mean_iou", with_fraction=True):
        """Rows: overall, categories, streams, the paper; columns: methods."""

        def cell(found):
            if any(r["summary"][key] is None for r in found):
                return "–"
            text = _percent(_mean(r["summary"][key] for r in found))
            fraction = _mean(r["summary"]["teacher_fraction"] for r in found)
            return f"{text} ({_percent(fraction)})" if with_fraction and fraction else text

        lines = self._lines(cell)
        if with_fraction:
            paper = (PAPER[m][0] if m in PAPER else "–" for m in self._methods)
            lines.append(["*the paper, overall*", *paper])
        return self._by_method(lines)

    def updates(self):
        """Rows: overall, categories, streams; columns: methods that learn."""
        return self._by_method(
            self._lines(lambda found: f"{_mean(r['summary']['updates'] for r in found):.0f}")
        )

    def flicker(self):
        """Rows: overall, categories, streams; columns: the teacher, methods."""

        def cell(found, who="prediction"):
            values = [r["flicker"][who] for r in found]
            return "–" if None in values else _percent(_mean(values))

        lines = self._lines(cell)
        for line, (_, names) in zip(lines, self._rows(), strict=True):
            # The same in each result of a stream.
            results = {name: r for (name, _), r in self._cells.items()}
            line.insert(1, cell([results[name] for name in names], "teacher"))
        return self._by_method(lines, "Teacher")

    def costs(self):
        """The speedups over the teacher on every frame, four ways, and the paper's."""
        lines = []
        for method in self._methods:
            speedups = zip(*(_speedups(r) for r in self._of(method)), strict=True)
            cells = ["–" if None in values else f"{_mean(values):.2f}×" for values in speedups]
            lines.append([METHODS[method].title, *cells, *PAPER.get(method, ("–",) * 3)[1:]])
        head = [
            "",
            "wall-clock",
            "cost model, times of this run",
            "cost model, paper's 300 / 7 / 30 ms",
            "cost model, paper's 1390 / 15.2 / 42 GFLOP",
            "*the paper, V100*",
            "*the paper, FLOPs*",
        ]
        return markdown.table(head, lines)

    def stages(self):
        """Milliseconds of a call of the three parts, and of each stage by frame."""
        used = {stage for r in self._cells.values() for stage in r["summary"]["seconds"]}
        stages = [stage for stage in STAGES if stage in used]
        lines = []
        for method in self._methods:
            found = self._of(method)
            calls = [c for c in (_measured(r) for r in found) if c]
            parts = [[getattr(c, part) for c in calls] for part in ("teacher", "infer", "update")]
            by_frame = [
                [r["summary"]["seconds"].get(stage, 0) / r["summary"]["frames"] for r in found]
                for stage in stages
            ]
            cells = (_milliseconds([v for v in values if v]) for values in [*parts, *by_frame])
            lines.append([METHODS[method].title, *cells])
        head = ["", "a teacher's call", "an inference or flow", "an update"]
        return markdown.table([*head, *(f"{stage}, by frame" for stage in stages)], lines)

    def origin(self):
        """What the results were made with."""
        facts = collections.defaultdict(set)
        for r in self._cells.values():
            facts["recorded teacher"].add(r["recorded"]["recorded_teacher"])
            facts["machine"].add(provenance.in_words(r["machine"]))
            facts["versions"].add(", ".join(f"{k} {v}" for k, v in r["versions"].items()))
            facts["side by side"].add(f"{r['jobs']} evaluations")
            for name in METHODS[r["method"]].settings:
                if r["settings"][name] is not None:
                    facts[name].add(str(r["settings"][name]))
        lines = [[name, "; ".join(sorted(values))] for name, values in facts.items()]
        return markdown.table(["", ""], lines)

    def _of(self, method):
        return [r for (_, m), r in self._cells.items() if m == method]

    def _rows(self):
        """Title and stream names of each row."""
        rows = [("overall", list(self._streams))]
        if len(self._categories) > 1:
            rows += sorted(self._categories.items())
        return rows + [
            (f"{name} ({', '.join(stream['classes'])})", [name])
            for name, stream in self._streams.items()
        ]

    def _lines(self, cell):
        """A line a row; `cell` makes text of the results of its streams, of which none lacks."""
        lines = []
        for title, names in self._rows():
            line = [title]
            for method in self._methods:
                found = [self._cells.get((name, method)) for name in names]
                line.append("–" if None in found else cell(found))
            lines.append(line)
        return lines

    def _by_method(self, lines, *first):
        return markdown.table(["", *first, *(METHODS[m].title for m in self._methods)], lines)


def _measured(result):
    return costs.measured(result["summary"], METHODS[result["method"]].stages)


def _speedups(result):
    """Wall-clock; the cost model with times of here, the paper's ms, its GFLOP. None: unknown."""
    summary, method = result["summary"], METHODS[result["method"]]
    counts = summary["frames"], summary["teacher_frames"], summary["updates"]
    if not method.has_speedup:
        return (None,) * 4
    here = _measured(result)
    # The paper states neither time nor FLOPs of others than JITNet.
    return (
        summary["speedup"],
        costs.speedup(*counts, here) if here else None,
        costs.speedup(*counts, costs.PAPER_MS) if method.is_jitnet else None,
        costs.speedup(*counts, costs.PAPER_GFLOP) if method.is_jitnet else None,
    )


def _mean(values):
    return statistics.fmean(values)


def _percent(value):
    return "–" if value is None else f"{100 * value:.1f}"


def _milliseconds(seconds):
    return f"{1000 * _mean(seconds):.1f}" if seconds else "–"

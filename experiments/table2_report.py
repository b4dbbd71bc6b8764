"""Table 2 as Markdown, from results alone."""

import collections
import statistics

from experiments import costs, machine, markdown
from experiments.methods import METHODS

# Table 2's first row: mean IoU, and speedup and teacher frames where stated. 30 streams of 30,000
# frames, Mask R-CNN as the teacher, COCO weights to start from.
PAPER = {
    "oracle": "80.3",
    "flow_slow": "76.6 (2.2×, 12.5 %)",
    "flow_fast": "65.2 (3.2×, 6.2 %)",
    "jitnet_0.7": "75.5 (17.4×, 3.2 %)",
    "jitnet_0.8": "78.6 (13.5×, 4.7 %)",
    "jitnet_0.9": "82.5 (7.5×, 8.4 %)",
}


def report(results):
    """All tables of a list of results (`evaluation.evaluate`), as Markdown text."""
    table = Table(results)
    sections = [
        ("Mean IoU in %, all frames (teacher frames in %, updates)", table.accuracy("mean_iou")),
        (
            "Mean IoU in %, frames that the teacher did not see",
            table.accuracy("mean_iou_student_only", with_cost=False),
        ),
        ("Cost, mean over streams", table.costs()),
        ("Milliseconds by stage, per call, mean over streams", table.stages()),
        ("Flicker in % (1 − temporal consistency); the teacher's own beside", table.flicker()),
    ]
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in [*sections, table.origin()])


class Table:
    """Results by stream and method; see `report`."""

    def __init__(self, results):
        self._cells = {(r["stream"]["name"], r["method"]): r for r in results}
        self._methods = [m for m in METHODS if any(method == m for _, method in self._cells)]
        self._categories = collections.defaultdict(list)
        self._streams = {r["stream"]["name"]: r["stream"] for r in results}
        for name, stream in self._streams.items():
            self._categories[stream["category"]].append(name)

    def accuracy(self, key, with_cost=True):
        """Rows: overall, categories, streams; columns: methods."""

        def cell(names, method):
            found = [self._cells.get((name, method)) for name in names]
            if None in found or any(r["summary"][key] is None for r in found):
                return "–"
            text = f"{_percent(_mean(r['summary'][key] for r in found))}"
            if not with_cost:
                return text
            fraction = _mean(r["summary"]["teacher_fraction"] for r in found)
            updates = _mean(r["summary"]["updates"] for r in found)
            return f"{text} ({_percent(fraction)}, {updates:.0f})" if fraction else text

        rows = [("overall", list(self._streams))]
        if len(self._categories) > 1:
            rows += sorted(self._categories.items())
        rows += [
            (f"{name} ({', '.join(stream['classes'])})", [name])
            for name, stream in self._streams.items()
        ]
        lines = [[name, *(cell(names, m) for m in self._methods)] for name, names in rows]
        if with_cost:
            lines.append(["*the paper, overall*", *(PAPER.get(m, "–") for m in self._methods)])
        return markdown.table(["", *(METHODS[m].title for m in self._methods)], lines)

    def costs(self):
        """The speedups over the teacher on every frame, four ways."""
        lines = []
        for method in self._methods:
            speedups = [_speedups(r, METHODS[method].stages) for r in self._of(method)]
            lines.append(
                [
                    METHODS[method].title,
                    *(
                        f"{_mean(values):.2f}×" if None not in values else "–"
                        for values in zip(*speedups, strict=True)
                    ),
                ]
            )
        return markdown.table(
            [
                "",
                "wall-clock, this run",
                "cost model, this run's times",
                "cost model, paper's 300 / 7 / 30 ms",
                "paper's GFLOP 1390 / 15.2 / 42",
            ],
            lines,
        )

    def stages(self):
        """Milliseconds a call of teacher, inference and update."""
        lines = []
        for method in self._methods:
            found = [costs.measured(r["summary"], METHODS[method].stages) for r in self._of(method)]
            found = [c for c in found if c]
            lines.append(
                [
                    METHODS[method].title,
                    *(
                        _milliseconds([getattr(c, part) for c in found])
                        for part in ("teacher", "infer", "update")
                    ),
                ]
            )
        return markdown.table(["", "teacher (recorded)", "inference or flow", "update"], lines)

    def flicker(self):
        """Rows: streams; columns: teacher and methods."""

        def cell(name, method):
            result = self._cells.get((name, method))
            return _percent(result["flicker"]["prediction"]) if result else "–"

        lines = []
        for name in self._streams:
            any_result = next(r for (stream, _), r in self._cells.items() if stream == name)
            teacher = _percent(any_result["flicker"]["teacher"])
            lines.append([name, teacher, *(cell(name, m) for m in self._methods)])
        return markdown.table(["", "Teacher", *(METHODS[m].title for m in self._methods)], lines)

    def origin(self):
        """What the results were made with."""
        facts = collections.defaultdict(set)
        for r in self._cells.values():
            facts["teacher"].add(str(r.get("teacher", "not noted")))
            facts["machine"].add(machine.in_words(r["machine"]))
            facts["versions"].add(", ".join(f"{k} {v}" for k, v in r["versions"].items()))
            facts["side by side"].add(f"{r['jobs']} evaluations")
            for name in METHODS[r["method"]].settings:
                if r["settings"][name] is not None:
                    facts[name].add(str(r["settings"][name]))
        lines = [[name, "; ".join(sorted(values))] for name, values in facts.items()]
        return "Made with", markdown.table(["", ""], lines)

    def _of(self, method):
        return [r for (_, m), r in self._cells.items() if m == method]


def _speedups(result, stages):
    """Wall-clock; the cost model with times of here, the paper's ms, its GFLOP. None: unknown."""
    summary = result["summary"]
    counts = summary["frames"], summary["teacher_frames"], summary["updates"]
    here = costs.measured(summary, stages)
    # The paper states no time of flow alone, and OpenCV's has no count of FLOPs.
    is_student = "infer" in stages
    return (
        summary["speedup"],
        costs.speedup(*counts, here) if here else None,
        costs.speedup(*counts, costs.PAPER_MS) if is_student else None,
        costs.speedup(*counts, costs.PAPER_GFLOP) if is_student else None,
    )


def _mean(values):
    return statistics.fmean(values)


def _percent(value):
    return "–" if value is None else f"{100 * value:.1f}"


def _milliseconds(seconds):
    return f"{1000 * _mean(seconds):.1f}" if any(seconds) else "–"

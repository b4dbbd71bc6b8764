"""Table 2 as Markdown, from results alone."""

from experiments.methods import METHODS, named
from experiments.reports import costs, markdown
from experiments.reports.results import title

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
NOT_IN_PAPER = ("–",) * 3
ACCURACY_NOTE = """\
The mean over the stream's classes, and over streams. On a teacher frame flow shows the teacher's
labels, and so does a student, by default (--shown)."""
STUDENT_NOTE = """\
The oracle asks no teacher while it runs, but it was trained on every fifth frame of the stream."""
COSTS_NOTE = """\
Teacher on every frame ÷ method with its teacher frames; not comparable across columns. Wall-clock:
time measured in the run for teacher frames, inference and updates, without decoding. Cost model:
N·teacher ÷ ((N−T)·inference + T·teacher + U·update). The first two hold for this teacher on this
machine only: a teacher cheaper than the paper's Mask R-CNN (300 ms on a V100) leaves less to save.
The oracle's training and labels come before the stream and are in no speedup."""
STAGES_NOTE = """\
In results of older versions an update is without its forward pass, which is in the inference."""
FLICKER_NOTE = """\
Changes of a segmentation beyond the motion of the scene (`protocol.stability`). Flow is warped by
the same kind of estimator that measures flicker, and so is steady by construction."""


def report(results):
    """Returns all tables of `results.Results`, as Markdown text."""
    columns = results.methods(METHODS)
    return markdown.sections(
        [
            (
                "Mean IoU in % (teacher frames in %), all frames",
                accuracy(results, columns),
                ACCURACY_NOTE,
            ),
            (
                "Mean IoU in %, frames that the teacher did not see",
                accuracy_between(results, columns),
                STUDENT_NOTE,
            ),
            ("Updates", updates(results, columns), ""),
            ("Speedup, mean over streams", speedups(results, columns), COSTS_NOTE),
            ("Milliseconds, mean over streams", stages(results, columns), STAGES_NOTE),
            ("Flicker in %", flicker(results, columns), FLICKER_NOTE),
            ("Made with", results.origin(), ""),
        ]
    )


def accuracy(results, columns):
    """Returns the table of mean IoU over all frames, and the paper's."""

    def cell(found):
        iou = markdown.percent(_mean(found, "mean_iou"))
        fraction = _mean(found, "teacher_fraction")
        return f"{iou} ({markdown.percent(fraction)})" if fraction and iou != "–" else iou

    paper = (PAPER.get(method, NOT_IN_PAPER)[0] for method in columns)
    return _by_method(columns, [*_lines(results, columns, cell), ["*the paper, overall*", *paper]])


def accuracy_between(results, columns):
    """Returns the table of mean IoU over the frames without a teacher."""

    def cell(found):
        return markdown.percent(_mean(found, "mean_iou_student_only"))

    return _by_method(columns, _lines(results, columns, cell))


def updates(results, columns):
    """Returns the table of updates."""

    def cell(found):
        return markdown.number(_mean(found, "updates"), 0)

    return _by_method(columns, _lines(results, columns, cell))


def flicker(results, columns):
    """Returns the table of flicker, of the teacher and of methods."""

    def cell(found, who="prediction"):
        return markdown.percent(markdown.mean(r["flicker"][who] for r in found))

    lines = _lines(results, columns, cell)
    of_streams = {name: r for (name, _), r in results.cells.items()}
    for line, (_, names) in zip(lines, _rows(results), strict=True):
        # The teacher's is the same in each result of a stream.
        line.insert(1, cell([of_streams[name] for name in names], "teacher"))
    return _by_method(columns, lines, "Teacher")


def speedups(results, columns):
    """Returns the table of speedups over the teacher on every frame, four ways, and the paper's."""
    lines = []
    for method in columns:
        found = zip(*(_speedups(r) for r in results.of(method)), strict=True)
        cells = [markdown.times(markdown.mean(values), 2) for values in found]
        lines.append([title(method), *cells, *PAPER.get(method, NOT_IN_PAPER)[1:]])
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


def stages(results, columns):
    """Returns the table of milliseconds: a call of each part, and all stages by frame."""
    used = {stage for r in results for stage in r["summary"]["seconds"]}
    known = [stage for stage in costs.STAGES if stage in used]
    lines = []
    for method in columns:
        found = results.of(method)
        parts = [part for part in map(_measured, found) if part]
        seconds = [
            *([getattr(p, part) for p in parts] for part in ("teacher", "infer", "update")),
            *(
                [r["summary"]["seconds"].get(stage, 0) / r["summary"]["frames"] for r in found]
                for stage in known
            ),
        ]
        cells = (markdown.milliseconds(markdown.mean(filter(None, each))) for each in seconds)
        lines.append([title(method), *cells])
    head = ["", "a teacher's call", "an inference or flow", "an update"]
    return markdown.table([*head, *(f"{stage}, by frame" for stage in known)], lines)


def _rows(results):
    return [*results.groups(), *results.each_stream()]


def _lines(results, columns, cell):
    return results.lines(_rows(results), columns, cell)


def _by_method(columns, lines, *first):
    return markdown.table(["", *first, *map(title, columns)], lines)


def _mean(found, key):
    return markdown.mean(r["summary"][key] for r in found)


def _measured(result):
    return costs.measured(result["summary"], named(result["method"]).stages)


def _speedups(result):
    """Wall-clock; the cost model with times of here, the paper's ms, its GFLOP. None: unknown."""
    summary, method = result["summary"], named(result["method"])
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

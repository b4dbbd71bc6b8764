"""Tables of J and F on DAVIS as Markdown, from results alone."""

from experiments.methods import PRESETS, named
from experiments.protocol import davis_measures
from experiments.reports import markdown
from experiments.reports.results import title
from jitnet_tf.base.errors import UserError

STUDENTS = ("jitnet_0.8", "jitnet_0.9", *PRESETS)
METHODS = ("teacher", "never_adapted", *STUDENTS, "first_annotation")
MEASURES = {"J": "Region similarity J", "F": "Contour accuracy F"}
STATISTICS = ("mean", "recall", "decay")
NOTE = """\
J is the intersection over union with the annotated mask; F is the F-measure of the contours, which
match within .8 % of the frame's diagonal. Recall: part of the frames above 50 %. Decay: the first
quarter of the frames minus the last, so that less is better. As in the benchmark, the first and the
last frame do not count, and every sequence counts the same. Teacher frames are scored as they are
shown (--shown): by default as the teacher's labels."""


def report(results):
    """Returns all tables of `results.Results` (of `davis.evaluate`), as Markdown text.

    Raises:
      UserError: these are results of another table.
    """
    for r in results:
        if "davis" not in r:
            raise UserError(
                f"the result of {r['method']} on {r['stream']['name']} is not of "
                "experiments.davis: give each table its own folder"
            )
    columns = results.methods(METHODS)
    by_sequence = [
        (
            f"{name} by sequence, in %: mean / recall / decay",
            by_method(results, columns, lambda found, m=measure: " / ".join(_texts(found, m))),
            "",
        )
        for measure, name in MEASURES.items()
    ]
    return markdown.sections(
        [
            ("Mean over sequences, in %", overall(results, columns), NOTE),
            *by_sequence,
            ("Teacher frames in % (updates)", by_method(results, columns, _teacher_frames), ""),
            ("Made with", results.origin(), ""),
        ]
    )


def overall(results, columns):
    """Returns the table of methods by the statistics of both measures."""
    lines = []
    for method in columns:
        found = results.over(results.streams, method)
        cells = [text for measure in MEASURES for text in _texts(found, measure)]
        lines.append([title(method), *cells, _teacher_frames(found)])
    head = [f"{measure} {name}" for measure in MEASURES for name in STATISTICS]
    return markdown.table(["", *head, "teacher frames (updates)"], lines)


def by_method(results, columns, cell):
    """Returns a table of the mean and of sequences by methods; cell: results, or None → text."""
    rows = [("mean", list(results.streams)), *results.each_stream()]
    lines = [[name, *(cell(results.over(streams, m)) for m in columns)] for name, streams in rows]
    return markdown.table(["", *map(title, columns)], lines)


def _texts(results, measure):
    """Returns the texts of a measure's statistics; dashes if results is None."""
    if results is None:
        return [markdown.UNKNOWN] * len(STATISTICS)
    sequences = [
        davis_measures.Statistics(*(r["davis"][measure][name] for name in STATISTICS))
        for r in results
    ]
    mean = davis_measures.mean_statistics(sequences)
    # Adding 0.0 after rounding avoids "-0.0".
    return [f"{round(100 * getattr(mean, name), 1) + 0.0}" for name in STATISTICS]


def _teacher_frames(results):
    """Returns the text of teacher frames and updates; a dash if results is None."""
    if results is None:
        return markdown.UNKNOWN
    fraction = markdown.mean(r["summary"]["teacher_fraction"] for r in results)
    updates = markdown.mean(map(_updates, results))
    return f"{markdown.percent(fraction)} ({markdown.number(updates, 0)})"


def _updates(result):
    if "annotation_updates" in named(result["method"]).settings:
        return result["settings"]["annotation_updates"]  # before the stream
    return result["summary"]["updates"]

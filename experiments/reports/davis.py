"""Tables of J and F on DAVIS as Markdown, from results alone."""

import collections
import statistics

from experiments.methods import named
from experiments.protocol import davis_measures, provenance
from experiments.reports import markdown
from jitnet_tf.base.errors import UserError

METHODS = ("teacher", "never_adapted", "jitnet_0.8", "jitnet_0.9", "first_annotation")
MEASURES = {"J": "Region similarity J", "F": "Contour accuracy F"}
STATISTICS = ("mean", "recall", "decay")
NOTE = """\
J is the intersection over union with the annotated mask; F is the F-measure of the contours, which
match within .8 % of the frame's diagonal. Recall: the frames above 50 %. Decay: the first quarter
of the frames less the last, so that less is better. As in the benchmark, the first frame and the
last are left out, and every sequence counts the same. A student's teacher frames count as the
student shows them after its updates."""


def report(results):
    """All tables of a list of results (`davis.evaluate`), as Markdown text.

    Raises:
      UserError: results of another table, or of a method made with different settings.
    """
    for r in results:
        if "davis" not in r or r["method"] not in METHODS:
            raise UserError(
                f"the result of {r['method']} on {r['stream']['name']} is none of "
                "experiments.davis: give each table its own folder"
            )
    table = Table(results)
    sections = [
        ("Mean over sequences, in %", table.overall(), NOTE),
        *(
            (f"{title} by sequence, in %: mean / recall / decay", table.by_sequence(measure), "")
            for measure, title in MEASURES.items()
        ),
        ("Teacher frames in % (updates)", table.taught(), ""),
        ("Made with", table.origin(), ""),
    ]
    return "\n\n".join(f"**{title}**\n\n{text}\n\n{note}".strip() for title, text, note in sections)


class Table:
    """Results by sequence and method; see `report`."""

    def __init__(self, results):
        self._cells = {(r["stream"]["name"], r["method"]): r for r in results}
        self._methods = [m for m in METHODS if any(m == method for _, method in self._cells)]
        self._sequences = {r["stream"]["name"]: r["stream"]["classes"] for r in results}
        for method in self._methods:
            for name in named(method).settings:
                values = {str(r["settings"][name]) for r in results if r["method"] == method}
                if len(values) > 1:
                    raise UserError(
                        f"results of {method} were made with different {name} "
                        f"({', '.join(sorted(values))}): they belong in different folders"
                    )

    def overall(self):
        """Rows: methods; columns: the statistics of both measures, teacher frames and updates."""
        lines = []
        for method in self._methods:
            found = self._of(method)
            cells = [value for measure in MEASURES for value in _texts(found, measure)]
            lines.append([named(method).title, *cells, _taught(found)])
        head = [f"{measure} {name}" for measure in MEASURES for name in STATISTICS]
        return markdown.table(["", *head, "teacher frames (updates)"], lines)

    def by_sequence(self, measure):
        """Rows: the mean, sequences; columns: methods."""
        return self._by_method(lambda found: " / ".join(_texts(found, measure)))

    def taught(self):
        """Rows: the mean, sequences; columns: methods."""
        return self._by_method(_taught)

    def origin(self):
        """What the results were made with."""
        facts = collections.defaultdict(set)
        for r in self._cells.values():
            facts["recorded teacher"].add(r["recorded"]["recorded_teacher"])
            facts["machine"].add(provenance.in_words(r["machine"]))
            facts["versions"].add(provenance.versions_in_words(r["versions"]))
            facts["side by side"].add(f"{r['jobs']} evaluations")
            for name in named(r["method"]).settings:
                if r["settings"][name] is not None:
                    facts[name].add(str(r["settings"][name]))
        lines = [[name, "; ".join(sorted(values))] for name, values in facts.items()]
        return markdown.table(["", ""], lines)

    def _of(self, method):
        """A method's results on all sequences; None for those that are missing."""
        return [self._cells.get((name, method)) for name in self._sequences]

    def _by_method(self, cell):
        lines = [["mean", *(cell(self._of(method)) for method in self._methods)]]
        for name, classes in self._sequences.items():
            found = (cell([self._cells.get((name, method))]) for method in self._methods)
            lines.append([f"{name} ({', '.join(classes)})", *found])
        return markdown.table(["", *(named(method).title for method in self._methods)], lines)


def _texts(results, measure):
    """A measure's statistics of results as texts; of none, where one is missing."""
    if None in results:
        return ["–"] * len(STATISTICS)
    sequences = [
        davis_measures.Statistics(*(r["davis"][measure][name] for name in STATISTICS))
        for r in results
    ]
    mean = davis_measures.mean_statistics(sequences)
    # Rounded before it is written: no "-0.0".
    return [f"{round(100 * getattr(mean, name), 1) + 0.0}" for name in STATISTICS]


def _taught(results):
    """Teacher frames and updates of results as text; of none, where one is missing."""
    if None in results:
        return "–"
    fraction = statistics.fmean(r["summary"]["teacher_fraction"] for r in results)
    updates = statistics.fmean(map(_updates, results))
    return f"{100 * fraction:.1f} ({updates:.0f})"


def _updates(result):
    if "annotation_updates" in named(result["method"]).settings:
        return result["settings"]["annotation_updates"]  # before the stream
    return result["summary"]["updates"]

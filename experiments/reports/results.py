"""Results of methods on streams, as all reports read them."""

import collections
import pathlib

from experiments.methods import named
from experiments.protocol import jobs, provenance
from experiments.reports import markdown
from jitnet_tf.base.errors import UserError


class Results:
    """The results of one table, made with the same settings.

    Args:
      results: those of `evaluation.evaluate`; one for each stream and method.

    Attributes:
      cells: (stream's name, method) → result.
      streams: name → the stream's values, in the order of the results.

    Raises:
      UserError: results of a method were made with different settings.
    """

    def __init__(self, results):
        self.cells = {(r["stream"]["name"], r["method"]): r for r in results}
        self.streams = {r["stream"]["name"]: r["stream"] for r in results}
        for method in self.methods():
            for setting in named(method).settings:
                self.check_same(method, setting, lambda r, s=setting: r["settings"].get(s))

    @classmethod
    def load(cls, folder, streams=None, chosen=None, required=True):
        """Reads the results in a folder.

        Args:
          folder: as `jobs.run` fills it.
          streams: names of the streams to read. Default: all.
          chosen: names of the methods to read. Default: all.
          required: raises an error if there is no result.

        Raises:
          UserError: there is no result, or one cannot be read, or settings differ.
        """
        found = [
            path
            for path in sorted(pathlib.Path(folder).glob(f"*/*/{jobs.RESULT}"))
            if (streams is None or path.parts[-3] in streams)
            and (chosen is None or path.parts[-2] in chosen)
        ]
        if required and not found:
            raise UserError(f"there are no results in {str(folder)!r}: make them first, see --help")
        return cls([jobs.load(path) for path in found])

    def __iter__(self):
        return iter(self.cells.values())

    def __bool__(self):
        return bool(self.cells)

    def check_same(self, method, name, value):
        """Raises UserError if a method's results differ in `value(result)`, called `name`."""
        values = {str(value(r)) for r in self.of(method)}
        if len(values) > 1:
            raise UserError(
                f"results of {method} were made with different {name} "
                f"({', '.join(sorted(values))}): they belong in different folders"
            )

    def methods(self, first=()):
        """Returns the methods that have results: those of `first` in this order, then others."""
        found = {method for _, method in self.cells}
        return [m for m in first if m in found] + sorted(found.difference(first))

    def of(self, method):
        """Returns all results of a method."""
        return [r for (_, m), r in self.cells.items() if m == method]

    def over(self, streams, method):
        """Returns a method's results on streams, given by name; None if one is missing."""
        found = [self.cells.get((name, method)) for name in streams]
        return None if None in found else found

    def groups(self):
        """Returns the rows of a table, (title, names of streams): all streams, then categories.

        One category alone is the same as all streams, and is left out.
        """
        categories = collections.defaultdict(list)
        for name, stream in self.streams.items():
            categories[stream["category"]].append(name)
        several = sorted(categories.items()) if len(categories) > 1 else []
        return [("overall", list(self.streams)), *several]

    def each_stream(self):
        """Returns the rows of a table, (title, [name of the stream]), for each stream."""
        return [
            (f"{name} ({', '.join(stream['classes'])})", [name])
            for name, stream in self.streams.items()
        ]

    def lines(self, rows, columns, cell, missing=markdown.UNKNOWN):
        """Returns the lines of a table of streams by methods.

        Args:
          rows: (title, names of streams) each; see `groups` and `each_stream`.
          columns: names of methods.
          cell: makes a text of a method's results on all streams of a row.
          missing: the text if a result is missing.
        """
        lines = []
        for title, streams in rows:
            found = [self.over(streams, method) for method in columns]
            lines.append([title, *(missing if f is None else cell(f) for f in found)])
        return lines

    def machines(self):
        """Returns the machines of all results as one line."""
        return "; ".join(sorted({provenance.in_words(r["machine"]) for r in self}))

    def origin(self, further=lambda result: {}):
        """Returns how the results were made as a Markdown table: teacher, machine, settings.

        further: result → more facts, name → text.
        """
        facts = collections.defaultdict(set)
        for r in self:
            settings = {name: r["settings"].get(name) for name in named(r["method"]).settings}
            found = {
                "recorded teacher": r["recorded"]["recorded_teacher"] or markdown.UNKNOWN,
                "machine": provenance.in_words(r["machine"]),
                "versions": provenance.versions_in_words(r["versions"]),
                "side by side": f"{r['jobs']} evaluations",
                **further(r),
                **{name: str(value) for name, value in settings.items() if value is not None},
            }
            for name, text in found.items():
                facts[name].add(text)
        lines = [[name, "; ".join(sorted(values))] for name, values in facts.items()]
        return markdown.table(["", ""], lines)


def title(method):
    """Returns a method's name as tables and figures show it."""
    return named(method).title

"""The curves of the frontier: methods at budgets of the teacher, and their values over seeds."""

import dataclasses
import pathlib

import numpy as np

from experiments.methods import METHODS, PRESETS
from experiments.reports import costs, markdown
from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError

THRESHOLDS = (0.6, 0.7, 0.8, 0.85, 0.9)
LONG_STRIDE = 60  # thresholds alone hardly ask on fewer than 3 % of the frames
BASE = "jitnet_0.8"  # JITNet 0.8, which times are compared with


@dataclasses.dataclass(frozen=True)
class Curve:
    """Methods that one line of the plot joins.

    Attributes:
      title: of the line, and of rows and columns.
      points: {label: method}.
      at: {budget: label}; empty: the line is interpolated.
    """

    title: str
    points: dict[str, str]
    at: dict[float, str] = dataclasses.field(default_factory=dict)


def curves(budgets):
    """Returns the Curves by name, for budgets as shares of the frames."""
    percents = {budget: f"{100 * budget:g} %" for budget in budgets}
    paper = {f"{t:g}": _at_threshold(t) for t in THRESHOLDS}
    long = f"min_stride={LONG_STRIDE},max_stride={LONG_STRIDE}"
    # A hair more than 1 / .05 would be floored to 19.
    flow = {percents[b]: f"flow_{int(1 / b + 1e-9)}" for b in budgets}
    frozen = {percents[b]: f"balanced,max_updates=0,teacher_budget={b:g}" for b in budgets}
    at = {budget: _preset_at(budget) or label for budget, label in percents.items()}
    of_presets = {
        **{label: f"balanced,teacher_budget={b:g}" for b, label in at.items()},
        **{preset: preset for preset in PRESETS},
    }
    return {
        "algorithm_1": Curve("Algorithm 1", {f"stride {LONG_STRIDE}": long, **paper}),
        "flow": Curve("flow", flow, percents),
        "frozen": Curve("flow + frozen student", frozen, percents),
        "presets": Curve("presets", of_presets, at),
    }


def _at_threshold(threshold):
    """Returns Algorithm 1 at a threshold; rows of Table 2 by their names, whose results serve."""
    row = f"jitnet_{threshold}"
    return row if row in METHODS else f"accuracy_threshold={threshold}"


def _preset_at(budget):
    """Returns the preset with a budget; None without one."""
    found = (name for name, p in PRESETS.items() if p.changes.get("teacher_budget") == budget)
    return next(found, None)


# Values of a result.


def student_iou(result):
    """Returns the mean IoU in %, of the frames that the teacher did not see."""
    return 100 * (result["summary"]["mean_iou_student_only"] or 0.0)


def all_iou(result):
    """Returns the mean IoU in %, of all frames."""
    return 100 * (result["summary"]["mean_iou"] or 0.0)


def teacher_share(result):
    """Returns the teacher frames in %."""
    return 100 * result["summary"]["teacher_fraction"]


def updates(result):
    """Returns the updates a frame."""
    return result["summary"]["updates"] / result["summary"]["frames"]


def milliseconds(result):
    """Returns the milliseconds a frame of all parts; None if the teacher's time is unknown."""
    seconds = costs.seconds_per_frame(result["summary"])
    return None if seconds is None else 1000 * seconds


def flicker(result):
    """Returns the flicker in %, or None."""
    value = result["flicker"]["prediction"]
    return None if value is None else 100 * value


def measured_speedup(result):
    """Returns the speedup over a teacher whose time was measured in the run; otherwise None."""
    summary = result["summary"]
    return summary["speedup"] if summary.get("teacher_time") == "measured" else None


class Frontier:
    """Results of all seeds.

    Args:
      curves: {name: Curve}.
      by_seed: a Results for each seed.

    Attributes:
      curves: those that have a result.
      first: the Results of the first seed, which have all streams and methods.

    Raises:
      UserError: there are no results.
    """

    def __init__(self, curves, by_seed):
        self._by_seed = [results for results in by_seed if results]
        if not self._by_seed:
            raise UserError("there are no results of the frontier: make them first, see --help")
        self.first = self._by_seed[0]
        self.curves = {
            name: curve
            for name, curve in curves.items()
            if any(self.first.of(method) for method in curve.points.values())
        }

    @classmethod
    def load(cls, folder, curves, names=None):
        """Reads all seeds in a folder; names: of the streams. None: all."""
        methods = {method for curve in curves.values() for method in curve.points.values()}
        folders = sorted(pathlib.Path(folder).glob("seed*"))
        return cls(curves, [Results.load(f, names, methods, required=False) for f in folders])

    def values(self, method, names, value):
        """Returns the means over streams of `value(result)`, one a seed that has all of them."""
        found = (self._mean(results, method, names, value) for results in self._by_seed)
        return [mean for mean in found if mean is not None]

    def ratios(self, method, base, names, value):
        """Returns the `values` of a method divided by those of another, seed by seed."""
        pairs = (
            [self._mean(results, m, names, value) for m in (method, base)]
            for results in self._by_seed
        )
        return [mean / of_base for mean, of_base in pairs if mean is not None and of_base]

    def at(self, curve, budget, names, value):
        """Returns (a curve's `values` at a budget, whether they are from beyond its ends).

        An interpolated line has those of the seeds that have as many of its points as the first.
        """
        if curve.at:
            return self.values(curve.points[curve.at[budget]], names, value), False
        lines = []
        for results in self._by_seed:
            points = (
                [self._mean(results, method, names, of) for of in (teacher_share, value)]
                for method in curve.points.values()
            )
            lines.append(sorted(point for point in points if None not in point))
        found, is_beyond = [], False
        for line in lines:
            if line and len(line) == len(lines[0]):
                shares, means = zip(*line, strict=True)
                found.append(float(np.interp(100 * budget, shares, means)))
                is_beyond |= not shares[0] <= 100 * budget <= shares[-1]
        return found, is_beyond

    @staticmethod
    def _mean(results, method, names, value):
        found = results.over(names, method)
        return markdown.mean(map(value, found)) if found else None

"""Ablations: Algorithm 1 with one setting varied, on several streams (the paper's supplement).

    python -m experiments.ablations --study=max_updates --streams=clips/streams.csv \\
        --results=runs/ablations
    python -m experiments.ablations --study=max_updates --print=runs/ablations

A study is a list of variants (`methods.jitnet.variant`). 'defaults' is JITNet 0.8 with the
product's defaults; it is evaluated once for all studies that share --results. After an interruption
the same command makes the missing results. One seed is enough for a difference from the default of
--close points or more; closer variants, and the default with them, are measured with two more
seeds (`protocol.seeds`).
"""

import dataclasses
import itertools
import math
import pathlib
import statistics

from absl import flags

from experiments import methods
from experiments.protocol import seeds
from experiments.reports import command, figures, markdown
from experiments.reports.curves import milliseconds
from experiments.reports.results import Results
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.config.names import RANDOM
from jitnet_tf.flags import options_of

FLAGS = flags.FLAGS
SEEDS = (0, 1, 2)
CLOSE = 2.0  # points of mean IoU
ALL_FRAMES, STUDENT_FRAMES = "mean_iou", "mean_iou_student_only"
MILLISECONDS = "milliseconds"
NO_BUDGET = "teacher_budget=None,triggers="
WHOLE = "balanced,teacher_budget=0.05"


@dataclasses.dataclass(frozen=True)
class Study:
    """The methods of one table and one plot.

    Attributes:
      title: of both.
      variants: {label: method}; see `methods.named`.
      default: label of the product's default.
      init: initial weights of all variants, if the pretrained ones do not fit all. None: --init.
      key: of a summary: the mean IoU to compare by.
    """

    title: str
    variants: dict[str, str]
    default: str
    init: str | None = None
    key: str = ALL_FRAMES


def _study(title, field, values, default, init=None):
    """Makes a study of the values of one field."""
    names = {f"{v}": methods.DEFAULTS if v == default else f"{field}={v}" for v in values}
    return Study(title, names, f"{default}", init)


def _study_of_choices(title, name, init=None):
    """Makes a study of all choices of an option."""
    field, _, about = options_of(RunConfig)[name]
    return _study(title, name, about.choices, field.default, init)


STUDIES = {
    "max_updates": _study(
        "Updates on a teacher frame, at most", "max_updates", (1, 2, 4, 8, 16), 8
    ),
    "min_stride": _study("Minimum stride", "min_stride", (2, 4, 8, 16, 32), 8),
    "max_stride": _study("Maximum stride", "max_stride", (16, 32, 64, 128), 64),
    "learning_rate": _study(
        "Learning rate of SGD", "learning_rate", (0.001, 0.003, 0.01, 0.03, 0.1), 0.01
    ),
    "momentum": _study("Momentum of SGD", "momentum", (0.0, 0.5, 0.9, 0.95), 0.9),
    "adam": Study(
        "SGD against Adam, by learning rate",
        {
            "SGD .01": methods.DEFAULTS,
            **{
                f"Adam {rate}": f"optimizer=adam,learning_rate={rate}"
                for rate in (1e-4, 1e-3, 0.01)
            },
        },
        "SGD .01",
    ),
    "box_weight": _study("Loss weight inside boxes", "box_weight", (1.0, 2.0, 5.0, 10.0), 5.0),
    "box_dilation": _study("Dilation of boxes", "box_dilation", (0.0, 0.075, 0.15, 0.3), 0.15),
    "skip": Study("Skip connections", {"on": methods.DEFAULTS, "off": "skip=False"}, "on", RANDOM),
    "updated_layers": _study_of_choices("Updated layers", "updated_layers"),
    "width": _study("Width", "width", (0.25, 0.5, 1.0), 0.5, RANDOM),
    "normalization": _study_of_choices("Normalization", "normalization", RANDOM),
    "input_normalization": _study_of_choices(
        "Pixels of the first layer", "input_normalization", RANDOM
    ),
    "input_scale": _study("Scale of the student's input", "input_scale", (0.25, 0.5, 1.0), 1.0),
    "init": Study(
        "Initial weights", {"pretrained": methods.DEFAULTS, "random": "init=random"}, "pretrained"
    ),
    "parts": Study(
        "The preset balanced at 5 % teacher frames, without one of its parts",
        {
            "whole": WHOLE,
            "no gate, no flow": f"{WHOLE},fusion=none,infer_every=1",
            "student on every frame": f"{WHOLE},infer_every=1",
            "no replay": f"{WHOLE},update_policy=teacher_frame",
            "SGD .01": f"{WHOLE},optimizer=sgd,learning_rate=0.01",
            "SGD .01, threshold .8": (
                f"{WHOLE},optimizer=sgd,learning_rate=0.01,accuracy_threshold=0.8"
            ),
            "8 updates": f"{WHOLE},max_updates=8",
            "no weight of 0": f"{WHOLE},hesitation=None",
            "no triggers": f"{WHOLE},triggers=",
            "triggers: cut, novelty": f"{WHOLE},triggers=cut+novelty",
            "every 20th frame": f"{WHOLE},{NO_BUDGET},min_stride=20,max_stride=20",
            "the paper's stride": f"{WHOLE},{NO_BUDGET},max_stride=64",
            "the paper's, from teacher frames": (
                f"{WHOLE},{NO_BUDGET},max_stride=64,stride_from=teacher_frame"
            ),
        },
        "whole",
        key=STUDENT_FRAMES,
    ),
}


def folder(results, study, seed):
    """Returns the folder of a study's results with a seed; studies of the same init share it."""
    return seeds.folder(pathlib.Path(results, study.init or "init"), seed)


def settings(study, seed, init):
    """Returns the settings of a study's results with a seed; init: of studies without their own."""
    return seeds.settings(seed, study.init or init)


def found(study, results, names=None):
    """Reads a study's results: {label: {stream name: list of results, one a seed}}.

    names: of the streams. None: all.
    """
    table = {label: {} for label in study.variants}
    for seed in SEEDS:
        place = folder(results, study, seed)
        of_seed = Results.load(place, names, study.variants.values(), required=False)
        for label, method in study.variants.items():
            for result in of_seed.of(method):
                table[label].setdefault(result["stream"]["name"], []).append(result)
    return table


def means(table, key=ALL_FRAMES):
    """Returns the mean over streams of the means over seeds, by label; None if one is missing.

    key: of a summary, or MILLISECONDS.
    """
    names = _names(table)
    return {
        label: markdown.mean(markdown.mean(_values(by_stream[name], key)) for name in names)
        if names == sorted(by_stream)
        else None
        for label, by_stream in table.items()
    }


def _names(table):
    return sorted({name for by_stream in table.values() for name in by_stream})


def _values(results, key):
    """Returns a value of each result, in % if it is a fraction."""
    if key == MILLISECONDS:
        return [milliseconds(r) for r in results]
    factor = 1 if key == "updates" else 100
    return [factor * (r["summary"][key] or 0.0) for r in results]


def close(study, table, points):
    """Returns a study's methods that differ from its default by less than so many points.

    The default is among them, except alone.
    """
    known = {label: mean for label, mean in means(table, study.key).items() if mean is not None}
    base = known.get(study.default, math.inf)
    near = [label for label, mean in known.items() if abs(mean - base) < points]
    return [study.variants[label] for label in near] if len(near) > 1 else []


def report(study, table):
    """Returns a study's table as Markdown text; UserError if there are no results."""
    names = _names(table)
    if not names:
        raise UserError("there are no results of this study: make them first, see --help")
    costs = ["teacher frames, %", "updates", "ms a frame"]
    head = ["", "mean IoU", "against default", *names, *costs, "seeds"]
    mean_iou, teacher, updates, ms = (
        means(table, key) for key in (study.key, "teacher_fraction", "updates", MILLISECONDS)
    )
    base, lines, shown = mean_iou[study.default], [], {}
    for label, by_stream in table.items():
        results = [r for some in by_stream.values() for r in some]
        shown.update((r["stream"]["name"], r) for r in results)
        title = f"{label} (default)" if label == study.default else label
        mean = mean_iou[label]
        if mean is None:
            lines.append([title, *[markdown.UNKNOWN] * (len(head) - 1)])
            continue
        no_difference = label == study.default or base is None
        lines.append(
            [
                title,
                markdown.number(mean),
                markdown.UNKNOWN if no_difference else f"{mean - base:+.1f}",
                *(markdown.spread(_values(by_stream[name], study.key)) for name in names),
                markdown.number(teacher[label]),
                markdown.number(updates[label], 0),
                markdown.number(ms[label]),
                f"{len({r['settings']['seed'] for r in results})}",
            ]
        )
    frames = " of frames that the teacher did not see" if study.key == STUDENT_FRAMES else ""
    note = (
        f"Mean IoU in %{frames}; of a stream: mean over seeds (least–most). Initial weights: "
        f"{shown[names[0]]['settings']['init']}. "
        f"Frames: {'; '.join(_size(shown[name]) for name in names)}."
    )
    return markdown.sections([(study.title, markdown.table(head, lines), note)])


def _size(result):
    """Returns a stream's number and size of frames in words."""
    height, width = result["recorded"]["frame_size"]
    return f"{result['stream']['name']}: {result['frames']} of {height}×{width}"


def draw(study, table):
    """Draws a study as a matplotlib figure: mean IoU above, teacher frames below, by variant.

    It has one line a stream, with the range over seeds, and one for the mean over streams.
    """
    from matplotlib.figure import Figure

    figure = Figure((6.4, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    table = {label: by_stream for label, by_stream in table.items() if by_stream}
    labels, names = list(table), _names(table)
    for axis, key in ((above, study.key), (below, "teacher_fraction")):
        for name, color in zip(names, itertools.cycle(figures.COLORS), strict=False):
            there = [i for i, label in enumerate(labels) if name in table[label]]
            found = [_values(table[labels[i]][name], key) for i in there]
            middle = [statistics.fmean(values) for values in found]
            axis.plot(there, middle, "o-", ms=4, color=color, label=name)
            axis.fill_between(
                there, [min(v) for v in found], [max(v) for v in found], color=color, alpha=0.15
            )
        mean = [math.nan if m is None else m for m in means(table, key).values()]
        axis.plot(range(len(labels)), mean, "k--", lw=1.5, label="mean of streams")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if study.default in labels:
            axis.axvline(labels.index(study.default), color="0.85", lw=8, zorder=0)
    above.set_title(f"{study.title} (shaded: the default)", fontsize=10)
    above.set_ylabel("mean IoU, %")
    below.set(ylabel="teacher frames, %", ylim=(0, None), xlabel=study.title)
    below.set_xticks(range(len(labels)), labels)
    figure.legend(
        *above.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
    )
    return figure


def define_flags():
    """Defines the flags of the ablations."""
    flags.DEFINE_enum("study", None, list(STUDIES), "The study: what to vary.", required=True)
    command.define_flags()
    command.define_plot_flag("STUDY")
    methods.define_flags([methods.DEFAULTS], settings=["init"])
    flags.DEFINE_float(
        "close", CLOSE, "Points of mean IoU; smaller differences are measured with more seeds."
    )


def main():
    """Makes the missing results, prints the table and draws the plot."""
    study = STUDIES[FLAGS.study]
    command.check_plot()
    names = None if FLAGS.print else evaluate(study)
    table = found(study, FLAGS.print or FLAGS.results, names)
    command.show(report(study, table), lambda: draw(study, table), FLAGS.study)


def evaluate(study):
    """Makes a study's missing results; returns the streams' names."""
    variants, chosen = methods.select(
        FLAGS.only, command.listed_streams(), tuple(study.variants.values())
    )
    names = {stream.name for stream in chosen}

    def make(variants, of_seeds):
        for seed in of_seeds:
            place = folder(FLAGS.results, study, seed)
            command.make_results(chosen, variants, settings(study, seed, FLAGS.init), place)

    make(variants, SEEDS[:1])
    made = set()
    # More seeds move the default's mean, which may bring it close to further variants.
    while not made.issuperset(
        near := close(study, found(study, FLAGS.results, names), FLAGS.close)
    ):
        make(near, SEEDS[1:])
        made.update(near)
    return names


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

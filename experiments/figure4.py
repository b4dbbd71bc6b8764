"""Figure 4: accuracy of student and oracle over time, and the updates of the student.

    python -m experiments.figure4 --results=runs/table2 --output=runs/figure4.png \\
        --logdir=runs/figure4

It is made from the results of experiments.table2 alone. A point is the mean IoU over an interval:
TP, FP and FN summed over its frames, IoU by class, and the mean over the classes in the interval.
"""

import os
import pathlib

import numpy as np
from absl import flags

from experiments.methods import named
from experiments.reports import figures
from experiments.reports.results import Results
from jitnet_tf.base import command_line, shell
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path

FLAGS = flags.FLAGS
COLUMNS = 4


def intervals(timeline, seconds):
    """Sums a timeline (`evaluation.Timeline.to_json`) over intervals.

    Returns:
      (mean IoU of each interval, NaN if it has no class; updates in each), both float64 [N].
    """
    iou, updates = [], []
    for start in range(0, len(timeline), seconds):
        rows = timeline[start : start + seconds]
        hits, false_positives, false_negatives = (
            np.sum([row[name] for row in rows], axis=0) for name in ("tp", "fp", "fn")
        )
        union = hits + false_positives + false_negatives
        # A class that only the student predicts is an error, and counts.
        present = union > 0
        iou.append(np.mean(hits[present] / union[present]) if present.any() else np.nan)
        updates.append(sum(row["updates"] for row in rows))
    return np.array(iou, float), np.array(updates, float)


def draw(results, methods, seconds):
    """Returns a matplotlib figure: two diagrams a stream, accuracy above updates.

    results: by (stream's name, method). methods: names; the updates are those of the first.
    """
    from matplotlib.figure import Figure

    streams = sorted({stream for stream, _ in results})
    columns = min(len(streams), COLUMNS)
    rows = -(-len(streams) // columns)
    figure = Figure((3.6 * columns + 0.6, 3.2 * rows + 0.5), layout="constrained")
    axes = figure.subplots(
        2 * rows, columns, squeeze=False, height_ratios=[2, 1] * rows, gridspec_kw={"hspace": 0.05}
    )
    for place, stream in enumerate(streams):
        row, column = divmod(place, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        for method, color in zip(methods, figures.COLORS, strict=False):
            if (stream, method) not in results:
                continue
            iou, updates = intervals(results[stream, method]["timeline"], seconds)
            middles = (np.arange(len(iou)) + 0.5) * seconds
            label = named(method).title
            above.plot(middles, 100 * iou, "o-", ms=3, lw=1.5, color=color, label=label)
            if method == methods[0]:
                below.bar(middles, updates, 0.9 * seconds, color=color)
        above.set(title=stream, ylim=(0, 100))
        below.set(xlabel="seconds")
        below.sharex(above)
        above.tick_params(labelbottom=False)
        for axis in (above, below):
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        if column == 0:
            above.set_ylabel("mean IoU, %")
            below.set_ylabel("updates")
    for place in range(len(streams), rows * columns):
        row, column = divmod(place, columns)
        for axis in axes[2 * row : 2 * row + 2, column]:
            axis.set_axis_off()
    lines = {line.get_label(): line for axis in axes[::2].flat for line in axis.get_lines()}
    figure.legend(handles=lines.values(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def log(results, methods, seconds, logdir):
    """Writes the same curves for TensorBoard: a run a method, a step a second.

    Curves of earlier calls are deleted; TensorBoard would draw them over the new ones.
    """
    command_line.import_tensorflow()
    import tensorflow as tf

    for method in methods:
        for file in pathlib.Path(logdir, method).glob("events.out.tfevents.*"):
            file.unlink()
        with tf.summary.create_file_writer(os.fsencode(os.path.join(logdir, method))).as_default():
            for (stream, other), result in results.items():
                if other != method:
                    continue
                iou, updates = intervals(result["timeline"], seconds)
                for place in range(len(iou)):
                    step = place * seconds
                    if not np.isnan(iou[place]):
                        tf.summary.scalar(f"mean IoU/{stream}", iou[place], step)
                    tf.summary.scalar(f"updates/{stream}", updates[place], step)


def define_flags():
    """Defines the flags of figure 4."""
    figures.define_flags("PNG to write.")
    flags.DEFINE_list(
        "methods", ["jitnet_0.8", "oracle"], "Methods to draw; updates are those of the first."
    )
    flags.DEFINE_integer("bin_seconds", 30, "Length of an interval in seconds.", lower_bound=1)
    define_path("logdir", None, "Folder to write the curves to for TensorBoard. Default: none.")


def main():
    """Draws the figure."""
    figures.check_output(FLAGS.output)
    if len(FLAGS.methods) > len(figures.COLORS):
        raise UserError(
            f"--methods: {len(FLAGS.methods)} are too many, at most {len(figures.COLORS)} fit"
        )
    results = figures.results_of(Results.load(FLAGS.results), FLAGS.methods, FLAGS.streams)
    figures.save(draw(results, FLAGS.methods, FLAGS.bin_seconds), FLAGS.output)
    if FLAGS.logdir:
        log(results, FLAGS.methods, FLAGS.bin_seconds, FLAGS.logdir)
        print(f"watch it with   tensorboard {shell.flag('logdir', FLAGS.logdir)}")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

"""Figure 3: segmentations of teacher and student, on frames chosen by rule.

    python -m experiments.figure3 --results=runs/table2 --output=runs/figure3.png

A row is a stream: of the frames whose prediction experiments.table2 kept, those with the lowest,
median and highest mean IoU of the student. Teacher left, student right, as in the paper.
"""

from absl import flags

from experiments.methods import named
from experiments.reports import figures
from experiments.reports.results import Results
from jitnet_tf.base import command_line

FLAGS = flags.FLAGS


def draw(results, folder, method):
    """Returns the figure of results by (stream, method); folder: of all results."""
    panels, sides = [], []
    for (stream, _), result in sorted(results.items()):
        scores = figures.kept_iou(result)
        indices = [figures.choose(scores, rule) for rule in figures.RULES]
        pictures = figures.Pictures(folder, result["stream"], indices)
        panels.append(
            [
                panel
                for index in indices
                for panel in (pictures.teacher(index), pictures.method(index, method))
            ]
        )
        values = ", ".join(f"{100 * scores[index]:.0f}" for index in indices)
        sides.append(f"{stream}\nIoU {values} %")
    heads = [f"{rule}: {who}" for rule in figures.RULES for who in ("teacher", named(method).title)]
    return figures.grid(panels, heads, sides)


def define_flags():
    """Defines the flags of figure 3."""
    figures.define_flags("PNG to write.")
    flags.DEFINE_string("method", "jitnet_0.9", "Method whose predictions to show.")


def main():
    """Draws the figure."""
    figures.check_output(FLAGS.output)
    results = figures.results_of(Results.load(FLAGS.results), [FLAGS.method], FLAGS.streams)
    figures.save(draw(results, FLAGS.results, FLAGS.method), FLAGS.output)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

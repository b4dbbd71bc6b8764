"""Figure 5: student and flow on short sequences chosen by rule.

    python -m experiments.figure5 --results=runs/table2 --output=runs/figure5.png

It shows sequences of three frames, four frames apart as in the paper, without a teacher frame of
the flow baseline: those with the lowest, median and highest mean IoU of that baseline. Of --streams
it shows the median one, by the student's lead over flow.
"""

from absl import flags

from experiments.methods import named
from experiments.protocol.evaluation import KEPT_DISTANCE
from experiments.reports import figures
from experiments.reports.results import Results
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError

FLAGS = flags.FLAGS
LENGTH = 3
# Flow slow has only one kept frame between two teacher frames.
FLOW = "flow_fast"


def sequences(scores, stride):
    """Returns the mean score, by first index, of `LENGTH` kept frames in a row without a teacher.

    scores: by frame index. stride: frames from one teacher frame to the next.
    """
    steps = [KEPT_DISTANCE * place for place in range(LENGTH)]
    return {
        first: sum(scores[first + step] for step in steps) / LENGTH
        for first in scores
        if all(first + step in scores and (first + step) % stride for step in steps)
    }


def middle_stream(results, student):
    """Returns the stream with the median lead of the student; results: by (stream, method)."""

    def lead(stream):
        accuracy = [results[stream, m]["summary"]["mean_iou"] or 0 for m in (student, FLOW)]
        return accuracy[0] - accuracy[1]

    both = [stream for stream, m in results if m == FLOW and (stream, student) in results]
    if not both:
        raise UserError(f"no stream has results of both {student} and {FLOW}")
    return figures.choose({stream: lead(stream) for stream in both}, "median")


def draw(results, folder, stream, student):
    """Returns the figure of one stream."""
    scores = {m: figures.kept_iou(results[stream, m]) for m in (student, FLOW)}
    means = sequences(scores[FLOW], named(FLOW).stride)
    if not means:
        raise UserError(f"stream {stream!r} is too short for a sequence")
    firsts = [figures.choose(means, rule) for rule in figures.RULES]
    indices = [first + KEPT_DISTANCE * place for first in firsts for place in range(LENGTH)]
    pictures = figures.Pictures(folder, results[stream, FLOW]["stream"], indices)
    panels = [
        [pictures.frame(i) for i in indices],
        [pictures.teacher(i) for i in indices],
        [pictures.method(i, student) for i in indices],
        [pictures.method(i, FLOW) for i in indices],
    ]
    heads = [
        f"{rule + ': ' if place == 0 else ''}frame {first + KEPT_DISTANCE * place}\n"
        + ", ".join(
            f"{named(m).title} {100 * scores[m][first + KEPT_DISTANCE * place]:.0f} %"
            for m in (student, FLOW)
        )
        for rule, first in zip(figures.RULES, firsts, strict=True)
        for place in range(LENGTH)
    ]
    sides = [stream, "teacher", named(student).title, named(FLOW).title]
    return figures.grid(panels, heads, sides)


def define_flags():
    """Defines the flags of figure 5."""
    figures.define_flags("PNG to write.")
    flags.DEFINE_string("student", "jitnet_0.9", "The student to show.")


def main():
    """Draws the figure."""
    figures.check_output(FLAGS.output)
    results = figures.results_of(Results.load(FLAGS.results), [FLAGS.student, FLOW], FLAGS.streams)
    stream = middle_stream(results, FLAGS.student)
    figure = draw(results, FLAGS.results, stream, FLAGS.student)
    figures.save(figure, FLAGS.output)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

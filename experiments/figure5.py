"""Figure 5: student and flow on short sequences chosen by rule.

    python -m experiments.figure5 --results=runs/table2 --output=runs/figure5.png

Sequences of three frames, four frames apart as in the paper and without a frame that the teacher
labelled for the flow baseline: those on which that baseline's mean IoU is lowest, in the middle and
highest. Of --streams, the one in the middle, by how far flow is behind the student.
"""

from absl import flags

from experiments.methods import named
from experiments.protocol import jobs
from experiments.protocol.evaluation import KEPT_DISTANCE
from experiments.reports import figures
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError

FLAGS = flags.FLAGS
LENGTH = 3
# Of the frames that are kept, flow slow has but one between two teacher frames.
FLOW = "flow_fast"


def sequences(scores, stride):
    """Mean score by first index, of each `LENGTH` kept frames in a row without a teacher frame.

    scores: by index. stride: frames between teacher frames.
    """
    steps = [KEPT_DISTANCE * place for place in range(LENGTH)]
    return {
        first: sum(scores[first + step] for step in steps) / LENGTH
        for first in scores
        if all(first + step in scores and (first + step) % stride for step in steps)
    }


def middle_stream(results, student):
    """The stream, of results by (stream, method), that is typical of student against flow."""

    def prefetch(stream):
        accuracy = [results[stream, m]["summary"]["mean_iou"] or 0 for m in (student, FLOW)]
        return accuracy[0] - accuracy[1]

    both = [stream for stream, m in results if m == FLOW and (stream, student) in results]
    if not both:
        raise UserError(f"no stream has results of both {student} and {FLOW}")
    return figures.choose({stream: prefetch(stream) for stream in both}, "median")


def draw(results, folder, stream, student):
    """The figure of one stream."""
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
    """Defines this command's flags."""
    figures.define_flags("PNG to write.")
    flags.DEFINE_string("student", "jitnet_0.9", "The student to show.")


def main():
    """See the module."""
    figures.check_output(FLAGS.output)
    results = figures.results_of(jobs.load_all(FLAGS.results), [FLAGS.student, FLOW], FLAGS.streams)
    stream = middle_stream(results, FLAGS.student)
    figure = draw(results, FLAGS.results, stream, FLAGS.student)
    figures.save(figure, FLAGS.output)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

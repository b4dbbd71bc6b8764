"""What the pretrained start gives: Algorithm 1 from random and from pretrained weights.

    for init in random pretrained; do python -m experiments.table2 --init=$init \\
        --streams=experiments/streams/short.csv --videos=VIDEOS --recordings=RECORDINGS \\
        --only=jitnet_0.8,never_adapted --results=runs/$init; done
    python -m experiments.initialisation --random=runs/random --pretrained=runs/pretrained
"""

from absl import flags

from experiments.protocol import jobs
from experiments.reports import markdown
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError

FLAGS = flags.FLAGS
NOTE = """\
Mean IoU in % from random and from pretrained weights, and the difference. Start: the first 100
frames alone. Frozen: the pretrained student, never adapted."""
ADAPTED, FROZEN = "jitnet_0.8", "never_adapted"


def define_flags():
    """Defines this command's flags."""
    flags.DEFINE_string("random", None, "Results from random weights.", required=True)
    flags.DEFINE_string("pretrained", None, "Results from pretrained ones.", required=True)


def report(random, pretrained):
    """The table of two lists of results (`evaluation.evaluate`), as Markdown text.

    Raises:
      UserError: a list lacks a stream that the other has, or is from other weights.
    """
    random, pretrained = _by_stream(random, "random"), _by_stream(pretrained, "pretrained")
    streams = [stream for stream, methods in pretrained.items() if ADAPTED in methods]
    for stream in streams:
        if ADAPTED not in random.get(stream, {}):
            raise UserError(f"there is no result of {ADAPTED} on {stream} from random weights")
        if FROZEN not in pretrained[stream]:
            raise UserError(f"there is no result of {FROZEN} on {stream} from pretrained weights")
    rows = [
        _row(random[stream][ADAPTED], pretrained[stream][ADAPTED], pretrained[stream][FROZEN])
        for stream in streams
    ]
    head = ["stream", "all frames", "student only", "start", "teacher frames", "updates", "frozen"]
    lines = [[name, *map(_cell, row)] for name, row in zip(streams, rows, strict=True)]
    if len(rows) > 1:
        means = [tuple(map(_mean, zip(*column, strict=True))) for column in zip(*rows, strict=True)]
        lines.append(["mean", *map(_cell, means)])
    return f"{markdown.table(head, lines)}\n\n{NOTE}"


def _by_stream(results, init):
    found = {}
    for result in results:
        have = result["settings"].get("init")
        if have != init:
            raise UserError(f"--{init}: a result of {result['method']} there started from {have!r}")
        found.setdefault(result["stream"]["name"], {})[result["method"]] = result
    return found


def _row(before, after, frozen):
    """Pairs (random, pretrained) in the table's order, and what the frozen student gives."""

    def pair(value):
        return value(before), value(after)

    return [
        pair(lambda result: _percent(result["summary"]["mean_iou"])),
        pair(lambda result: _percent(result["summary"]["mean_iou_student_only"])),
        pair(lambda result: _percent(result.get("start_iou"))),
        pair(lambda result: _percent(result["summary"]["teacher_fraction"])),
        pair(lambda result: result["summary"]["updates"]),
        (_percent(frozen["summary"]["mean_iou"]),),
    ]


def _percent(part):
    return None if part is None else 100 * part


def _mean(values):
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _cell(values):
    text = " → ".join(map(_number, values))
    if len(values) == 1 or None in values:
        return text
    before, after = values
    return f"{text} ({_number(after - before, '+')})"


def _number(value, sign=""):
    if value is None:
        return "–"
    return format(value, f"{sign}d" if isinstance(value, int) else f"{sign}.1f")


def main():
    """See the module."""
    print(report(jobs.load_all(FLAGS.random), jobs.load_all(FLAGS.pretrained)))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

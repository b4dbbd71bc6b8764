"""Table 1 of the paper: the cost of students and Mask R-CNN on a frame.

    python -m experiments.mask_rcnn --output=mask_rcnn_r50    # in an environment of its own
    python -m experiments.table1 --mask_rcnn=mask_rcnn_r50 --output=table1.json
    python -m experiments.table1 --print=table1.json

Floating-point operations by TensorFlow's profiler, trainable parameters, and milliseconds of an
inference (frame to class ids) and of an update (forward, backward, optimizer), in float32 without
XLA. All models are in one process and take turns, so that other load of the machine hits all alike.
Mask R-CNN's milliseconds are those of the teacher in a run: with its masks pasted to the frame.
Frames and labels are random: no cost depends on them. The JSON file has all times.
"""

import dataclasses
import statistics

from absl import flags

from experiments.protocol import provenance
from experiments.reports import markdown, measurement
from experiments.speed import turns
from jitnet_tf import video
from jitnet_tf.base import command_line
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar

FLAGS = flags.FLAGS

FORMAT = "experiments.table1, 1"
MASK_RCNN = "Mask R-CNN"
STEPS = ("infer", "train")


@dataclasses.dataclass(frozen=True)
class Row:
    """The costs of a model.

    Attributes:
      name: of the model.
      parameters: trainable ones.
      flop: step → floating-point operations.
      milliseconds: step → median.
      spread: step → (least, most) milliseconds.
      partial: True if some of its operations are missing in `flop`.
    """

    name: str
    parameters: float
    flop: dict
    milliseconds: dict
    spread: dict = dataclasses.field(default_factory=dict)
    partial: bool = False


# On a V100; the 15.2 GFLOP are those of width .5, the 3 M parameters those of width 1.0.
PAPER_JITNET = Row(
    "paper: JITNet", 3e6, {"infer": 15.2e9, "train": 42.0e9}, {"infer": 7, "train": 30}
)
PAPER_MASK_RCNN = Row("paper: Mask R-CNN", 141e6, {"infer": 1390e9}, {"infer": 300})

NOTES = """\
The paper's rows are of a V100, TensorFlow 1.10 and PyTorch 0.4. Its JITNet row has the operations
of width .5 and the parameters of width 1.0 (or the megabytes of .5). Its Mask R-CNN is Detectron's
ResNeXt-152-32x8d-FPN; that of `experiments.mask_rcnn` is ResNet-50-FPN, its box head four
convolutions and a dense layer on each of 1000 proposals, its frames padded to multiples of 64
(720×1280 to 768×1280): half the operations, a third of the parameters, so that ratios to it
understate the paper's. Its weights are random, which changes no cost. The profiler counts a
multiplication and an addition as two operations; normalization and resizing count nothing."""


def define_flags():
    """Defines the flags of table 1."""
    measurement.define_flags()
    define_path(
        "mask_rcnn", None, "SavedModel folder of Mask R-CNN, or zoo:NAME. Default: left out."
    )
    flags.DEFINE_string("frame_size", "720x1280", "HxW of the frames.")
    flags.DEFINE_integer(
        "num_classes", 23, "Number of the students' classes with background.", 2, upper_bound=255
    )
    flags.DEFINE_integer("rounds", 20, "How often to time each step.", lower_bound=1)


def students(num_classes, frame_size):
    """Returns name → Student, for each student in the table."""
    from tensorflow import keras

    from jitnet_tf.student.jitnet import build_jitnet
    from jitnet_tf.student.mobilenetv2 import build_mobilenetv2
    from jitnet_tf.student.student import Student

    keras.utils.set_random_seed(0)
    options = {"num_classes": num_classes, "frame_size": frame_size}
    models = {
        "JITNet, width .5": build_jitnet(width=0.5, **options),
        "JITNet, width 1.0": build_jitnet(width=1.0, **options),
        "MobileNetV2": build_mobilenetv2(**options),
    }
    return {name: Student(model, frame_size) for name, model in models.items()}


def time_steps(steps, rounds):
    """Times steps in turns: {(model, step): function} → {(model, step): milliseconds by round}."""
    for step in progress_bar(steps.values(), "first runs"):  # they take longer
        step()
    timed = {key: lambda step=step: turns.milliseconds(step) for key, step in steps.items()}
    times, _ = turns.take_turns(timed, rounds)
    return times


def summarize(times):
    """Returns milliseconds as the file has them: their minimum, median, maximum, and all."""
    return {
        "min": min(times),
        "median": statistics.median(times),
        "max": max(times),
        "all": [round(milliseconds, 3) for milliseconds in times],
    }


def measure(frame_size, num_classes, rounds, mask_rcnn):
    """Returns the values of the JSON file. Raises UserError if mask_rcnn is no such model."""
    import numpy as np

    from experiments.speed import flops
    from jitnet_tf.runs.versions import versions
    from teacher import saved_model_folder
    from teacher.record import describe_live
    from teacher.saved_model import open_saved_model

    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (*frame_size, 3), dtype=np.uint8)
    labels = random.integers(0, num_classes, frame_size).astype(np.uint8)
    weights = np.ones(frame_size, np.float32)
    costs, steps = {}, {}
    if mask_rcnn:
        folder = saved_model_folder(mask_rcnn)
        teacher = open_saved_model(folder)
        teacher(frame, 0)  # fails early if frames do not fit
    for name, student in students(num_classes, frame_size).items():
        counts = {
            "infer": flops.of_model(student.model, frame_size),
            "train": flops.of_update(student),
        }
        parameters = flops.number_of(student.model.trainable_variables)
        costs[name] = {"parameters": parameters, "counts": counts}
        steps[name, "infer"] = lambda student=student: student.infer(frame)
        steps[name, "train"] = lambda student=student: student.update(frame, labels, weights)
    if mask_rcnn:
        count, parameters = flops.of_saved_model(folder, frame_size)
        costs[MASK_RCNN] = {
            "parameters": parameters,
            "counts": {"infer": count},
            **describe_live(mask_rcnn),
        }
        steps[MASK_RCNN, "infer"] = lambda: teacher(frame, 0)
    times = time_steps(steps, rounds)
    for name, cost in costs.items():
        counts = cost.pop("counts")
        cost["flop"] = {step: count.total for step, count in counts.items()}
        cost["not_counted"] = {step: count.missed for step, count in counts.items()}
        cost["partial"] = any(count.partial for count in counts.values())
        cost["milliseconds"] = {step: summarize(times[name, step]) for step in counts}
    return {
        "format": FORMAT,
        "frame_size": list(frame_size),
        "num_classes": num_classes,
        "rounds": rounds,
        "machine": provenance.describe(),
        "versions": versions(),
        "models": costs,
    }


def rows(table):
    """Returns the Rows of a measurement (`measure`)."""
    return [
        Row(
            name,
            cost["parameters"],
            {step: float(flop) for step, flop in cost["flop"].items()},
            {step: float(ms["median"]) for step, ms in cost["milliseconds"].items()},
            {
                step: (float(ms["min"]), float(ms["max"]))
                for step, ms in cost["milliseconds"].items()
            },
            cost["partial"],
        )
        for name, cost in table["models"].items()
    ]


def _milliseconds(row, step):
    if step not in row.milliseconds:
        return markdown.UNKNOWN
    text = markdown.short(row.milliseconds[step])
    if step in row.spread:
        text += " ({}–{})".format(*map(markdown.short, row.spread[step]))
    return text


def _gflop(row, step):
    if step not in row.flop:
        return markdown.UNKNOWN
    return ("≥ " if row.partial else "") + f"{row.flop[step] / 1e9:.1f}"


def costs_table(models):
    """Returns the table of costs as Markdown."""
    header = ["model"]
    header += [f"GFLOP, {step}" for step in STEPS]
    header += ["parameters (M)"]
    header += [f"ms, {step}" for step in STEPS]
    return markdown.table(
        header,
        [
            [
                row.name,
                *(_gflop(row, step) for step in STEPS),
                f"{row.parameters / 1e6:.2f}".removesuffix(".00"),
                *(_milliseconds(row, step) for step in STEPS),
            ]
            for row in models
        ],
    )


def ratios_table(pairs):
    """Returns the table of Mask R-CNN's inference over each student's costs, as Markdown.

    pairs: (student, Mask R-CNN), Rows.
    """
    body = []
    for row, teacher in pairs:
        flop, milliseconds = teacher.flop["infer"], teacher.milliseconds["infer"]
        ratios = [flop / row.flop[step] for step in STEPS]
        ratios += [teacher.parameters / row.parameters]
        ratios += [milliseconds / row.milliseconds[step] for step in STEPS]
        body.append([row.name, *(f"{markdown.short(ratio)}×" for ratio in ratios)])
    header = ["than Mask R-CNN's inference"]
    header += [f"fewer FLOP, {step}" for step in STEPS]
    header += ["fewer parameters"]
    header += [f"faster, {step}" for step in STEPS]
    return markdown.table(header, body)


def render(table):
    """Returns the tables of a measurement (`measure`) as Markdown, with the paper's rows."""
    measured = rows(table)
    height, width = table["frame_size"]
    parts = [
        f"{height}×{width} frames, {table['num_classes']} classes, float32; milliseconds are the "
        f"median (least–most) of {table['rounds']} rounds in turns. "
        f"{provenance.setting_in_words(table)}.",
        costs_table([*measured, PAPER_JITNET, PAPER_MASK_RCNN]),
    ]
    by_name = {row.name: row for row in measured}
    teacher = by_name.pop(MASK_RCNN, None)
    pairs = [(row, teacher) for row in by_name.values()] if teacher else []
    if not teacher:
        parts.append(f"{MASK_RCNN} is missing: --mask_rcnn was not given.")
    parts.append(ratios_table([*pairs, (PAPER_JITNET, PAPER_MASK_RCNN)]))
    first, *others = by_name.values()
    ratios = [
        f"{row.name} {row.milliseconds['infer'] / first.milliseconds['infer']:.1f}"
        for row in others
    ]
    parts.append(
        f"Milliseconds of an inference, {first.name} = 1: {'; '.join(ratios)}. The paper says "
        "3–4 of segmentation by MobileNetV2 (§3.1)."
    )
    if any(row.partial for row in measured):
        parts.append(
            "≥: the profiler could not count all; `not_counted` in the JSON file says what."
        )
    parts.append(NOTES)
    return "\n\n".join(parts)


def _measure_to_file():
    frame_size = video.parse_size(FLAGS.frame_size)
    measurement.check_output(FLAGS.output)
    command_line.import_tensorflow()
    values = measure(frame_size, FLAGS.num_classes, FLAGS.rounds, FLAGS.mask_rcnn)
    measurement.write(FLAGS.output, values)
    return values


def main():
    """Measures or prints."""
    measurement.measure_or_print(_measure_to_file, render, FORMAT, "experiments.table1")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

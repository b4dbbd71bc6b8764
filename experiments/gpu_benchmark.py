"""The student's infer and update on a GPU, compiled by XLA.

    python -m experiments.gpu_benchmark --export=modules                # TensorFlow, any machine
    python -m experiments.gpu_benchmark --run=modules --json=gpu.json   # on that with the GPU

    python -m experiments.gpu_benchmark --print=gpu.json

`--export` writes the modules that TensorFlow hands to XLA (see `speed.gpu.hlo`), so that `--run`
needs no TensorFlow: if TensorFlow sees a GPU, it runs the student itself, otherwise JAX compiles
the same modules (`pip install 'jax[cuda13]' absl-py opencv-python-headless`). Results are compared
with a CPU's before anything is timed. Without a GPU it runs on the CPU, and says so.

Each figure is the median of --rounds runs, one after the other, each waited for: with all
arguments on the device already, and from numpy to numpy, with copies there and back.
"""

import contextlib
import json
import os
import pathlib
import platform
import statistics
import tempfile

import numpy as np
from absl import flags

from experiments.protocol import provenance
from experiments.reports import markdown, measurement
from experiments.speed import turns
from experiments.speed.gpu import hlo, runtimes
from jitnet_tf.base import command_line, files, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path

FLAGS = flags.FLAGS

FORMAT = "experiments.gpu_benchmark, 1"
UNTIMED = 10  # runs; the first ones take longer
MASK_RCNN = "Mask R-CNN"
PAPER_MS = {"infer": 7.0, "update": 30.0, MASK_RCNN: 300.0}  # Table 1, on a V100
# Rounding differs between devices (a GPU's float32 products have 10 bits), and random weights leave
# classes close to each other. Less agreement than this is not due to rounding.
LEAST_AGREEMENT = 0.9
MOST_LOSS_DIFFERENCE = 0.05


def define_flags():
    """Defines the flags of the benchmark on a GPU."""
    define_path("export", None, "Folder to write modules and inputs to.")
    define_path("run", None, "Folder written by --export, to time its modules.")
    measurement.define_flags("json")
    flags.DEFINE_string("frame_size", "720x1280", "With --export: HxW of the frames.")
    flags.DEFINE_integer("seed", 0, "With --export: seed of inputs and weights.", lower_bound=0)
    flags.DEFINE_integer("rounds", 100, "With --run: how often to time a step.", lower_bound=1)
    flags.DEFINE_enum(
        "runtime",
        "auto",
        ["auto", *runtimes.RUNTIMES],
        "With --run: the runtime; auto: TensorFlow if it sees a GPU, else JAX.",
    )
    define_path("mask_rcnn", None, "With --run: SavedModel folder to time as well, by TensorFlow.")


def export(folder, frame_size, seed):
    """Writes the folder of --export, all or nothing."""
    folder = pathlib.Path(folder)
    command_line.import_tensorflow()
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as temporary:
            new = pathlib.Path(temporary, "new")
            new.mkdir()
            held = hlo.export(new, frame_size, seed)
            files.write_text(new / hlo.NAME, json.dumps(held, indent=1) + "\n")
            os.rename(new, folder)
    except OSError as error:
        raise UserError(f"--export={folder} cannot be written ({error})") from None


def agreement(runtime, exported, precision):
    """Compares a runtime's results with a CPU's: (part of the pixels, difference of losses).

    It runs the updates whose losses it compares; the difference is relative. Raises UserError if
    the runtime computes something else.
    """
    arguments = [runtime.place(exported.inputs[name]) for name in hlo.STEPS["update"]]
    class_ids = np.asarray(runtime.infer(arguments[0]))
    expected = exported.expected[f"infer_{precision}"]
    if class_ids.shape != expected.shape:
        raise UserError(f"{precision}: class ids of shape {class_ids.shape}, not {expected.shape}")
    pixels = float((class_ids == expected).mean())
    losses = exported.expected[f"update_{precision}"]
    found = np.float32([np.asarray(runtime.update(*arguments)) for _ in losses])
    difference = float(np.abs(found / losses - 1).max())
    # Written so that a NaN fails, too.
    if not (pixels >= LEAST_AGREEMENT and difference <= MOST_LOSS_DIFFERENCE):
        raise UserError(
            f"{precision} on {runtime.device}: {pixels:.1%} of the class ids and losses "
            f"{found.tolist()} differ from the CPU's ({losses.tolist()}): its times would mean "
            "nothing"
        )
    return pixels, difference


def timed(step, rounds):
    """Returns the median of so many runs, in milliseconds."""
    for _ in range(UNTIMED):
        step()
    return statistics.median(turns.milliseconds(step) for _ in range(rounds))


def measure(runtime, exported, precision, rounds):
    """Returns a row for each step, as the JSON file has them."""
    pixels, difference = agreement(runtime, exported, precision)
    rows = []
    for step, names in hlo.STEPS.items():
        run = getattr(runtime, step)
        arrays = [exported.inputs[name] for name in names]
        placed = [runtime.place(array) for array in arrays]

        def on_device(run=run, placed=placed):
            runtime.wait(run(*placed))

        def with_copies(run=run, arrays=arrays):
            np.asarray(run(*(runtime.place(array) for array in arrays)))

        agrees = {"agreement": pixels} if step == "infer" else {"loss_difference": difference}
        rows.append(
            {
                "what": step,
                "precision": precision,
                "median_ms": timed(on_device, rounds),
                "median_ms_with_copies": timed(with_copies, rounds),
                **agrees,
            }
        )
    return rows


def measure_mask_rcnn(teacher, frame, rounds):
    """Returns its row: from numpy to masks pasted to the frame, as it is used."""
    milliseconds = timed(lambda: teacher(frame, 0), rounds)
    return {"what": MASK_RCNN, "precision": "float32", "median_ms_with_copies": milliseconds}


def run(exported, runtime_name, rounds, mask_rcnn):
    """Returns the values of the JSON file. Raises UserError if a step fails or differs."""
    if runtime_name == "auto":
        runtime_name = "tensorflow" if runtimes.tensorflow_sees_gpu() else "jax"
    if mask_rcnn and runtime_name != "tensorflow":
        raise UserError(
            "--mask_rcnn is timed by TensorFlow, which sees no GPU here: leave it out, or give "
            "--runtime=tensorflow for the CPU"
        )
    frame = exported.inputs["frame"]
    if mask_rcnn:
        from teacher.saved_model import open_saved_model

        teacher = open_saved_model(mask_rcnn)
        teacher(frame, 0)  # fails early if frames do not fit
    rows = []
    for precision in hlo.PRECISIONS:
        runtime = runtimes.RUNTIMES[runtime_name](exported, precision)
        rows += measure(runtime, exported, precision, rounds)
    if mask_rcnn:
        rows.append(measure_mask_rcnn(teacher, frame, rounds))
    return {
        "format": FORMAT,
        "frame_size": list(exported.frame_size),
        "rounds": rounds,
        "runtime": runtime.name,
        "device": runtime.device,
        "versions": {
            runtime.name.lower(): runtime.version,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "exported_by": exported.versions,
        "rows": rows,
    }


def render(values):
    """Returns the table of a measurement (`run`) as Markdown, with the paper's figures."""
    H, W = values["frame_size"]
    versions = provenance.versions_in_words(values["versions"])
    exporter = values["exported_by"]["tensorflow"]
    head = ["", f"ms on {values['device']}", "with copies", "as on a CPU", "paper, V100: ms"]
    lines = []
    for row in values["rows"]:
        agrees = markdown.UNKNOWN
        if "agreement" in row:
            agrees = f"{row['agreement']:.2%} of the pixels"
        if "loss_difference" in row:
            agrees = f"losses to {row['loss_difference']:.1e}"
        lines.append(
            [
                f"{row['what']}, {row['precision']}",
                markdown.number(row.get("median_ms"), 2),
                markdown.number(row["median_ms_with_copies"], 2),
                agrees,
                f"{PAPER_MS[row['what']]:g}",
            ]
        )
    return (
        f"{H}×{W} frames, {hlo.NUM_CLASSES} classes; medians of {values['rounds']} runs by "
        f"{values['runtime']}. {versions}; modules of TensorFlow {exporter}.\n\n"
        + markdown.table(head, lines)
    )


def _export():
    from jitnet_tf import video

    frame_size = video.parse_size(FLAGS.frame_size)
    measurement.check_output(FLAGS.export, "export")
    export(FLAGS.export, frame_size, FLAGS.seed)
    print(f"{FLAGS.export}: copy it to a machine with a GPU and give it to --run there")


def _measure():
    exported = hlo.read(FLAGS.run)
    with contextlib.ExitStack() as stack:
        if FLAGS.json:
            stack.enter_context(locks.Lock(FLAGS.json, "json"))
            measurement.check_output(FLAGS.json, "json")
        values = run(exported, FLAGS.runtime, FLAGS.rounds, FLAGS.mask_rcnn)
        if FLAGS.json:
            measurement.write(FLAGS.json, values, "json")
    return values


def main():
    """Exports, measures or prints."""
    if sum(FLAGS[name].value is not None for name in ("export", "run", "print")) != 1:
        raise UserError(
            "give one of --export=FOLDER, to write modules, --run=FOLDER, to measure, and "
            "--print=FILE.json"
        )
    for name in ("json", "mask_rcnn"):
        if FLAGS.run is None and FLAGS[name].value is not None:
            raise UserError(f"--{name} is for --run: leave it out")
    if FLAGS.export is not None:
        with locks.Lock(FLAGS.export, "export"):
            _export()
    elif FLAGS.run is not None:
        print(render(_measure()))
    else:
        command = "experiments.gpu_benchmark --json"
        print(measurement.render_file(FLAGS.print, command, FORMAT, render))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

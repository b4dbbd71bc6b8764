"""Exports a run's student as a SavedModel or a TFLite model, and checks that it is the same.

    python -m jitnet_tf.export --run=runs/street --format=tflite --output=street.tflite

The export takes `frame`, uint8 RGB [1, H, W, 3] of the run's size, and gives `classes`, uint8
[1, H, W], and `probabilities`, float32 [1, H, W, C]. A report beside it, OUTPUT.json, holds the
class names, how often its class ids agree with the live student's on frames of the run's video,
and the milliseconds of each.
"""

import itertools
import json
import os
import pathlib
import tempfile

from absl import flags

from jitnet_tf import video
from jitnet_tf.base import command_line, files, locks
from jitnet_tf.base.credentials import MASK
from jitnet_tf.base.errors import UserError, reason_of
from jitnet_tf.base.paths import define_path
from jitnet_tf.runs import directory

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags of an export."""
    define_path("run", None, "Run directory of jitnet_tf.distill.", required=True)
    flags.DEFINE_enum("format", "saved_model", ["saved_model", "tflite"], "What to write.")
    define_path("output", None, "Folder (saved_model) or file (tflite).", required=True)
    flags.DEFINE_enum(
        "quantize",
        "none",
        ["none", "float16", "int8"],
        "TFLite only: float16 weights, or int8 arithmetic calibrated on the run's video.",
    )
    flags.DEFINE_bool("probabilities", True, "Give class probabilities besides class ids.")
    define_path("video", None, "Frames to calibrate and compare on. Default: the run's.")
    define_path("ignore_mask", None, "Where the run's ignore mask is now. Default: where it was.")
    flags.DEFINE_integer(
        "frames", 16, "How many of them, spread evenly.", lower_bound=1, upper_bound=256
    )
    flags.DEFINE_bool("overwrite", False, "Replace an existing SavedModel or TFLite file.")


def spread_frames(source, count, total):
    """Returns up to `count` frames, spread evenly over the first `total` of a source.

    total: their number, as far as it is known; None takes the next ones.
    """
    total = max(total or 0, count)
    frames = []
    for i in range(count):
        source.skip(i * total // count - source.decoded)
        frames.extend(itertools.islice(source, 1))
    return frames


def check_output(output, saved_model, overwrite):
    """Raises UserError if the output or its report would replace other files."""
    exists, report = os.path.lexists(output), f"{output}.json"
    if not saved_model and os.path.isdir(output):
        raise UserError(f"--output={output} is a folder: a TFLite model is a file, name one")
    if saved_model and exists and not os.path.isfile(output / "saved_model.pb"):
        raise UserError(f"--output={output} exists and is no SavedModel: give another name")
    if exists and not overwrite:
        raise UserError(f"--output={output} exists: give --overwrite, or another name")
    if os.path.lexists(report) and not exists:  # of something else: a run's config.json, say
        raise UserError(f"--output={output}: its report would replace {report}: give another name")


def main():
    """Exports the student of --run to --output, and writes the report."""
    with locks.Lock(FLAGS.output, "output") as lock:
        _export(pathlib.Path(FLAGS.output))
    if lock.problem:
        print(f"note: {lock.problem}")


def _export(output):
    if FLAGS.quantize != "none" and FLAGS.format != "tflite":
        raise UserError("--quantize is for --format=tflite: a SavedModel keeps its float32 weights")
    check_output(output, FLAGS.format == "saved_model", FLAGS.overwrite)
    config = directory.load_config(FLAGS.run)
    if not FLAGS.video and MASK in config.video:
        raise UserError(f"the run keeps no passwords of its {config.video}: give --video")
    # Only now: TensorFlow takes seconds to import, and flag errors should not.
    command_line.import_tensorflow()
    import tensorflow as tf

    from jitnet_tf.runs import serving

    student, progress = serving.load_student(FLAGS.run, FLAGS.ignore_mask)
    with video.open_source(FLAGS.video or config.video, student.frame_size) as source:
        total = source.announced_frames if FLAGS.video else progress["frames"]
        frames = spread_frames(source, FLAGS.frames, None if source.live else total)
    function = serving.serving_function(student, FLAGS.probabilities)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own, so that a temporary name cannot collide with a user's file.
        with tempfile.TemporaryDirectory(
            prefix=".export-", dir=output.parent, ignore_cleanup_errors=True
        ) as folder:
            new, aside = pathlib.Path(folder, "new"), pathlib.Path(folder, "old")
            if FLAGS.format == "saved_model":
                exported = serving.save_saved_model(student, function, new)
            else:
                exported = serving.save_tflite(function, new, FLAGS.quantize, frames)
            parity = serving.compare(student.infer, exported, frames)
            files.put_in_place(new, output, aside)
        report = {
            "format": FLAGS.format,
            "quantize": FLAGS.quantize,
            "frame_size": student.frame_size,
            "classes": progress["classes"],
            "parity": parity,
        }
        files.write_text(f"{output}.json", json.dumps(report, indent=2) + "\n")
    except (OSError, tf.errors.OpError) as error:  # of TensorFlow, too, on a full disk
        raise UserError(f"--output={output} cannot be written ({reason_of(error)})") from None
    print(
        f"{output}: {student.frame_size[0]}×{student.frame_size[1]} frames, classes "
        f"{', '.join(progress['classes'])}\n"
        f"on {parity['frames']} frames: {100 * parity['argmax_agreement']:.3f} % of the class ids "
        f"agree with the live student's (mean IoU {parity['mean_iou']:.4f}); "
        f"{parity['exported_ms']:.1f} ms a frame, live {parity['live_ms']:.1f} ms"
    )
    if not parity["object_pixels"]:
        print("note: the live student finds no object on these frames: agreement says little")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

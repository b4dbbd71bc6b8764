"""Exports a run's student as a SavedModel or a TFLite model, and checks that it is the same.

    python -m jitnet_tf.export --run=runs/street --format=tflite --output=street.tflite

The export takes `frame`, uint8 RGB [1, H, W, 3] of the run's size, and gives `classes`, uint8
[1, H, W], and `probabilities`, float32 [1, H, W, C]. A report beside it, OUTPUT.json, holds the
class names, how often its class ids agree with the live student's on frames of the run's video,
and the milliseconds of each.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf
from absl import flags

from jitnet_tf import checkpoint, cli, compat, metrics, run_directory, video
from jitnet_tf.errors import UserError
from jitnet_tf.labels import ClassGroups
from jitnet_tf.student import make_student, use_xla

FLAGS = flags.FLAGS


def define_flags():
    """Defines this command's flags."""
    flags.DEFINE_string("run", None, "Run directory of jitnet_tf.distill.", required=True)
    flags.DEFINE_enum("format", "saved_model", ["saved_model", "tflite"], "What to write.")
    flags.DEFINE_string("output", None, "Folder (saved_model) or file (tflite).", required=True)
    flags.DEFINE_enum(
        "quantize",
        "none",
        ["none", "float16", "int8"],
        "TFLite only: float16 weights, or int8 arithmetic calibrated on the run's video.",
    )
    flags.DEFINE_bool("probabilities", True, "Give class probabilities besides class ids.")
    flags.DEFINE_string("video", None, "Frames to calibrate and compare on. Default: the run's.")
    flags.DEFINE_integer(
        "frames", 16, "How many of them, spread evenly.", lower_bound=1, upper_bound=256
    )
    flags.DEFINE_bool("overwrite", False, "Replace an existing SavedModel or TFLite file.")


def load_student(directory):
    """The student of a run directory's checkpoint, the run's RunConfig, and its progress."""
    config = run_directory.load_config(directory)
    _, progress = checkpoint.load(directory)
    # What is exported is made for any machine, whatever the run computed in.
    network = dataclasses.replace(config.student, precision="float32")
    groups = ClassGroups({name: tuple(members) for name, members in progress["groups"].items()})
    xla = "off" if use_xla(config.xla) else config.xla  # nor for XLA
    config = dataclasses.replace(config, init=str(directory), student=network, xla=xla)
    student = make_student(config, groups, tuple(progress["frame_size"]))
    return student, config, progress


def spread_frames(source, count, total):
    """Up to `count` frames, spread evenly over the first `total` of a source.

    total: how many there are, as far as is known; None takes the next ones.
    """
    total = max(total or 0, count)
    frames = []
    for i in range(count):
        source.skip(i * total // count - source.decoded)
        frames.extend(itertools.islice(source, 1))
    return frames


def serving_function(student, probabilities):
    """The function that is exported, tracing with a static size."""
    spec = tf.TensorSpec((1, *student.frame_size, 3), tf.uint8, "frame")

    @tf.function(input_signature=[spec])
    def segment(frame):
        logits = student.model(frame, training=False)
        classes = tf.argmax(logits, axis=-1, output_type=tf.int32)
        outputs = {"classes": tf.cast(classes, tf.uint8)}
        if probabilities:
            outputs["probabilities"] = tf.nn.softmax(logits)
        return outputs

    return segment


def save_saved_model(student, function, path):
    """Writes a SavedModel folder; returns a function frame → class ids that runs it."""
    module = tf.Module()
    module.model = student.model
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})
    loaded = tf.saved_model.load(str(path))

    def segment(frame):
        outputs = loaded.signatures["serving_default"](frame=tf.constant(frame[None]))
        return outputs["classes"].numpy()[0]

    return segment


def save_tflite(function, path, quantize, frames):
    """Writes a TFLite file; returns a function frame → class ids that runs it."""
    converter = compat.tflite_converter(function)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: ([frame[None]] for frame in frames)
    content = converter.convert()
    path.write_bytes(content)
    interpreter = compat.tflite_interpreter(content)
    runner = interpreter.get_signature_runner()
    return lambda frame: runner(frame=frame[None])["classes"][0]


def compare(live, exported, frames):
    """Parity of two functions frame → class ids: agreement, mean IoU, milliseconds of each."""
    for segment in (live, exported):
        segment(frames[0])  # first runs take longer
    same, counts = [], 0
    milliseconds = {"live": [], "exported": []}
    for frame in frames:
        maps = {}
        for name, segment in (("live", live), ("exported", exported)):
            start = time.perf_counter()
            maps[name] = segment(frame)
            milliseconds[name].append(1000 * (time.perf_counter() - start))
        same.append(np.mean(maps["live"] == maps["exported"]))
        counts = counts + metrics.confusion(maps["live"], maps["exported"], 256)
    return {
        "frames": len(same),
        "argmax_agreement": float(np.mean(same)),
        "mean_iou": metrics.mean_iou(counts),
        "live_ms": float(np.median(milliseconds["live"])),
        "exported_ms": float(np.median(milliseconds["exported"])),
    }


def check_output(output, saved_model, overwrite):
    """UserError where the output, or the report beside it, would replace what it must not."""
    exists, report = os.path.lexists(output), f"{output}.json"
    if not saved_model and os.path.isdir(output):
        raise UserError(f"--output={output} is a folder: a TFLite model is a file, name one")
    if saved_model and exists and not os.path.isfile(output / "saved_model.pb"):
        raise UserError(f"--output={output} exists and is no SavedModel: give another name")
    if exists and not overwrite:
        raise UserError(f"--output={output} exists: give --overwrite, or another name")
    if os.path.lexists(report) and not exists:  # of something else: a run's config.json, say
        raise UserError(f"--output={output}: its report would replace {report}: give another name")


def put_in_place(new, output, aside):
    """Moves `new` to `output`. What was there is whole, there or at `aside`, until that is done."""
    if not output.is_dir():
        os.replace(new, output)
        return
    try:
        os.replace(output, aside)
        os.replace(new, output)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(output):
            os.replace(aside, output)
        raise


def main(argv):
    """See the module."""
    del argv
    output = pathlib.Path(FLAGS.output)
    if FLAGS.quantize != "none" and FLAGS.format != "tflite":
        raise UserError("--quantize is for --format=tflite: a SavedModel keeps its float32 weights")
    check_output(output, FLAGS.format == "saved_model", FLAGS.overwrite)
    student, config, progress = load_student(FLAGS.run)
    if not FLAGS.video and "=***" in config.video:
        raise UserError(f"the run keeps no passwords of its {config.video}: give --video")
    with video.open_source(FLAGS.video or config.video, student.frame_size) as source:
        total = source.announced_frames if FLAGS.video else progress["frames"]
        frames = spread_frames(source, FLAGS.frames, None if source.live else total)
    function = serving_function(student, FLAGS.probabilities)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own, lest it take a name that is the user's.
        with tempfile.TemporaryDirectory(
            prefix=".export-", dir=output.parent, ignore_cleanup_errors=True
        ) as folder:
            new, aside = pathlib.Path(folder, "new"), pathlib.Path(folder, "old")
            if FLAGS.format == "saved_model":
                exported = save_saved_model(student, function, new)
            else:
                exported = save_tflite(function, new, FLAGS.quantize, frames)
            parity = compare(student.infer, exported, frames)
            put_in_place(new, output, aside)
        report = {
            "format": FLAGS.format,
            "quantize": FLAGS.quantize,
            "frame_size": student.frame_size,
            "classes": progress["classes"],
            "parity": parity,
        }
        checkpoint.write_text(f"{output}.json", json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--output={output} cannot be written ({error})") from None
    print(
        f"{output}: {student.frame_size[0]}×{student.frame_size[1]} frames, classes "
        f"{', '.join(progress['classes'])}\n"
        f"on {parity['frames']} frames: {100 * parity['argmax_agreement']:.3f} % of the class ids "
        f"agree with the live student's (mean IoU {parity['mean_iou']:.4f}); "
        f"{parity['exported_ms']:.1f} ms a frame, live {parity['live_ms']:.1f} ms"
    )


if __name__ == "__main__":
    define_flags()
    cli.main(main)

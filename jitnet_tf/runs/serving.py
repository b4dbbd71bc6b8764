"""Exports a student as SavedModel or TFLite and measures parity with the live one."""

import dataclasses
import time

import numpy as np
import tensorflow as tf

from jitnet_tf.base import checkpoint, compat
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.labels import ClassGroups, region
from jitnet_tf.runs import directory, inputs
from jitnet_tf.student.build import build_student
from jitnet_tf.student.devices import use_xla


def load_student(logdir, ignore_mask=None):
    """Returns the student in the checkpoint of a run directory, and the checkpoint's progress.

    ignore_mask: path of the run's mask; None for where it was. UserError if it is another.
    """
    config = directory.load_config(logdir)
    _, progress = checkpoint.load(logdir)
    groups = ClassGroups({name: tuple(members) for name, members in progress["groups"].items()})
    size = tuple(progress["frame_size"])
    path = ignore_mask or config.ignore_mask
    ignored = _same_region(path, size, progress) if path else None
    return build_exported(config, groups, size, init=str(logdir), ignored=ignored), progress


def _same_region(path, frame_size, progress):
    """Returns the region to ignore, None if it is empty. UserError if it is not the run's."""
    found = region.read_region(path, frame_size)
    if {"digest": region.digest(found)} != progress.get(inputs.IDENTITIES, {}).get(inputs.IGNORED):
        raise UserError(
            f"--ignore_mask={path} does not ignore the pixels that the run has ignored: give its "
            "mask"
        )
    return found if found.any() else None


def build_exported(config, groups, frame_size, init, ignored=None):
    """Returns a run's student as it is exported: for any machine, whatever the run computed in.

    config: a RunConfig. groups: its ClassGroups. frame_size: (H, W). init: as in RunConfig.
    ignored: as in `build_student`.
    """
    network = dataclasses.replace(config.student, precision="float32")
    xla = "off" if use_xla(config.xla) else config.xla  # nor for XLA
    config = dataclasses.replace(config, init=init, student=network, xla=xla)
    return build_student(config, groups, frame_size, ignored)


def serving_function(student, probabilities):
    """Returns the function to export, with a static frame size."""
    spec = tf.TensorSpec((1, *student.frame_size, 3), tf.uint8, "frame")

    @tf.function(input_signature=[spec])
    def segment(frame):
        logits = student.model(frame, training=False)
        # As int32: TFLite does not multiply uint8.
        classes = student.without_ignored(tf.argmax(logits, axis=-1, output_type=tf.int32))
        outputs = {"classes": tf.cast(classes, tf.uint8)}
        if probabilities:
            outputs["probabilities"] = student.probabilities(logits)
        return outputs

    return segment


def write_saved_model(student, function, path):
    """Writes a SavedModel folder."""
    module = tf.Module()
    module.model = student.model
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})


def save_saved_model(student, function, path):
    """Writes a SavedModel folder; returns a function frame → class ids that runs it."""
    write_saved_model(student, function, path)
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
    same, objects, counts = [], [], 0
    milliseconds = {"live": [], "exported": []}
    for frame in frames:
        maps = {}
        for name, segment in (("live", live), ("exported", exported)):
            start = time.perf_counter()
            maps[name] = segment(frame)
            milliseconds[name].append(1000 * (time.perf_counter() - start))
        same.append(np.mean(maps["live"] == maps["exported"]))
        objects.append(np.mean(maps["live"] > 0))
        counts = counts + metrics.confusion(maps["live"], maps["exported"], 256)
    return {
        "frames": len(same),
        "argmax_agreement": float(np.mean(same)),
        "mean_iou": metrics.mean_iou(counts),
        "object_pixels": float(np.mean(objects)),
        "live_ms": float(np.median(milliseconds["live"])),
        "exported_ms": float(np.median(milliseconds["exported"])),
    }

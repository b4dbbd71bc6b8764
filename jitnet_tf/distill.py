"""Distils a student from a video while segmenting it.

    python -m jitnet_tf.distill --video=sample
    python -m jitnet_tf.distill --flagfile=flags/jitnet_0.8.flags --video=street.mp4 \\
        --teacher=path/to/saved_model --logdir=runs/street

Everything lands in --logdir: overlay.mp4, TensorBoard events, frames.jsonl, summary.json and a
checkpoint. Interrupted, `--resume --logdir=…` goes on. Defaults are the paper's.
"""

import dataclasses
import itertools
import pathlib
import sys

from absl import flags

from jitnet_tf import video
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import ASYNC, OPTIMIZERS, TEACHER_MODES, UPDATED_LAYERS, RunConfig
from jitnet_tf.flags import (
    absolute,
    check_unchanged,
    config_to_resume,
    define_label_flags,
    define_student_flags,
    values,
)
from jitnet_tf.labels import PRESETS
from jitnet_tf.runs.summary import table
from jitnet_tf.student import initial_weights
from teacher import process

FLAGS = flags.FLAGS
PATHS = ("video", "teacher", "reference", "init", "class_groups")
WORDS = ("sample", initial_weights.RANDOM, initial_weights.PRETRAINED, *PRESETS)
SAMPLE = "sample"
SAMPLE_RECORDING = pathlib.Path(__file__).parent / "data" / "sample.recording"


def define_flags():
    """Defines this command's flags; their names are the fields of RunConfig and StudentConfig."""
    d = RunConfig("", "", "")
    # What goes in and out.
    flags.DEFINE_string(
        "video",
        None,
        "Video file, folder of frames or of videos (played as one), camera index, rtsp/http URL, "
        "or 'sample' (a street clip that comes with the installation, its teacher's labels with "
        "this package).",
    )
    flags.DEFINE_string(
        "teacher", None, "SavedModel folder (Mask R-CNN), recorded:FILE, lvs:FOLDER, or zoo:NAME."
    )
    flags.DEFINE_string(
        "reference", None, "Recording of the teacher on every frame; scores every frame."
    )
    flags.DEFINE_string("logdir", None, "Run directory. Default: runs/NAME of the video.")
    flags.DEFINE_string(
        "output", None, "Overlay video, .mp4; 'none' for none. Default: LOGDIR/overlay.mp4."
    )
    flags.DEFINE_string("masks", None, "Folder for class-id PNGs, one a frame. Default: none.")
    flags.DEFINE_string("frame_size", None, "HxW to resize frames to. Default: native size.")
    flags.DEFINE_integer("max_frames", None, "Stop after so many frames.", lower_bound=1)
    flags.DEFINE_bool("resume", False, "Go on with the run in --logdir from its checkpoint.")
    flags.DEFINE_bool("overwrite", False, "Replace the run in --logdir and existing outputs.")
    flags.DEFINE_integer(
        "checkpoint_every", d.checkpoint_every, "Frames between checkpoints.", lower_bound=1
    )
    flags.DEFINE_integer(
        "image_every", d.image_every, "Frames between pictures in TensorBoard.", lower_bound=1
    )
    define_label_flags(d)
    define_student_flags(d)
    flags.DEFINE_list(
        "evaluated_classes",
        d.evaluated_classes,
        "Classes that mean IoU against --reference is taken over. Default: those that occur.",
    )
    # Algorithm 1.
    flags.DEFINE_float(
        "accuracy_threshold", d.accuracy_threshold, "Mean IoU up to which the student is trained."
    )
    flags.DEFINE_integer("max_updates", d.max_updates, "Most updates on one teacher frame.")
    flags.DEFINE_integer("min_stride", d.min_stride, "Least frames between teacher frames.")
    flags.DEFINE_integer("max_stride", d.max_stride, "Most frames between teacher frames.")
    flags.DEFINE_enum(
        "teacher_mode",
        d.teacher_mode,
        TEACHER_MODES,
        "sync: a frame waits for its teacher. async: frames go on while it works, in a process.",
    )
    flags.DEFINE_integer(
        "max_staleness",
        d.max_staleness,
        "Frames after which an asynchronous teacher's labels are waited for.",
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "optimizer", d.optimizer, OPTIMIZERS, "What updates the student (ShadowTutor: adam)."
    )
    flags.DEFINE_float("learning_rate", d.learning_rate, "Of the optimizer (adam wants .001).")
    flags.DEFINE_float("momentum", d.momentum, "Of the same; Adam's first decay.")
    flags.DEFINE_enum(
        "updated_layers",
        d.updated_layers,
        UPDATED_LAYERS,
        "What updates change: all layers (the paper), all after the encoder, or the last alone.",
    )


def given(name, value):
    """A flag's value as RunConfig holds it."""
    if name == "frame_size" and value is not None:
        return video.parse_size(value)
    # A word that a flag knows, or a camera's index, is that also where a file has its name.
    is_word = value in WORDS or str(value).isdigit()
    if name in PATHS and value and not is_word:
        return absolute(value)
    return tuple(value) if isinstance(value, list) else value


def free_logdir(name):
    """runs/NAME, or runs/NAME-2, … if there is a run already."""
    stem = pathlib.PurePath(video.without_credentials(name).rstrip("/")).stem or "stream"
    for number in itertools.count(1):
        logdir = pathlib.Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        if FLAGS.overwrite or not logdir.exists():
            return str(logdir)


def new_config():
    """The RunConfig that the flags describe; UserError where they cannot be meant so."""
    options = values(RunConfig, given)
    if not options["video"]:
        raise UserError("--video is missing: give a file, a folder, a camera, a URL, or 'sample'")
    if options["video"] == SAMPLE and not options["teacher"]:
        options["teacher"] = f"recorded:{SAMPLE_RECORDING}"
        options["reference"] = options["reference"] or str(SAMPLE_RECORDING)
    if not options["teacher"]:
        raise UserError(
            "--teacher is missing: give a SavedModel folder, recorded:FILE, lvs:FOLDER or zoo:NAME"
        )
    options["logdir"] = options["logdir"] or free_logdir(options["video"])
    return RunConfig(**options)


def resumed_config():
    """The RunConfig of the run in --logdir; UserError for a flag that contradicts it."""
    config = config_to_resume(RunConfig)

    def comparable(name, value):
        value = given(name, value)
        return video.without_credentials(value) if name == "video" else value

    check_unchanged(config, comparable, "max_frames")
    if not FLAGS.video and "***" in config.video:
        raise UserError(f"--resume: give --video={config.video} again, with what *** stands for")
    return dataclasses.replace(
        config,
        logdir=FLAGS.logdir,
        video=FLAGS.video or config.video,
        max_frames=FLAGS.max_frames or config.max_frames,
    )


def main(argv):
    """See the module."""
    del argv
    config = resumed_config() if FLAGS.resume else new_config()
    if config.teacher_mode == ASYNC:
        process.share_gpus()
    # Only now: TensorFlow takes seconds, which a mistyped flag should not.
    command_line.import_tensorflow()
    from jitnet_tf.runs import run

    summary = run.run(config, resume=FLAGS.resume, overwrite=FLAGS.overwrite)
    print(table(summary))
    print(f"run directory   {config.logdir}")
    if config.overlay_path:
        print(f"overlay video   {config.overlay_path}")
    if config.masks:
        print(f"class masks     {config.masks}")
    print(f"watch it with   tensorboard --logdir={config.logdir}")
    if not summary["complete"]:
        print(f"stopped early; go on with --resume --logdir={config.logdir}")
        sys.exit(command_line.EXIT_INTERRUPTED)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

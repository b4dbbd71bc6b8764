"""Distils a student from a video while segmenting it.

    python -m jitnet_tf.distill --video=sample
    python -m jitnet_tf.distill --flagfile=flags/jitnet_0.8.flags --video=street.mp4 \\
        --teacher=path/to/saved_model --logdir=runs/street

Everything lands in --logdir: overlay.mp4, TensorBoard events, frames.jsonl, summary.json and a
checkpoint. Interrupted, `--resume --logdir=…` goes on. Defaults are the paper's.
"""

import dataclasses
import itertools
import os
import pathlib
import sys

from absl import flags

from jitnet_tf import cli, run_directory, statistics, video
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.errors import UserError
from jitnet_tf.labels import PRESETS
from teacher import split_spec

FLAGS = flags.FLAGS
STUDENT_FIELDS = [field.name for field in dataclasses.fields(StudentConfig)]
FIELDS = [f.name for f in dataclasses.fields(RunConfig) if f.name != "student"] + STUDENT_FIELDS
PATHS = ("video", "teacher", "reference", "init", "class_groups")
WORDS = ("sample", "random", *PRESETS)
SAMPLE = "sample"
SAMPLE_RECORDING = pathlib.Path(__file__).parent / "data" / "sample.recording"


def define_flags():
    """Defines this command's flags; their names are the fields of RunConfig and StudentConfig."""
    d, s = RunConfig("", "", ""), StudentConfig()
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
    flags.DEFINE_string(
        "init", d.init, "Initial weights: 'random', an earlier run's folder, or a checkpoint file."
    )
    flags.DEFINE_bool("resume", False, "Go on with the run in --logdir from its checkpoint.")
    flags.DEFINE_bool("overwrite", False, "Replace the run in --logdir and existing outputs.")
    flags.DEFINE_integer(
        "checkpoint_every", d.checkpoint_every, "Frames between checkpoints.", lower_bound=1
    )
    flags.DEFINE_integer(
        "image_every", d.image_every, "Frames between pictures in TensorBoard.", lower_bound=1
    )
    flags.DEFINE_integer("seed", d.seed, "Seed of the random initial weights.", lower_bound=0)
    # Labels.
    flags.DEFINE_string(
        "class_groups",
        d.class_groups,
        "Classes: 'lvs' (the paper's eight), 'coco' (all 80), or a file of lines such as "
        "'auto = car, bus, truck'.",
    )
    flags.DEFINE_list(
        "evaluated_classes",
        d.evaluated_classes,
        "Classes that mean IoU against --reference is taken over. Default: those that occur.",
    )
    flags.DEFINE_float(
        "score_threshold", d.score_threshold, "Confidence from which an instance is a label."
    )
    flags.DEFINE_float("box_weight", d.box_weight, "Loss weight inside boxes (EastGit0: 10).")
    flags.DEFINE_float(
        "box_dilation",
        d.box_dilation,
        "Part of its size that a box grows by on every side (ShadowTutor: .075).",
    )
    # Algorithm 1.
    flags.DEFINE_float(
        "accuracy_threshold", d.accuracy_threshold, "Mean IoU up to which the student is trained."
    )
    flags.DEFINE_integer("max_updates", d.max_updates, "Most updates on one teacher frame.")
    flags.DEFINE_integer("min_stride", d.min_stride, "Least frames between teacher frames.")
    flags.DEFINE_integer("max_stride", d.max_stride, "Most frames between teacher frames.")
    flags.DEFINE_float("learning_rate", d.learning_rate, "Of the SGD that updates the student.")
    flags.DEFINE_float("momentum", d.momentum, "Of the same.")
    # The student and how it is computed.
    flags.DEFINE_float("width", s.width, "Channel multiplier of the student.")
    flags.DEFINE_integer("units", s.units, "Residual units in each of its blocks.")
    flags.DEFINE_bool("skip", s.skip, "Skip connections from encoder to decoder.")
    flags.DEFINE_bool("separable", s.separable, "Depthwise separable 3×3 convolutions.")
    flags.DEFINE_enum(
        "normalization",
        s.normalization,
        ["frame", "moving"],
        "Normalise by each frame's own statistics, or by moving averages.",
    )
    flags.DEFINE_enum(
        "precision",
        s.precision,
        ["float32", "bfloat16", "auto"],
        "Arithmetic between weights and logits; auto: bfloat16 where the hardware has it.",
    )
    flags.DEFINE_enum("xla", d.xla, ["auto", "on", "off"], "Compile by XLA; auto: on a GPU.")


def given(name, value):
    """A flag's value as RunConfig holds it."""
    if name == "frame_size" and value is not None:
        return video.parse_size(value)
    # A word that a flag knows, or a camera's index, is that also where a file has its name.
    is_word = value in WORDS or str(value).isdigit()
    if name in PATHS and value and not is_word:
        prefix, path = split_spec(value)
        if os.path.exists(path):  # a resumed run finds its files from any folder
            return prefix + os.path.abspath(path)
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
    values = {name: given(name, FLAGS[name].value) for name in FIELDS}
    if not values["video"]:
        raise UserError("--video is missing: give a file, a folder, a camera, a URL, or 'sample'")
    if values["video"] == SAMPLE and not values["teacher"]:
        values["teacher"] = f"recorded:{SAMPLE_RECORDING}"
        values["reference"] = values["reference"] or str(SAMPLE_RECORDING)
    if not values["teacher"]:
        raise UserError(
            "--teacher is missing: give a SavedModel folder, recorded:FILE, lvs:FOLDER or zoo:NAME"
        )
    values["logdir"] = values["logdir"] or free_logdir(values["video"])
    student = {name: values.pop(name) for name in STUDENT_FIELDS}
    return RunConfig(**values, student=StudentConfig(**student))


def resumed_config():
    """The RunConfig of the run in --logdir; UserError for a flag that contradicts it."""
    if FLAGS.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if not FLAGS.logdir:
        raise UserError("--resume needs the run's --logdir")
    config = run_directory.load_config(FLAGS.logdir)
    known = {**config.flat(), "logdir": FLAGS.logdir}
    for name in FIELDS:
        # How long a run goes on does not bear on what it did so far.
        if not FLAGS[name].present or name == "max_frames":
            continue
        value = given(name, FLAGS[name].value)
        if name == "video":
            value = video.without_credentials(value)
        if value != known[name]:
            raise UserError(
                f"--resume: the run in {FLAGS.logdir!r} has --{name}={known[name]}, not "
                f"{value}: leave the flag out, or start another run"
            )
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
    # Only now: TensorFlow takes seconds, which a mistyped flag should not.
    cli.import_tensorflow()
    from jitnet_tf import run

    summary = run.run(config, resume=FLAGS.resume, overwrite=FLAGS.overwrite)
    print(statistics.table(summary))
    print(f"run directory   {config.logdir}")
    if config.overlay_path:
        print(f"overlay video   {config.overlay_path}")
    if config.masks:
        print(f"class masks     {config.masks}")
    print(f"watch it with   tensorboard --logdir={config.logdir}")
    if not summary["complete"]:
        print(f"stopped early; go on with --resume --logdir={config.logdir}")
        sys.exit(cli.EXIT_INTERRUPTED)


if __name__ == "__main__":
    define_flags()
    cli.main(main)

"""Distills a student from a video while segmenting it.

    python -m jitnet_tf.distill --video=sample
    python -m jitnet_tf.distill --flagfile=flags/jitnet_0.8.flags --video=street.mp4 \\
        --teacher=path/to/saved_model --logdir=runs/street

Everything is written to --logdir: overlay.mp4, TensorBoard events, frames.jsonl, summary.json and
a checkpoint. Interrupted, `--resume --logdir=…` continues. Defaults are the paper's.
"""

import pathlib
import sys

from absl import flags

from jitnet_tf.base import command_line, shell
from jitnet_tf.base.credentials import MASK
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.config.names import ASYNC, SAMPLE
from jitnet_tf.flags import define_flags as define_flags_of
from jitnet_tf.flags import resumed_config, values
from jitnet_tf.runs import directory
from jitnet_tf.runs.report import table
from teacher import process

FLAGS = flags.FLAGS
SAMPLE_RECORDING = pathlib.Path(__file__).parent / "data" / "sample.recording"


def define_flags():
    """Defines the flags, one for each option of RunConfig."""
    define_flags_of(RunConfig)


def new_config():
    """Returns the RunConfig that the flags describe. UserError where they make no sense."""
    given = values(RunConfig)
    if not given["video"]:
        raise UserError("--video is missing: give a file, a folder, a camera, a URL, or 'sample'")
    if given["video"] == SAMPLE and not given["teacher"]:
        given["teacher"] = f"recorded:{SAMPLE_RECORDING}"
        given["reference"] = given["reference"] or str(SAMPLE_RECORDING)
    if not given["teacher"]:
        raise UserError(
            "--teacher is missing: give a SavedModel folder, recorded:FILE, lvs:FOLDER or zoo:NAME"
        )
    return RunConfig(**given)


def config_to_resume():
    """Returns the RunConfig of the run in --logdir. UserError for a flag that contradicts it."""
    config = resumed_config(RunConfig)
    if not FLAGS.video and MASK in config.video:  # the directory does not hold credentials
        raise UserError(f"--resume: give --video={config.video} again, with what {MASK} stands for")
    return config


def main():
    """Runs or resumes a distillation and prints its report."""
    config = config_to_resume() if FLAGS.resume else new_config()
    if config.teacher_mode == ASYNC:
        process.share_gpus()
    # Only now: TensorFlow takes seconds to import, and flag errors should not.
    command_line.import_tensorflow()
    from jitnet_tf.runs.run import Run

    with Run(config, resume=FLAGS.resume, overwrite=FLAGS.overwrite) as run:
        for remark in run.remarks:
            print(remark)
        summary = run.execute()
    config = run.config
    print(table(summary))
    print(f"run directory   {config.logdir}")
    if config.overlay_path:
        print(f"overlay video   {config.overlay_path}")
    if config.masks:
        print(f"class masks     {config.masks}")
    print(f"watch it with   tensorboard {shell.flag('logdir', config.logdir)}")
    if not summary["complete"]:
        print(f"stopped early; continue with {directory.resume_flags(config)}")
        sys.exit(command_line.EXIT_INTERRUPTED)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

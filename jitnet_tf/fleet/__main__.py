"""Distills students from many streams at once, which share a pool of teachers, on Ray.

    python -m jitnet_tf.fleet --streams=cameras.csv --teacher=mask_rcnn --logdir=runs/fleet
    python -m jitnet_tf.fleet --streams=cameras.csv --teacher=mask_rcnn --logdir=/shared/fleet \\
        --address=auto --teachers=4 --teacher_gpus=1

Each line of the list is a stream: a name, a video, and any flag of jitnet_tf.distill in which
streams differ; flags on the command line are those of all. A stream writes to LOGDIR/NAME what
jitnet_tf.distill writes; the fleet writes fleet_summary.json. Streams are added and removed by
editing the list. Interrupted, the same command with --resume continues.
"""

import dataclasses
import pathlib
import sys

from absl import flags

from jitnet_tf import flags as run_flags
from jitnet_tf.base import command_line, options, shell
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.web_server import WebServer
from jitnet_tf.config import FleetConfig, RunConfig
from jitnet_tf.fleet import status
from jitnet_tf.fleet.fleet import Fleet
from jitnet_tf.fleet.streams import OF_FLEET
from teacher import TeacherOptions

FLAGS = flags.FLAGS
LOGDIR = "runs/fleet"
RESUME = "--resume"
NO_FLAGS = ("teacher_mode", "lookahead", "export_dir", "preview_port")


def define_flags():
    """Defines the flags: those of the fleet, and those of its runs."""
    for name, (field, of_type, about) in run_flags.options_of(FleetConfig).items():
        options.define_flag(name, field.default, of_type, about)
    run_flags.define_flags(RunConfig)


def fleet_config():
    """Returns the FleetConfig that the flags describe. UserError where they make no sense."""
    given = {field.name: FLAGS[field.name].value for field, _ in options.options(FleetConfig)}
    config = FleetConfig(**{name: value for name, value in given.items() if value is not None})
    if not FLAGS.teacher:
        raise UserError(
            "--teacher is missing: give a SavedModel folder, zoo:NAME, or recordings as in "
            "recorded:FOLDER/{name}.recording"
        )
    if FLAGS.resume and FLAGS.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if FLAGS.video:
        raise UserError(f"--video={FLAGS.video}: the videos of a fleet are in --streams")
    if FLAGS.output not in (None, "none"):
        raise UserError(
            f"--output={FLAGS.output}: each stream writes its overlay to its own folder; give "
            "--output=none for none"
        )
    if FLAGS.masks and (FLAGS.masks == ".." or pathlib.Path(FLAGS.masks).name != FLAGS.masks):
        raise UserError(
            f"--masks={FLAGS.masks}: each stream writes masks to a folder in its own: give a name "
            "alone, such as masks"
        )
    for name in NO_FLAGS:
        if FLAGS[name].present:
            raise UserError(f"--{name}={FLAGS[name].value} is not for a fleet: {OF_FLEET[name]}")
    return config


def main():
    """Runs or resumes a fleet and prints its report."""
    config = fleet_config()
    logdir = FLAGS.logdir or LOGDIR
    names = (f"teacher_{field.name}" for field in dataclasses.fields(TeacherOptions))
    about_teacher = TeacherOptions(*(run_flags.value_of(RunConfig, name) for name in names))
    teacher = FLAGS.teacher, about_teacher
    if FLAGS.metrics_port is not None:  # before anything is replaced
        WebServer.check("metrics_port", FLAGS.metrics_port, FLAGS.bind)
    with Fleet(config, *teacher, logdir, resume=FLAGS.resume, overwrite=FLAGS.overwrite) as fleet:
        if FLAGS.metrics_port is not None:
            fleet.serve_metrics(FLAGS.metrics_port, FLAGS.bind)
        for remark in fleet.remarks:
            print(remark)
        summary = fleet.execute()
    print(status.report(summary))
    print(f"fleet directory  {logdir}")
    print(f"watch it with    tensorboard {shell.flag('logdir', logdir)}")
    if failed := summary["failed"]:
        raise UserError(
            f"{len(failed)} of {len(summary['streams'])} streams failed ({', '.join(failed)}): "
            f"their reasons are above; correct that, then the same command with {RESUME} goes on"
        )
    if not summary["complete"]:
        print(f"stopped early; the same command with {RESUME} continues")
        sys.exit(command_line.EXIT_INTERRUPTED)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

"""A fleet in a process of its own, for the experiments that run one."""

import shlex
import subprocess
import sys

from absl import flags

FLAGS = flags.FLAGS


def start(logdir, *options):
    """Starts jitnet_tf.fleet; returns its Popen. Its output is added to the file LOGDIR.txt.

    It runs the command's --streams, --teacher, --frames of each and --options, without overlays.
    Ctrl-C does not reach it: see `end`.
    """
    command = [
        *(sys.executable, "-m", "jitnet_tf.fleet", f"--streams={FLAGS.streams}"),
        *(f"--teacher={FLAGS.teacher}", f"--logdir={logdir}", f"--max_frames={FLAGS.frames}"),
        *("--output=none", *options, *shlex.split(FLAGS.options)),
    ]
    with open(f"{logdir}.txt", "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process):
    """Ends a fleet in order that still runs, as when its experiment was interrupted."""
    if process.poll() is None:
        process.terminate()
        process.wait()

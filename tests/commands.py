"""The project's commands, run in this process, and their output."""

import json

import numpy as np
from absl import flags

from jitnet_tf.base import checkpoint, command_line
from teacher import record
from teacher.recorded import Recording


def refusal(module, folder, capsys, *arguments):
    """Runs a command that must fail with a user error; returns the message.

    That is one line of errors, exit status 2, no output, and no change of the folder's files.
    """
    before = _times(folder)
    assert run_command(module, *arguments) == 2
    captured = capsys.readouterr()
    [message] = captured.err.splitlines()
    assert message.startswith("error: ")
    assert captured.out == ""
    assert _times(folder) == before
    return message


def _times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def run_command(module, *arguments):
    """Runs a module's command; returns its exit status."""
    before = set(flags.FLAGS)
    module.define_flags()
    try:
        command_line.main(module.main, [module.__name__, *map(str, arguments)])
    except SystemExit as stop:
        return stop.code or 0
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)


def record_street(street, output, *arguments):
    """Records the folder of `materials.write_street`; returns the Recording."""
    inputs = (f"--video={street}/street.mp4", f"--teacher={street}/teacher")
    assert run_command(record, *inputs, f"--output={output}", *arguments) == 0
    return Recording(output)


def read_frames(logdir):
    """Returns the rows of a run's frame log."""
    return [json.loads(line) for line in (logdir / "frames.jsonl").read_text().splitlines()]


def read_summary(logdir):
    return json.loads((logdir / "summary.json").read_text())


def different_arrays(one, other):
    """Returns the names of the arrays, times aside, that differ in the checkpoints of two runs."""
    one, other = checkpoint.load(one)[0], checkpoint.load(other)[0]
    assert one.keys() == other.keys()
    names = [name for name in one if not name.startswith("sinks/tensorboard/window/ms/")]
    return [name for name in names if not np.array_equal(one[name], other[name])]


def read_files(folder):
    """Returns {path: content} of all files in a folder and its subfolders."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

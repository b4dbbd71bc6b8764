"""Runs the project's commands in this process as a shell does."""

from absl import flags

from jitnet_tf.base import command_line


def refusal(module, folder, capsys, *arguments):
    """Runs a command that has to fail as a user error; returns the message.

    That is one line of errors, exit status 2, no output, and no change of the folder's files.
    """
    before = _files(folder)
    assert run_command(module, *arguments) == 2
    captured = capsys.readouterr()
    [message] = captured.err.splitlines()
    assert message.startswith("error: ")
    assert captured.out == ""
    assert _files(folder) == before
    return message


def _files(folder):
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

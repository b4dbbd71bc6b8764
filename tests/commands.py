"""Runs the project's commands in this process, as a shell would."""

from absl import flags

from jitnet_tf.base import command_line


def refusal(module, folder, capsys, *arguments):
    """The one line with which a command refuses its arguments, leaving the folder as it was."""
    before = sorted(folder.rglob("*"))
    assert run_command(module, *arguments) == 2
    captured = capsys.readouterr()
    [message] = captured.err.splitlines()
    assert message.startswith("error: ")
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before
    return message


def run_command(module, *arguments):
    """Runs module's command line; returns its exit status."""
    before = set(flags.FLAGS)
    module.define_flags()
    try:
        command_line.main(module.main, [module.__name__, *map(str, arguments)])
    except SystemExit as stop:
        return stop.code or 0
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)

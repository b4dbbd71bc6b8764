"""Runs the project's commands in this process, as a shell would."""

from absl import flags

from jitnet_tf import cli


def run_command(module, *arguments):
    """Runs module's command line; returns its exit status."""
    before = set(flags.FLAGS)
    module.define_flags()
    try:
        cli.main(module.main, [module.__name__, *map(str, arguments)])
    except SystemExit as stop:
        return stop.code or 0
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)

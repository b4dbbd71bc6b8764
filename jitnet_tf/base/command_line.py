"""The frame of every command: flags, --help, and user errors as one line with exit status 2."""

import os
import sys

from absl import app, flags, logging

from jitnet_tf.base import help as help_text
from jitnet_tf.base.errors import UserError

# Read when TensorFlow is imported; TF_CPP_MIN_LOG_LEVEL=0 in the environment shows its messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
HELP = {"--help", "-help", "-h", "--helpshort"}


def import_tensorflow():
    """Imports TensorFlow and lists its devices, with their startup messages suppressed.

    Newer versions write them to the process's error stream before any setting takes effect.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()
        # XLA announces the first function that it compiles.
        tf.function(lambda: tf.zeros([]), jit_compile=True)()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def main(function, argv=None):
    """Parses the flags and runs `function()`; a UserError becomes one line and exit status 2.

    --help prints the docstring of the function's module and every flag defined so far.

    Args:
      function: the command.
      argv: program name and arguments; by default the process's.
    """

    def parse(argv):
        if HELP.intersection(argv[1:]):
            print(help_text.text(sys.modules[function.__module__].__doc__), end="")
            sys.exit(0)
        return _parse(argv)

    def guarded(_):
        logging.set_verbosity(logging.ERROR)
        try:
            function()
        except UserError as error:
            _fail(error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(EXIT_INTERRUPTED)

    app.run(guarded, argv, flags_parser=parse)


def _parse(argv):
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error}; --help lists the flags")
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}; flags are written --name=value")
    return rest


def _fail(message):
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)

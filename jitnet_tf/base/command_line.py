"""What every entry point shares: a user's mistake is one line and exit status 2."""

import os
import sys

from absl import app, flags, logging

from jitnet_tf.base.errors import UserError

# Before TensorFlow is imported; set it to 0 to see its messages again.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def import_tensorflow():
    """Imports TensorFlow and finds its devices without the notes that both print.

    Its newer versions write them to the process's error stream before any setting is heeded.
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


def _fail(message):
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


def _parse(argv):
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error}; --help lists the flags")
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}; flags are written --name=value")
    return rest


def main(function, argv=None):
    """Parses the flags and runs `function()`; a UserError becomes one line and exit status 2.

    argv: program name and arguments; by default the process's.
    """

    def guarded(_):
        logging.set_verbosity(logging.ERROR)
        try:
            function()
        except UserError as error:
            _fail(error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(EXIT_INTERRUPTED)

    app.run(guarded, argv, flags_parser=_parse)

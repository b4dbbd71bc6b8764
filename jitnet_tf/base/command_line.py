"""The frame of every command: flags, --help, and user errors as one line with exit status 2."""

import errno
import functools
import os
import sys

from absl import app, flags, logging
from absl.flags import _flagvalues

from jitnet_tf.base import help as help_text
from jitnet_tf.base.credentials import hidden
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import as_ctrl_c
from jitnet_tf.base.terminal import safe_output

# Read when TensorFlow is imported; TF_CPP_MIN_LOG_LEVEL=0 in the environment shows its messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EXIT_USER_ERROR = 2
# Of a disk that is full or read-only, wherever a command writes.
DISK_ERRORS = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EROFS", "EFBIG")} - {
    None
}
EXIT_INTERRUPTED = 130
MAX_MESSAGE = 2000  # characters
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

        from jitnet_tf.base import compat

        compat.obey_log_level()
        tf.config.list_physical_devices()
        # XLA announces the first function that it compiles.
        tf.function(lambda: tf.zeros([]), jit_compile=True)()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def main(function, argv=None):
    """Parses the flags and runs `function()`; a UserError becomes one line and exit status 2.

    --help prints the docstring of the function's module and every flag defined so far. SIGTERM and
    SIGHUP end a command as Ctrl-C does, with status 130. A reader of the output that has gone is
    no error.

    Args:
      function: the command.
      argv: program name and arguments; by default the process's.
    """
    argv = sys.argv if argv is None else argv
    with safe_output() as output, as_ctrl_c():
        try:
            app.run(functools.partial(_run, function), argv, functools.partial(_parse, function))
        except SystemExit as stop:
            output.flush()
            if output.error and not stop.code:
                _fail(f"the output cannot be written ({output.error.strerror})", argv)
            raise


def _run(function, argv):
    logging.set_verbosity(logging.ERROR)
    try:
        function()
    except UserError as error:
        _fail(error, argv)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        _fail(f"{error.filename or 'a file'} cannot be written ({error.strerror})", argv)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _parse(function, argv):
    if HELP.intersection(argv[1:]):
        print(help_text.text(sys.modules[function.__module__].__doc__), end="")
        sys.exit(0)
    # absl would read flag files in the encoding of the locale. Names of files may be any bytes.
    _flagvalues.open = functools.partial(open, encoding="utf-8", errors="surrogateescape")
    try:
        rest = flags.FLAGS(argv)
    except RecursionError:  # absl looks for flags of similar names
        _fail("a flag with a very long name; --help lists the flags", argv)
    except (flags.Error, ValueError) as error:  # --noname=value is a ValueError
        _fail(f"{error}; --help lists the flags", argv)
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}; flags are written --name=value", argv)
    return argv


def _fail(message, argv):
    """Prints an error as one line, without the credentials of flags, and ends with status 2."""
    values = [word.partition("=")[2] if word.startswith("-") else word for word in argv]
    values += [str(flag.value) for flag in map(flags.FLAGS.__getitem__, flags.FLAGS)]
    line = " ".join(hidden(str(message), values).split())
    # A damaged file can put anything into a message.
    line = line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]} …"
    print(f"error: {line}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)

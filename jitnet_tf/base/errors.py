"""The exception whose message is for the user, and the message of any other in a line."""

# Lines of a TensorFlow error around its reason.
_AROUND = (
    "Graph execution error",
    "Detected at node",
    "<stack traces",
    "[[{{node",
    "Node:",
    'File "',
)


class UserError(Exception):
    """Invalid input, flags or files.

    The message is one line: what is wrong, then what to do. Commands print it and exit with status
    2 (see `command_line.main`); any other exception that escapes is a bug and keeps its traceback.
    """


def reason_of(error):
    """Returns the reason in an exception's message, one line that begins with its type."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if lines and lines[0] == "in user code:":  # a stack from a tf.function, then the error
        lines = lines[-1:]
    reason = next((line for line in lines if line and not line.startswith(_AROUND)), "")
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__

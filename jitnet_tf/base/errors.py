"""The exception whose message is for the user."""


class UserError(Exception):
    """Invalid input, flags or files.

    The message is one line: what is wrong, then what to do. Commands print it and exit with status
    2 (see `command_line.main`); any other exception that escapes is a bug and keeps its traceback.
    """

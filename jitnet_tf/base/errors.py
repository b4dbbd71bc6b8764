"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Input, flags or files that cannot be worked with.

    The message is one line: what is wrong, then what to do. Entry points print it and exit with
    status 2 (see `cli.main`); anything else that escapes is a bug and keeps its traceback.
    """

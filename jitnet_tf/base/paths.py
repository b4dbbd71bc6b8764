"""Paths in flags: ~ is the user's home, also where no shell has expanded it."""

import os
import re

from absl import flags

# A path, or a kind of teacher and a path, as in recorded:~/street.recording.
_HOME = re.compile(r"((?:[a-z]+:)?)(~.*)", re.DOTALL)


def expand(text):
    """Returns a path with the home folder that it begins with; a name such as ~old stays.

    The path may follow a word and a colon. ValueError if the user has no known home.
    """
    match = _HOME.fullmatch(text)
    if not match:
        return text
    kind, path = match.groups()
    expanded = os.path.expanduser(path)
    if expanded == path and re.match("~(/|$)", path):
        raise ValueError(f"{path} is in no known home folder: write the whole path, or set HOME")
    return kind + expanded


class _PathParser(flags.ArgumentParser):
    """Expands the user's home, on the command line and in flag files."""

    syntactic_help = "a path"

    def parse(self, argument):
        """Returns the path; ValueError becomes a user error."""
        return expand(argument)

    def flag_type(self):
        """Returns the name of the type, for absl's own help."""
        return "string"


def define_path(name, default, help, required=False):
    """Defines an absl flag that is a path, or a teacher."""
    flags.DEFINE(
        _PathParser(), name, default, help, serializer=flags.ArgumentSerializer(), required=required
    )

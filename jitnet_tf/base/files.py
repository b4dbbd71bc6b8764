"""Atomic writes, and JSON that may be damaged."""

import json
import os
import pathlib

from jitnet_tf.base.errors import UserError


def write_atomically(path, write):
    """Writes a file so that it holds the old content or the new one, even after a kill.

    Args:
      path: the file.
      write: called with a temporary binary file beside it, which then replaces it.

    Raises:
      OSError: the disk is full, the folder is missing, or the like.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(new, output, aside):
    """Moves `new` to `output`; the old output stays whole, there or at `aside`, until then."""
    if not output.is_dir():
        os.replace(new, output)
        return
    try:
        os.replace(output, aside)
        os.replace(new, output)
    finally:
        if not os.path.lexists(output):
            os.replace(aside, output)


def parse_json(text):
    """Returns the value of a JSON text, str or bytes; ValueError if it is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def text_lines(path, title):
    """Returns the lines of a UTF-8 text file. UserError, beginning with `title`, if it is none."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{title} is not a readable text file ({error})") from None


def printable(name):
    """Returns a file's name as text that any format takes: bytes that are no text as \\xff."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_text(path, text):
    """Writes a text file atomically, as UTF-8; names of files keep bytes that are none."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))

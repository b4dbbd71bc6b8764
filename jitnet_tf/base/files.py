"""Files that are replaced atomically."""

import os
import pathlib


def write_atomically(path, write):
    """Calls write(binary file) on a temporary neighbour and moves that to `path`.

    Killed at any moment, `path` holds the old content or the new one. OSError passes through.
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


def write_text(path, text):
    """Writes a text file atomically."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))

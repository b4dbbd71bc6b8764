"""A measurement in a JSON file: checked before it is made, and printed from the file alone."""

import json
import os
import pathlib
import tempfile

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError


def check_output(output, flag="output"):
    """UserError where a file cannot be made or would be replaced: before anything is measured.

    flag: the command's, that names the file.
    """
    output = pathlib.Path(output)
    if os.path.lexists(output):
        raise UserError(f"--{flag}={output} exists: give another name")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise UserError(f"--{flag}={output} cannot be written ({error})") from None


def write(output, values, flag="output"):
    """Writes, or replaces, the file. UserError where the disk does not allow it."""
    try:
        files.write_text(output, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"--{flag}={output} cannot be written ({error})") from None


def render_file(path, command, file_format, render):
    """What `render` makes of the values in a file; UserError where it is no such file.

    command: that writes such files, with its flag. file_format: their "format".
    """
    try:
        text = pathlib.Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--print={path} cannot be read ({error})") from None
    try:
        values = json.loads(text)
        if values["format"] != file_format:
            raise ValueError(f"its format is {values['format']!r}")
        return render(values)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"--print={path} is not what {command} writes ({error!r})") from None

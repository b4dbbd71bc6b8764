"""Measurements in JSON files: commands that either measure to a file or print one."""

import copy
import json
import os
import pathlib
import tempfile

from absl import flags

from jitnet_tf.base import files, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path

FLAGS = flags.FLAGS


def define_flags(flag="output"):
    """Defines --`flag`, the file to measure to, and --print."""
    define_path(flag, None, "JSON file to write the measurement to.")
    define_path("print", None, "JSON file to print the tables of, without measuring.")


def measure_or_print(measure, render, file_format, command, flag="output"):
    """Measures and prints the tables, or prints those of an earlier measurement, as flags say.

    Args:
      measure: () → values, which it has written to the file of --`flag`.
      render: values → the tables as text.
      file_format: the "format" of such files.
      command: the command's module.
      flag: the command's flag for the file.

    Returns:
      The measured values; None with --print.

    Raises:
      UserError: neither or both of the flags are given, --print's file is not such a file, or
        another process measures to the file.
    """
    if (FLAGS[flag].value is None) == (FLAGS.print is None):
        raise UserError(f"give either --{flag}=FILE.json, to measure, or --print=FILE.json")
    if FLAGS.print is not None:
        print(render_file(FLAGS.print, f"{command} --{flag}", file_format, render))
        return None
    with locks.Lock(FLAGS[flag].value, flag):
        values = measure()
    print(render(values))
    return values


def numbers_of(name, kind, is_valid, advice):
    """Returns the numbers of a list flag.

    Args:
      name: of the flag.
      kind: int or float.
      is_valid: number → whether it makes sense.
      advice: for the message.

    Raises:
      UserError: there is none, or an invalid one.
    """
    texts = FLAGS[name].value
    try:
        found = [kind(text) for text in texts]
    except ValueError:
        found = []
    if not found or not all(map(is_valid, found)):
        raise UserError(f"--{name}={','.join(texts)} is invalid: {advice}")
    return found


def check_output(output, flag="output"):
    """Raises UserError if a file exists or cannot be written: before anything is measured.

    flag: the command's flag for the file.
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


def opened(command, file_format, settings, new):
    """Returns the values of --output to continue, or new ones.

    Args:
      command: the command's module.
      file_format: the "format" of such files.
      settings: names of the flags that a file is of.
      new: the other values that a file begins with; copied.

    Raises:
      UserError: the file is of another kind or of other settings, or cannot be written.
    """
    output, given = FLAGS.output, {name: FLAGS[name].value for name in settings}
    if not os.path.lexists(output):
        check_output(output)
        return {"format": file_format, **given, **copy.deepcopy(new)}
    values = render_file(output, f"{command} --output", file_format, dict, "output")
    for name, value in given.items():
        if values.get(name) != value:
            raise UserError(
                f"--output={output} was made with --{name}={values.get(name)}, not {value}: give "
                "that, or another file"
            )
    return values


def write(output, values, flag="output"):
    """Writes, or replaces, the file. Raises UserError if that fails."""
    try:
        files.write_text(output, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"--{flag}={output} cannot be written ({error})") from None


def render_file(path, command, file_format, render, flag="print"):
    """Returns `render(values)` of the values in a file of --`flag`.

    Args:
      path: of the file.
      command: the command, with its flag, that writes such files.
      file_format: their "format".
      render: values → anything.
      flag: the command's flag for the file.

    Raises:
      UserError: the file cannot be read, or is not such a file.
    """
    try:
        text = pathlib.Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--{flag}={path} cannot be read ({error})") from None
    try:
        values = files.parse_json(text)
        if values["format"] != file_format:
            raise ValueError(f"its format is {values['format']!r}")
        return render(values)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        raise UserError(f"--{flag}={path} is not what {command} writes{reason}") from None

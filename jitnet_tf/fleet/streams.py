"""The list of a fleet's streams: a CSV file, which may change while the fleet runs.

The first line names the columns: name, video, and any option of `jitnet_tf.distill` that streams
differ in; an empty value is that of the command. Lines that begin with # are comments.

    name,video,teacher_budget,class_groups
    gate,rtsp://user:password@gate.local/stream,.04,
    street,street.mp4,.02,street.txt
"""

import csv
import dataclasses
import difflib
import hashlib
import os
import pathlib
import re

from absl import flags

from jitnet_tf import flags as run_flags
from jitnet_tf.base import credentials
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.config.names import ASYNC
from jitnet_tf.runs import directory
from teacher import PRECOMPUTED

REQUIRED = ("name", "video")
SHARED = "all streams share the teachers: it is an option of the command"
# Options that are no columns, and why: whom streams ask and how, where they write, and ports.
OF_FLEET = {
    **dict.fromkeys(("teacher", "teacher_classes", "teacher_signature", "teacher_input"), SHARED),
    "teacher_mode": "the teacher of a fleet is always asynchronous",
    "lookahead": "it needs a teacher that frames wait for",
    "logdir": "each stream writes to LOGDIR/NAME",
    "output": "each stream's overlay is in its own folder; --output=none of the command: none",
    "masks": "--masks=NAME of the command is a folder in each stream's own",
    "export_dir": "each stream exports to LOGDIR/NAME/export",
    "metrics_port": "the command's is for all streams",
    "preview_port": "TensorBoard, metrics and fleet_summary.json show all streams",
    "bind": "the command's is of --metrics_port",
}
NAME = "{name}"  # stands for the stream's name in the teacher's spec
# Teachers that have much to do, or are gone, must not hold up a camera.
NO_WAITING = 10**9
EXPORTS = "export"  # a stream's folder of exports, in its own


@dataclasses.dataclass(frozen=True)
class Stream:
    """A row of the list.

    Attributes:
      name: of the stream and of its folder.
      options: option → text, of those that are given.
      line: of the file.
    """

    name: str
    options: dict[str, str]
    line: int


def read_list(path):
    """Reads the list as Streams by name. Checks its form, not the videos.

    Raises:
      UserError: the file is missing, or a row is invalid, which names its line.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"--streams={path} is not UTF-8 text: save it as that") from None
    except OSError as error:
        raise UserError(f"--streams={path} cannot be read ({error}): give a CSV file") from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    reader = csv.reader((line for _, line in lines), skipinitialspace=True, strict=True)
    rows, read = [], 0
    try:
        for row in reader:
            rows.append((lines[reader.line_num - 1][0], [value.strip() for value in row]))
            read = reader.line_num
    except csv.Error as error:
        is_open = reader.line_num > read + 1 or "end of data" in str(error)
        reason = "a quote is not closed" if is_open else error
        raise UserError(f"--streams={path}, line {lines[read][0]}: {reason}") from None
    if not rows:
        raise UserError(f"--streams={path} is empty: write name,video and a row for each stream")
    (_, columns), *rows = rows
    _check_columns(columns, path)
    streams = {}
    for line, values in rows:
        stream = _stream(columns, values, line, path)
        if earlier := streams.get(stream.name):
            raise UserError(
                f"--streams={path}, line {line}: there is a stream {stream.name!r} in line "
                f"{earlier.line} already: rename one"
            )
        streams[stream.name] = stream
    return streams


def _check_columns(columns, path):
    known = [n for n in run_flags.options_of(RunConfig) if n not in OF_FLEET]
    for name in REQUIRED:
        if name not in columns:
            signs = "".join(columns)
            hint = " and put commas between values" if ";" in signs or "\t" in signs else ""
            raise UserError(
                f"--streams={path} has no column {name!r}: begin with the line name,video{hint}"
            )
    for place, name in enumerate(columns):
        if name in columns[:place]:
            raise UserError(f"--streams={path} has two columns {name!r}: leave one out")
        if name == "name" or name in known:
            continue
        if name in OF_FLEET:
            raise UserError(f"--streams={path}: leave the column {name!r} out: {OF_FLEET[name]}")
        like = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {like[0]!r}?" if like else ", see docs/options.md"
        raise UserError(f"--streams={path}: the column {name!r} is no option of a run{hint}")


def _stream(columns, values, line, path):
    where = f"--streams={path}, line {line}"
    if len(values) != len(columns):
        raise UserError(
            f"{where}: {len(values)} values for {len(columns)} columns: leave empty what is not "
            "given, and put quotes around a value with a comma"
        )
    options = {name: value for name, value in zip(columns, values, strict=True) if value}
    name = options.pop("name", "")
    # The name becomes that of a folder, beside the fleet's own files.
    if not re.fullmatch(r"\w[\w .+-]*(?<!\.json)", name):
        shown = credentials.without_credentials(name)
        raise UserError(f"{where}: invalid name {shown!r}: use letters, digits, - and _, no .json")
    if "video" not in options:
        raise UserError(f"{where}: the video of {name!r} is missing")
    return Stream(name, options, line)


def teacher_of(spec, name):
    """Returns the teacher of the stream of this name, such as its recording: {name} is replaced."""
    return spec.replace(NAME, name) if spec.startswith(PRECOMPUTED) else spec


def budget_of(config):
    """Returns the greatest share of a RunConfig's frames that may be teacher frames, 0…1."""
    return min(config.teacher_budget or 1.0, 1 / config.min_stride)


def folder_of(stream, logdir):
    """Returns the run directory of a Stream of the fleet in logdir."""
    return pathlib.Path(logdir, stream.name)


def config_of(stream, logdir, anew=False):
    """Returns the RunConfig of a Stream: its options, the others as the command's flags have them.

    Its teacher is empty: the fleet gives its own. If its folder, in logdir, holds a run already,
    the configuration is the one that continues it, unless it is to start `anew`.

    Raises:
      UserError: a value is invalid or contradicts the run, which names the line.
    """
    folder = folder_of(stream, logdir)
    common = run_flags.values(RunConfig)
    try:
        row = {n: run_flags.parsed(RunConfig, n, text) for n, text in stream.options.items()}
        if not anew and (folder / directory.CONFIG).is_file():
            return _resumed(folder, common, row)
        return _with_files(_new(folder, common, row))
    except UserError as error:
        if str(error) == _mistake(folder, common):
            raise
        reason = credentials.hidden(str(error), stream.options.values())
        raise UserError(f"stream {stream.name!r}, line {stream.line}: {reason}") from None


def _mistake(folder, common):
    """Returns what is wrong with the command's options, whatever a row says; "" if nothing is."""
    try:
        _with_files(_new(folder, common, {}))
    except UserError as error:
        return str(error)
    return ""


def _with_files(config):
    """Returns a RunConfig whose files, but its video, exist. UserError if one does not."""
    given = config.flat()
    for name, (_, _, about) in run_flags.options_of(RunConfig).items():
        value = given[name]
        if not about.is_path or name == "video" or not value or value in about.words:
            continue
        if not os.path.exists(value):
            raise UserError(f"--{name}={value} does not exist")
    return config


def _new(folder, common, row):
    given = dict(common)
    student = {field.name for field in dataclasses.fields(StudentConfig)}
    network = dataclasses.replace(
        given.pop("student"), **{name: row[name] for name in student & row.keys()}
    )
    given.update((name, value) for name, value in row.items() if name not in student)
    defaults = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    own = {name: defaults[name] for name in OF_FLEET if name != "output"}
    own.update(logdir=str(folder), teacher_mode=ASYNC)
    if "max_staleness" not in row and not flags.FLAGS["max_staleness"].present:
        own["max_staleness"] = NO_WAITING
    if given["export_every"]:
        own["export_dir"] = str(folder / EXPORTS)
    if given["masks"]:
        own["masks"] = str(folder / given["masks"])
    return RunConfig(**{**given, **own, "student": network})


def _resumed(folder, common, row):
    wanted, known = _new(folder, common, row).flat(), directory.load_config(folder)
    about = run_flags.options_of(RunConfig)
    given = {name: wanted[name] for name in about if name != "logdir"}
    return run_flags.resumed(known, given, "give that again, or the stream another name")


class Watch:
    """Tells changes of the list. A list with a mistake changes nothing.

    Args:
      path: of the file.
      check: raises UserError for a Stream whose options are wrong.

    Attributes:
      streams: by name, those of the latest valid list.
      problem: a sentence if the file as it is now is not valid; else None.

    Raises:
      UserError: as `read_list`, or there are no streams.
    """

    def __init__(self, path, check=lambda stream: None):
        self._path = pathlib.Path(path)
        self._check = check
        self._digest = self._seen = self._read_digest()
        self.streams = self._read()
        self.problem = None

    def changes(self):
        """Returns the names of streams that were added, and of those that were removed, since.

        A stream whose row has changed is both. A change counts at the second look that finds it:
        at the first, the file may be half written.
        """
        digest = self._read_digest()
        if digest == self._digest or digest != self._seen:
            self._seen = digest
            return [], []
        self._digest = digest
        before = self.streams

        def differs(one, other, name):
            return name not in other or one[name].options != other[name].options

        try:
            now = self._read()
            added = [name for name in now if differs(now, before, name)]
            for name in added:
                self._check(now[name])
        except UserError as error:
            self.problem = f"{error}; the streams stay as they are"
            return [], []
        self.streams, self.problem = now, None
        return added, [name for name in before if differs(before, now, name)]

    def _read(self):
        found = read_list(self._path)
        if not found:
            raise UserError(f"--streams={self._path} has no streams: add a row for each")
        return found

    def _read_digest(self):
        try:
            return hashlib.blake2b(self._path.read_bytes()).digest()
        except OSError:
            return None

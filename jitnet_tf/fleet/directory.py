"""The folder of a fleet: what marks it, and the folders of its streams."""

import json
import pathlib

from jitnet_tf.base import files, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet import streams
from jitnet_tf.fleet.status import SUMMARY
from jitnet_tf.runs import directory
from teacher import PRECOMPUTED
from teacher.record import describe_live

MARKER = "fleet.json"
FORMAT = "jitnet_tf fleet 1"


def check(logdir, spec, options, listed, *, resume, overwrite):
    """Checks that a fleet may use its folder.

    Args:
      logdir: the folder.
      spec, options: the teacher; its TeacherOptions.
      listed: its Streams.
      resume: go on with the fleet that is there.
      overwrite: replace it.

    Raises:
      UserError: another fleet or run is there, or none to resume; the teacher is another.
    """
    marker = pathlib.Path(logdir, MARKER)
    if resume:
        if _read(marker).get("teacher") != _identity(spec, options):
            raise UserError(
                f"--resume: --teacher={spec} is not the teacher that the fleet in {logdir} was "
                "started with: give that, or start another fleet"
            )
    elif not overwrite and (marker.exists() or _runs(logdir, listed)):
        raise UserError(
            f"--logdir={logdir} holds a fleet: give --resume to continue it, --overwrite to "
            "replace it, or another folder"
        )


def mark(logdir, spec, options, *, resume):
    """Marks a folder that `check` allows, which its caller has locked; returns the marker's path.

    Unless it is resumed, all runs in it are deleted: a stream that is added later begins anew.
    """
    marker = pathlib.Path(logdir, MARKER)
    if not resume:
        for folder in [path.parent for path in pathlib.Path(logdir).glob(f"*/{directory.CONFIG}")]:
            with locks.Lock(folder, "", is_folder=True):
                directory.clear(folder)
        pathlib.Path(logdir, SUMMARY).unlink(missing_ok=True)
        content = {"format": FORMAT, "teacher": _identity(spec, options)}
        files.write_text(marker, json.dumps(content, indent=2) + "\n")
    return marker


def unmark(logdir):
    """Makes a folder free again that `mark` has marked, before any stream has begun."""
    for name in (MARKER, SUMMARY):
        pathlib.Path(logdir, name).unlink(missing_ok=True)


def _runs(logdir, listed):
    """Returns the folders of Streams that hold a run."""
    folders = [streams.folder_of(stream, logdir) for stream in listed]
    return [folder for folder in folders if (folder / directory.CONFIG).is_file()]


def _identity(spec, options):
    """Returns what tells whether the teacher is the same, as JSON values."""
    if spec.startswith(PRECOMPUTED):
        return {"kind": spec.partition(":")[0]}  # each run knows its own recording
    return describe_live(spec, options)


def _read(marker):
    try:
        found = files.parse_json(marker.read_bytes())
        if found["format"] == FORMAT:
            return found
    except FileNotFoundError:
        raise UserError(f"--resume: {str(marker.parent)!r} holds no fleet") from None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(
        f"{str(marker)!r} is damaged, or of another version: start another fleet, or again with "
        "--overwrite"
    )

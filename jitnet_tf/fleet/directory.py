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


def claim(logdir, spec, options, listed, *, resume, overwrite):
    """Checks that a fleet may use its folder, and marks it.

    Args:
      logdir: the folder, which the caller has locked.
      spec, options: the teacher; its TeacherOptions.
      listed: its Streams.
      resume: go on with the fleet that is there.
      overwrite: delete the runs of these streams that are there.

    Returns:
      The marker's path.

    Raises:
      UserError: another fleet, or another stream, is there, or none to resume; the teacher is
        another.
    """
    marker = pathlib.Path(logdir, MARKER)
    content = {"format": FORMAT, "teacher": _identity(spec, options)}
    if resume:
        known = _read(marker)
        if known.get("teacher") != content["teacher"]:
            raise UserError(
                f"--resume: --teacher={spec} is not the teacher that the fleet in {logdir} was "
                "started with: give that, or start another fleet"
            )
        return marker
    taken = [
        folder
        for stream in listed
        if (folder := streams.folder_of(stream, logdir)) and (folder / directory.CONFIG).is_file()
    ]
    if (taken or marker.exists()) and not overwrite:
        raise UserError(
            f"--logdir={logdir} holds a fleet: give --resume to continue it, --overwrite to "
            "replace it, or another folder"
        )
    for folder in taken:
        with locks.Lock(folder, "", is_folder=True):
            directory.clear(folder)
    pathlib.Path(logdir, SUMMARY).unlink(missing_ok=True)
    files.write_text(marker, json.dumps(content, indent=2) + "\n")
    return marker


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

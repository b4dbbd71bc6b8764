"""The folder of a fleet: what marks it, and the folders of its streams."""

import contextlib
import json
import pathlib

from jitnet_tf.base import files, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.status import SUMMARY
from jitnet_tf.runs import directory
from teacher import PRECOMPUTED
from teacher.record import describe_live

MARKER = "fleet.json"
FORMAT = "jitnet_tf fleet 1"


def marker_in(logdir):
    """Returns the path of the file that marks a fleet's folder."""
    return pathlib.Path(logdir, MARKER)


def check(logdir, spec, options, *, resume, overwrite):
    """Checks that a fleet may use its folder.

    Args:
      logdir: the folder.
      spec, options: the teacher; its TeacherOptions.
      resume: go on with the fleet that is there.
      overwrite: replace it.

    Raises:
      UserError: another fleet is there, or none to resume; the teacher is another; the folder holds
        runs that are no fleet's.
    """
    marker = marker_in(logdir)
    if resume:
        if _read(marker).get("teacher") != _identity(spec, options):
            raise UserError(
                f"--resume: --teacher={spec} is not the teacher that the fleet in {logdir} was "
                "started with: give that, or start another fleet"
            )
    elif not marker.exists():
        if runs := [folder.name for folder in _runs(logdir)]:
            raise UserError(
                f"--logdir={logdir} holds runs that are no fleet's ({', '.join(sorted(runs))}): "
                "give the fleet a folder of its own"
            )
    elif overwrite:
        for folder in _runs(logdir):
            directory.load_config(folder)  # what is no run must not be deleted
    else:
        raise UserError(
            f"--logdir={logdir} holds a fleet: give --resume to continue it, --overwrite to "
            "replace it, or another folder"
        )


def start(logdir, spec, options, overwrite):
    """Marks a new fleet's folder, which `check` allows and the caller has locked.

    All runs in it are deleted, also those of streams that may be added later. Their overlays, masks
    and exports are left for new runs to replace, as `overwrite` says; see `overwrites`.
    """
    folders = _runs(logdir)
    with contextlib.ExitStack() as stack:
        for folder in folders:  # all, before the first is cleared
            stack.enter_context(locks.Lock(folder, "", is_folder=True))
        for folder in folders:
            directory.clear(folder)
    pathlib.Path(logdir, SUMMARY).unlink(missing_ok=True)
    content = {"format": FORMAT, "teacher": _identity(spec, options), "overwrite": overwrite}
    files.write_text(marker_in(logdir), json.dumps(content, indent=2) + "\n")


def overwrites(logdir):
    """Returns whether the fleet in a folder was started with --overwrite."""
    return bool(_read(marker_in(logdir)).get("overwrite"))


def _runs(logdir):
    """Returns the folders in it that hold a run."""
    return [path.parent for path in pathlib.Path(logdir).glob(f"*/{directory.CONFIG}")]


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

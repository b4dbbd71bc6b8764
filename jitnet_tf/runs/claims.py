"""Claims of a run on its outputs: the default run directory, and locks on all that is written."""

import dataclasses
import itertools
import os
import pathlib
import re

from jitnet_tf import video
from jitnet_tf.base import credentials, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.runs import directory

RUNS = "runs"  # the folder of default run directories


def claim(config, stack, overwrite):
    """Locks what a run writes until an ExitStack ends, so that no other process writes there.

    Args:
      config: a RunConfig or PretrainConfig. Without a logdir, a run gets a free one by the name of
        its video.
      stack: the ExitStack.
      overwrite: take the run directory of an earlier run of the same video.

    Returns:
      (the configuration with a logdir, problems: a sentence each).

    Raises:
      UserError: another process uses one of the outputs, or it cannot be written.
    """
    if config.logdir:
        lock = locks.Lock(config.logdir, "logdir", is_folder=True)
    else:
        config, lock = _choose(config, overwrite)
    stack.enter_context(lock)
    others = [
        ("output", getattr(config, "overlay_path", None), bool(getattr(config, "segment", None))),
        ("masks", getattr(config, "masks", None), True),
        ("export_dir", getattr(config, "export_dir", None), True),
    ]
    problems = locks.hold(stack, [output for output in others if output[1]], [lock])
    return config, problems


def name_of(source):
    """Returns the name of a source for its run directory: street, and cam1-street of cam1/street.

    A folder counts if it is not the working directory or that of devices.
    """
    if credentials.is_url(source):
        return credentials.plain_name(source) or "stream"
    path = pathlib.PurePath(os.path.relpath(source))
    folder = "" if source.startswith("/dev/") else path.parent.name
    parts = [part for part in (folder, path.stem) if part not in ("", "..")]
    return re.sub(r"[^\w.+%-]", "-", "-".join(parts)) or "stream"


def _choose(config, overwrite):
    """Returns the configuration with a free run directory, and the Lock on that."""
    name = name_of(config.video)
    for number in itertools.count(1):
        logdir = pathlib.Path(RUNS, name if number == 1 else f"{name}-{number}")
        if not _is_free(logdir, config.video, overwrite):
            continue
        try:
            lock = locks.Lock(logdir, "logdir", is_folder=True)
        except locks.InUseError:
            continue
        if _is_free(logdir, config.video, overwrite):  # still, now that it is locked
            return dataclasses.replace(config, logdir=str(logdir)), lock
        lock.release()


def _is_free(logdir, source, overwrite):
    if not logdir.exists() or (logdir.is_dir() and set(os.listdir(logdir)) <= {locks.NAME}):
        return True
    if not overwrite:
        return False
    try:
        earlier = directory.load_config(logdir)
    except UserError:
        return False
    return earlier.video == video.without_credentials(source)

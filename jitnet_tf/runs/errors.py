"""Errors of disks and checkpoints as UserErrors."""

import contextlib
import pathlib

import tensorflow as tf

from jitnet_tf.base import checkpoint, shell
from jitnet_tf.base.errors import UserError, reason_of


@contextlib.contextmanager
def stops_as_user_errors(logdir):
    """Turns what a full disk raises, or TensorFlow that cannot write, into a UserError.

    logdir: of the run that can be resumed if it has a checkpoint; "" if none can.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        then = ""
        if logdir and (pathlib.Path(logdir) / checkpoint.NAME).is_file():
            then = (
                f"; then --resume {shell.flag('logdir', logdir)} continues from the last checkpoint"
            )
        raise UserError(f"the run stopped ({reason_of(error)}): correct that{then}") from error


@contextlib.contextmanager
def misfits_as_user_errors(logdir):
    """Turns the errors of a checkpoint's state that does not fit into a UserError.

    logdir: of its run.
    """
    try:
        yield
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"--resume: the checkpoint in {logdir!r} does not fit ({error}), it is damaged, or "
            "another version of jitnet_tf or other sinks wrote it: start the run again with "
            "--overwrite"
        ) from None

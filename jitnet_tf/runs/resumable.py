"""The progress in checkpoints, checked before a run is resumed from it: a file may be damaged."""

import math

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from teacher.encoding import THUMBNAIL


def check(logdir, progress, kind):
    """Raises UserError unless a checkpoint's progress has values that a run can go on from.

    logdir: the run directory. kind: RunConfig, or PretrainConfig for a pretraining.
    """
    checked = OF_A_RUN if issubclass(kind, RunConfig) else OF_A_PRETRAINING
    for name, (is_required, is_valid) in checked.items():
        value = progress.get(name)
        is_required = is_required or (name == "thumbnail" and progress["frames"] > 0)
        try:
            valid = not is_required if value is None else is_valid(value)
        except (TypeError, ValueError, OverflowError):
            valid = False
        if not valid:
            raise UserError(
                f"--resume: the checkpoint in {str(logdir)!r} is damaged, or of another version or "
                f"kind (its {name} are {str(value)[:80]!r}): start again with --overwrite"
            )


def _is_count(value):
    return type(value) is int and value >= 0


def _is_time(value):
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_size(value):
    return type(value) is list and len(value) == 2 and all(map(_is_count, value))


def _is_thumbnail(value):
    return np.array(value, np.uint8).shape == (THUMBNAIL, THUMBNAIL)


def _is_dictionary(value):
    return type(value) is dict


def _are_dictionaries(value):
    return type(value) is dict and all(map(_is_dictionary, value.values()))


def _are_counts(value):
    return type(value) is dict and all(map(_is_count, value.values()))


def _are_texts(value):
    return type(value) is list and all(isinstance(text, str) for text in value)


# Name → whether it has to be there, and what it has to be. A thumbnail is that of the last frame.
OF_BOTH = {
    "problems": (False, _are_texts),
    "file_sizes": (True, _are_counts),
}
OF_A_RUN = {
    **OF_BOTH,
    "frames": (True, _is_count),
    "frame_size": (True, _is_size),
    "played": (False, _is_count),
    "thumbnail": (False, _is_thumbnail),
    "inputs": (False, _are_dictionaries),
    "statistics": (True, _is_dictionary),
}
OF_A_PRETRAINING = {
    **OF_BOTH,
    "step": (True, _is_count),
    "steps": (False, _is_count),
    "seconds": (True, _is_time),
}

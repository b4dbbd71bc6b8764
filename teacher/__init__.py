"""Teachers: models that detect the objects on frames, and detections that were made before."""

import os

from jitnet_tf.base.errors import UserError
from teacher.base import Teacher
from teacher.detections import MIN_SCORE, Detections
from teacher.folders import graph_folder
from teacher.options import TeacherOptions

__all__ = [
    "ANNOTATED",
    "MIN_SCORE",
    "PRECOMPUTED",
    "Detections",
    "Teacher",
    "TeacherOptions",
    "open_teacher",
    "saved_model_folder",
    "split_spec",
]

PRECOMPUTED = ("recorded:", "lvs:")  # precomputed teachers; opening one needs no TensorFlow
ANNOTATED = "annotated:"  # an annotation file of images, made by `teacher.annotate`


def split_spec(spec):
    """Splits a teacher's spec into a prefix, such as 'recorded:' or '', and the rest.

    The rest is a path if there is a prefix.
    """
    for prefix in (*PRECOMPUTED, ANNOTATED):
        if spec.startswith(prefix):
            return prefix, spec.removeprefix(prefix)
    return "", spec


def open_teacher(spec: str, options: TeacherOptions | None = None) -> Teacher:
    """Opens a teacher: 'recorded:FILE', 'lvs:FOLDER', 'zoo:NAME', or the folder of a SavedModel.

    Args:
      spec: the teacher.
      options: of a SavedModel; see `TeacherOptions`.

    Raises:
      UserError: it cannot be found, fetched or loaded, has a signature that no adapter fits, or
        does not take the options.
    """
    options = options or TeacherOptions()
    if spec.startswith(PRECOMPUTED):
        options.check_unused(spec)
    kind, _, rest = spec.partition(":")
    if kind == "recorded":
        from teacher.recorded import Recording

        return Recording(rest)
    if kind == "lvs":
        from teacher.lvs import Predictions

        return Predictions(rest)
    from teacher.saved_model import open_saved_model

    return open_saved_model(saved_model_folder(spec), options)


def saved_model_folder(spec):
    """Returns the SavedModel's folder for 'zoo:NAME', which is fetched if needed, or for a path.

    Raises:
      UserError: unknown or unavailable model, no such folder, or no SavedModel in it.
    """
    kind, _, rest = spec.partition(":")
    if kind == "zoo":
        from teacher import zoo

        spec = zoo.fetch(rest)
    if not os.path.isdir(spec):
        raise UserError(
            f"teacher {str(spec)!r} is not a folder; give a SavedModel's folder, recorded:FILE, "
            "lvs:FOLDER or zoo:NAME"
        )
    graph_folder(spec)
    return spec

"""Teachers: where the labels that the student learns from come from."""

import os

from jitnet_tf.errors import UserError

# Objects below this score are never kept and no run may set its threshold lower: what detectors
# say there is padding and noise, a hundred a frame in the TF2 zoo's models.
MIN_SCORE = 0.05


def open_teacher(spec):
    """Opens a teacher: 'recorded:FILE', 'zoo:NAME', or the folder of a SavedModel.

    Returns a callable (frame uint8 RGB [H, W, 3], index) → `instances.Instances`.

    Raises:
      UserError: it cannot be found, fetched or loaded, or lacks Mask R-CNN's signature.
    """
    kind, _, rest = spec.partition(":")
    if kind == "recorded":
        from teacher.recorded import Recording

        return Recording(rest)
    if kind == "zoo":
        from teacher import zoo

        spec = zoo.fetch(rest)
    if not os.path.isdir(spec):
        raise UserError(
            f"teacher {str(spec)!r} is not a folder; give a SavedModel's folder, recorded:FILE "
            "or zoo:NAME"
        )
    from teacher.saved_model import SavedModelTeacher

    return SavedModelTeacher(spec)

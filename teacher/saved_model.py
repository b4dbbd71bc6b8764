"""Live teachers: SavedModels, each run by the adapter that its signature fits."""

from jitnet_tf.base.errors import UserError
from teacher.mask_rcnn import MaskRcnn
from teacher.options import TeacherOptions
from teacher.semantic import Semantic
from teacher.signature import Signature
from teacher.yolo import Yolo

ADAPTERS = (MaskRcnn, Yolo, Semantic)  # the first that fits is taken


def open_saved_model(directory, options=None):
    """Opens a SavedModel as a Teacher.

    Args:
      directory: the SavedModel's folder, or one that contains it as `saved_model/`.
      options: TeacherOptions.

    Raises:
      UserError: not a SavedModel, with a signature that no adapter fits, or with other classes
        than the options name.
    """
    options = options or TeacherOptions()
    signature = Signature(directory, options.signature)
    for adapter in ADAPTERS:
        if adapter.fits(signature):
            return adapter(signature, options)
    known = "; ".join(adapter.FORM for adapter in ADAPTERS)
    raise UserError(
        f"teacher {signature.directory!r}, signature {signature.name!r}, is of no known form: "
        f"{signature.described()}; known are {known}; export it in one of them, or give "
        "--teacher_signature"
    )

"""Live teachers: SavedModels, each run by the adapter that its signature fits."""

from teacher.mask_rcnn import MaskRcnn
from teacher.signature import Signature


def open_saved_model(directory):
    """Opens a SavedModel as a Teacher.

    Args:
      directory: the SavedModel's folder, or one that contains it as `saved_model/`.

    Raises:
      UserError: not a SavedModel, or with a signature that no adapter fits.
    """
    return MaskRcnn(Signature(directory))

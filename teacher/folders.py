"""The folders of SavedModels."""

import pathlib

from jitnet_tf.base.errors import UserError


def graph_folder(directory):
    """Returns the folder of saved_model.pb: the directory, or saved_model in it.

    Raises:
      UserError: there is none.
    """
    path = pathlib.Path(directory)
    if (path / "saved_model").is_dir():
        path = path / "saved_model"
    if not any((path / f"saved_model.{kind}").is_file() for kind in ("pb", "pbtxt")):
        raise UserError(
            f"teacher {str(directory)!r} is not a SavedModel: it holds no saved_model.pb; "
            "give the folder that does"
        )
    return path

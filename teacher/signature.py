"""The signature of a loaded SavedModel: what it takes and returns."""

import pathlib

import tensorflow as tf

from jitnet_tf.base.errors import UserError

SERVING = "serving_default"


class Signature:
    """A signature of a SavedModel, to be called with one image.

    Args:
      directory: the SavedModel's folder, or one that contains it as `saved_model/`.
      name: the signature's name.

    Attributes:
      directory: the folder as given, for messages.
      name: the signature's name.
      inputs: name → tf.TensorSpec of each input.
      outputs: name → tf.TensorSpec of each output.

    Raises:
      UserError: not a SavedModel, or without this signature.
    """

    def __init__(self, directory, name=SERVING):
        self.directory, self.name = str(directory), name
        self._model = _load(directory)  # kept: a function only has weak references to variables
        self._function = self._model.signatures.get(name)
        if self._function is None:
            known = ", ".join(self._model.signatures) or "none"
            raise UserError(
                f"teacher {self.directory!r} has no signature {name!r} (it has: {known}); "
                "export a detector for serving with the Object Detection API"
            )
        self.inputs = self._function.structured_input_signature[1]
        self.outputs = self._function.structured_outputs

    def __call__(self, image):
        """Returns the outputs by name for the only input, a tensor: name → tf.Tensor."""
        return self._function(**{next(iter(self.inputs)): image})


def _load(directory):
    """Returns what `tf.saved_model.load` does; raises UserError if there is no SavedModel."""
    path = pathlib.Path(directory)
    if (path / "saved_model").is_dir():
        path = path / "saved_model"
    if not any((path / f"saved_model.{kind}").is_file() for kind in ("pb", "pbtxt")):
        raise UserError(
            f"teacher {str(directory)!r} is not a SavedModel: it holds no saved_model.pb; "
            "give the folder that does"
        )
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds, for one mistake of the user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"teacher {str(directory)!r} cannot be loaded as a SavedModel: {reason}"
        ) from error

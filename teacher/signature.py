"""The signature of a loaded SavedModel: what it takes and returns."""

import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher.folders import graph_folder

SERVING = "serving_default"


class Signature:
    """A signature of a SavedModel, to be called with one image.

    Args:
      directory: the SavedModel's folder, or one that contains it as `saved_model/`.
      name: the signature's name; None for serving_default, or for the only one.

    Attributes:
      directory: the folder as given, for messages.
      name: the signature's name.
      inputs: name → tf.TensorSpec of each input.
      outputs: name → tf.TensorSpec of each output.

    Raises:
      UserError: not a SavedModel, or without this signature.
    """

    def __init__(self, directory, name=None):
        self.directory = str(directory)
        self._model = _load(directory)  # kept: a function only has weak references to variables
        self.name = self._choose(name)
        self._function = self._model.signatures[self.name]
        self.inputs = self._function.structured_input_signature[1]
        self.outputs = self._function.structured_outputs

    def _choose(self, name):
        names = list(self._model.signatures)
        if name is None and len(names) == 1:
            return names[0]
        if (name or SERVING) not in names:
            known = ", ".join(names) or "none"
            raise UserError(
                f"teacher {self.directory!r} has no signature {name or SERVING!r} (it has: "
                f"{known}); " + ("give --teacher_signature" if names else "export it with one")
            )
        return name or SERVING

    @property
    def image(self):
        """The tf.TensorSpec of the only input, if it is an image [1, H, W, 3]; else None."""
        if len(self.inputs) != 1:
            return None
        (spec,) = self.inputs.values()
        return spec if spec.shape.is_compatible_with((1, None, None, 3)) else None

    @property
    def image_size(self):
        """The fixed (H, W) of the image, with None for a free side."""
        shape = self.image.shape
        return tuple(shape[1:3]) if shape.rank == 4 else (None, None)

    @property
    def batches(self):
        """True if the only input takes several images at a time."""
        (spec,) = self.inputs.values()
        return spec.shape.rank is None or spec.shape[0] is None

    def __call__(self, image):
        """Returns the outputs for the only input, a tensor: name → tf.Tensor."""
        return self._function(**{next(iter(self.inputs)): image})

    def described(self):
        """Returns inputs and outputs in words, for messages."""
        sides = [
            ", ".join(f"{name} {spec.dtype.name} {_shape(spec)}" for name, spec in specs.items())
            for specs in (self.inputs, self.outputs)
        ]
        return f"[{sides[0]}] → [{sides[1]}]"


def _shape(spec):
    if spec.shape.rank is None:
        return "of any shape"
    return "[" + ", ".join("?" if side is None else str(side) for side in spec.shape) + "]"


def _load(directory):
    """Returns what `tf.saved_model.load` does; raises UserError if there is no SavedModel."""
    path = graph_folder(directory)
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds, for one mistake of the user
        raise UserError(
            f"teacher {str(directory)!r} cannot be loaded as a SavedModel: {first_line(error)}"
        ) from error


def first_line(error):
    """Returns the first line of what an error says."""
    text = str(error).strip()
    return text.splitlines()[0] if text else repr(error)

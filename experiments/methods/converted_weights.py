"""Weights that a user has converted from a published PyTorch network, in an .npz file."""

import pathlib

import numpy as np

from jitnet_tf.base.errors import UserError

CONVERT = (
    "convert PyTorch's by numpy.savez(PATH, **{k: v.numpy() for k, v in torch.load(FILE).items()})"
)


def load(path, variables, network, unused=()):
    """Assigns the arrays in a file to variables; all or none.

    Args:
      path: an .npz of the arrays of a state_dict by their names, in PyTorch's layouts.
      variables: the published name of each of the network's weights → the variable.
      network: its name in messages.
      unused: further names that the file may have.

    Raises:
      UserError: the file is missing or invalid, or of another network.
    """
    if not pathlib.Path(path).is_file():
        raise UserError(
            f"{str(path)!r} does not exist: it should be {network}'s weights; {CONVERT}"
        )
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # numpy and zipfile raise many kinds for an invalid file
        reason = " ".join(str(error).split())
        raise UserError(f"{str(path)!r} is not an .npz of weights ({reason}); {CONVERT}") from None
    for what, names in (
        ("lacks", variables.keys() - arrays.keys()),
        ("has the unknown", arrays.keys() - variables.keys() - set(unused)),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{str(path)!r} is not of {network}: it {what} {min(names)}{more}; give the "
                f"weights of {network}"
            )
    values = {name: to_tensorflow(arrays[name]) for name in variables}
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape) or values[name].dtype.kind != "f":
            raise UserError(
                f"{str(path)!r} is not of {network}: {name} is {arrays[name].dtype} of shape "
                f"{arrays[name].shape}; give the weights of {network}"
            )
        if not np.isfinite(values[name]).all():
            raise UserError(f"{str(path)!r} is damaged: {name} is not finite; convert it again")
    for name, variable in variables.items():
        variable.assign(values[name])


def to_tensorflow(array):
    """Converts [out, in, h, w] to [h, w, in, out], and leaves biases as they are.

    The same holds for a deconvolution: in and out are swapped in both libraries, and both apply it
    as the transpose of a convolution.
    """
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array

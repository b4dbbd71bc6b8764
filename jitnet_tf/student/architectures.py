"""Networks by the name of their architecture."""

from jitnet_tf.base import registry
from jitnet_tf.base.errors import UserError
from jitnet_tf.config.names import ALL_LAYERS, ARCHITECTURES, DECODER, LAST_LAYER
from jitnet_tf.student.base import CLASS_LAYER, Architecture
from jitnet_tf.student.devices import dtype_policy


def architecture_of(name):
    """Returns the Architecture of a network's name; a plain one for a user's own network."""
    return registry.load(ARCHITECTURES, name)() if name in ARCHITECTURES else Architecture()


def build_network(num_classes, config, frame_size=(None, None), xla=False):
    """Builds the Keras model that a StudentConfig describes; see `Architecture.build`."""
    architecture = architecture_of(config.architecture)
    dtype = dtype_policy(config.precision)
    model = architecture.build(num_classes, config, dtype=dtype, frame_size=frame_size, xla=xla)
    _check(model, architecture, config.architecture, num_classes, frame_size)
    return model


def _check(model, architecture, name, num_classes, frame_size):
    """Raises ValueError for a network that breaks the contract of `Architecture.build`."""
    layers = [layer.name for layer in model.layers]
    output = model.output
    height, width = output.shape[1:3]
    wrong = {
        f"is named {model.name!r}": model.name != name,
        f"has no layer {CLASS_LAYER!r}": CLASS_LAYER not in layers,
        f"returns {output.dtype} logits, not float32": "float32" not in str(output.dtype),
        f"returns {output.shape[-1]} logits for {num_classes} classes": (
            output.shape[-1] != num_classes
        ),
        f"returns {height}×{width} logits for frames of {frame_size}": (
            None not in (height, width, *frame_size) and (height, width) != tuple(frame_size)
        ),
        **{
            f"has no layer that begins with {prefix!r}, as its encoder_layers say": (
                not any(layer.startswith(prefix) for layer in layers)
            )
            for prefix in architecture.encoder_layers
        },
    }
    for what, is_so in wrong.items():
        if is_so:
            raise ValueError(f"the network of architecture {name!r} {what}")


def half_resolution(model):
    """Returns a network's logits before its last resizing by two; see `Architecture`."""
    return architecture_of(model.name).half_resolution(model)


def updated_variables(model, part):
    """Returns the trainable variables in a part of a network.

    part: 'all' (§3.2 of the paper), 'decoder' (all layers after the encoder), or 'last' (the layer
    that makes logits).
    """
    encoder = architecture_of(model.name).encoder_layers
    if part == DECODER and not encoder:
        raise UserError(
            f"--updated_layers={DECODER} needs an architecture that says which layers its encoder "
            f"has, and {model.name} does not"
        )

    def is_in(layer):
        if part == LAST_LAYER:
            return layer.name == CLASS_LAYER
        return part == ALL_LAYERS or not layer.name.startswith(encoder)

    return [v for layer in model.layers if is_in(layer) for v in layer.trainable_variables]

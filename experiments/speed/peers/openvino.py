"""OpenVINO, from our TensorFlow graph and from the PyTorch network, which needs fewer transposes.

The precision is set explicitly: by default OpenVINO uses bfloat16 if the processor has it.
"""

import functools
import pathlib
import tempfile

from experiments.speed import peers
from experiments.speed.peers import Steps, Variant, pytorch

PACKAGES = ("torch", "openvino")
TYPES = {peers.FLOAT32: "f32", peers.BFLOAT16: "bf16"}


def variants(peer, network, precision):
    """Returns the Variants of a peer and precision."""
    forms = [("from tensorflow", graph, convert_tensorflow, graph) for graph in peers.GRAPHS]
    forms += [
        ("from pytorch", name, convert_pytorch, options)
        for name, options in pytorch.exported_forms(network)
    ]
    return [
        Variant(
            f"{peer} ({origin})",
            name,
            functools.partial(build, network, precision, converter, form),
        )
        for origin, name, converter, form in forms
    ]


def convert_tensorflow(network, graph, path):
    """Writes the model in OpenVINO's format, from a SavedModel; graph: a name of peers.GRAPHS."""
    import openvino
    import tensorflow as tf

    from experiments.speed.peers import graphs

    function, model = graphs.classes_function(network, graph)
    module = tf.Module()
    module.model = model
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function)
        _save(openvino.convert_model(folder), network, path)


def convert_pytorch(network, options, path):
    """Writes the model in OpenVINO's format; options: of the JITNet."""
    import openvino
    import torch

    frame = torch.zeros((1, *network.frame_size, 3), dtype=torch.uint8)
    model = pytorch.make_classes(network, options)
    with torch.no_grad():
        _save(openvino.convert_model(model, example_input=frame), network, path)


def _save(converted, network, path):
    import openvino

    converted.reshape([1, *network.frame_size, 3])
    openvino.save_model(converted, path, compress_to_fp16=False)


def build(network, precision, converter, form):
    """Returns the Steps of a variant. Raises RuntimeError if the processor lacks the precision."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "student.xml")
        peers.call_in_process(converter, network, form, path)
        options = {"INFERENCE_PRECISION_HINT": TYPES[precision], "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(path, "CPU", options)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != TYPES[precision]:
        raise RuntimeError(f"OpenVINO computes in {used} here")
    request = compiled.create_infer_request()

    def infer(frame):
        outputs = request.infer({0: frame[None]}, share_inputs=True, share_outputs=True)
        return outputs[0][0]

    return Steps(infer)

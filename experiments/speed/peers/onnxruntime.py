"""ONNX Runtime with its CPU kernels, in float32, from the PyTorch network."""

import functools
import os
import pathlib
import tempfile

from experiments.speed import peers
from experiments.speed.peers import Steps, Variant, pytorch

PACKAGES = ("torch", "onnx", "onnxruntime")
OPSET = 17


def variants(peer, network, precision):
    """Returns the Variants of a peer and precision."""
    del precision
    return [
        Variant(peer, name, functools.partial(build, network, options))
        for name, options in pytorch.exported_forms(network)
    ]


def convert(network, options, path):
    """Writes an ONNX model, `frame` → `classes`; options: of the JITNet."""
    import torch

    torch.onnx.export(
        pytorch.make_classes(network, options),
        (torch.zeros((1, *network.frame_size, 3), dtype=torch.uint8),),
        str(path),
        input_names=["frame"],
        output_names=["classes"],
        opset_version=OPSET,
        do_constant_folding=False,  # it merges equal weights; the runtime folds constants anyway
        dynamo=False,  # the newer exporter needs onnxscript
    )


def build(network, options):
    """Returns the Steps of a variant."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = os.cpu_count()
    # Leaves the cores to other peers between runs.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "student.onnx")
        peers.call_in_process(convert, network, options, path)
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return Steps(lambda frame: session.run(["classes"], {"frame": frame[None]})[0][0])

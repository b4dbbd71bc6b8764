"""TFLite, or LiteRT, in float32, converted as `jitnet_tf.export` does."""

import functools
import pathlib
import tempfile

from experiments.speed import peers
from experiments.speed.peers import Steps, Variant

PACKAGES = ()


def variants(peer, network, precision):
    """Returns the Variants of a peer and precision."""
    del precision
    return [
        Variant(peer, graph, functools.partial(build, network, graph)) for graph in peers.GRAPHS
    ]


def convert(network, graph, path):
    """Writes a TFLite model."""
    from experiments.speed.peers import graphs
    from jitnet_tf.base import compat

    function, model = graphs.classes_function(network, graph)
    pathlib.Path(path).write_bytes(compat.tflite_converter(function).convert())
    del model  # the function needs its variables until here


def build(network, graph):
    """Returns the Steps of a variant."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "student.tflite")
        peers.call_in_process(convert, network, graph, path)
        content = path.read_bytes()
    from jitnet_tf.base import compat

    run = compat.tflite_interpreter(content).get_signature_runner()
    return Steps(lambda frame: run(frame=frame[None])["classes"][0])

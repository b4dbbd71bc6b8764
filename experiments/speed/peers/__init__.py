"""What our student is compared with: the same network in other runtimes, behind one protocol.

A peer is a module of this package with PACKAGES, the packages that it needs beyond the project's
own, and `variants(peer, network, precision)`, the ways of computing the network that it offers.
A variant's `build` makes its steps; everything slow, and every import of a runtime, waits for it.
"""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
from collections.abc import Callable

import numpy as np

from jitnet_tf.base.errors import UserError

FLOAT32, BFLOAT16 = "float32", "bfloat16"

# Peer → (module, precisions). A process each and precision; the order is that of the table.
PEERS = {
    "ours": ("ours", (FLOAT32, BFLOAT16)),
    "pytorch eager": ("pytorch", (FLOAT32, BFLOAT16)),
    "pytorch compiled": ("pytorch", (FLOAT32, BFLOAT16)),
    "onnxruntime": ("onnxruntime", (FLOAT32,)),
    "openvino": ("openvino", (FLOAT32, BFLOAT16)),
    "tflite": ("tflite", (FLOAT32,)),
}
OURS = "ours"

# The algebra of the network's end. The 1×1 convolution to logits commutes with the resizing before
# it, and has a quarter of the pixels there.
REFERENCE, LOGITS_FIRST = "reference graph", "logits first"
GRAPHS = (REFERENCE, LOGITS_FIRST)


@dataclasses.dataclass(frozen=True)
class Network:
    """The network that all compute, and on what.

    Attributes:
      frame_size: (H, W).
      num_classes, width, normalization: see `jitnet_tf.student.jitnet.build_jitnet`.
      arrays: its weights by name, as `jitnet_tf.student.weights.arrays` gives them; None where they
        are still to be made.
    """

    frame_size: tuple[int, int]
    num_classes: int
    width: float
    normalization: str
    arrays: dict[str, np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Steps:
    """A network ready to run.

    Attributes:
      infer: uint8 RGB [H, W, 3] → class ids uint8 [H, W].
      update: (frame, labels uint8 [H, W], weights float32 [H, W]) → loss before the step; None
        where the runtime cannot train.
    """

    infer: Callable
    update: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way of computing the network.

    Attributes:
      peer: whose; what follows the peer's name in parentheses tells where its model comes from.
      name: what tells it from the peer's others.
      build: makes its Steps.
    """

    peer: str
    name: str
    build: Callable[[], Steps]


def module(peer):
    """The module of a peer."""
    return importlib.import_module(f"experiments.speed.peers.{PEERS[peer][0]}")


def missing(peer):
    """The packages that a peer needs and that are not installed."""
    return [name for name in module(peer).PACKAGES if importlib.util.find_spec(name) is None]


def apart(function, *arguments):
    """What a function of a module returns, called in a process of its own.

    So its memory is not this process's, nor its threads.

    Raises:
      UserError: the function did.
      RuntimeError: it failed otherwise.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        result, failure = ours.recv()
    except EOFError:
        result, failure = None, RuntimeError("its process ended early")
    finally:
        process.join()
    if failure:
        raise failure
    return result


def _call(pipe, function, arguments):
    nowhere = os.open(os.devnull, os.O_WRONLY)  # what runtimes print
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        pipe.send((function(*arguments), None))
    except UserError as error:
        pipe.send((None, error))
    except Exception as error:  # whatever a runtime raises; who waits for it is told
        pipe.send((None, RuntimeError(one_line(error))))


def one_line(error):
    """An exception as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def versions(names):
    """Package → version of those that the peers of these names need and that are installed."""
    packages = {package for name in names for package in module(name).PACKAGES}
    found = {}
    for package in sorted(packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found

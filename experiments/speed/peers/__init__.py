"""Peers: our network in other runtimes, behind one protocol.

A peer is a module of this package with PACKAGES, the packages it needs besides the project's own,
and `variants(peer, network, precision)`, its ways to compute the network. Only a variant's `build`
imports the runtime and does slow work.
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

# Peer → (module, precisions), in the order of the table.
PEERS = {
    "ours": ("ours", (FLOAT32, BFLOAT16)),
    "pytorch eager": ("pytorch", (FLOAT32, BFLOAT16)),
    "pytorch compiled": ("pytorch", (FLOAT32, BFLOAT16)),
    "onnxruntime": ("onnxruntime", (FLOAT32,)),
    "openvino": ("openvino", (FLOAT32, BFLOAT16)),
    "tflite": ("tflite", (FLOAT32,)),
}
OURS = "ours"

# The order of the last two operations. The 1×1 convolution to logits commutes with the resizing
# before it, and is four times cheaper there.
REFERENCE, LOGITS_FIRST = "reference graph", "logits first"
GRAPHS = (REFERENCE, LOGITS_FIRST)


@dataclasses.dataclass(frozen=True)
class Network:
    """The network that all peers compute, and its frames.

    Attributes:
      frame_size: (H, W).
      num_classes, width, normalization: see `jitnet_tf.student.jitnet.build_jitnet`.
      arrays: its weights by name, as `jitnet_tf.student.weights.arrays` returns them; None before
        they are made.
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
        if the runtime cannot train.
    """

    infer: Callable
    update: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to compute the network.

    Attributes:
      peer: the peer's name; the source of its model may follow in parentheses.
      name: of the variant, unique for a peer.
      build: makes its Steps.
    """

    peer: str
    name: str
    build: Callable[[], Steps]


def module(peer):
    """Returns the module of a peer."""
    return importlib.import_module(f"experiments.speed.peers.{PEERS[peer][0]}")


def missing(peer):
    """Returns the packages that a peer needs and that are not installed."""
    return [name for name in module(peer).PACKAGES if importlib.util.find_spec(name) is None]


def call_in_process(function, *arguments):
    """Calls a module's function in a new process, which keeps its memory and threads out of ours.

    Raises:
      UserError: the function raised it.
      RuntimeError: the function raised another exception, or the process ended.
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
    nowhere = os.open(os.devnull, os.O_WRONLY)  # for the output of runtimes
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        pipe.send((function(*arguments), None))
    except UserError as error:
        pipe.send((None, error))
    except Exception as error:  # whatever a runtime raises
        pipe.send((None, RuntimeError(one_line(error))))


def one_line(error):
    """Returns an exception as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def versions(names):
    """Returns package → version for the installed packages of peers, given by name."""
    packages = {package for name in names for package in module(name).PACKAGES}
    found = {}
    for package in sorted(packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found

"""A process that holds one peer's variants and runs their steps when told.

Between steps it waits, so that of all workers one computes at a time.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
import time

import numpy as np

from experiments.speed import peers

INFER, UPDATE = "infer", "update"
FIRST_RUNS = 3  # they take longer: compilation, memory
SETTLED = 0.05  # seconds after which a runtime's threads spin no more


@dataclasses.dataclass(frozen=True)
class Material:
    """What the steps are run on.

    Attributes:
      frame: uint8 RGB [H, W, 3].
      labels: uint8 [H, W].
      weights: float32 [H, W].
    """

    frame: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Built:
    """What a worker tells of a variant.

    Attributes:
      peer, name: of the variant.
      classes: class ids on the material's frame, uint8 [H, W]; None where it failed.
      loss: of the first update; None where it has none.
      failure: why there is no such variant, or None.
    """

    peer: str
    name: str
    classes: np.ndarray | None = None
    loss: float | None = None
    failure: str | None = None

    @property
    def steps(self):
        """The steps that it has."""
        if self.failure:
            return ()
        return (INFER,) if self.loss is None else (INFER, UPDATE)


class WorkerError(Exception):
    """A worker's process has ended, or its step has failed."""


class Worker:
    """A peer's process, seen from the one that measures.

    Args:
      peer: a name of `peers.PEERS`.
      network: a `peers.Network`.
      precision: one of the peer's.
      material: a Material.

    Attributes:
      built: a Built of each variant, in order; set by `build`.
    """

    def __init__(self, peer, network, precision, material):
        self.peer, self.precision = peer, precision
        self.built = []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, peer, network, precision, material)
        )
        self._process.start()
        theirs.close()

    def build(self):
        """Waits for the variants. Yields each Built as it comes."""
        while (built := self._receive()) is not None:
            self.built.append(built)
            yield built

    def run(self, variant, step):
        """Milliseconds of one run of a step of the variant of that index; WorkerError."""
        return self._ask((variant, step))

    def memory(self):
        """The most memory that the process has had, in MiB; WorkerError."""
        return self._ask(None)

    def _ask(self, request):
        try:
            self._pipe.send(request)
        except OSError:
            raise WorkerError(self._death()) from None
        answer = self._receive()
        if isinstance(answer, str):
            raise WorkerError(answer)
        return answer

    def _receive(self):
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerError(self._death()) from None

    def _death(self):
        self._process.join(10)
        return f"its process ended early (exit status {self._process.exitcode})"

    def close(self):
        """Ends the process."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe, peer, network, precision, material):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who measures gets it, and ends this
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_WRONLY)  # what runtimes print
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(EOFError, OSError):  # nobody listens any more
        variants = []
        for variant in peers.module(peer).variants(peer, network, precision):
            steps, built = _first_runs(variant, material)
            variants.append(steps)
            pipe.send(built)
        pipe.send(None)
        while True:
            request = pipe.recv()
            if request is None:
                pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # of KiB
                continue
            index, step = request
            try:
                pipe.send(_milliseconds(variants[index], step, material))
            except Exception as error:  # whatever a runtime raises
                pipe.send(peers.one_line(error))


def _first_runs(variant, material):
    """Builds a variant and runs its steps, not timed. Returns its Steps and a Built."""
    try:
        steps = variant.build()
        classes, loss = np.array(steps.infer(material.frame)), None
        if steps.update:
            arguments = (material.frame, material.labels, material.weights)
            loss = float(steps.update(*arguments))
        for _ in range(FIRST_RUNS - 1):
            steps.infer(material.frame)
            if steps.update:
                steps.update(*arguments)
    except Exception as error:  # whatever a runtime raises
        return None, Built(variant.peer, variant.name, failure=peers.one_line(error))
    return steps, Built(variant.peer, variant.name, classes, loss)


def _milliseconds(steps, step, material):
    if step == UPDATE:
        arguments, function = (material.frame, material.labels, material.weights), steps.update
    else:
        arguments, function = (material.frame,), steps.infer
    function(*arguments)  # in a run, too, one follows another; and caches were the others'
    start = time.perf_counter()
    function(*arguments)
    elapsed = time.perf_counter() - start
    time.sleep(SETTLED)
    return 1000 * elapsed

"""One process for each peer and precision: it builds the variants and runs steps on request.

Between requests it waits, so that only one peer computes at a time.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
import time

import numpy as np

from experiments.speed import peers, turns

INFER, UPDATE = "infer", "update"
WARM_UP_RUNS = 3  # they take longer: compilation, memory
SPINNING = 0.05  # seconds that a runtime's threads spin after a step


@dataclasses.dataclass(frozen=True)
class Material:
    """The inputs of the steps.

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
    """A variant as its process built it.

    Attributes:
      peer, name: of the variant.
      classes: class ids of the material's frame, uint8 [H, W]; None if it failed.
      loss: of the first update; None if it cannot train.
      failure: the error, or None.
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


class PeerProcess:
    """A peer's process, as seen from the measuring one.

    Methods raise `turns.StepError` if the process has ended or its step has failed.

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
            target=_run_requests, args=(theirs, peer, network, precision, material)
        )
        self._process.start()
        theirs.close()

    def build(self):
        """Yields a Built for each variant, as soon as it is built."""
        while (built := self._receive()) is not None:
            self.built.append(built)
            yield built

    def run(self, variant, step):
        """Returns the milliseconds of one run of a step. variant: its index in `built`."""
        return self._ask((variant, step))

    def memory(self):
        """Returns the peak memory of the process in MiB."""
        return self._ask(None)

    def _ask(self, request):
        try:
            self._pipe.send(request)
        except OSError:
            raise turns.StepError(self._death()) from None
        answer = self._receive()
        if isinstance(answer, str):
            raise turns.StepError(answer)
        return answer

    def _receive(self):
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise turns.StepError(self._death()) from None

    def _death(self):
        self._process.join(10)
        return f"its process ended early (exit status {self._process.exitcode})"

    def close(self):
        """Ends the process."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()


def _run_requests(pipe, peer, network, precision, material):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and terminates us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_WRONLY)  # for the output of runtimes
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        variants = []
        for variant in peers.module(peer).variants(peer, network, precision):
            steps, built = _warm_up(variant, material)
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


def _warm_up(variant, material):
    """Builds a variant and runs its steps, untimed. Returns its Steps and a Built."""
    try:
        steps = variant.build()
        classes, loss = np.array(steps.infer(material.frame)), None
        if steps.update:
            arguments = (material.frame, material.labels, material.weights)
            loss = float(steps.update(*arguments))
        for _ in range(WARM_UP_RUNS - 1):
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
    function(*arguments)  # untimed: fills the caches, as the step before does in a real run
    elapsed = turns.milliseconds(lambda: function(*arguments))
    time.sleep(SPINNING)
    return elapsed

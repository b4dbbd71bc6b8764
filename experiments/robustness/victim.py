"""A process that reads damaged files, and may hang, crash or take all memory while it does."""

import contextlib
import hashlib
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import sys
import time
import traceback

from jitnet_tf.base.errors import UserError

MAX_SECONDS = 30.0
MAX_BYTES = 2 << 30
POLL_SECONDS = 0.02
READ, REFUSED, FAILED = OUTCOMES = ("read", "refused", "failed")
# What an input is read in: its folder in the kind's.
INPUT = "input"


def kinds():
    """Returns the kinds by name."""
    # They import TensorFlow.
    from experiments.robustness import kinds, states

    return {kind.__name__.lower(): kind for kind in (*kinds.KINDS, *states.KINDS)}


def shares():
    """Returns the share of each kind among the inputs, by name; the sum is 1."""
    found = {name: kind.share for name, kind in kinds().items()}
    return {name: share / sum(found.values()) for name, share in found.items()}


class Reader:
    """Damages and reads files of all kinds, in this process. folder: for all files; exists."""

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self._kinds = {}

    def kind(self, name):
        """Returns a Kind, made when it is first asked for."""
        if name not in self._kinds:
            place = self._folder / name
            shutil.rmtree(place, ignore_errors=True)
            self._kinds[name] = kinds()[name](place)
        return self._kinds[name]

    def damage(self, name, number, seed):
        """Writes a damaged file; returns its path."""
        kind = self.kind(name)
        place = self._folder / name / INPUT
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        file_name, content = kind.damaged(random.Random(f"{seed} {name} {number}"))
        path = place / file_name
        path.write_bytes(content)
        return path

    def read(self, name, path):
        """Reads a damaged file; returns (outcome, text)."""
        before = _digest(path)
        ignored = []
        sys.unraisablehook = lambda found: ignored.append(repr(found.exc_value))
        try:
            self.kind(name).read(path)
            outcome = READ, ""
        except UserError as error:
            outcome = REFUSED, str(error)
        except BaseException:  # also MemoryError, RecursionError and SystemExit
            outcome = FAILED, traceback.format_exc()
        finally:
            sys.unraisablehook = sys.__unraisablehook__
        if _digest(path) != before:
            return FAILED, "the file was changed"
        if ignored:
            return FAILED, f"an exception was ignored: {ignored[0]}"
        return outcome


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _main(pipe, folder, output):
    """Answers (name, number, seed) by (outcome, text), in the process."""
    with open(output, "ab") as file:  # libraries write there, also from C
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    from jitnet_tf.base import command_line

    command_line.import_tensorflow()
    reader = Reader(folder)
    pipe.send("ready")
    while job := pipe.recv():
        name, number, seed = job
        reader.kind(name)  # its preparation is not measured
        path = reader.damage(name, number, seed)
        pipe.send(str(path))
        with contextlib.suppress(OSError):
            pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        pipe.send(reader.read(name, path))


class Victim:
    """The process; a dead one is replaced.

    Args:
      folder: for files, exists.
      output: the file that its output is appended to.
    """

    def __init__(self, folder, output):
        self._folder = str(folder)
        self._output = str(output)
        self._process = None

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        arguments = (other, self._folder, self._output)
        self._process = context.Process(target=_main, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self._pipe.recv()

    def read(self, name, number, seed):
        """Lets the process damage and read a file.

        Returns:
          (outcome, text, path, seconds); path is None if damaging it ended the process.
        """
        if self._process is None:
            self._start()
        path, start = None, time.monotonic()
        try:
            self._pipe.send((name, number, seed))
            path = pathlib.Path(self._pipe.recv())
            start = time.monotonic()
            outcome, text = self._wait(start)
        except EOFError:
            self._process.join()
            outcome, text = FAILED, f"the process died, exit code {self._process.exitcode}"
        if outcome == FAILED and not self._process.is_alive():
            self._process = None
        elif (peak := _memory(self._process.pid, "VmHWM")) > MAX_BYTES:
            outcome, text = FAILED, f"memory: {peak >> 20} MiB"
        return outcome, text, path, time.monotonic() - start

    def _wait(self, start):
        """Returns the answer; kills the process that takes too long or too much."""
        while not self._pipe.poll(POLL_SECONDS):
            if time.monotonic() - start > MAX_SECONDS:
                problem = f"it hung for more than {MAX_SECONDS:.0f} s"
            elif (memory := _memory(self._process.pid, "VmRSS")) > MAX_BYTES:
                problem = f"memory: {memory >> 20} MiB and more"
            else:
                continue
            self.close()
            return FAILED, problem
        return self._pipe.recv()

    def close(self):
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _memory(pid, field):
    """Returns a field of /proc/PID/status in bytes; 0 if it cannot be read, as after its end."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) << 10 if found else 0

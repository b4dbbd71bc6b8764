"""Runs in processes of their own that are killed and resumed."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np

from experiments.robustness import equality
from jitnet_tf.base import checkpoint
from jitnet_tf.base.command_line import EXIT_USER_ERROR
from jitnet_tf.base.errors import UserError
from jitnet_tf.runs import directory

MAX_KILLS = 3  # of one run
KILLED_AGAIN = 0.3  # the chance that a resumed run is killed, too
# The chance of a kill before the run directory is there: importing TensorFlow takes longer than all
# the rest, and nothing is at stake yet.
KILLED_AT_START = 0.1
POLL_SECONDS = 0.01
NO_RUN = "holds no run"  # the refusal to resume what has not begun
# Checkpoints and teacher frames are frequent, so that kills hit them.
OPTIONS = (
    *("--checkpoint_every=7", "--image_every=20", "--min_stride=4", "--max_stride=16"),
    *("--max_updates=3", "--seed=3"),
)
# The moments of a kill, by what is on disk after it.
STARTING, NO_CHECKPOINT, FRAMES, FINISHING, ENDED = (
    "before its directory was there",
    "before its first checkpoint",
    "between checkpoints",
    "while it finished",
    "after its end",
)


@dataclasses.dataclass(frozen=True)
class Runs:
    """The command of the run that is killed.

    Attributes:
      video, recording: of the stream.
      threads: TensorFlow's for each process.
    """

    video: pathlib.Path
    recording: pathlib.Path
    threads: int

    def start(self, logdir, *how):
        """Starts the run in a process; its output goes to output.txt beside the directory."""
        command = [
            *(sys.executable, "-m", "jitnet_tf.distill", f"--video={self.video}"),
            *(f"--teacher=recorded:{self.recording}", f"--reference={self.recording}"),
            *(f"--logdir={logdir}", f"--masks={logdir / equality.MASKS}", *OPTIONS, *how),
        ]
        threads = {f"TF_NUM_{kind}OP_THREADS": f"{self.threads}" for kind in ("INTRA", "INTER")}
        with open(_output(logdir), "ab") as output:
            return subprocess.Popen(
                command,
                env={**os.environ, **threads},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends this command only after the run
            )

    def uninterrupted(self, logdir):
        """Executes the run to its end.

        Returns:
          Seconds until its directory was there, and from then to its end.

        Raises:
          RuntimeError: it failed.
        """
        process = self.start(logdir)
        starting = _until_claimed(process, logdir)
        start = time.perf_counter()
        if process.wait():
            raise RuntimeError(f"the uninterrupted run failed: {_last_line(logdir)}")
        return starting, time.perf_counter() - start

    def killed(self, logdir, seconds, random, expected):
        """Kills and resumes the run, once or more, until it has come to its end.

        Args:
          logdir: of the run, which does not exist.
          seconds: `uninterrupted`'s; kills come within them at random.
          random: a numpy Generator.
          expected: the uninterrupted run's directory.

        Returns:
          The trial as JSON values: "kills", see `moment`; "restarts", the times that there was
          nothing to resume yet; "too_late", the kills that came after the end; "differences";
          "same_bytes" of the overlay; "error", a text or None.
        """
        trial = {"kills": [], "restarts": 0, "too_late": 0, "error": None, "differences": []}
        wanted = 1
        while wanted < MAX_KILLS and random.random() < KILLED_AGAIN:
            wanted += 1
        how = ()
        while True:
            process = self.start(logdir, *how)
            if len(trial["kills"]) < wanted:
                _wait(process, logdir, seconds, random, resumed=how == ("--resume",))
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    trial["kills"].append(moment(logdir))
                    how = ("--resume",)
                    if trial["kills"][-1]["moment"] == ENDED:
                        break
                    continue
                trial["too_late"] += 1
            if (status := process.wait()) == EXIT_USER_ERROR and NO_RUN in _last_line(logdir):
                trial["restarts"] += 1
                how = ("--overwrite",)
            elif status:
                trial["error"] = f"exit status {status}: {_last_line(logdir)}"
                return trial
            elif trial["kills"]:
                break
            else:  # faster than the uninterrupted run: not yet killed
                shutil.rmtree(logdir)
                how = ()
        trial["differences"] = equality.differences(expected, logdir)
        trial["same_bytes"] = equality.same_bytes(expected, logdir)
        return trial


def _wait(process, logdir, seconds, random, resumed):
    """Waits until a random moment of a run, or its end.

    seconds: `uninterrupted`'s. resumed: the directory is there from the start.
    """
    starting, running = seconds
    at_start = random.random() < KILLED_AT_START
    at = random.uniform(0, starting if at_start else running)
    if not at_start:
        if resumed:
            at += starting
        else:
            _until_claimed(process, logdir)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(at)


def _until_claimed(process, logdir):
    """Waits until a run has its directory, or has ended; returns the seconds."""
    start = time.perf_counter()
    while process.poll() is None and not (logdir / directory.CONFIG).exists():
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - start


def moment(logdir):
    """Returns what is on disk after a kill: its "moment", and the "frames" of the checkpoint."""
    if not (logdir / directory.CONFIG).exists():
        return {"moment": STARTING, "frames": 0}
    if not (logdir / checkpoint.NAME).exists():
        return {"moment": NO_CHECKPOINT, "frames": 0}
    if directory.is_complete(logdir):
        where = ENDED
    else:
        where = FINISHING if (logdir / equality.OVERLAY).exists() else FRAMES
    try:
        frames = checkpoint.load(logdir)[1]["frames"]
    except UserError:  # it cannot be resumed then, which counts
        frames = None
    return {"moment": where, "frames": frames}


def generator(seed, number):
    """Returns the numpy Generator of a trial."""
    return np.random.default_rng([seed, number])


def _output(logdir):
    return logdir.with_name(f"{logdir.name}.txt")


def _last_line(logdir):
    lines = _output(logdir).read_text("utf-8", errors="replace").splitlines()
    return lines[-1] if lines else ""

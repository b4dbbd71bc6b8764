"""Fuzzing: damaged files are read or refused, and never end in a traceback, a hang, or a crash.

    python -m experiments.fuzz --output=fuzz.json
    python -m experiments.fuzz --seed=0 --only=videos-17,groups
    python -m experiments.fuzz --print=fuzz.json

Files of each kind that the program reads are damaged at random: bytes, headers, and the values in
them. Each is read by the product's own code in another process. It may be read, with problems or
without, or refused by a UserError. Everything else is a failure: any other exception, an exception
that was ignored, a crash, more than 30 seconds, more than 2 GB, or a changed file. A few go through
whole commands. The same command continues an interrupted one; failing files are kept beside
--output, and --only reads some again and prints their tracebacks.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import flags

from experiments.protocol import provenance
from experiments.reports import markdown, measurement
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.base.progress import progress_bar

FLAGS = flags.FLAGS
FORMAT = "experiments.fuzz, 1"
SETTINGS = ("seed", "inputs", "commands")
NEW = {"seconds": 0.0, "done": 0, "counts": {}, "failures": []}  # of a file to begin with
COMMAND = "command "  # prefix of the names of the kinds that went through a command
COMMAND_SECONDS = 120.0  # with the start of TensorFlow, on a machine that does other things
WRITTEN_EVERY = 100  # inputs
LONGEST_TEXT = 3000  # characters of a traceback that are kept


def define_flags():
    """Defines the flags of the fuzzing."""
    measurement.define_flags()
    flags.DEFINE_integer("inputs", 10_000, "Number of damaged files.", lower_bound=1)
    flags.DEFINE_integer(
        "commands", 26, "Number of further files that whole commands read.", lower_bound=0
    )
    flags.DEFINE_integer("seed", 0, "Seed of the damage.", lower_bound=0)
    flags.DEFINE_list("only", [], "Kinds, such as videos, or single files, such as videos-17.")


def plan(shares, inputs, commands):
    """Returns the work: pairs (kind, number) of the inputs, and those of commands.

    shares: kind → part of all inputs.
    """
    counts = {name: max(round(share * inputs), 1) for name, share in shares.items()}
    work = [(name, number) for name, count in counts.items() for number in range(count)]
    names = list(shares)
    further = [(COMMAND + names[i % len(names)], i) for i in range(commands)]
    return work, further


def selected(work, only):
    """Returns the work that --only names. UserError for a name of nothing."""
    if not only:
        return work
    found = []
    for name in only:
        kind, _, number = name.rpartition("-")
        chosen = [w for w in work if w[0] == name or (w[0], str(w[1])) == (kind, number)]
        if not chosen:
            kinds = ", ".join(dict.fromkeys(kind for kind, _ in work))
            raise UserError(f"--only: {name!r} is not a kind ({kinds}), nor one of its files")
        found += chosen
    return found


def run_command(command, folder):
    """Runs a command on a damaged file; returns (outcome, text). folder: to run it in."""
    from experiments.robustness import victim

    module, *arguments = command
    root = str(pathlib.Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=COMMAND_SECONDS)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        return victim.FAILED, f"it hung for more than {COMMAND_SECONDS:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if "Traceback" in output or "Exception ignored" in output or process.returncode not in (0, 2):
        return victim.FAILED, f"exit status {process.returncode}: {output}"
    return (victim.REFUSED, output) if process.returncode else (victim.READ, "")


class Fuzzer:
    """Reads the files of a plan, and counts.

    Args:
      values: what is written to the file; see `NEW`.
      folder: for all files; exists.
      kept: the folder for failing files; made where needed.
    """

    def __init__(self, values, folder, kept):
        from experiments.robustness import victim

        self.values = values
        self._folder = folder
        self._kept = kept
        (folder / "read").mkdir()
        (folder / "commands").mkdir()
        self._victim = victim.Victim(folder / "read", folder / "output.txt")
        self._reader = victim.Reader(folder / "commands")

    def take(self, name, number):
        """Damages and reads a file; returns (outcome, text), None for a kind without a command."""
        seed = self.values["seed"]
        if name.startswith(COMMAND):
            kind = name.removeprefix(COMMAND)
            path = self._reader.damage(kind, number, seed)
            command = self._reader.kind(kind).command(path)
            content, start = path.read_bytes(), time.monotonic()
            if command is None:
                return None
            outcome, text = run_command(command, self._folder)
            seconds = time.monotonic() - start
            if (
                not kind.startswith(("runs", "configs", "summaries"))
                and path.read_bytes() != content
            ):
                outcome, text = "failed", "the file was changed"
        else:
            outcome, text, path, seconds = self._victim.read(name, number, seed)
        counts = self.values["counts"].setdefault(name, {"tried": 0, "seconds": 0.0})
        counts["tried"] += 1
        counts["seconds"] += seconds
        counts["longest"] = max(counts.get("longest", 0.0), seconds)
        counts[outcome] = counts.get(outcome, 0) + 1
        if outcome == "failed":
            self._keep(name, number, path, text)
        return outcome, text

    def _keep(self, name, number, path, text):
        label = f"{name}-{number}"
        self.values["failures"].append({"file": label, "text": text[-LONGEST_TEXT:]})
        if path is not None and path.exists():
            self._kept.mkdir(parents=True, exist_ok=True)
            place = label.replace(COMMAND, COMMAND.strip() + "-")
            shutil.copyfile(path, self._kept / f"{place}-{path.name}")

    def close(self):
        """Ends the process."""
        self._victim.close()


def measure():
    """Reads all files, and writes the counts now and then; returns the values of the file."""
    values = measurement.opened("experiments.fuzz", FORMAT, SETTINGS, NEW)
    command_line.import_tensorflow()
    from experiments.robustness import victim
    from jitnet_tf.runs.versions import versions

    values.update(machine=provenance.describe(), versions=versions())
    inputs, further = plan(victim.shares(), FLAGS.inputs, FLAGS.commands)
    work = [*inputs, *further]
    output = pathlib.Path(FLAGS.output)
    start, before = time.perf_counter(), values["seconds"]
    progress = progress_bar(total=len(work), initial=values["done"], unit="file")
    with tempfile.TemporaryDirectory() as folder, StopRequest() as stop, progress:
        fuzzer = Fuzzer(values, pathlib.Path(folder), output.with_suffix(".failures"))
        with contextlib.closing(fuzzer):
            for name, number in work[values["done"] :]:
                if stop.made:
                    break
                fuzzer.take(name, number)
                values["done"] += 1
                values["seconds"] = before + time.perf_counter() - start
                progress.update()
                progress.set_postfix_str(f"{len(values['failures'])} failed", refresh=False)
                if values["done"] % WRITTEN_EVERY == 0:
                    measurement.write(output, values)
    values["complete"] = values["done"] == len(work)
    measurement.write(output, values)
    return values


def repeat():
    """Reads the files of --only and prints what became of them; returns the number of failures."""
    command_line.import_tensorflow()
    from experiments.robustness import victim

    inputs, further = plan(victim.shares(), FLAGS.inputs, FLAGS.commands)
    work = selected([*inputs, *further], FLAGS.only)
    values = {"seed": FLAGS.seed, "counts": {}, "failures": []}
    kept = pathlib.Path("fuzz.failures")
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(values, pathlib.Path(folder), kept)
        with contextlib.closing(fuzzer):
            for name, number in work:
                outcome, text = fuzzer.take(name, number) or ("no command", "")
                if len(work) <= 20 or outcome == "failed":
                    print(f"{name}-{number}: {outcome}\n{text}")
    print(_table(values["counts"]))
    return len(values["failures"])


def _table(counts):
    head = ["kind", "tried", "read", "refused", "failed", "longest, s"]
    total = {name: sum(row.get(name, 0) for row in counts.values()) for name in head[1:5]}
    total["longest"] = max((row["longest"] for row in counts.values()), default=0.0)
    rows = [
        [name, *(str(row.get(column, 0)) for column in head[1:5]), f"{row['longest']:.1f}"]
        for name, row in [*counts.items(), ("all", total)]
    ]
    return markdown.table(head, rows)


def render(values):
    """Returns the tables of a measurement's file."""
    text = [_table(values["counts"])]
    for failure in values["failures"]:
        last = failure["text"].strip().splitlines()[-1:]
        text.append(f"{failure['file']}: {' '.join(last)}")
    note = "" if values["complete"] else ", stopped early"
    text.append(f"--seed={values['seed']}, {values['seconds']:.0f} s{note}.")
    return "\n\n".join([*text, provenance.setting_in_words(values)])


def main():
    """Reads and prints, or prints what an earlier command has counted."""
    if FLAGS.only:
        sys.exit(1 if repeat() else 0)
    values = measurement.measure_or_print(measure, render, FORMAT, "experiments.fuzz")
    if not values:
        return
    if not values["complete"]:
        print(f"stopped early: run the same command to continue ({FLAGS.output})")
        sys.exit(command_line.EXIT_INTERRUPTED)
    sys.exit(1 if values["failures"] else 0)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

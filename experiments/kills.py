"""Kills: runs that are killed at random moments and resumed end like an uninterrupted one.

    python -m experiments.kills --output=kills.json
    python -m experiments.kills --print=kills.json

A run of a made stream, with overlay, masks and TensorBoard, is killed by SIGKILL at a random moment
from its start to its end, one to three times, and resumed each time. One kill of ten comes while
TensorFlow starts, the others from the first written file to the last. At the end its frame log,
checkpoint, masks, overlay and TensorBoard values have to equal those of an uninterrupted run, bit
for bit; only measured times may differ. The file is written after each run; the same command
continues an interrupted one. An asynchronous teacher is left out: with it no two runs are equal.
"""

import collections
import concurrent.futures
import os
import pathlib
import shutil
import sys
import tempfile
import time

from absl import flags

from experiments.protocol import provenance
from experiments.reports import markdown, measurement
from experiments.robustness import stream
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.video import parse_size

FLAGS = flags.FLAGS
FORMAT = "experiments.kills, 1"
SETTINGS = ("runs", "frames", "frame_size", "seed")  # of a file that is continued
NEW = {"seconds": 0.0, "trials": {}}  # of a file to begin with


def define_flags():
    """Defines the flags of the kills."""
    measurement.define_flags()
    flags.DEFINE_integer("runs", 100, "Number of runs to kill.", lower_bound=1)
    flags.DEFINE_integer("frames", 120, "Frames of each.", lower_bound=10)
    flags.DEFINE_string("frame_size", "64x96", "HxW of the frames in pixels, both even.")
    flags.DEFINE_integer("seed", 0, "Seed of the moments of the kills.", lower_bound=0)
    flags.DEFINE_integer("jobs", 2, "Number of runs at the same time.", lower_bound=1)
    define_path(
        "work", None, "Folder for the runs; those that differ are kept. Default: a temporary one."
    )


def measure():
    """Kills and resumes runs, and writes the file after each; returns its values."""
    values = measurement.opened("experiments.kills", FORMAT, SETTINGS, NEW)
    if len(values["trials"]) == FLAGS.runs:
        raise UserError(f"--output={FLAGS.output} is complete: print it by --print")
    size = parse_size(FLAGS.frame_size)
    command_line.import_tensorflow()
    from experiments.robustness import equality, killed_runs
    from jitnet_tf.runs.versions import versions

    values.update(machine=provenance.describe(), versions=versions(), jobs=FLAGS.jobs)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(FLAGS.work or folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        threads = max(os.cpu_count() // FLAGS.jobs, 1)
        runs = killed_runs.Runs(*stream.write(folder, FLAGS.frames, size), threads)
        executor = concurrent.futures.ThreadPoolExecutor(FLAGS.jobs)
        with StopRequest() as stop, executor:
            expected = [folder / f"uninterrupted-{number}" for number in range(max(FLAGS.jobs, 2))]
            lasted = list(executor.map(runs.uninterrupted, expected))
            for other in expected[1:]:
                if found := equality.differences(expected[0], other):
                    raise UserError(f"two uninterrupted runs differ here already ({found[0]})")
            # Under the load of the others, some take longer: the longest counts.
            lasted = [max(column) for column in zip(*lasted, strict=True)]
            values["uninterrupted_seconds"] = lasted

            def work(number):
                if stop.made:
                    return None
                random = killed_runs.generator(FLAGS.seed, number)
                logdir = folder / f"run-{number}"
                trial = runs.killed(logdir, lasted, random, expected[0])
                if not failed(trial):
                    shutil.rmtree(logdir)
                return trial

            _collect(values, executor, work, folder)
    return values


def _collect(values, executor, work, folder):
    """Runs the trials that are missing in `values`, and writes them to the file."""
    missing = [n for n in range(values["runs"]) if str(n) not in values["trials"]]
    start, before = time.perf_counter(), values["seconds"]
    futures = {executor.submit(work, number): number for number in missing}
    progress = progress_bar(total=values["runs"], initial=values["runs"] - len(missing), unit="run")
    with progress:
        for future in concurrent.futures.as_completed(futures):
            if (trial := future.result()) is None:
                continue
            values["trials"][str(futures[future])] = trial
            values["seconds"] = before + time.perf_counter() - start
            measurement.write(FLAGS.output, values)
            progress.update()
            differ = sum(map(failed, values["trials"].values()))
            progress.set_postfix_str(f"{differ} differ")


def failed(trial):
    """Returns whether a trial did not end like the uninterrupted run."""
    return bool(trial["error"] or trial["differences"])


def render(values):
    """Returns the tables of a measurement's file."""
    trials = values["trials"]
    kills = [kill for trial in trials.values() for kill in trial["kills"]]
    moments = collections.Counter(kill["moment"] for kill in kills)
    equal = [trial for trial in trials.values() if not failed(trial)]
    rows = [
        ["runs killed and resumed", f"{len(trials)} of {values['runs']}"],
        ["equal to the uninterrupted run", f"{len(equal)} of {len(trials)}"],
        ["their overlays equal byte for byte", f"{sum(t['same_bytes'] for t in equal)}"],
        ["kills", f"{len(kills)}"],
        *([f"kills {moment}", f"{count}"] for moment, count in sorted(moments.items())),
        ["started again, for nothing was there", f"{sum(t['restarts'] for t in trials.values())}"],
    ]
    text = [markdown.table(["", "number"], rows)]
    for number, trial in trials.items():
        if failed(trial):
            reasons = "; ".join([*trial["differences"], *filter(None, [trial["error"]])])
            text.append(f"Run {number} (--seed={values['seed']}): {reasons}")
    text.append(
        f"{values['frames']} frames of {values['frame_size']}, {values['jobs']} runs at a time, "
        f"{values['seconds']:.0f} s; uninterrupted "
        f"{sum(values['uninterrupted_seconds']):.0f} s."
    )
    return "\n\n".join([*text, provenance.setting_in_words(values)])


def main():
    """Measures and prints, or prints what an earlier command has measured."""
    values = measurement.measure_or_print(measure, render, FORMAT, "experiments.kills")
    if not values:
        return
    if len(values["trials"]) < values["runs"]:
        print(f"stopped early: run the same command to continue ({FLAGS.output})")
        sys.exit(command_line.EXIT_INTERRUPTED)
    if any(map(failed, values["trials"].values())):
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

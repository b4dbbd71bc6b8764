"""Soak: a run of many frames, and what grows while it lasts.

    python -m experiments.soak --output=soak.json
    python -m experiments.soak --print=soak.json

A run of a made stream writes overlay, masks and TensorBoard. Every 500 frames the process's memory,
file descriptors and threads are noted. Memory is "flat" if it grows by at most 1 % from the 2,000th
frame to the last. The file is written after every sample, so that an interrupted soak has figures.
"""

import gc
import os
import pathlib
import sys
import tempfile
import threading
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
FORMAT = "experiments.soak, 1"
SETTLED = 2000  # frames after which memory has to be flat
FLAT = 0.01  # of the memory then
SAMPLED_EVERY = 500  # frames
# Of /proc/self/smaps_rollup, in kB: all pages, and those that are written and the process's alone.
# The first has the libraries' code as well, the second is what a leak grows.
MEMORY = ("Rss", "Private_Dirty")
COUNTS = ("descriptors", "threads")


def define_flags():
    """Defines the flags of the soak."""
    measurement.define_flags()
    flags.DEFINE_integer("frames", 30_000, "Number of frames.", lower_bound=1)
    flags.DEFINE_string("frame_size", "96x128", "HxW of the frames in pixels, both even.")
    flags.DEFINE_bool("masks", True, "Write class masks.")
    flags.DEFINE_bool("overlay", True, "Write the overlay video.")
    define_path("work", None, "Folder for stream and run, kept. Default: a temporary one.")


def sample(frame):
    """Returns this process's memory in kB, its descriptors and threads, by name."""
    gc.collect()
    text = pathlib.Path("/proc/self/smaps_rollup").read_text()
    fields = dict(line.split(":") for line in text.splitlines()[1:])
    return {
        "frame": frame,
        **{name: int(fields[name].split()[0]) for name in MEMORY},
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python_threads": threading.active_count(),
    }


def line(samples, name):
    """Fits a line to a value from the sample at SETTLED on, by least squares.

    Single samples scatter by a percent: the allocator gives memory back when it likes.

    Returns:
      (value at the first of these samples, value at the last, growth per 1,000 frames); None for
      fewer than two.
    """
    rows = [(s["frame"] / 1000, s[name]) for s in samples if s["frame"] >= SETTLED]
    if len(rows) < 2:
        return None
    mean_x, mean_y = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in rows)
    slope = above / sum((x - mean_x) ** 2 for x, _ in rows)
    first, last = (mean_y + slope * (rows[i][0] - mean_x) for i in (0, -1))
    return first, last, slope


def soak(config, frames, on_sample):
    """Executes a run, and calls on_sample(values) now and then; returns whether it came to its end.

    config: its RunConfig. frames: their number, for the progress bar.
    """
    from jitnet_tf.runs.run import Run

    with (
        StopRequest() as stop,
        progress_bar(total=frames, unit="frame") as progress,
        Run(config, overwrite=True) as run,
    ):
        while not stop.made and run.advance() is not None:
            progress.update()
            if run.distiller.index % SAMPLED_EVERY == 0:
                run.save()  # all outputs have taken their frames
                on_sample(sample(run.distiller.index))
        return run.finish(complete=not stop.made)["complete"]


def measure():
    """Makes the stream, runs, and writes the file after every sample; returns its values."""
    measurement.check_output(FLAGS.output)
    if not os.path.exists("/proc/self/smaps_rollup"):
        raise UserError("there is no /proc/self/smaps_rollup: the soak needs Linux")
    size = parse_size(FLAGS.frame_size)
    command_line.import_tensorflow()
    from jitnet_tf.config import RunConfig
    from jitnet_tf.runs.versions import versions

    values = {
        "format": FORMAT,
        "frames": FLAGS.frames,
        "frame_size": list(size),
        "outputs": [name for name in ("overlay", "masks") if FLAGS[name].value] + ["TensorBoard"],
        "complete": False,
        "machine": provenance.describe(),
        "versions": versions(),
        "samples": [],
    }

    def on_sample(found):
        values["samples"].append(found)
        values["seconds"] = time.perf_counter() - start
        measurement.write(FLAGS.output, values)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(FLAGS.work or folder)
        folder.mkdir(parents=True, exist_ok=True)
        video, recording = stream.write(folder, FLAGS.frames, size)
        logdir = folder / "run"
        config = RunConfig(
            video=str(video),
            teacher=f"recorded:{recording}",
            reference=str(recording),
            logdir=str(logdir),
            output=None if FLAGS.overlay else "none",
            masks=str(folder / "masks") if FLAGS.masks else None,
        )
        start = time.perf_counter()
        values["complete"] = soak(config, FLAGS.frames, on_sample)
    measurement.write(FLAGS.output, values)
    return values


def render(values):
    """Returns the tables of a measurement's file."""
    samples = values["samples"]
    lines = {name: line(samples, name) for name in MEMORY}
    last = samples[-1]["frame"] if samples else 0
    note = "" if values["complete"] else ", stopped early"
    size, outputs = "×".join(map(str, values["frame_size"])), ", ".join(values["outputs"])
    text = [
        f"{last} of {values['frames']} frames{note}, of {size}, with {outputs}, in "
        f"{values['seconds']:.0f} s.",
        provenance.setting_in_words(values),
    ]
    if None in lines.values():
        return "\n\n".join([f"Too short: nothing after frame {SETTLED}.", *text])
    settled = next(s for s in samples if s["frame"] >= SETTLED)
    rows = [
        [
            f"{name}, MiB",
            f"{first / 1024:.1f}",
            f"{end / 1024:.1f}",
            f"{end / first - 1:+.2%}",
            f"{slope:+.1f} kB",
            f"{min(s[name] for s in samples if s['frame'] >= SETTLED) / 1024:.1f}–"
            f"{max(s[name] for s in samples if s['frame'] >= SETTLED) / 1024:.1f}",
        ]
        for name, (first, end, slope) in lines.items()
    ]
    for name in COUNTS:
        found = [s[name] for s in samples if s["frame"] >= SETTLED]
        rows.append([name, f"{found[0]}", f"{found[-1]}", "", "", f"{min(found)}–{max(found)}"])
    head = ["", f"frame {settled['frame']}", f"frame {last}", "growth", "per 1,000", "range"]
    flat = all(end / first - 1 <= FLAT for first, end, _ in lines.values())
    verdict = f"Memory is {'' if flat else 'not '}flat within {FLAT:.0%}."
    return "\n\n".join([markdown.table(head, rows), verdict, *text])


def main():
    """Measures and prints, or prints an earlier soak."""
    values = measurement.measure_or_print(measure, render, FORMAT, "experiments.soak")
    if values and not values["complete"]:
        sys.exit(command_line.EXIT_INTERRUPTED)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

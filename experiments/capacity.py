"""Plans a fleet: how many streams cores and GPUs carry, from costs measured here.

    python -m experiments.capacity --streams=clips/fleet.csv --teacher=yolo11n_seg_736x1280 \\
        --recordings=RECORDINGS --options='--flagfile=flags/balanced.flags --frame_size=360x640' \\
        --work=runs/capacity --output=capacity.json
    python -m experiments.capacity --print=capacity.json --fps=25 --cores=16 --gpu_teacher_ms=30

First each part is measured: each stream of the list with its recording, on one thread; as many
begin at the same time as there are cores, since busy cores slow each other down; then the teacher,
by the time of its process. Then the fleet itself runs on this machine, streams and live teacher
together, as fast as they can, and its frames a second are compared with the model:
cores ÷ (a frame's time + share of teacher frames × (updates on it + teacher)). The machine has to
be idle. Costs of a GPU are given, not measured.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
from absl import flags

from experiments.protocol import fleet_process, provenance
from experiments.reports import capacity, measurement
from jitnet_tf.base import checkpoint, command_line, credentials
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.fleet import status, streams

FLAGS = flags.FLAGS
FORMAT = "experiments.capacity, 3"
SETTINGS = ("streams", "teacher", "options", "frames")
NEW = {"parts": {}, "fleet": None}
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
TEACHER_FRAMES = 8
SETTLED = 40  # frames of every stream before the fleet's rate counts
POLL_SECONDS = 0.5
# Stages that a teacher frame adds; all others belong to every frame.
OF_TEACHER_FRAMES = ("labels", "trial", "update")


def define_flags():
    """Defines the flags of the plan."""
    measurement.define_flags()
    define_path("streams", None, "The fleet's list, see jitnet_tf.fleet.")
    define_path("teacher", None, "The live teacher, a SavedModel.")
    define_path("recordings", None, "Folder of its recordings, NAME.recording of each stream.")
    flags.DEFINE_string("options", "", "Further options of the streams, as for a shell.")
    flags.DEFINE_integer("frames", 300, "Frames of each stream.", lower_bound=100)
    define_path("work", None, "Folder for the runs.")
    flags.DEFINE_list("shares", ["2", "4", "8"], "Teacher frames to plan for, in % of all.")
    flags.DEFINE_float("fps", 25.0, "Frames a second of each stream to plan for.", 0.1)
    flags.DEFINE_integer("cores", os.cpu_count(), "Cores of a machine to plan for.", 1)
    flags.DEFINE_integer("machines", 1, "Machines of a cluster to plan for.", 1)
    flags.DEFINE_integer("gpus", 0, "GPUs of that cluster, all for teachers.", 0)
    for name, text in (
        ("frame", "a frame of the student"),
        ("labels", "all updates on a teacher frame"),
        ("teacher", "a frame of the teacher"),
    ):
        flags.DEFINE_float(f"gpu_{name}_ms", None, f"Milliseconds of {text} on a GPU.", 0.001)


def shares_of_flag():
    """Returns --shares, 0…1. UserError if they make no sense."""
    found = measurement.numbers_of(
        "shares", float, lambda percent: 0 < percent / 100 <= 1, "give numbers up to 100"
    )
    return [percent / 100 for percent in found]


def measure():
    """Measures what is missing in the file, which it writes after each round; returns it."""
    for name in ("streams", "teacher", "recordings", "work"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing")
    values = measurement.opened("experiments.capacity", FORMAT, SETTINGS, NEW)
    listed = list(streams.read_list(FLAGS.streams).values())
    work = pathlib.Path(FLAGS.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    command_line.import_tensorflow()
    from jitnet_tf.runs.versions import versions

    values.update(machine=provenance.describe(), versions=versions())
    while missing := [stream for stream in listed if stream.name not in values["parts"]]:
        for name, costs in _run_side_by_side(missing, listed, work):
            values["parts"].setdefault(name, costs)
        measurement.write(FLAGS.output, values)
    if "teacher_cpu_seconds" not in values:
        size = values["parts"][listed[0].name]["frame_size"]
        values["teacher_cpu_seconds"] = _teacher_cpu_seconds(listed[0], tuple(size))
        measurement.write(FLAGS.output, values)
    if values["fleet"] is None:
        lengths = [values["parts"][stream.name]["frames"] for stream in listed]
        values["fleet"] = _run_fleet(listed, lengths, work / "fleet")
        measurement.write(FLAGS.output, values)
    return values


def _run_side_by_side(missing, listed, work):
    """Runs a stream on each core, at the same time; returns pairs of a name and costs of parts.

    Streams of the list, again, fill up the cores if fewer are missing.
    """
    cores = provenance.usable_cores()
    taken = list(itertools.islice(itertools.chain(missing, itertools.cycle(listed)), len(cores)))
    folders = [work / f"core-{core}" for core in cores]
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as pool:
        costs = list(pool.map(_run_stream, taken, folders, cores))
    return list(zip([stream.name for stream in taken], costs, strict=True))


def _run_stream(stream, logdir, core):
    """Runs a stream with its recording on one core; returns the costs of its parts."""
    row = [f"--{name}={text}" for name, text in stream.options.items()]
    command = [
        *(sys.executable, "-m", "jitnet_tf.distill", *shlex.split(FLAGS.options), *row),
        f"--teacher=recorded:{FLAGS.recordings}/{stream.name}.recording",
        *(f"--logdir={logdir}", "--overwrite", "--output=none", f"--max_frames={FLAGS.frames}"),
    ]
    try:
        _call(command, f"{logdir}.txt", core)
    except UserError as error:
        raise UserError(credentials.hidden(str(error), stream.options.values())) from None
    summary = json.loads((logdir / "summary.json").read_text("utf-8"))
    seconds = sum(summary["seconds"].get(stage, 0.0) for stage in OF_TEACHER_FRAMES)
    # On one core the time of the run is that of all its threads.
    whole = summary["frames"] / summary["processing_fps"]
    others = whole - seconds - summary["seconds"].get("teacher", 0.0)
    return {
        "frame_size": checkpoint.load(logdir)[1]["frame_size"],
        "frames": summary["frames"],
        "frame": others / summary["frames"],
        "labels": seconds / max(summary["teacher_frames"], 1),
        "share": summary["teacher_fraction"],
    }


def _call(command, output, core):
    """Runs a command on one core, to which it binds the calling thread, too."""
    os.sched_setaffinity(0, {core})
    with open(output, "wb") as file:
        code = subprocess.run(
            command, stdout=file, stderr=file, env={**os.environ, **ONE_THREAD}
        ).returncode
    if code:
        lines = pathlib.Path(output).read_text("utf-8", "replace").splitlines()
        raise UserError(f"{shlex.join(command)} failed: {lines[-1] if lines else code}")


def _teacher_cpu_seconds(stream, size):
    """Returns the seconds of all cores that the teacher takes for a frame of this size."""
    from jitnet_tf import video
    from teacher import open_teacher

    teacher = open_teacher(FLAGS.teacher)
    with video.open_source(stream.options["video"], size) as source:
        frames = [np.array(frame) for frame, _ in zip(source, range(TEACHER_FRAMES), strict=False)]
    teacher(frames[0], 0)
    start = time.process_time()
    for index, frame in enumerate(frames):
        teacher(frame, index)
    return (time.process_time() - start) / len(frames)


def _run_fleet(listed, lengths, logdir):
    """Runs the fleet; returns its frames a second and teacher share while all streams ran.

    lengths: frames of each stream.
    """
    logs = [streams.folder_of(stream, logdir) / "frames.jsonl" for stream in listed]
    looks = []
    shutil.rmtree(logdir, ignore_errors=True)  # else its logs would be looked at until it begins
    process = fleet_process.start(logdir)
    try:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            looks.append((time.perf_counter(), [_counts(path) for path in logs]))
    finally:
        fleet_process.end(process)
    found = while_all_run(looks, lengths)
    if process.returncode or not found:
        raise UserError(f"the fleet could not be measured: see {logdir}.txt; give more --frames")
    summary = json.loads((logdir / status.SUMMARY).read_text("utf-8"))
    return {"streams": len(listed), **found, "mean_wait": summary["requests"]["mean_wait"]}


def while_all_run(looks, lengths):
    """Returns the rate of a fleet from its settling to its first stream's end; None without one.

    Args:
      looks: pairs of a time, in seconds, and (frames, teacher frames) of each stream so far.
      lengths: frames of each stream.
    """
    whole = [
        (now, sum(frames for frames, _ in counts), sum(teacher for _, teacher in counts))
        for now, counts in looks
        if all(SETTLED <= c[0] < length for c, length in zip(counts, lengths, strict=True))
    ]
    if not whole or whole[-1][1] == whole[0][1]:
        return None
    seconds, frames, teacher = (end - start for start, end in zip(whole[0], whole[-1], strict=True))
    return {
        "seconds": seconds,
        "frames": frames,
        "share": teacher / frames,
        "fps": frames / seconds,
    }


def _counts(path):
    """Returns the numbers of frames and of teacher frames in a frame log."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return 0, 0
    return text.count("\n"), text.count('"teacher": true')


def render(values):
    """Returns the tables of a measurement's file, for the plan that the flags describe."""
    of_streams = values["parts"].values()
    mean = {name: float(np.mean([p[name] for p in of_streams])) for name in ("frame", "labels")}
    parts = capacity.Parts(**mean, teacher=values["teacher_cpu_seconds"])
    given = {name: FLAGS[f"gpu_{name}_ms"].value for name in ("frame", "labels", "teacher")}
    gpu = capacity.Gpu(**{name: ms and ms / 1000 for name, ms in given.items()})
    shares = shares_of_flag()
    lines = [
        provenance.setting_in_words(values),
        f"Costs on one core: {1000 * parts.frame:.1f} ms a frame, {1000 * parts.labels:.0f} ms of "
        f"updates a teacher frame, {1000 * parts.teacher:.0f} ms of the teacher.",
        f"Streams of {FLAGS.fps:g} frames a second, machines of {FLAGS.cores} cores:",
        capacity.table(
            capacity.plan(parts, gpu, shares, FLAGS.fps, FLAGS.cores, FLAGS.machines, FLAGS.gpus)
        ),
    ]
    if found := values["fleet"]:
        cores = values["machine"]["cores"]
        predicted = capacity.frames_per_second(parts, found["share"], cores)
        lines.append(
            f"Checked with {found['streams']} streams at once and {100 * found['share']:.1f} % "
            f"teacher frames: {found['fps']:.2f} frames a second, predicted {predicted:.2f} "
            f"({100 * (predicted / found['fps'] - 1):+.0f} %)."
        )
    return "\n\n".join(lines)


def main():
    """Measures and plans, or plans from a measurement."""
    shares_of_flag()  # its mistakes first
    measurement.measure_or_print(measure, render, FORMAT, "experiments.capacity")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

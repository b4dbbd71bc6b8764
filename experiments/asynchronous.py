"""Compares an asynchronous with a synchronous teacher: accuracy, latency and staleness.

    python -m experiments.asynchronous --streams=experiments/streams/short.csv --videos=VIDEOS \\
        --recordings=RECORDINGS --teacher=path/to/saved_model --output=asynchronous.json
    python -m experiments.asynchronous --print=asynchronous.json

Each stream is run with a synchronous teacher, with an asynchronous one, and with the student frozen
and no teacher. Frames come at the source's rate, as from a camera, but none is dropped: the i-th is
handed out i / fps seconds after the first, or later ("decode" in the file includes this wait). The
teacher runs live; every frame is scored against its recording. Rows are measured one after the
other, on a machine that has to be idle. The file is written after each row and holds every frame's
latency.
"""

import contextlib
import dataclasses
import sys
import time

from absl import flags

from experiments import methods
from experiments.protocol import provenance, streams
from experiments.reports import markdown, measurement
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.config import RunConfig
from jitnet_tf.config.names import ASYNC, STUDENT_SHOWN, SYNC
from teacher import process

FLAGS = flags.FLAGS

FORMAT = "experiments.asynchronous, 1"
FROZEN = "frozen"
SETTINGS = ("init", "seed")
TEACHER_SETTINGS = ("teacher", "teacher_classes", "teacher_signature", "teacher_input")
TITLES = {FROZEN: "student frozen, no teacher", SYNC: "synchronous", ASYNC: "asynchronous"}
METHODS = ("jitnet_0.8", "never_adapted")

NOTES = """\
Latency is from taking a frame to its class map. It includes neither decoding nor the time that a
frame waits while the student still learns from an earlier one. That wait shows in the frames
behind: those handed out when the next was already due; in brackets, the greatest delay in seconds.
Scoring every frame takes time too, but is in no latency. A teacher frame and its updates count when
training on it ends."""


class Pace:
    """Hands out frames at a rate, as a camera does, but drops none.

    Attributes:
      delays: of each frame, in seconds after it was due.
    """

    def __init__(self, frames, fps, clock=time.perf_counter, sleep=time.sleep):
        self._frames = frames
        self._fps = fps
        self._clock = clock
        self._sleep = sleep
        self.delays = []

    def __iter__(self):
        start = None
        for index, frame in enumerate(self._frames):
            if start is None:
                start = self._clock()
            due = start + index / self._fps
            while (early := due - self._clock()) > 0:
                self._sleep(early)
            self.delays.append(self._clock() - due)
            yield frame

    def behind(self):
        """Returns the number of frames handed out when the next was already due."""
        return sum(delay > 1 / self._fps for delay in self.delays)


def define_flags():
    """Defines the flags of the comparison of teacher modes."""
    define_path("streams", None, "Stream list, a CSV file; see experiments.streams.")
    define_path("videos", None, "Folder of the list's videos. Default: the list's.")
    define_path("recordings", None, "Folder of its recordings. Default: the list's.")
    flags.DEFINE_list("only", [], "Names of streams to run. Default: all.")
    methods.define_flags(METHODS, (*SETTINGS, *TEACHER_SETTINGS))
    measurement.define_flags()
    flags.DEFINE_integer(
        "max_staleness",
        RunConfig.max_staleness,
        "Frames after which asynchronous labels are waited for.",
        lower_bound=1,
    )


def open_live_teacher(settings, mode):
    """Opens the live teacher of the settings for a mode; None for FROZEN."""
    from teacher import open_teacher

    if mode == FROZEN:
        return None
    open_one = process.ProcessTeacher if mode == ASYNC else open_teacher
    return open_one(settings.teacher, settings.teacher_options)


def make_segmenter(mode, context, max_staleness):
    """Returns the segmenter of a mode. context: a `methods.Context`."""
    if mode == FROZEN:
        return methods.named("never_adapted").make(context)
    return methods.distiller(context, teacher_mode=mode, max_staleness=max_staleness)


def evaluate(stream, frames, mode, settings, max_staleness):
    """Runs a stream in a mode at the source's rate; returns its row as JSON values.

    Args:
      stream: a `streams.Stream`, checked.
      frames: number of its frames.
      mode: one of TITLES.
      settings: the OnlineSettings.
      max_staleness: as in RunConfig.

    Raises:
      UserError: as the product's parts do.
    """
    import numpy as np

    from experiments.protocol.open_stream import open_stream
    from jitnet_tf.base import threads

    with (
        open_stream(
            stream,
            frames,
            lambda context: make_segmenter(mode, context, max_staleness),
            settings,
            teacher=open_live_teacher(settings, mode),
            teacher_mode=ASYNC if mode == ASYNC else SYNC,
        ) as opened,
        contextlib.closing(threads.prefetch(opened.frames)) as ahead,
    ):
        source, statistics, latencies = opened.source, opened.statistics, []
        pace = Pace(ahead, source.fps)
        start = time.perf_counter()
        for result in progress_bar(
            opened.score(pace), f"{stream.name}, {mode}", frames, unit="frame"
        ):
            statistics.add(result)
            latencies.append(1000 * result.latency)
        statistics.wall_seconds = time.perf_counter() - start
    return {
        "mode": mode,
        "fps": source.fps,
        "frames": frames,
        "frame_size": list(source.size),
        "latency_ms": {
            "median": float(np.median(latencies)),
            "p99": float(np.percentile(latencies, 99)),
            "max": max(latencies),
            "all": [round(latency, 2) for latency in latencies],
        },
        "behind": {"frames": pace.behind(), "most_s": max(pace.delays)},
        "summary": statistics.summary(),
        "problems": source.problems,
    }


def _cells(name, row, frozen):
    """Returns a line of the table. frozen: the stream's row of the frozen student, or None."""
    summary, latency = row["summary"], row["latency_ms"]
    asked = row["mode"] != FROZEN
    staleness = summary.get("staleness")
    late = markdown.UNKNOWN
    if staleness and staleness["mean"] is not None:
        late = f"{staleness['mean']:.1f} / {staleness['max']}"
    ratio = latency["p99"] / frozen["latency_ms"]["median"] if frozen else None
    return [
        name,
        TITLES[row["mode"]],
        markdown.percent(summary["mean_iou"]),
        markdown.percent(summary["teacher_fraction"] if asked else None),
        markdown.number(summary["updates"] if asked else None, 0),
        late,
        markdown.number(latency["median"]),
        markdown.number(latency["p99"]),
        markdown.times(ratio, 2),
        f"{row['behind']['frames']} of {row['frames']} ({row['behind']['most_s']:.1f})",
    ]


def render(values):
    """Returns the JSON file's values as Markdown."""
    lines, sizes = [], []
    for name, modes in values["streams"].items():
        lines += [_cells(name, row, modes.get(FROZEN)) for row in modes.values()]
        for row in modes.values():
            height, width = row["frame_size"]
            sizes.append(f"{name} {height}×{width} at {row['fps']:.2f} frames/s")
    head = ["stream", "teacher", "mean IoU (%)", "teacher frames (%)", "updates"]
    head += ["staleness, mean / max", "latency ms, median", "p99", "p99 / frozen median"]
    head += ["behind (s)"]
    teacher = values["teacher"]["teacher"]
    setting = (
        f"{'; '.join(dict.fromkeys(sizes))}. Teacher: {teacher}, staleness at most "
        f"{values['max_staleness']} frames, student from {values['settings']['init']!r}. "
        f"{provenance.setting_in_words(values)}."
    )
    return "\n\n".join([setting, markdown.table(head, lines), NOTES])


def measure(chosen, settings, max_staleness, output):
    """Runs all streams in all modes; writes the file after each. Returns its values."""
    from jitnet_tf.runs.versions import versions
    from teacher.record import describe_live

    values = {
        "format": FORMAT,
        "settings": {name: getattr(settings, name) for name in SETTINGS},
        "max_staleness": max_staleness,
        "teacher": describe_live(settings.teacher, settings.teacher_options),
        "machine": provenance.describe(),
        "versions": versions(),
        "streams": {},
    }
    for stream, frames in chosen:
        modes = values["streams"].setdefault(stream.name, {})
        for mode in TITLES:
            modes[mode] = {
                **evaluate(stream, frames, mode, settings, max_staleness),
                "stream": dataclasses.asdict(stream),
                **streams.recorded(stream),
            }
            measurement.write(output, values)
    return values


def _measure_to_file():
    for name in ("streams", "teacher"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; --help lists the flags")
    values = {name: FLAGS[name].value for name in (*SETTINGS, *TEACHER_SETTINGS)}
    listed = streams.read_list(FLAGS.streams, FLAGS.videos, FLAGS.recordings)
    _, chosen = methods.select(FLAGS.only, listed, known=())
    methods.check(values, METHODS)
    # An asynchronous teacher's labels come too late to be shown: count alike without them.
    settings = methods.named("jitnet_0.8").take({**values, "shown": STUDENT_SHOWN})
    checked = [(stream, streams.check(stream)) for stream in chosen]
    measurement.check_output(FLAGS.output)
    process.share_gpus()
    command_line.import_tensorflow()
    try:
        return measure(checked, settings, FLAGS.max_staleness, FLAGS.output)
    except KeyboardInterrupt:
        print(f"{FLAGS.output} holds the rows that were complete, if any", file=sys.stderr)
        raise


def main():
    """Measures or prints."""
    measurement.measure_or_print(_measure_to_file, render, FORMAT, "experiments.asynchronous")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

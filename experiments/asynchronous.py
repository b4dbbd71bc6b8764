"""What it costs in accuracy that frames do not wait for the teacher, and what it gives.

    python -m experiments.asynchronous --streams=experiments/streams/short.csv --videos=VIDEOS \\
        --recordings=RECORDINGS --teacher=path/to/saved_model --output=asynchronous.json
    python -m experiments.asynchronous --print=asynchronous.json

Each stream is run with the teacher asked synchronously, asynchronously, and with the student
frozen, which asks no teacher. Frames come at the source's rate, as from a camera, but none is
dropped: the i-th is not handed out before i / fps seconds after the first ("decode" in the file
includes that). The teacher runs live; every frame is scored against its recording. One row after
the other is measured, on a machine that has to be idle; the file is written after each of them,
and has every frame's latency.
"""

import contextlib
import dataclasses
import itertools
import sys
import time

from absl import flags
from tqdm import tqdm

from experiments import methods
from experiments.protocol import provenance, streams
from experiments.reports import markdown, measurement
from jitnet_tf import video
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import ASYNC, SYNC, RunConfig
from teacher import process

FLAGS = flags.FLAGS

FORMAT = "experiments.asynchronous, 1"
FROZEN = "frozen"
TITLES = {FROZEN: "student frozen, no teacher", SYNC: "synchronous", ASYNC: "asynchronous"}

NOTES = """\
Latency is from taking a frame to its class map, without decoding and without the time that a frame
waits while the one before is still being learned from. That shows in the frames behind: those
handed out when the next was due already; in brackets, by how many seconds at most. Scoring every
frame is part of what a frame takes, and of no latency. A lesson counts as a teacher frame, and its
updates count, when it is complete."""


class Pace:
    """Hands out frames at a rate, as a camera does, but drops none.

    Attributes:
      delays: of each frame handed out, in seconds after it was due.
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
        """How many frames were handed out when the next was due already."""
        return sum(delay > 1 / self._fps for delay in self.delays)


def define_flags():
    """Defines this command's flags."""
    d = methods.Settings()
    flags.DEFINE_string("streams", None, "Stream list, a CSV file; see experiments.streams.")
    flags.DEFINE_string("videos", None, "Folder of the list's videos. Default: the list's.")
    flags.DEFINE_string("recordings", None, "Folder of its recordings. Default: the list's.")
    flags.DEFINE_list("only", [], "Names of streams to run. Default: all.")
    flags.DEFINE_string("teacher", None, "SavedModel folder or zoo:NAME, to run live.")
    flags.DEFINE_string("output", None, "JSON file to write what is measured to.")
    flags.DEFINE_string("print", None, "Print the table in this JSON file; measure nothing.")
    flags.DEFINE_string("init", d.init, "Initial weights of all students; see jitnet_tf.distill.")
    flags.DEFINE_integer("seed", d.seed, "Of initial weights.", lower_bound=0)
    flags.DEFINE_integer(
        "max_staleness",
        RunConfig().max_staleness,
        "Frames after which asynchronous labels are waited for.",
        lower_bound=1,
    )


@contextlib.contextmanager
def opened_teacher(spec, mode):
    """A live teacher as a mode asks it; None where it does not."""
    from teacher import open_teacher

    if mode == ASYNC:
        with process.ProcessTeacher(spec) as teacher:
            yield teacher
    else:
        yield open_teacher(spec) if mode == SYNC else None


def make_segmenter(mode, context, max_staleness):
    """What segments the stream; context: a `methods.Context`."""
    if mode == FROZEN:
        return methods.METHODS["never_adapted"].make(context)
    return methods.distiller(context, teacher_mode=mode, max_staleness=max_staleness)


def evaluate(stream, frames, mode, settings, max_staleness):
    """Runs a stream in a mode at the source's rate; returns its row in plain values.

    stream: a `streams.Stream`, checked, of so many frames. settings: `methods.Settings`. Raises
    UserError as the product's parts do.
    """
    import numpy as np

    from jitnet_tf.base import threads
    from jitnet_tf.distillation import metrics
    from jitnet_tf.distillation.stream import ScoredStream
    from jitnet_tf.labels import LabelMaker, class_groups
    from jitnet_tf.runs.summary import Statistics
    from teacher.recorded import Recording

    groups = class_groups("lvs")
    label_maker = LabelMaker(groups)
    with contextlib.ExitStack() as stack:
        recording = stack.enter_context(Recording(stream.recording))
        source = stack.enter_context(video.open_source(stream.video, recording.frame_size))
        teacher = stack.enter_context(opened_teacher(settings.teacher, mode))
        context = methods.Context(
            settings, label_maker, teacher, recording, source.size, frames, None, None, None, stream
        )
        segmenter = make_segmenter(mode, context, max_staleness)
        first = next(source)
        # One-time costs stay out of the times.
        if teacher:
            teacher(first, 0)
        segmenter.warm_up(first)
        shown = itertools.islice(itertools.chain([first], source), frames)
        prefetch = stack.enter_context(contextlib.closing(threads.prefetch(shown)))
        pace = Pace(prefetch, source.fps)
        statistics = Statistics(
            metrics.StreamScore(groups.names, stream.classes),
            teacher_mode=ASYNC if mode == ASYNC else SYNC,
        )
        latencies = []
        paced = ScoredStream(iter(pace), segmenter, label_maker, recording)
        start = time.perf_counter()
        for result in tqdm(paced, f"{stream.name}, {mode}", frames, unit="frame"):
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
    """A line of the table. frozen: the stream's row with the student alone, None without."""
    summary, latency = row["summary"], row["latency_ms"]
    asked = row["mode"] != FROZEN
    staleness = summary.get("staleness")
    late = "–"
    if staleness and staleness["mean"] is not None:
        late = f"{staleness['mean']:.1f} / {staleness['max']}"
    ratio = f"{latency['p99'] / frozen['latency_ms']['median']:.2f}×" if frozen else "–"
    return [
        name,
        TITLES[row["mode"]],
        "–" if summary["mean_iou"] is None else f"{100 * summary['mean_iou']:.1f}",
        f"{100 * summary['teacher_fraction']:.1f}" if asked else "–",
        f"{summary['updates']}" if asked else "–",
        late,
        f"{latency['median']:.1f}",
        f"{latency['p99']:.1f}",
        ratio,
        f"{row['behind']['frames']} of {row['frames']} ({row['behind']['most_s']:.1f})",
    ]


def render(values):
    """What the JSON file holds, as Markdown."""
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
    """Runs all streams in all modes; writes the file after each. Returns what it then holds."""
    from jitnet_tf.runs.run import versions
    from teacher.record import describe_live

    values = {
        "format": FORMAT,
        "settings": {name: getattr(settings, name) for name in ("init", "seed")},
        "max_staleness": max_staleness,
        "teacher": describe_live(settings.teacher),
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


def select(names, listed):
    """The streams of a list that have these names; all without any. UserError for an unknown."""
    known = [stream.name for stream in listed]
    for name in names:
        if name not in known:
            raise UserError(f"--only: {name!r} is not in the list, which has {', '.join(known)}")
    return [stream for stream in listed if not names or stream.name in names]


def main():
    """See the module."""
    if (FLAGS.output is None) == (FLAGS.print is None):
        raise UserError("give either --output=FILE.json, to measure, or --print=FILE.json")
    if FLAGS.print is not None:
        command = "experiments.asynchronous --output"
        print(measurement.render_file(FLAGS.print, command, FORMAT, render))
        return
    for name in ("streams", "teacher"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; --help lists the flags")
    settings = methods.Settings(teacher=FLAGS.teacher, init=FLAGS.init, seed=FLAGS.seed)
    listed = streams.read_list(FLAGS.streams, FLAGS.videos, FLAGS.recordings)
    chosen = select(FLAGS.only, listed)
    methods.check(settings, ["jitnet_0.8"])
    checked = [(stream, streams.check(stream)) for stream in chosen]
    measurement.check_output(FLAGS.output)
    process.share_gpus()
    command_line.import_tensorflow()
    try:
        values = measure(checked, settings, FLAGS.max_staleness, FLAGS.output)
    except KeyboardInterrupt:
        print(f"{FLAGS.output} has what was complete, if anything was", file=sys.stderr)
        raise
    print(render(values))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

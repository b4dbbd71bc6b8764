"""Table 3: OSVOS, fine-tuned on every 30th frame, against JITNet 0.8, on one class of each stream.

    python -m experiments.table3 --streams=experiments/streams/short.csv --videos=VIDEOS \\
        --recordings=RECORDINGS --results=runs/table3
    python -m experiments.table3 --print=runs/table3

It uses the first two minutes of each stream (§5.5) and one class: the first that is no vehicle, or
the first. JITNet 0.8 segments all classes and is scored on that one. OSVOS starts from
--osvos_weights, which are not part of this project (see `methods.osvos_network`), or from random
ones; the tables say which. On a CPU it takes minutes for a second of video: --osvos_steps,
--osvos_seconds and --osvos_scale make it faster and less accurate.

After an interruption the same command makes the missing results. `--print` makes the tables from
results alone.
"""

import dataclasses

from absl import flags

from experiments import methods
from experiments.protocol import evaluation
from experiments.reports import command, table3
from experiments.reports.results import Results
from jitnet_tf import video
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config.names import STUDENT_SHOWN

FLAGS = flags.FLAGS
TABLE = "table3.md"
SEGMENT_S = 120  # §5.5
VEHICLES = ("bike", "auto")
SETTINGS = {"shown": STUDENT_SHOWN}  # as OSVOS, which shows its own prediction on teacher frames


def designated(classes):
    """Returns the class to segment: the first person or animal (§5.5), otherwise the first."""
    return next((name for name in classes if name not in VEHICLES), classes[0])


def segment(stream):
    """Returns the first two minutes of a `streams.Stream`, with its designated class alone.

    Raises:
      UserError: the video is missing or unreadable.
    """
    try:
        with video.open_source(stream.video) as source:
            frames = round(SEGMENT_S * source.fps)
    except UserError as error:
        raise UserError(f"stream {stream.name}: {error}") from None
    return dataclasses.replace(
        stream,
        classes=(designated(stream.classes),),
        max_frames=min(frames, stream.max_frames or frames),
    )


def evaluate(stream, frames, method, settings, masks, on_step):
    """Calls `evaluation.evaluate` and adds "initialised", the initial weights in words."""
    segmented_by = methods.named(method)
    origin = segmented_by.origin(segmented_by.take(settings))
    result = evaluation.evaluate(stream, frames, method, settings, masks, on_step)
    return {**result, "initialised": origin}


def define_flags():
    """Defines the flags of table 3."""
    command.define_flags()
    known = {name for method in table3.METHODS for name in methods.named(method).settings}
    methods.define_flags(table3.METHODS, known - SETTINGS.keys())


def main():
    """Makes the missing results and prints the tables, or prints them only."""
    if FLAGS.print:
        print(table3.report(Results.load(FLAGS.print)))
        return
    listed, settings = command.listed_streams(), {**command.settings(), **SETTINGS}
    names, chosen = methods.select(FLAGS.only, listed, table3.METHODS)
    chosen = [segment(stream) for stream in chosen]
    command.make_results(chosen, names, settings, FLAGS.results, evaluate)
    command.show_tables(table3.report, listed, TABLE)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

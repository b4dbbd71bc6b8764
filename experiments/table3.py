"""Table 3: OSVOS, fine-tuned on every 30th frame, against JITNet 0.8, on one class of each stream.

    python -m experiments.table3 --streams=experiments/streams/short.csv --videos=VIDEOS \\
        --recordings=RECORDINGS --results=runs/table3
    python -m experiments.table3 --print=runs/table3

Of each stream, the first two minutes (§5.5) and one class: its first that is no vehicle, or its
first. JITNet 0.8 segments all classes and is judged by that one. OSVOS starts from --osvos_weights,
which are not part of this project (see `methods.osvos_network`), or from random ones; the
tables say from which. It takes minutes for each second of video on a CPU: --osvos_steps,
--osvos_seconds and --osvos_scale make it cheaper, and worse.

Interrupted, the same command goes on with the results that are missing. `--print` makes the tables
from the results alone.
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

FLAGS = flags.FLAGS
TABLE = "table3.md"
SEGMENT_S = 120  # §5.5
VEHICLES = ("bike", "auto")


def designated(classes):
    """The class that is segmented: a person or an animal (§5.5), as far as there is one."""
    return next((name for name in classes if name not in VEHICLES), classes[0])


def segment(stream):
    """The first two minutes of a `streams.Stream`, with its designated class alone.

    Raises:
      UserError: there is no such video.
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
    """`evaluation.evaluate`, with what the network started from in words added to its result."""
    from experiments.methods.osvos import origin  # imports TensorFlow

    if method in table3.OSVOS:
        initialised = origin(settings.osvos_weights, settings.seed)
    else:
        initialised = settings.init
    result = evaluation.evaluate(stream, frames, method, settings, masks, on_step)
    return {**result, "initialised": initialised}


def define_flags():
    """Defines this command's flags."""
    d = methods.Settings()
    command.define_flags()
    flags.DEFINE_string(
        "teacher",
        d.teacher,
        "SavedModel folder or zoo:NAME to run live on teacher frames. Default: the recordings.",
    )
    flags.DEFINE_string("init", d.init, "Initial weights of JITNet; see jitnet_tf.distill.")
    flags.DEFINE_integer("seed", d.seed, "Of initial weights and augmentation.", lower_bound=0)
    flags.DEFINE_string("osvos_weights", None, "Converted weights of OSVOS. Default: random ones.")
    flags.DEFINE_integer(
        "osvos_steps", d.osvos_steps, "Steps of OSVOS on a teacher frame, at most.", lower_bound=1
    )
    flags.DEFINE_float(
        "osvos_seconds", d.osvos_seconds, "Seconds that these take, at most; inf: any number."
    )
    flags.DEFINE_float("osvos_scale", d.osvos_scale, "Scale of frames on their way into OSVOS.")


def main():
    """See the module."""
    if FLAGS.print:
        print(table3.report(Results.load(FLAGS.print)))
        return
    listed, settings = command.listed_streams(), command.settings()
    # Written so that NaN, which compares as false, is refused too.
    if not settings.osvos_seconds > 0:
        raise UserError(f"--osvos_seconds={settings.osvos_seconds} is not above 0")
    if not 0 < settings.osvos_scale <= 1:
        raise UserError(f"--osvos_scale={settings.osvos_scale} is outside 0…1, or 0")
    names, chosen = methods.select(FLAGS.only, listed, table3.METHODS)
    chosen = [segment(stream) for stream in chosen]
    command.make_results(chosen, names, settings, FLAGS.results, evaluate)
    command.show_tables(table3.report, listed, TABLE)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

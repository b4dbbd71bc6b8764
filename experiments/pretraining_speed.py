"""What a step of pretraining takes, and what its input pipeline alone would give.

    python -m experiments.pretraining_speed --annotations=instances_train2017.json \\
        --images=train2017

Takes the flags of `jitnet_tf.pretrain`. The pipeline has to outrun the step; on a CPU both share
its cores, so the third figure, of both together, is what a training then has.
"""

import statistics
import time

from absl import flags

from experiments import machine
from jitnet_tf import cli, pretrain

FLAGS = flags.FLAGS
UNTIMED = 3  # batches: tracing, and the first photographs off the disk


def define_flags():
    """Defines this command's flags."""
    pretrain.define_flags()
    flags.DEFINE_integer("seconds", 20, "To measure each for.", lower_bound=1)


def rate(step, batch_size, seconds):
    """Photographs per second: the median over batches of `step()`, called for so many seconds."""
    for _ in range(UNTIMED):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return batch_size / statistics.median(times)


def measure(session, seconds):
    """Photographs per second of the pipeline alone, the step alone, and both.

    session: a `pretraining.session.Pretraining`.
    """
    batch_size = session.config.batch_size

    def both():
        session.step_on(next(batches)).numpy()

    found = {}
    batches = iter(session.batches())
    found["input pipeline alone"] = rate(lambda: next(batches), batch_size, seconds)
    one = next(batches)
    del batches
    found["training step alone"] = rate(lambda: session.step_on(one).numpy(), batch_size, seconds)
    batches = iter(session.batches())
    found["both together"] = rate(both, batch_size, seconds)
    return found


def main(argv):
    """See the module."""
    del argv
    config = pretrain.new_config()
    cli.import_tensorflow()
    from jitnet_tf.pretraining import session

    opened = session.Pretraining(config, overwrite=FLAGS.overwrite)
    for what, value in measure(opened, FLAGS.seconds).items():
        print(f"{what:<22}{value:8.1f} photographs/s")
    print(machine.in_words(machine.describe()))


if __name__ == "__main__":
    define_flags()
    cli.main(main)

"""What a step of pretraining takes, and what its input pipeline alone would give.

    python -m experiments.pretraining_speed --annotations=instances_train2017.json \\
        --images=train2017

Takes the flags of `jitnet_tf.pretrain`. The pipeline has to outrun the step; on a CPU both share
its cores, so the third figure, of both together, is what a training then has.
"""

import tempfile
import time

from absl import flags

from experiments.protocol import provenance
from jitnet_tf import pretrain
from jitnet_tf.base import command_line

FLAGS = flags.FLAGS
UNTIMED = 10  # batches: tracing, the first photographs off the disk, what is prefetched


def define_flags():
    """Defines this command's flags."""
    pretrain.define_flags()
    flags.DEFINE_integer("seconds", 20, "To measure each for.", lower_bound=1)


def rate(step, batch_size, seconds):
    """Photographs per second of `step()`, called for so many seconds.

    All batches over all the time: a pipeline hands them out in bursts.
    """
    for _ in range(UNTIMED):
        step()
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        step()
        count += 1
    return batch_size * count / (now - start)


def measure(session, seconds):
    """Photographs per second of the pipeline alone, the step alone, and both.

    session: a `pretraining.session.Pretraining`.
    """
    batch_size = session.config.batch_size

    def both():
        session.train_step(next(batches)).numpy()

    found = {}
    batches = iter(session.batches())
    found["input pipeline alone"] = rate(lambda: next(batches), batch_size, seconds)
    one = next(batches)
    del batches
    found["training step alone"] = rate(
        lambda: session.train_step(one).numpy(), batch_size, seconds
    )
    batches = iter(session.batches())
    found["both together"] = rate(both, batch_size, seconds)
    return found


def main():
    """See the module."""
    with tempfile.TemporaryDirectory() as logdir:
        config = pretrain.new_config(logdir)
        command_line.import_tensorflow()
        from jitnet_tf.pretraining import session

        found = measure(session.Pretraining(config), FLAGS.seconds)
    for what, value in found.items():
        print(f"{what:<22}{value:8.1f} photographs/s")
    print(provenance.in_words(provenance.describe()))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

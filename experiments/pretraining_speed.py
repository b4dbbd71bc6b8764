"""Speed of pretraining: the input pipeline alone, the training step alone, and both together.

    python -m experiments.pretraining_speed --annotations=instances_train2017.json \\
        --images=train2017

It takes the flags of `jitnet_tf.pretrain`. The pipeline has to be faster than the step; on a CPU
both share the cores, so only the third figure, of both together, is the speed of a training.
"""

import tempfile
import time

from absl import flags

from experiments.protocol import provenance
from jitnet_tf import pretrain
from jitnet_tf.base import command_line

FLAGS = flags.FLAGS
UNTIMED = 10  # batches: tracing, the first reads from disk, prefetched batches


def define_flags():
    """Defines the flags of the timing of pretraining's steps."""
    pretrain.define_flags()
    flags.DEFINE_integer("seconds", 20, "Seconds to measure each rate for.", lower_bound=1)


def rate(step, batch_size, seconds):
    """Returns images per second of `step()`, called for so many seconds.

    It is the mean over all batches, since a pipeline yields them in bursts.
    """
    for _ in range(UNTIMED):
        step()
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        step()
        count += 1
    return batch_size * count / (now - start)


def measure(session, seconds):
    """Returns images per second of the pipeline alone, of the step alone, and of both.

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
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as logdir:
        FLAGS.logdir = logdir
        config = pretrain.new_config()
        command_line.import_tensorflow()
        from jitnet_tf.pretraining import session

        found = measure(session.Pretraining(config), FLAGS.seconds)
    for what, value in found.items():
        print(f"{what:<22}{value:8.1f} images/s")
    print(provenance.in_words(provenance.describe()))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

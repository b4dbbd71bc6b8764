"""Benchmark of our student beside other runtimes, on the same network and weights.

    pip install -r experiments/requirements_peers.txt    # each of them may be missing
    python -m experiments.benchmark --json=benchmark.json
    python -m experiments.benchmark --print=benchmark.json

Each peer has one process for each precision, and all take turns round by round, so that other load
of the machine hits all alike. A peer has variants (memory format, form of the graph, source of its
model): the JSON file has all of them, the fastest makes the peer's row. Class ids and losses are
compared with those of our float32, on one image, with the pretrained weights if they fit. Two more
tables give the product's own run on the sample clip, by stage, and the machine's limits.
torch.compile takes minutes.
"""

import dataclasses

from absl import flags

from experiments.protocol import provenance
from experiments.reports import measurement
from experiments.speed import benchmark_report, comparison, peers, product_run, roofline
from experiments.speed.peers import ours
from jitnet_tf import video
from jitnet_tf.base import command_line, options
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import StudentConfig
from jitnet_tf.flags import options_of
from jitnet_tf.labels import LVS

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags of the benchmark: network, peers, rounds, file."""
    measurement.define_flags("json")
    flags.DEFINE_string("frame_size", "720x1280", "HxW of the frames.")
    flags.DEFINE_integer(
        "num_classes", len(LVS) + 1, "Number of classes with background.", 2, upper_bound=255
    )
    network = options_of(StudentConfig)
    for name in ("width", "normalization"):
        field, of_type, about = network[name]
        options.define_flag(name, field.default, of_type, about)
    flags.DEFINE_integer("rounds", 20, "How often to time each step.", lower_bound=1)
    flags.DEFINE_list(
        "peers",
        [name.replace(" ", "_") for name in peers.PEERS],
        "Peers to measure; ours is always measured.",
    )
    flags.DEFINE_integer(
        "loop_frames", 100, "Frames of the sample to run the product on; 0: none.", lower_bound=0
    )


def chosen_peers(names):
    """Returns the peers of --peers, ours first, in the table's order. Raises UserError."""
    names = {name.strip().replace("_", " ") for name in names}
    if unknown := sorted(names - peers.PEERS.keys()):
        known = ", ".join(name.replace(" ", "_") for name in peers.PEERS)
        raise UserError(f"--peers: {unknown[0]!r} is unknown; choose from {known}")
    return [name for name in peers.PEERS if name in names | {peers.OURS}]


def measure(names, network, rounds, loop_frames):
    """Returns the values of the JSON file."""
    # TensorFlow stays out of this process, which is idle while others compute.
    described, versions = peers.call_in_process(_describe)
    arrays = peers.call_in_process(ours.initial_arrays, network)
    rows, variants, skipped = comparison.compare(
        names, dataclasses.replace(network, arrays=arrays), rounds
    )
    return {
        "format": benchmark_report.FORMAT,
        "frame_size": list(network.frame_size),
        "num_classes": network.num_classes,
        "width": network.width,
        "normalization": network.normalization,
        "init": ours.config_of(network, peers.FLOAT32).init,
        "rounds": rounds,
        "machine": described,
        "versions": versions | peers.versions(names),
        "rows": rows,
        "variants": variants,
        "skipped": skipped,
        "loop": product_run.measure(network, loop_frames) if loop_frames else None,
        "roofline": peers.call_in_process(roofline.measure, network),
    }


def _describe():
    from jitnet_tf.runs.versions import versions

    return provenance.describe(), versions()


def _measure_to_file():
    network = peers.Network(
        video.parse_size(FLAGS.frame_size), FLAGS.num_classes, FLAGS.width, FLAGS.normalization
    )
    names = chosen_peers(FLAGS.peers)
    ours.config_of(network, peers.FLOAT32)  # fails early if there is no such network
    measurement.check_output(FLAGS.json, "json")
    values = measure(names, network, FLAGS.rounds, FLAGS.loop_frames)
    measurement.write(FLAGS.json, values, "json")
    return values


def main():
    """Measures or prints."""
    measurement.measure_or_print(
        _measure_to_file,
        benchmark_report.render,
        benchmark_report.FORMAT,
        "experiments.benchmark",
        flag="json",
    )


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

"""Our student's infer and update beside other runtimes', on the same network and weights.

    pip install -r experiments/requirements_peers.txt    # each of them may be missing
    python -m experiments.benchmark --json=benchmark.json
    python -m experiments.benchmark --print=benchmark.json

Every peer has a process of its own for each precision, and all take turns round by round, so that
what else the machine does hits all alike. A peer has variants (memory format, form of the graph,
where its model comes from): all are in the JSON file, the fastest makes the peer's row. Class ids
and losses are compared with our float32's, on a picture, with the pretrained weights where they
fit. Then the product's own loop on the sample clip, by stage, and what the machine could do at
best. torch.compile takes minutes.
"""

import contextlib
import dataclasses
import statistics

import cv2
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments.protocol import provenance
from experiments.reports import measurement
from experiments.speed import benchmark_report, loop, peers, roofline
from experiments.speed.peers import ours
from experiments.speed.worker import INFER, UPDATE, Material, Worker, WorkerError
from jitnet_tf import distill, video
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import StudentConfig
from jitnet_tf.labels import LVS

FLAGS = flags.FLAGS

# What float32 has to agree in with ours, or it computes something else.
LEAST_AGREEMENT = 0.999  # part of the pixels
MOST_LOSS_DIFFERENCE = 1e-3  # relative
BLOCK = 16  # pixels; labels are blocks of one class


def define_flags():
    """Defines this command's flags."""
    network = StudentConfig()
    flags.DEFINE_string("json", None, "JSON file to write what is measured to.")
    flags.DEFINE_string("print", None, "Print the tables of this JSON file; measure nothing.")
    flags.DEFINE_string("frame_size", "720x1280", "HxW of the frames.")
    flags.DEFINE_integer(
        "num_classes", len(LVS) + 1, "Classes, background included.", 2, upper_bound=255
    )
    flags.DEFINE_float("width", network.width, "Channel multiplier.")
    flags.DEFINE_enum(
        "normalization",
        network.normalization,
        ["frame", "moving"],
        "Normalise by each frame's own statistics, or by moving averages.",
    )
    flags.DEFINE_integer("rounds", 20, "How often each step is timed.", lower_bound=1)
    flags.DEFINE_list(
        "peers",
        [name.replace(" ", "_") for name in peers.PEERS],
        "Which to measure; ours always is.",
    )
    flags.DEFINE_integer(
        "loop_frames", 100, "Frames of the sample for the loop; 0: no loop.", lower_bound=0
    )


def chosen_peers(names):
    """The peers that --peers names, ours first, in the table's order; UserError."""
    names = {name.strip().replace("_", " ") for name in names}
    if unknown := sorted(names - peers.PEERS.keys()):
        known = ", ".join(name.replace(" ", "_") for name in peers.PEERS)
        raise UserError(f"--peers: there is no {unknown[0]!r}; choose of {known}")
    return [name for name in peers.PEERS if name in names | {peers.OURS}]


def sample_material(network):
    """The sample's first frame, and labels to train on: see `worker.Material`."""
    with video.open_source(distill.SAMPLE, network.frame_size) as source:
        frame = next(source)
    random = np.random.default_rng(0)
    blocks = [-(-side // BLOCK) for side in network.frame_size]
    labels = random.integers(0, network.num_classes, blocks).astype(np.uint8)
    size = network.frame_size[::-1]
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    return Material(frame, labels, np.where(labels > 0, 5, 1).astype(np.float32))


def rows_of(worker, times, memory, reference):
    """Rows of a worker's variants, as the JSON file has them.

    times: (variant's index, step) → milliseconds. reference: our float32's Built.
    """
    found = []
    for (index, step), milliseconds in times.items():
        built = worker.built[index]
        agreement = float(np.mean(built.classes == reference.classes))
        row = {
            "what": step,
            "peer": built.peer,
            "precision": worker.precision,
            "variant": built.name,
            "median_ms": statistics.median(milliseconds),
            "min_ms": min(milliseconds),
            "max_ms": max(milliseconds),
            "all_ms": [round(each, 3) for each in milliseconds],
            "agreement": agreement,
            "memory_mib": memory,
        }
        differs = not agreement >= LEAST_AGREEMENT
        if step == UPDATE:
            row["loss"] = built.loss
            row["loss_difference"] = abs(built.loss - reference.loss) / abs(reference.loss)
            differs |= not row["loss_difference"] <= MOST_LOSS_DIFFERENCE
        row["differs"] = differs and worker.precision == peers.FLOAT32
        found.append(row)
    return found


def best_rows(variants):
    """The fastest variant of each step, peer and precision; one that differs only for want of any.

    Where models come from (in parentheses behind the peer's name) becomes part of the variant.
    """
    best = {}
    for row in variants:
        peer, _, origin = row["peer"].partition(" (")
        name = ", ".join(filter(None, (origin.rstrip(")"), row["variant"])))
        key = (row["what"], peer, row["precision"])
        rank = (row["differs"], row["median_ms"])
        if key not in best or rank < (best[key]["differs"], best[key]["median_ms"]):
            best[key] = {**row, "peer": peer, "variant": name}
    order = {step: place for place, step in enumerate((INFER, UPDATE))}
    return sorted(best.values(), key=lambda row: order[row["what"]])


def take_turns(workers, rounds, skipped):
    """Times all steps of all workers. Returns {(worker's index, variant's index, step): ms}.

    What fails is dropped, and added to `skipped`.
    """
    times = {
        (w, v, step): []
        for w, worker in enumerate(workers)
        for v, built in enumerate(worker.built)
        for step in built.steps
    }
    with tqdm(total=rounds * len(times), desc="timing", unit="step") as progress:
        for _ in range(rounds):
            for key in list(times):
                w, v, step = key
                try:
                    times[key].append(workers[w].run(v, step))
                except WorkerError as error:
                    built = workers[w].built[v]
                    skipped.append(
                        {
                            "peer": built.peer,
                            "precision": workers[w].precision,
                            "variant": f"{built.name}, {step}",
                            "why": str(error),
                        }
                    )
                    del times[key]
                progress.update()
    return times


def start_worker(peer, network, precision, material, stack, skipped):
    """A Worker with its variants built, or None; closed by stack. Adds to `skipped`."""

    def skip(name, why):
        skipped.append({"peer": name[0], "precision": precision, "variant": name[1], "why": why})

    worker = Worker(peer, network, precision, material)
    stack.callback(worker.close)
    try:
        for built in worker.build():
            if built.failure:
                skip((built.peer, built.name), built.failure)
    except WorkerError as error:
        skip((peer, "all"), str(error))
        return None
    return worker


def compare(names, network, rounds):
    """Times the peers of those names: (rows, variants' rows, what was skipped and why)."""
    skipped, workers = [], []
    material = sample_material(network)
    present = []
    for name in names:
        if absent := peers.missing(name):
            why = f"{' and '.join(absent)} not installed: experiments/requirements_peers.txt"
            skipped.append({"peer": name, "why": why})
        else:
            present += [(name, precision) for precision in peers.PEERS[name][1]]
    with contextlib.ExitStack() as stack:
        for name, precision in (progress := tqdm(present, "first runs")):
            progress.set_postfix_str(f"{name}, {precision}")
            worker = start_worker(name, network, precision, material, stack, skipped)
            workers += [worker] if worker else []
        if not workers or workers[0].peer != peers.OURS or not workers[0].built[0].steps:
            raise UserError(f"our student does not run: {skipped[0]['why']}")
        reference = workers[0].built[0]
        times = take_turns(workers, rounds, skipped)
        variants = []
        for w, worker in enumerate(workers):
            own = {key[1:]: each for key, each in times.items() if key[0] == w}
            memory = None
            with contextlib.suppress(WorkerError):
                memory = worker.memory()
            variants += rows_of(worker, own, memory, reference)
    return best_rows(variants), variants, skipped


def measure(names, network, rounds, loop_frames):
    """What the JSON file holds."""
    # TensorFlow stays out of this process, which is idle while others compute.
    described, versions = peers.apart(_describe)
    arrays = peers.apart(ours.initial_arrays, network)
    rows, variants, skipped = compare(names, dataclasses.replace(network, arrays=arrays), rounds)
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
        "loop": loop.measure(network, loop_frames, peers.apart) if loop_frames else None,
        "roofline": peers.apart(roofline.measure, network),
    }


def _describe():
    from jitnet_tf.runs.run import versions

    return provenance.describe(), versions()


def main():
    """See the module."""
    if (FLAGS.json is None) == (FLAGS.print is None):
        raise UserError("give either --json=FILE, to measure, or --print=FILE")
    if FLAGS.print is not None:
        command = "experiments.benchmark --json"
        print(
            measurement.render_file(
                FLAGS.print, command, benchmark_report.FORMAT, benchmark_report.render
            )
        )
        return
    network = peers.Network(
        video.parse_size(FLAGS.frame_size), FLAGS.num_classes, FLAGS.width, FLAGS.normalization
    )
    names = chosen_peers(FLAGS.peers)
    ours.config_of(network, peers.FLOAT32)  # what does not fit shows now
    measurement.check_output(FLAGS.json, "json")
    table = measure(names, network, FLAGS.rounds, FLAGS.loop_frames)
    measurement.write(FLAGS.json, table, "json")
    print(benchmark_report.render(table))


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

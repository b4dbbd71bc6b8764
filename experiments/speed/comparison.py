"""Timing of peers beside our student: processes in turns, and rows of the results."""

import contextlib
import statistics

import cv2
import numpy as np

from experiments.speed import peers, turns
from experiments.speed.peer_process import INFER, UPDATE, Material, PeerProcess
from jitnet_tf import distill, video
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.progress import progress_bar

REQUIREMENTS = "experiments/requirements_peers.txt"
# Minimum agreement of float32 with ours; below it, the peer computes another network.
LEAST_AGREEMENT = 0.999  # part of the pixels
MOST_LOSS_DIFFERENCE = 1e-3  # relative
BLOCK = 16  # pixels; labels are blocks of one class


def compare(names, network, rounds):
    """Times peers beside ours.

    Args:
      names: of `peers.PEERS`, ours first.
      network: a `peers.Network`, with weights.
      rounds: how often each step is timed.

    Returns:
      (rows of the fastest variants, rows of all variants, what was skipped and why), as plain
      values for the JSON file.

    Raises:
      UserError: our student does not run.
    """
    skipped, processes = [], []
    material = sample_material(network)
    present = []
    for name in names:
        if absent := peers.missing(name):
            why = f"{' and '.join(absent)} not installed: {REQUIREMENTS}"
            skipped.append({"peer": name, "why": why})
        else:
            present += [(name, precision) for precision in peers.PEERS[name][1]]
    with contextlib.ExitStack() as stack:
        for name, precision in (progress := progress_bar(present, "first runs")):
            progress.set_postfix_str(f"{name}, {precision}")
            started = start_process(name, network, precision, material, stack, skipped)
            processes += [started] if started else []
        if not processes or processes[0].peer != peers.OURS or not processes[0].built[0].steps:
            raise UserError(f"our student does not run: {skipped[0]['why']}")
        reference = processes[0].built[0]
        times = time_steps(processes, rounds, skipped)
        variants = []
        for p, process in enumerate(processes):
            own = {key[1:]: each for key, each in times.items() if key[0] == p}
            memory = None
            with contextlib.suppress(turns.StepError):
                memory = process.memory()
            variants += rows_of(process, own, memory, reference)
    return best_rows(variants), variants, skipped


def sample_material(network):
    """Returns a Material: the sample's first frame, and random labels."""
    with video.open_source(distill.SAMPLE, network.frame_size) as source:
        frame = next(source)
    random = np.random.default_rng(0)
    blocks = [-(-side // BLOCK) for side in network.frame_size]
    labels = random.integers(0, network.num_classes, blocks).astype(np.uint8)
    size = network.frame_size[::-1]
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    return Material(frame, labels, np.where(labels > 0, 5, 1).astype(np.float32))


def start_process(peer, network, precision, material, stack, skipped):
    """Returns a PeerProcess with its variants built; None, and a line in `skipped`, if it fails.

    stack: an ExitStack that ends the process.
    """

    def skip(name, why):
        skipped.append({"peer": name[0], "precision": precision, "variant": name[1], "why": why})

    process = PeerProcess(peer, network, precision, material)
    stack.callback(process.close)
    try:
        for built in process.build():
            if built.failure:
                skip((built.peer, built.name), built.failure)
    except turns.StepError as error:
        skip((peer, "all"), str(error))
        return None
    return process


def time_steps(processes, rounds, skipped):
    """Times all steps of all PeerProcesses in turns.

    Returns {(process's index, variant's index, step): milliseconds}; steps that fail are added to
    `skipped` instead.
    """
    steps = {
        (p, v, step): lambda process=process, v=v, step=step: process.run(v, step)
        for p, process in enumerate(processes)
        for v, built in enumerate(process.built)
        for step in built.steps
    }
    times, failed = turns.take_turns(steps, rounds)
    for (p, v, step), error in failed.items():
        built = processes[p].built[v]
        skipped.append(
            {
                "peer": built.peer,
                "precision": processes[p].precision,
                "variant": f"{built.name}, {step}",
                "why": str(error),
            }
        )
    return times


def rows_of(process, times, memory, reference):
    """Returns the rows of a PeerProcess's variants, as the JSON file has them.

    times: (variant's index, step) → milliseconds. memory: its peak in MiB. reference: the Built of
    our float32.
    """
    found = []
    for (index, step), milliseconds in times.items():
        built = process.built[index]
        agreement = float(np.mean(built.classes == reference.classes))
        row = {
            "what": step,
            "peer": built.peer,
            "precision": process.precision,
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
        row["differs"] = differs and process.precision == peers.FLOAT32
        found.append(row)
    return found


def best_rows(variants):
    """Returns the row of the fastest variant for each step, peer and precision.

    A variant that differs is taken only if there is no other. The source of the model, in
    parentheses behind the peer's name, becomes part of the variant's name.
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

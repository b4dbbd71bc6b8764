"""The tables of `experiments.benchmark` as Markdown."""

from experiments.protocol import provenance
from experiments.reports import markdown
from experiments.speed import peers, product_run
from experiments.speed.peer_process import INFER, UPDATE

FORMAT = "experiments.benchmark, 1"

NOTES = """\
Milliseconds are the median (least–most). Infer: uint8 frame to uint8 class ids; update: forward,
backward and SGD with momentum. Each row is the fastest of its peer's variants; the JSON file has
all of them. Agreement: of class ids with those of our float32; for update, the relative difference
of the first loss from ours. Memory: the peak of the process of that peer and precision, with all
its variants and steps."""


def _ours(rows, row):
    """Returns our row of the same step and precision, or None."""
    key = (row["what"], peers.OURS, row["precision"])
    same = (r for r in rows if (r["what"], r["peer"], r["precision"]) == key)
    return next(same, None)


def rows_table(rows):
    """Returns the table of all peers as Markdown."""
    body = []
    for row in rows:
        ours = _ours(rows, row)
        times = [markdown.short(row[f"{name}_ms"]) for name in ("median", "min", "max")]
        same = f"{markdown.percent(row['agreement'], 3)} %"
        if row["what"] == UPDATE:
            same = f"{row['loss_difference']:.0e}"
        body.append(
            [
                row["what"],
                row["peer"] + (" **differs**" if row["differs"] else ""),
                row["precision"],
                "{} ({}–{})".format(*times),
                markdown.number(row["median_ms"] / ours["median_ms"] if ours else None, 2),
                same,
                markdown.number(row["memory_mib"], 0),
                row["variant"],
            ]
        )
    head = ["what", "peer", "precision", "ms", "× ours", "agreement", "MiB", "fastest variant"]
    return markdown.table(head, body)


def loop_table(measured):
    """Returns the table of runs of the product as Markdown, a column a run."""
    kinds = (product_run.BARE, product_run.FULL)
    runs = [(kind, run) for kind in kinds for run in measured["runs"][kind]]
    stages = list(dict.fromkeys(stage for _, run in runs for stage in run["seconds"]))
    lines = [
        ["wall clock, s", *(f"{run['wall_seconds']:.2f}" for _, run in runs)],
        ["frames a second", *(f"{run['fps']:.1f}" for _, run in runs)],
        ["in student and teacher", *(f"{markdown.percent(run['computing'])} %" for _, run in runs)],
    ]
    for stage in stages:
        lines.append([f"{stage}, s", *(f"{run['seconds'].get(stage, 0):.2f}" for _, run in runs)])
    return markdown.table(["loop", *(kind for kind, _ in runs)], lines)


def roofline_lines(measured, rows):
    """Returns a line for each precision and step: the machine's limit, and our distance from it."""
    copied = measured["copy_bytes_per_second"] / 1e9
    lines = []
    for precision in (peers.FLOAT32, peers.BFLOAT16):
        limits = measured[precision]
        for step, times in ((INFER, 1), (UPDATE, measured["update"])):
            arithmetic, memory = (times * limits[f"{name}_ms"] for name in ("arithmetic", "memory"))
            line = (
                f"- {step}, {precision}: {times * measured['operations'] / 1e9:.1f} GFLOP at "
                f"{limits['operations_per_second'] / 1e9:.0f} GFLOP/s are {arithmetic:.1f} ms; "
                f"{times * limits['bytes'] / 1e6:.0f} MB at {copied:.1f} GB/s are {memory:.1f} ms"
            )
            ours = _ours(rows, {"what": step, "precision": precision})
            if ours:
                line += (
                    f"; ours takes {ours['median_ms'] / max(arithmetic, memory):.1f} times as long"
                )
            lines.append(line + ".")
    return "\n".join(lines)


def skipped_lines(skipped):
    """Returns a line for each peer or variant that was not measured."""
    lines = []
    for entry in skipped:
        parts = (entry.get(key) for key in ("peer", "precision", "variant"))
        lines.append(f"- {', '.join(filter(None, parts))}: {entry['why']}")
    return "\n".join(lines)


def render(table):
    """Returns the tables of a measurement (`benchmark.measure`) as Markdown."""
    height, width = table["frame_size"]
    parts = [
        f"{height}×{width} frames, {table['num_classes']} classes, width {table['width']}, "
        f"normalization {table['normalization']}, weights: {table['init']}; {table['rounds']} "
        f"rounds in turns. {provenance.setting_in_words(table)}.",
        rows_table(table["rows"]),
    ]
    if table["skipped"]:
        parts.append("Skipped:\n\n" + skipped_lines(table["skipped"]))
    parts.append(NOTES)
    if table["loop"]:
        frames, slower = table["loop"]["frames"], 100 * table["loop"]["slower"]
        parts += [
            f"The product on the sample clip's first {frames} frames at this size, teacher "
            f"recorded, classes lvs, {table['loop']['precision']}. With {product_run.FULL}, wall "
            f"clock {slower:+.1f} %. Outputs are written beside the computation: stages may add up "
            "to more than the wall clock.",
            loop_table(table["loop"]),
        ]
    parts += [
        "The machine's limit, by its measured matrix products and copying. The bytes to move are "
        "each convolution's input, kernel and output, once; an update counts "
        f"{table['roofline']['update']} times an inference.",
        roofline_lines(table["roofline"], table["rows"]),
    ]
    return "\n\n".join(parts)

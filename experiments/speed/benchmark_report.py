"""What `experiments.benchmark` measured, as Markdown."""

from experiments.protocol import provenance
from experiments.reports import markdown
from experiments.speed import loop, peers
from experiments.speed.worker import INFER, UPDATE

FORMAT = "experiments.benchmark, 1"

NOTES = """\
Milliseconds are the median (least–most). Infer is a uint8 frame to uint8 class ids, update is
forward, backward and SGD with momentum. Each row is the fastest of its peer's variants; the JSON
file has all. Agreement is of class ids with our float32's; for update, how far the first loss is
from ours, relative. Memory is the most that the process of that peer and precision has had, with
all its variants; of ours and PyTorch's, both steps."""


def _milliseconds(value):
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _ours(rows, row):
    """Our row of the same step and precision, or None."""
    key = (row["what"], peers.OURS, row["precision"])
    same = (r for r in rows if (r["what"], r["peer"], r["precision"]) == key)
    return next(same, None)


def rows_table(rows):
    """Markdown: the peers' rows."""
    body = []
    for row in rows:
        ours = _ours(rows, row)
        times = [_milliseconds(row[f"{name}_ms"]) for name in ("median", "min", "max")]
        same = f"{100 * row['agreement']:.3f} %"
        if row["what"] == UPDATE:
            same = f"{row['loss_difference']:.0e}"
        body.append(
            [
                row["what"],
                row["peer"] + (" **differs**" if row["differs"] else ""),
                row["precision"],
                "{} ({}–{})".format(*times),
                f"{row['median_ms'] / ours['median_ms']:.2f}" if ours else "–",
                same,
                "–" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}",
                row["variant"],
            ]
        )
    head = ["what", "peer", "precision", "ms", "× ours", "agreement", "MiB", "fastest variant"]
    return markdown.table(head, body)


def loop_table(measured):
    """Markdown: the product's loop, a column a run."""
    runs = [(kind, run) for kind in (loop.BARE, loop.FULL) for run in measured["runs"][kind]]
    stages = list(dict.fromkeys(stage for _, run in runs for stage in run["seconds"]))
    lines = [
        ["wall clock, s", *(f"{run['wall_seconds']:.2f}" for _, run in runs)],
        ["frames a second", *(f"{run['fps']:.1f}" for _, run in runs)],
        [
            "in " + ", ".join(loop.COMPUTING),
            *(f"{100 * run['computing']:.1f} %" for _, run in runs),
        ],
    ]
    for stage in stages:
        lines.append([f"{stage}, s", *(f"{run['seconds'].get(stage, 0):.2f}" for _, run in runs)])
    return markdown.table(["loop", *(kind for kind, _ in runs)], lines)


def roofline_lines(measured, rows):
    """A line each precision and step: the machine's limit, and how far ours is from it."""
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
    """A line for each peer or variant that was not measured."""
    lines = []
    for entry in skipped:
        parts = (entry.get(key) for key in ("peer", "precision", "variant"))
        lines.append(f"- {', '.join(filter(None, parts))}: {entry['why']}")
    return "\n".join(lines)


def render(table):
    """What `benchmark.measure` returns as Markdown."""
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
            f"recorded, classes lvs, {table['loop']['precision']}. With {loop.FULL}, wall clock "
            f"{slower:+.1f} %. Outputs are written beside the computation: stages may add up to "
            "more than the wall clock.",
            loop_table(table["loop"]),
        ]
    parts += [
        "The machine's limit, by its measured matrix products and copying; what has to be moved is "
        f"each convolution's input, kernel and output, once; an update counts "
        f"{table['roofline']['update']} times an inference.",
        roofline_lines(table["roofline"], table["rows"]),
    ]
    return "\n\n".join(parts)

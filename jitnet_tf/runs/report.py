"""The report at a run's end."""

from jitnet_tf.config.names import ASYNC
from jitnet_tf.runs.summary import percent, stage_counts


def table(summary):
    """Returns the report at a run's end. summary: as in summary.json."""
    labeled = summary["labeled_teacher_frames"]
    part = (
        "" if labeled == summary["teacher_frames"] else f", with objects of the classes: {labeled}"
    )
    budget = summary.get("teacher_budget")
    of = f", budget {percent(budget)}" if budget else ""
    rows = [
        ("frames", f"{summary['frames']}"),
        (
            "teacher frames",
            f"{summary['teacher_frames']} ({percent(summary['teacher_fraction'])}{of}){part}",
        ),
        ("updates", f"{summary['updates']}"),
        ("accuracy before update", percent(summary["accuracy_before_update"])),
        ("accuracy shown", percent(summary["accuracy_shown"])),
    ]
    if summary["lookahead"]:
        rows.append(("looked ahead", "yes: not comparable with a run that did not; no triggers"))
    if "mean_iou" in summary:
        rows.append(("mean IoU, all frames", percent(summary["mean_iou"])))
        rows.append(("mean IoU, student only", percent(summary["mean_iou_student_only"])))
        for name, iou in summary["per_class_iou"].items():
            frames = summary["reference_frames_with"][name]
            rows.append((f"  IoU {name}", f"{percent(iou)}, on {frames} frames"))
    counts = stage_counts(summary)
    if summary["teacher_mode"] == ASYNC:
        staleness = summary["staleness"]
        if staleness["mean"] is not None:
            late = f"{staleness['mean']:.1f} frames in the mean, at most {staleness['max']}"
            rows.append(("labels came after", late))
    for stage, seconds in summary["seconds"].items():
        count = counts.get(stage, summary["frames"])
        each = f", {count} × {1000 * seconds / count:.1f} ms" if count else ""
        rows.append((f"  seconds in {stage}", f"{seconds:.1f}{each}"))
    if "lag" in summary:
        lag, dropped = summary["lag"], summary["dropped_frames"]
        share = percent(dropped / (dropped + summary["frames"]))
        rows.append(("dropped for newer frames", f"{dropped} ({share})"))
        rows.append(("lag", f"{lag['mean']:.2f} s in the mean, at most {lag['max']:.2f} s"))
        if summary["reconnects"]:
            gone = f"{summary['reconnects']} times, {summary['seconds_gone']:.1f} s in all"
            rows.append(("gone and back", gone))
    if segments := summary.get("segments"):
        deleted = f"{segments['expired']} by --keep"
        if early := segments["deleted_on_full_disk"]:
            deleted += f", {early} earlier, as the disk was full"
        shown = f"{segments['kept']} of {segments['written']} kept; deleted: {deleted}"
        rows.append(("segments", shown))
    if summary["source_fps"] is not None:
        seconds = f"{summary['video_seconds']:.1f} s, {summary['source_fps']:.1f} frames a second"
        rows.append(("video", seconds))
    rows.append(("processed a second", f"{summary['processing_fps']:.1f}"))
    note = "" if summary["teacher_time"] == "measured" else " (teacher's time as recorded)"
    speedup = "–" if summary["speedup"] is None else f"{summary['speedup']:.1f}×{note}"
    rows.append(("speedup over the teacher", speedup))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join([*lines, *(f"note: {problem}" for problem in summary["problems"])])

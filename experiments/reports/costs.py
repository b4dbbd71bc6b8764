"""The cost of a method against its teacher on every frame: stages of a run, and the speedups.

There are four speedups, which are never mixed: wall-clock of the run itself (`Statistics.speedup`),
and the cost model with this machine's times, with the paper's times, and with the paper's FLOPs.
"""

import dataclasses

from jitnet_tf.config.names import SYNC
from jitnet_tf.runs.summary import UNCOUNTED_STAGES, stage_counts

# The stages of `FrameResult.seconds`, in the order of tables. "score" and "rehearse" are in results
# of older versions alone: there "infer" was the forward pass of every attempt ("rehearse" with an
# asynchronous teacher), and "update" the step without it.
STUDENT_STAGES = ("infer", "trial", "rehearse", "score", "update")
STAGES = (
    *("teacher", "wait", "labels"),
    *STUDENT_STAGES,
    *("flow", "warp", "fuse"),
    *("decode", "reference", "output"),
)


@dataclasses.dataclass(frozen=True)
class Costs:
    """The cost of one call of each part, all in one unit: seconds, milliseconds, GFLOP."""

    teacher: float
    infer: float
    update: float


# Table 1: Mask R-CNN and JITNet on 720p and a V100, inference and training.
PAPER_MS = Costs(teacher=300, infer=7, update=30)
PAPER_GFLOP = Costs(teacher=1390.0, infer=15.2, update=42.0)


def speedup(frames, teacher_frames, updates, costs):
    """N·teacher / ((N−T)·infer + T·teacher + U·update), as EastGit0's full_segment_iou.py does.

    A trial, the student's last forward pass on a teacher frame, is in none of these terms there.
    """
    spent = (
        (frames - teacher_frames) * costs.infer
        + teacher_frames * costs.teacher
        + updates * costs.update
    )
    return frames * costs.teacher / spent


def calls(summary, stage):
    """Returns how often a stage was run. summary: of a run (`Statistics.summary`)."""
    frames, teacher_frames, updates = (
        summary[name] for name in ("frames", "teacher_frames", "updates")
    )
    between, attempts = frames - teacher_frames, teacher_frames + updates
    further = {
        "flow": between,
        "warp": between,
        "rehearse": attempts,
        "score": attempts,
    }
    stages = summary["seconds"]
    if "trial" not in stages:
        # OSVOS infers every frame. In older versions, so did a student, and again after each
        # update unless the teacher was asynchronous.
        is_old = "score" in stages and "rehearse" not in stages
        further["infer"] = frames + updates if is_old else frames
    counts = {**stage_counts({"teacher_mode": SYNC, **summary}), **further}
    return counts.get(stage, frames)


def seconds_per_call(summary, stage):
    """Returns the seconds of one call of a stage; 0 if it was never run."""
    return summary["seconds"].get(stage, 0.0) / max(calls(summary, stage), 1)


def measured(summary, stages):
    """Returns this machine's Costs in seconds; None if the teacher's time is unknown.

    Args:
      summary: of a run (`Statistics.summary`).
      stages: those that make up inference: `("infer",)` for a student.
    """
    teacher = summary["teacher_seconds_per_frame"]
    if teacher is None:
        return None
    if "fuse" in summary["seconds"]:  # a fused student skips frames, and infers teacher frames, too
        spent = sum(summary["seconds"].get(stage, 0.0) for stage in stages)
        infer = spent / max(summary["frames"] - summary["teacher_frames"], 1)
    else:
        infer = sum(seconds_per_call(summary, stage) for stage in stages)
    return Costs(teacher, infer, seconds_per_call(summary, "update"))


def seconds_per_frame(summary):
    """Returns the seconds a frame of all parts of a run; None if the teacher's time is unknown.

    A recorded teacher counts with the time in its recording, on teacher frames. Decoding, reference
    and output do not count.
    """
    teacher = summary["teacher_seconds_per_frame"]
    if teacher is None:
        return None
    seconds = summary["seconds"].items()
    parts = sum(value for stage, value in seconds if stage not in UNCOUNTED_STAGES)
    return (summary["teacher_frames"] * teacher + parts) / summary["frames"]

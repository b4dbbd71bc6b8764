"""What a method costs beside its teacher on every frame: the paper's speedups.

Four figures that are never mixed: wall-clock of the run itself (`Statistics.speedup`), the cost
model with this machine's times, the same with the paper's times, and with the paper's FLOPs.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Costs:
    """Cost of one call of each part, all in one unit: seconds, milliseconds, GFLOP."""

    teacher: float
    infer: float
    update: float


# Table 1: Mask R-CNN and JITNet on 720p and a V100, inference and training.
PAPER_MS = Costs(teacher=300, infer=7, update=30)
PAPER_GFLOP = Costs(teacher=1390.0, infer=15.2, update=42.0)


def speedup(frames, teacher_frames, updates, costs):
    """N·teacher / ((N−T)·infer + T·teacher + U·update), as EastGit0's full_segment_iou.py does.

    The student's forward pass on a teacher frame is in none of these terms there.
    """
    spent = (
        (frames - teacher_frames) * costs.infer
        + teacher_frames * costs.teacher
        + updates * costs.update
    )
    return frames * costs.teacher / spent


def measured(summary, stages):
    """This machine's Costs in seconds from a run's summary (`Statistics.summary`); None if unknown.

    stages: those that make up inference, `("infer",)` for a student. A student infers once a frame
    and once more after each update; flow, on the frames that the teacher does not see.
    """
    teacher, seconds = summary["teacher_seconds_per_frame"], summary["seconds"]
    if teacher is None:
        return None
    calls = (
        summary["frames"] + summary["updates"]
        if "infer" in stages
        else summary["frames"] - summary["teacher_frames"]
    )
    infer = sum(seconds.get(stage, 0.0) for stage in stages) / max(calls, 1)
    return Costs(teacher, infer, seconds.get("update", 0.0) / max(summary["updates"], 1))

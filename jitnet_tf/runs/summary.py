"""What a run has done so far, and the report at its end."""

import collections
import dataclasses

import numpy as np

from jitnet_tf.distillation import metrics
from jitnet_tf.config import ASYNC, SYNC

# Stages that are no part of what a method costs: they serve the user or the score, or, for the
# teacher, which is also what is waited for, are counted apart.
UNCOUNTED_STAGES = ("decode", "reference", "output", "teacher", "wait")
COUNTS = (
    "frames",
    "teacher_frames",
    "scored_teacher_frames",
    "updates",
    "accuracy_sum",
    "wall_seconds",
)
ASYNCHRONOUS_COUNTS = ("staleness_sum", "staleness_max")


@dataclasses.dataclass
class Statistics:
    """Counts of a run; `add` every frame's result.

    Attributes:
      score: accuracy against a reference, None without one.
      recorded_teacher_seconds: what a frame costs a replayed teacher, as its recording tells; None
        where that is unknown, or the teacher is live.
      replayed: whether the teacher is a recording; a live one's time is measured.
      teacher_mode: SYNC or ASYNC, as in RunConfig.
      wall_seconds: what all frames took from decoding to the last output, checkpoints included.
      staleness_sum, staleness_max: over the lessons, in frames; see `FrameResult`.
    """

    score: metrics.StreamScore | None = None
    recorded_teacher_seconds: float | None = None
    replayed: bool = False
    teacher_mode: str = SYNC
    wall_seconds: float = 0.0
    frames: int = 0
    teacher_frames: int = 0
    scored_teacher_frames: int = 0
    updates: int = 0
    accuracy_sum: float = 0.0
    staleness_sum: int = 0
    staleness_max: int = 0
    seconds: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(float))

    @classmethod
    def of(cls, teacher, score=None, teacher_mode=SYNC):
        """Statistics of a run of a teacher, by what that knows of its own time.

        teacher: a precomputed one tells what it once took (`mean_seconds`, which may be None); a
        live one is timed.
        """
        return cls(score, teacher.mean_seconds, teacher.precomputed, teacher_mode)

    @property
    def asynchronous(self):
        """Whether frames go on while the teacher works."""
        return self.teacher_mode == ASYNC

    def add(self, result):
        """Counts one FrameResult."""
        self.frames += 1
        self.updates += result.updates
        if result.is_teacher_frame:
            self.teacher_frames += 1
        if result.accuracy_before is not None:
            self.scored_teacher_frames += 1
            self.accuracy_sum += result.accuracy_before
        if result.reference_confusion is not None:
            # Asynchronous labels come after the prediction: all are the student's alone.
            helped = result.is_teacher_frame and not self.asynchronous
            self.score.add(result.reference_confusion, helped)
        if result.is_teacher_frame and self.asynchronous:
            self.staleness_sum += result.staleness
            self.staleness_max = max(self.staleness_max, result.staleness)
        for stage, seconds in result.seconds.items():
            self.seconds[stage] += seconds

    @property
    def teacher_fraction(self):
        """Part of the frames that the teacher saw and the student was taught on, 0…1."""
        return self.teacher_frames / max(self.frames, 1)

    @property
    def accuracy(self):
        """Mean accuracy on teacher frames before updating: the student on frames new to it.

        None where no student was scored.
        """
        if not self.scored_teacher_frames:
            return None
        return self.accuracy_sum / self.scored_teacher_frames

    @property
    def teacher_seconds(self):
        """Seconds that the teacher takes a frame, None where nobody knows."""
        if self.replayed:
            return self.recorded_teacher_seconds
        if not self.teacher_frames:
            return None
        return self.seconds["teacher"] / self.teacher_frames

    @property
    def speedup(self):
        """Time of the teacher on every frame over that of teacher, student and its training.

        As in the paper's §5.2, decoding and output are left out. A replayed teacher counts with
        the time it took when recorded; None where that is unknown.
        """
        if self.teacher_seconds is None:
            return None
        method = sum(s for stage, s in self.seconds.items() if stage not in UNCOUNTED_STAGES)
        spent = self.teacher_frames * self.teacher_seconds + method
        return self.frames * self.teacher_seconds / spent if spent else 0.0

    def summary(self):
        """The run's figures, as written to summary.json."""
        values = {
            "frames": self.frames,
            "teacher_frames": self.teacher_frames,
            "teacher_fraction": self.teacher_fraction,
            "updates": self.updates,
            "accuracy_before_update": self.accuracy,
            "fps": self.frames / self.wall_seconds if self.wall_seconds else 0.0,
            "speedup": self.speedup,
            "teacher_seconds_per_frame": self.teacher_seconds,
            "teacher_time": "recorded" if self.replayed else "measured",
            "teacher_mode": self.teacher_mode,
            "seconds": dict(self.seconds),
        }
        if self.asynchronous:
            lessons = self.teacher_frames
            mean = self.staleness_sum / lessons if lessons else None
            values["staleness"] = {"mean": mean, "max": self.staleness_max}
        if self.score:
            values["mean_iou"] = self.score.mean()
            values["mean_iou_student_only"] = self.score.mean_student_only()
            values["per_class_iou"] = self.score.per_class()
            values["reference_frames_with"] = {
                name: int(self.score.frames_with[self.score.class_names.index(name)])
                for name in values["per_class_iou"]
            }
        return values

    def progress(self):
        """The running figures in one short line."""
        if self.score:
            accuracy = f"mean IoU {percent(self.score.mean())}"
        else:
            accuracy = f"accuracy {percent(self.accuracy)}"
        return f"{accuracy}, teacher {percent(self.teacher_fraction)}, {self.updates} updates"

    @property
    def _counts(self):
        return (*COUNTS, *ASYNCHRONOUS_COUNTS) if self.asynchronous else COUNTS

    def get_state(self):
        """JSON of all counts: see `set_state`."""
        state = {name: getattr(self, name) for name in self._counts}
        state["seconds"] = dict(self.seconds)
        if self.score:
            state["all_frames"] = self.score.all_frames.tolist()
            state["student_frames"] = self.score.student_frames.tolist()
            state["frames_with"] = self.score.frames_with.tolist()
        return state

    def set_state(self, state):
        """Restores `get_state`'s counts."""
        for name in self._counts:
            setattr(self, name, state[name])
        self.seconds.clear()
        self.seconds.update(state["seconds"])
        if self.score:
            self.score.all_frames[:] = np.array(state["all_frames"])
            self.score.student_frames[:] = np.array(state["student_frames"])
            self.score.frames_with[:] = np.array(state["frames_with"])


def percent(value):
    """'61.3 %', or '–' for None."""
    return "–" if value is None else f"{100 * value:.1f} %"


def table(summary):
    """The report at a run's end, as text. summary: as in summary.json."""
    rows = [
        ("frames", f"{summary['frames']}"),
        (
            "teacher frames",
            f"{summary['teacher_frames']} ({percent(summary['teacher_fraction'])})",
        ),
        ("updates", f"{summary['updates']}"),
        ("accuracy before update", percent(summary["accuracy_before_update"])),
    ]
    if "mean_iou" in summary:
        rows.append(("mean IoU, all frames", percent(summary["mean_iou"])))
        rows.append(("mean IoU, student only", percent(summary["mean_iou_student_only"])))
        for name, iou in summary["per_class_iou"].items():
            frames = summary["reference_frames_with"][name]
            rows.append((f"  IoU {name}", f"{percent(iou)}, on {frames} frames"))
    per_frame = {
        "teacher": summary["teacher_frames"],
        "labels": summary["teacher_frames"],
        "infer": summary["frames"] + summary["updates"],
        "update": summary["updates"],
    }
    if summary["teacher_mode"] == ASYNC:
        per_frame["infer"] = summary["frames"]
        per_frame["rehearse"] = summary["teacher_frames"] + summary["updates"]
        staleness = summary["staleness"]
        if staleness["mean"] is not None:
            late = f"{staleness['mean']:.1f} frames in the mean, at most {staleness['max']}"
            rows.append(("labels came after", late))
    for stage, seconds in summary["seconds"].items():
        count = per_frame.get(stage, summary["frames"])
        each = f", {count} × {1000 * seconds / count:.1f} ms" if count else ""
        rows.append((f"  seconds in {stage}", f"{seconds:.1f}{each}"))
    rows.append(("frames a second", f"{summary['fps']:.1f}"))
    note = "" if summary["teacher_time"] == "measured" else " (teacher's time as recorded)"
    speedup = "–" if summary["speedup"] is None else f"{summary['speedup']:.1f}×{note}"
    rows.append(("speedup over the teacher", speedup))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join([*lines, *(f"note: {problem}" for problem in summary["problems"])])

"""The figures of a run."""

import collections
import dataclasses
import math

import numpy as np

from jitnet_tf.config.names import ASYNC, SYNC
from jitnet_tf.distillation import metrics

# Stages excluded from a method's cost: I/O and scoring. The teacher is counted separately.
UNCOUNTED_STAGES = ("decode", "reference", "output", "teacher", "wait")
COUNTS = (
    "frames",
    "teacher_frames",
    "labeled_teacher_frames",
    "scored_teacher_frames",
    "shown_teacher_frames",
    "updates",
    "accuracy_sum",
    "shown_sum",
    "wall_seconds",
    "video_seconds",
    "dropped",
    "arrived",
    "lag_frames",
    "lag_sum",
    "lag_max",
    "gaps",
    "gap_seconds",
)
SHOWN = 8  # categories in a note
SCORE_COUNTS = ("all_frames", "student_frames", "frames_with")
ASYNCHRONOUS_COUNTS = ("staleness_sum", "staleness_max")


def stage_counts(summary):
    """Returns how often each stage ran, stage → count; other stages run once a frame.

    A trial is an attempt on a teacher frame that needed no update, an update one that did, or one
    on an earlier teacher frame. A synchronous teacher's frame is shown as its last trial predicts
    it, and is not inferred again. With --fusion, flow runs on every frame; on teacher frames and on
    every so many-th other one (--infer_every) the student is run, too (infer), and its map put
    together with the warped label (fuse).

    summary: with frames, teacher_frames, updates and teacher_mode, as in summary.json; without
    stage_frames, of every stage, the paper's are assumed.
    """
    frames, teacher_frames = summary["frames"], summary["teacher_frames"]
    return {
        "teacher": teacher_frames,
        "labels": teacher_frames,
        "infer": frames if summary["teacher_mode"] == ASYNC else frames - teacher_frames,
        **summary.get("stage_frames", {}),
        "trial": teacher_frames,
        "update": summary["updates"],
    }


@dataclasses.dataclass
class Statistics:
    """Counts of a run.

    Attributes:
      score: accuracy against a reference, None without one.
      recorded_teacher_seconds: a replayed teacher's time for a frame, from its recording; None if
        it is unknown, or the teacher is live.
      replayed: whether the teacher is a recording; a live one's time is measured.
      teacher_mode: SYNC or ASYNC, as in RunConfig.
      teacher_budget: greatest share of teacher frames, as in RunConfig; None without a limit.
      looks_ahead: whether predictions depend on later frames.
      wall_seconds: of all frames, from decoding to output, checkpoints included.
      labeled_teacher_frames: teacher frames on which the teacher labeled any pixel.
      categories: objects of the teacher by category, until it has labeled a pixel.
      stage_frames: frames by stage that ran for them.
      video_seconds: from the stream's start to the end of the latest frame; None if unknown.
      dropped: frames of a live stream that were passed over for newer ones.
      arrived: frames of the source within `video_seconds`, dropped ones included.
      lag: seconds from the arrival of a live stream's latest frame to its result.
      lag_frames, lag_sum, lag_max: number of a live stream's frames, and their seconds from arrival
        to result.
      gaps, gap_seconds: how often a live stream was gone and came back, and for how long in all.
      staleness_sum, staleness_max: over the teacher frames; see `TeacherFrame`.
    """

    score: metrics.StreamScore | None = None
    recorded_teacher_seconds: float | None = None
    replayed: bool = False
    teacher_mode: str = SYNC
    teacher_budget: float | None = None
    looks_ahead: bool = False
    wall_seconds: float = 0.0
    frames: int = 0
    teacher_frames: int = 0
    labeled_teacher_frames: int = 0
    scored_teacher_frames: int = 0
    shown_teacher_frames: int = 0
    updates: int = 0
    accuracy_sum: float = 0.0
    shown_sum: float = 0.0
    video_seconds: float | None = None
    dropped: int = 0
    arrived: int = 0
    lag: float = 0.0
    lag_frames: int = 0
    lag_sum: float = 0.0
    lag_max: float = 0.0
    gaps: int = 0
    gap_seconds: float = 0.0
    staleness_sum: int = 0
    staleness_max: int = 0
    seconds: dict = dataclasses.field(default_factory=lambda: collections.defaultdict(float))
    categories: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    stage_frames: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    _is_first: bool = dataclasses.field(default=True, init=False)

    @classmethod
    def of(cls, teacher, score=None, teacher_mode=SYNC, teacher_budget=None, looks_ahead=False):
        """Returns Statistics for a run with this teacher.

        A precomputed teacher reports the time that it once took, a live one is timed.
        """
        times = teacher.mean_seconds, teacher.precomputed
        return cls(score, *times, teacher_mode, teacher_budget, looks_ahead)

    @property
    def asynchronous(self):
        """True if frames do not wait for the teacher."""
        return self.teacher_mode == ASYNC

    def add(self, result):
        """Counts the result of one frame."""
        self.frames += 1
        self.updates += result.updates
        self.dropped += result.dropped
        # Those dropped before the first result came while the run was opened, at no time of its.
        self.arrived += 1 if self._is_first else 1 + result.dropped
        self._is_first = False
        if result.time is not None:
            self.video_seconds = result.time + (result.duration or 0)
        if result.gap is not None:
            self.gaps += 1
            self.gap_seconds += result.gap
        if result.lag is not None:
            self.lag = result.lag
            self.lag_frames += 1
            self.lag_sum += result.lag
            self.lag_max = max(self.lag_max, result.lag)
        if teacher := result.teacher:
            self.teacher_frames += 1
            self.labeled_teacher_frames += bool(teacher.labels.any())
            if not self.labeled_teacher_frames:
                self.categories.update(teacher.categories)
            self.staleness_sum += teacher.staleness
            self.staleness_max = max(self.staleness_max, teacher.staleness)
            if teacher.accuracy_before is not None:
                self.scored_teacher_frames += 1
                self.accuracy_sum += teacher.accuracy_before
            if teacher.accuracy_shown is not None:
                self.shown_teacher_frames += 1
                self.shown_sum += teacher.accuracy_shown
        if result.reference:
            self.score.add(result.reference.confusion, result.is_teacher_frame)
        for stage, seconds in result.seconds.items():
            self.seconds[stage] += seconds
        self.stage_frames.update(result.seconds.keys())

    @property
    def live(self):
        """True if the frames are those of a live stream, of which some may be dropped."""
        return self.lag_frames > 0

    @property
    def source_fps(self):
        """Frames a second of the stream in the mean, dropped ones included; None if unknown.

        The time for which it was gone does not count.
        """
        seconds = (self.video_seconds or 0.0) - self.gap_seconds
        return self.arrived / seconds if seconds > 0 else None

    @property
    def teacher_fraction(self):
        """Share of teacher frames among the frames, 0…1."""
        return self.teacher_frames / max(self.frames, 1)

    @property
    def accuracy(self):
        """Mean accuracy on teacher frames before updates: the student on frames new to it.

        None if there is no such frame.
        """
        if not self.scored_teacher_frames:
            return None
        return self.accuracy_sum / self.scored_teacher_frames

    @property
    def accuracy_shown(self):
        """Mean accuracy on teacher frames of what was shown of them before their labels.

        None if there is no such frame; those without objects of the classes do not count.
        """
        if not self.shown_teacher_frames:
            return None
        return self.shown_sum / self.shown_teacher_frames

    @property
    def budget_used(self):
        """Share of the teacher's budget that is used, about 0…1; None without a budget."""
        return self.teacher_fraction / self.teacher_budget if self.teacher_budget else None

    @property
    def teacher_seconds(self):
        """Seconds that the teacher takes a frame, None if unknown."""
        if self.replayed:
            return self.recorded_teacher_seconds
        if not self.teacher_frames:
            return None
        return self.seconds["teacher"] / self.teacher_frames

    @property
    def speedup(self):
        """The time of the teacher on every frame, divided by that of teacher, student and updates.

        As in the paper's §5.2, decoding and output are left out. A replayed teacher counts with
        the time it took when recorded; None where that is unknown.
        """
        if self.teacher_seconds is None:
            return None
        method = sum(s for stage, s in self.seconds.items() if stage not in UNCOUNTED_STAGES)
        spent = self.teacher_frames * self.teacher_seconds + method
        return self.frames * self.teacher_seconds / spent if spent else 0.0

    @property
    def problems(self):
        """A sentence if the student has learned nothing of the teacher so far."""
        if self.frames and self.asynchronous and not self.teacher_frames:
            return [
                f"the student has learned from no teacher frame within {self.frames} frames: take "
                "more of them, or in a single run --teacher_mode=sync"
            ]
        if not self.teacher_frames or self.labeled_teacher_frames:
            return []
        found = ", ".join(f"{name} ({n})" for name, n in self.categories.most_common(SHOWN))
        if found:
            advice = f"it found {found}: give --class_groups that have these, or check its masks"
        else:
            advice = (
                "nor any other that sure: try another teacher or, unless it is a semantic one, a "
                "lower --score_threshold"
            )
        return [
            f"the teacher found no object of the classes on any of its {self.teacher_frames} "
            "frames, so that accuracy says nothing and the student has learned background alone; "
            f"{advice}"
        ]

    def summary(self):
        """Returns the run's figures, as written to summary.json."""
        values = {
            "frames": self.frames,
            "teacher_frames": self.teacher_frames,
            "teacher_fraction": self.teacher_fraction,
            "labeled_teacher_frames": self.labeled_teacher_frames,
            "updates": self.updates,
            "accuracy_before_update": self.accuracy,
            "accuracy_shown": self.accuracy_shown,
            "video_seconds": self.video_seconds,
            "source_fps": self.source_fps,
            "processing_fps": self.frames / self.wall_seconds if self.wall_seconds else 0.0,
            "speedup": self.speedup,
            "teacher_seconds_per_frame": self.teacher_seconds,
            "teacher_time": "recorded" if self.replayed else "measured",
            "teacher_mode": self.teacher_mode,
            "lookahead": self.looks_ahead,
            "seconds": dict(self.seconds),
            "stage_frames": dict(self.stage_frames),
        }
        if self.teacher_budget:
            values["teacher_budget"] = self.teacher_budget
            values["budget_used"] = self.budget_used
        if self.asynchronous:
            count = self.teacher_frames
            mean = self.staleness_sum / count if count else None
            values["staleness"] = {"mean": mean, "max": self.staleness_max}
        if self.live:
            values["dropped_frames"] = self.dropped
            values["lag"] = {"mean": self.lag_sum / self.lag_frames, "max": self.lag_max}
            values["reconnects"], values["seconds_gone"] = self.gaps, self.gap_seconds
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
        """Returns the running figures in one short line."""
        if self.score:
            accuracy = f"mean IoU {percent(self.score.mean())}"
        else:
            accuracy = f"accuracy {percent(self.accuracy)}"
        line = f"{accuracy}, teacher {percent(self.teacher_fraction)}, {self.updates} updates"
        if self.live:
            line += f", {self.dropped} dropped, lag {self.lag:.1f} s"
            line += f", {self.gaps} gaps" if self.gaps else ""
        return line

    @property
    def _counts(self):
        return (*COUNTS, *ASYNCHRONOUS_COUNTS) if self.asynchronous else COUNTS

    def get_state(self):
        """Returns all counts, as JSON values."""
        state = {name: getattr(self, name) for name in self._counts}
        state["seconds"] = dict(self.seconds)
        state["categories"] = dict(self.categories)
        state["stage_frames"] = dict(self.stage_frames)
        if self.score:
            state.update((name, getattr(self.score, name).tolist()) for name in SCORE_COUNTS)
        return state

    def set_state(self, state):
        """Restores `get_state`'s counts. KeyError, ValueError or TypeError where it is damaged."""
        state = {"gaps": 0, "gap_seconds": 0.0, **state}  # older versions know none
        seconds = dict(state["seconds"])
        categories = collections.Counter(state["categories"])
        stage_frames = collections.Counter(state["stage_frames"])
        found = [state[name] for name in self._counts]
        known = [value for value in found if value is not None]  # None: unknown
        counts = *categories.values(), *stage_frames.values()
        for value in (*known, *seconds.values(), *counts):
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise ValueError(f"a count of {value!r}")
        for name, value in zip(self._counts, found, strict=True):
            setattr(self, name, value)
        self._is_first = True
        self.seconds.clear()
        self.seconds.update(seconds)
        self.categories, self.stage_frames = categories, stage_frames
        for name in SCORE_COUNTS if self.score else ():
            counts, found = getattr(self.score, name), np.array(state[name])
            if found.shape != counts.shape or found.dtype.kind != "i":
                raise ValueError(f"{name} are other counts")
            counts[:] = found


def percent(value):
    """Formats a fraction as '61.3 %', None as '–'."""
    return "–" if value is None else f"{100 * value:.1f} %"

"""Agreement of class maps: confusion counts and intersection over union (IoU)."""

import dataclasses

import numpy as np


def confusion(labels, prediction, num_classes, ignored=None):
    """Counts pixels by class: int64 [C, C], row = label, column = prediction.

    labels, prediction: uint8 [H, W] class ids below num_classes. ignored: pixels that do not count,
    bool [H, W]; None for none.
    """
    if ignored is not None:
        labels, prediction = labels[~ignored], prediction[~ignored]
    pairs = labels.astype(np.intp) * num_classes + prediction
    counts = np.bincount(pairs.ravel(), minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_iou(counts):
    """IoU of each class, float64 [C]; NaN for a class in neither map. counts: see `confusion`."""
    intersection = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - intersection
    return np.divide(intersection, union, out=np.full(len(counts), np.nan), where=union > 0)


def mean_iou(counts):
    """MeanIoU of Algorithm 1's line 8: over the foreground classes present in either map.

    A pair without any foreground agrees entirely and scores 1. (EastGit0 scores the lowest class
    and ShadowTutor averages over present classes, background included in both.)
    """
    iou = class_iou(counts)[1:]
    present = ~np.isnan(iou)
    return float(iou[present].mean()) if present.any() else 1.0


def has_foreground(counts):
    """Returns whether either map has foreground: without any, an accuracy of 1 is no evidence."""
    return bool(counts.sum() > counts[0, 0])


@dataclasses.dataclass
class StreamScore:
    """Accuracy over a stream as the paper reports it: TP, FP, FN summed over frames, then IoU.

    Attributes:
      class_names: C names, background first.
      evaluated: names to average over; empty: those that occur in the reference.
      all_frames, student_frames: confusion counts [C, C] of every frame, and of the frames on
        which no teacher was asked.
      frames_with: on how many frames the reference has each class, int64 [C]; few, and the class
        may be the teacher's error.
    """

    class_names: tuple[str, ...]
    evaluated: tuple[str, ...] = ()
    all_frames: np.ndarray = dataclasses.field(init=False)
    student_frames: np.ndarray = dataclasses.field(init=False)
    frames_with: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self):
        classes = len(self.class_names)
        self.all_frames = np.zeros((classes, classes), np.int64)
        self.student_frames = np.zeros((classes, classes), np.int64)
        self.frames_with = np.zeros(classes, np.int64)

    def add(self, counts, is_teacher_frame):
        """Adds one frame's confusion counts."""
        self.all_frames += counts
        self.frames_with += counts.sum(1) > 0
        if not is_teacher_frame:
            self.student_frames += counts

    def per_class(self, counts=None):
        """IoU by class name, for the classes averaged over. counts: default, all frames'.

        A class in neither the reference nor any prediction has none.
        """
        counts = self.all_frames if counts is None else counts
        iou = class_iou(counts)
        if self.evaluated:
            taken = [self.class_names.index(name) for name in self.evaluated]
        else:
            taken = np.flatnonzero(counts[1:].sum(1)) + 1
        return {self.class_names[i]: float(iou[i]) for i in taken if not np.isnan(iou[i])}

    def mean(self, counts=None):
        """Mean of `per_class`, or None where no class occurs."""
        values = list(self.per_class(counts).values())
        return sum(values) / len(values) if values else None

    def mean_student_only(self):
        """Mean IoU over the frames on which no teacher was asked, or None without any."""
        return self.mean(self.student_frames) if self.student_frames.any() else None

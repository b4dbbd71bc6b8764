"""Scenes: what the overlay shows of each result, with the latest teacher frame."""

import dataclasses
from typing import Any

import numpy as np

from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.sinks.overlay import Status, Teacher

GAP_SECONDS = 3.0  # of the stream, for which a gap is told after it


@dataclasses.dataclass(frozen=True)
class Scene:
    """The arguments of `Overlay.draw`, in their order."""

    frame: np.ndarray
    prediction: np.ndarray
    teacher: Teacher | None
    status: Status


class Scenes:
    """Makes the Scene of each result, in the order of the frames.

    Args:
      statistics: the run's Statistics, up to date with the result.
      frame_size: (H, W) in pixels.
    """

    def __init__(self, statistics: Any, frame_size: tuple[int, int]):
        self._statistics = statistics
        self._frame_size = tuple(frame_size)
        # The latest teacher frame: (frame, labels, index), and its accuracies.
        self._teacher: Teacher | None = None
        self._accuracy: tuple[float, float] | None = None
        self._gap: tuple[float, float] | None = None  # seconds, time of its end

    def of(self, result: FrameResult) -> Scene:
        """Returns the Scene of the next result."""
        if teacher := result.teacher:
            self._teacher = (teacher.frame, teacher.labels, teacher.index)
            self._accuracy = (teacher.accuracy_before, teacher.accuracy_after)
        if result.gap is not None:
            self._gap = (result.gap, result.time)
        elif self._gap and result.time - self._gap[1] > GAP_SECONDS:
            self._gap = None
        status = Status(
            result.index,
            result.stride,
            self._accuracy,
            self._statistics.teacher_fraction,
            self._statistics.updates,
            self._gap and self._gap[0],
        )
        return Scene(result.frame, result.prediction, self._teacher, status)

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the latest teacher frame."""
        if self._teacher is None:
            return {}
        frame, labels, index = self._teacher
        status = np.array([index, *self._accuracy], np.float64)
        return {"frame": frame, "labels": labels, "status": status}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores the latest teacher frame. ValueError where it is of another size."""
        if state:
            index, *accuracy = state["status"].tolist()
            size, shapes = self._frame_size, (state["frame"].shape, state["labels"].shape)
            if shapes != ((*size, 3), size) or len(accuracy) != 2:
                raise ValueError("the teacher's frame is of another size")
            self._teacher = (state["frame"], state["labels"], int(index))
            self._accuracy = tuple(accuracy)

"""Frames ahead of the one that is segmented, and the next teacher frame among them."""

import collections
import dataclasses

import numpy as np

from jitnet_tf.distillation.policies.base import Example


class Ahead:
    """Iterates over frames, of which those that come next are in sight.

    An exception of the source is raised in its place, after the frames before it.

    Args:
      frames: iterator of `video.Frame`s.
      depth: the number of frames in sight, which are kept in memory.
    """

    def __init__(self, frames, depth):
        self._frames = frames
        self._depth = depth
        self._coming = collections.deque()
        self._error = None
        self.ends = False

    def __iter__(self):
        return self

    def __next__(self):
        """Returns the next frame, once those in sight after it are read."""
        while len(self._coming) <= self._depth and not self.ends:
            try:
                self._coming.append(next(self._frames))
            except StopIteration:
                self.ends = True
            except Exception as error:
                self._error, self.ends = error, True
        if self._coming:
            return self._coming.popleft()
        if self._error:
            raise self._error
        raise StopIteration

    def __len__(self):
        """Returns the number of frames in sight; if `ends`, these are all that come."""
        return len(self._coming)

    def peek(self, n):
        """Returns the pixels, uint8 RGB [H, W, 3], of the n-th frame after the latest, n ≥ 1."""
        return self._coming[n - 1].pixels

    def next_teacher_frame(self, schedule, index):
        """Returns how many frames after the latest one the teacher is asked next, or None.

        Where the stream ends before it is due, that is the last frame, if the budget allows it.
        index: of the latest frame, which is no teacher frame.
        """
        for distance in range(1, len(self) + 1):
            if schedule.teacher_due(index + distance):
                return distance
        last = len(self)
        return last if last and self.ends and schedule.affordable(index + last) else None


@dataclasses.dataclass(frozen=True)
class Answer:
    """A teacher's answer, as labels.

    Attributes:
      example: the frame with its labels.
      categories: of the objects; see `TeacherFrame`.
      seconds: by stage, of an answer to a frame ahead, which counts when the stream comes to it.
    """

    example: Example
    categories: tuple[str, ...]
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def get_state(self):
        """Returns it as arrays for a checkpoint, but for its frame, which the stream will bring."""
        example = self.example
        return {
            "index": np.array(example.index),
            "labels": example.labels,
            "weights": example.weights,
            "categories": np.array(self.categories, np.str_),
            "stages": np.array(list(self.seconds), np.str_),
            "seconds": np.array(list(self.seconds.values()), float),
        }

    @classmethod
    def of_state(cls, state, num_classes):
        """Makes it of `get_state`'s arrays, its frame being None.

        KeyError or ValueError where they do not fit, or labels have other classes.
        """
        labels, weights = state["labels"], state["weights"]
        if labels.dtype != np.uint8 or weights.dtype != np.float32 or labels.ndim != 2:
            raise ValueError(f"labels of {labels.dtype} {labels.shape}, weights {weights.dtype}")
        if labels.shape != weights.shape:
            raise ValueError(f"labels of {labels.shape} have weights of {weights.shape}")
        if labels.max() >= num_classes:
            raise ValueError(f"labels of class {labels.max()}, of {num_classes} classes")
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("weights below 0, or not finite")
        return cls(
            Example(int(state["index"]), None, labels, weights),
            tuple(map(str, state["categories"])),
            dict(zip(map(str, state["stages"]), map(float, state["seconds"]), strict=True)),
        )

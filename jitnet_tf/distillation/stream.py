"""A stream of frames, segmented and scored against the teacher on every frame."""

import dataclasses
import itertools

import numpy as np

from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.result import Score
from jitnet_tf.distillation.stopwatch import Stopwatch


def warmed_up(frames, segmenter, *teachers):
    """Runs segmenter and teachers once on the first frame, then gives all frames.

    What does not fit fails here, and one-time costs stay out of the timings.

    Args:
      frames: iterator of `video.Frame`s.
      segmenter: a Segmenter; its state stays as it is.
      teachers: callables (frame, index) → Detections.

    Returns:
      An iterator of the same frames, the first included.

    Raises:
      UserError: a teacher fails, or does not fit the frames.
    """
    first = next(frames, None)
    if first is None:
        return frames
    for teacher in teachers:
        teacher(first.pixels, segmenter.index)
    segmenter.warm_up(first.pixels)
    return itertools.chain([first], frames)


@dataclasses.dataclass(frozen=True)
class Taken:
    """A frame on its way through the segmenter.

    Attributes:
      frame: uint8 RGB [H, W, 3].
      time: seconds from the stream's start; None if unknown.
      labels: the reference's, uint8 [H, W]; None without one.
      watch: the Stopwatch of the stages around the segmenter.
    """

    frame: np.ndarray
    time: float | None
    labels: np.ndarray | None
    watch: Stopwatch


class ScoredStream:
    """Feeds frames to a segmenter, one at a time; runs and experiments all use it.

    Args:
      frames: iterator of `video.Frame`s.
      segmenter: a Segmenter.
      label_maker: a LabelMaker, for the reference's labels.
      reference: a Recording of the teacher on every frame, or None. It never reaches the segmenter.
    """

    def __init__(self, frames, segmenter, label_maker, reference=None):
        self._frames = frames
        self._segmenter = segmenter
        if reference:
            label_maker = dataclasses.replace(label_maker, categories=reference.names)
        self._label_maker = label_maker
        self._reference = reference

    def take(self):
        """Returns the next frame, to be segmented and given to `score`; None at the end.

        Raises UserError before the segmenter has seen the frame.
        """
        watch, labels = Stopwatch(), None
        with watch("decode"):
            frame = next(self._frames, None)
        if frame is None:
            return None
        if self._reference:
            with watch("reference"):
                detections = self._reference(frame.pixels, self._segmenter.index)
                labels = self._label_maker.labels(detections, frame.pixels.shape[:2])
        return Taken(frame.pixels, frame.time, labels, watch)

    def score(self, result, taken):
        """Adds time, score and stages of a taken frame to its result, and returns it."""
        result.time = taken.time
        if self._reference:
            with taken.watch("reference"):
                classes = len(self._label_maker.groups.names)
                counts = metrics.confusion(taken.labels, result.prediction, classes)
                result.reference = Score(taken.labels, counts)
        result.seconds.update(taken.watch.seconds)
        return result

    def __iter__(self):
        """Yields the FrameResult of each frame."""
        while taken := self.take():
            yield self.score(self._segmenter.step(taken.frame), taken)

"""A stream of frames, segmented and scored against the teacher on every frame."""

import dataclasses
import time

import numpy as np

from jitnet_tf import video
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.result import Score
from jitnet_tf.distillation.stopwatch import Stopwatch


def warm_up(frame, segmenter, *teachers):
    """Runs segmenter and teachers once on the first frame, before it is taken.

    What does not fit fails here, and one-time costs stay out of the timings.

    Args:
      frame: uint8 RGB [H, W, 3], or None if there is no frame: nothing is run.
      segmenter: a Segmenter; its state stays as it is.
      teachers: callables (frame, index) → Detections.

    Raises:
      UserError: a teacher fails, or does not fit the frames.
    """
    if frame is not None:
        for teacher in teachers:
            teacher(frame, segmenter.index)
        segmenter.warm_up(frame)


@dataclasses.dataclass(frozen=True)
class Taken:
    """A frame on its way through the segmenter.

    Attributes:
      frame: a `video.Frame`.
      labels: the reference's, uint8 [H, W]; None without one.
      watch: the Stopwatch of the stages around the segmenter.
    """

    frame: video.Frame
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
        self._frames = segmenter.attach(frames)
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
        if frame.gap is not None:
            self._segmenter.after_gap()
        if self._reference:
            with watch("reference"):
                detections = self._reference(frame.pixels, self._segmenter.index)
                labels = self._label_maker.labels(detections, frame.pixels.shape[:2])
        return Taken(frame, labels, watch)

    def score(self, result, taken):
        """Adds time, score and stages of a taken frame to its result, and returns it."""
        frame = taken.frame
        result.time, result.duration = frame.time, frame.duration
        result.dropped, result.gap = frame.dropped, frame.gap
        if frame.arrived is not None:
            result.lag = time.monotonic() - frame.arrived
        if self._reference:
            with taken.watch("reference"):
                maker = self._label_maker
                classes, ignored = len(maker.groups.names), maker.ignored
                counts = metrics.confusion(taken.labels, result.prediction, classes, ignored)
                result.reference = Score(taken.labels, counts)
        result.seconds.update(taken.watch.seconds)
        return result

    def __iter__(self):
        """Yields the FrameResult of each frame."""
        while taken := self.take():
            yield self.score(self._segmenter.step(taken.frame.pixels), taken)

"""A stream on its way through whatever segments it, scored against the teacher on every frame."""

from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.distiller import Stopwatch


class ScoredStream:
    """Feeds frames to a segmenter, one at a time; `jitnet_tf.runs.run` and all experiments go this way.

    Args:
      frames: iterator of uint8 RGB [H, W, 3].
      segmenter: has step(frame) → FrameResult and `index`, the next frame's; a Distiller, say.
      label_maker: a LabelMaker, for the reference's labels.
      reference: a Recording of the teacher on every frame, or None; what it says never reaches the
        segmenter.
    """

    def __init__(self, frames, segmenter, label_maker, reference=None):
        self._frames = frames
        self._segmenter = segmenter
        self._label_maker = label_maker
        self._reference = reference

    def next_result(self):
        """The next frame's FrameResult with its scores, None at the end.

        After a UserError other than DivergedError the segmenter is as it was before the frame.
        """
        watch = Stopwatch()
        with watch("decode"):
            frame = next(self._frames, None)
        if frame is None:
            return None
        labels = None
        if self._reference:
            with watch("reference"):
                detections = self._reference(frame, self._segmenter.index)
                labels = self._label_maker.labels(detections, frame.shape[:2])
        result = self._segmenter.step(frame)
        if self._reference:
            with watch("reference"):
                result.reference_labels = labels
                result.reference_confusion = metrics.confusion(
                    labels, result.prediction, len(self._label_maker.groups.names)
                )
        result.seconds.update(watch.seconds)
        return result

    def __iter__(self):
        return iter(self.next_result, None)

"""The overlay video: frame | student | latest teacher label."""

import numpy as np

from jitnet_tf.sinks.overlay import Status

# Its arrays in a checkpoint: the latest teacher frame, its labels, its index and accuracies.
OVERLAY_STATE = "overlay/"
STATE_NAMES = ("frame", "labels", "status")


class OverlayVideo:
    """Writes frame | student | latest teacher label as an H.264 video.

    Args:
      writer: a VideoWriter.
      overlay: an Overlay.
      statistics: the run's Statistics, for the status line.
      latest: arrays of `get_state` of an earlier part of the run, or none.
    """

    def __init__(self, writer, overlay, statistics, latest):
        self._writer = writer
        self._overlay = overlay
        self._statistics = statistics
        self._teacher = self._accuracy = None
        frame, labels, status = (latest.get(OVERLAY_STATE + name) for name in STATE_NAMES)
        if frame is not None:
            index, *accuracy = status.tolist()
            self._teacher = (frame, labels, int(index))
            self._accuracy = tuple(accuracy)

    def add(self, result):
        """Draws and writes one FrameResult."""
        if result.is_teacher_frame:
            self._teacher = (result.teacher_frame, result.labels, result.teacher_index)
            self._accuracy = (result.accuracy_before, result.accuracy_after)
        status = Status(
            result.index,
            result.stride,
            self._accuracy,
            self._statistics.teacher_fraction,
            self._statistics.updates,
        )
        picture = self._overlay.draw(result.frame, result.prediction, self._teacher, status)
        self._writer.write(picture)

    def flush(self):
        """Ends a part of the video, which then outlives a crash."""
        self._writer.cut()

    def get_state(self):
        """The latest teacher frame, as named arrays."""
        if self._teacher is None:
            return {}
        frame, labels, index = self._teacher
        arrays = (frame, labels, np.array([index, *self._accuracy], np.float64))
        return {OVERLAY_STATE + name: a for name, a in zip(STATE_NAMES, arrays, strict=True)}

    def finish(self, complete):
        """Joins the parts to the video; a resumed run takes it apart again."""
        self._writer.finish()

"""The frame log, frames.jsonl: one JSON object a frame."""

import json
import pathlib

from jitnet_tf.distillation import metrics
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.disk import AppendedFile
from jitnet_tf.sinks.segment_files import log_of
from jitnet_tf.sinks.segments import Segments

FRAME_LOG = "frames.jsonl"


class FrameLog(Sink):
    """Appends to frames.jsonl in a run directory, or to one file for each segment.

    Everything but "ms" is reproducible.

    Every row has "frame", its "time" in seconds from the stream's start (null if unknown), its
    "teacher" (whether training on a teacher frame ended with it), "stride", "updates" and "ms" by
    stage. Rows of a live stream have "dropped", frames passed over just before, and "lag", seconds
    from arrival to result; the first after a gap has the seconds of it as "gap". Rows decided from
    a later teacher frame, too, have it as "ahead".
    """

    name = "frame_log"

    def __init__(self, logdir, segments=None):
        self._logdir = pathlib.Path(logdir)
        self._segments = segments or Segments()
        self._segment = self._file = None
        if self._segments.length is None:
            self._turn()

    @classmethod
    def open(cls, config, stream):
        """Opens the log of a run directory."""
        return cls(config.logdir, stream.segments)

    def add(self, result):
        """Writes the row of one frame."""
        teacher = result.teacher
        row = {
            "frame": result.index,
            "time": None if result.time is None else round(result.time, 6),
            "teacher": teacher is not None,
            "stride": result.stride,
            "updates": result.updates,
        }
        if result.lag is not None:
            row["dropped"] = result.dropped
            row["lag"] = round(result.lag, 3)
        if result.gap is not None:
            row["gap"] = round(result.gap, 3)
        if result.ahead is not None:
            row["ahead"] = result.ahead
        if teacher:
            row["accuracy_before"] = round(teacher.accuracy_before, 6)
            row["accuracy_after"] = round(teacher.accuracy_after, 6)
            if teacher.accuracy_shown is not None:
                row["accuracy_shown"] = round(teacher.accuracy_shown, 6)
            row["losses"] = [round(loss, 6) for loss in teacher.losses]
            if teacher.staleness:
                row["teacher_frame"] = teacher.index
                row["staleness"] = teacher.staleness
        if result.reference:
            row["iou"] = round(metrics.mean_iou(result.reference.confusion), 6)
        row["ms"] = {stage: round(1000 * s, 2) for stage, s in result.seconds.items()}
        self._turn()
        line = json.dumps(row).encode() + b"\n"
        self._segments.write(lambda: self._file.append(line))

    def _turn(self):
        """Opens the file of the current segment."""
        segment = self._segments.current
        if self._file and segment is self._segment:
            return
        self.close()
        path = self._logdir / (log_of(segment.name) if segment else FRAME_LOG)
        self._file = self._segments.write(lambda: AppendedFile(path))
        self._segment = segment

    def close(self):
        """Closes the file."""
        if self._file:
            self._file.close()

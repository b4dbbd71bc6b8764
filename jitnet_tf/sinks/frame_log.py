"""The frame log, frames.jsonl: one JSON object a frame."""

import json
import pathlib

from jitnet_tf.distillation import metrics

FRAME_LOG = "frames.jsonl"


class FrameLog:
    """Writes one JSON object a frame to frames.jsonl. Everything but "ms" is reproducible."""

    def __init__(self, logdir):
        path = pathlib.Path(logdir) / FRAME_LOG
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def add(self, result):
        """Logs one FrameResult."""
        row = {
            "frame": result.index,
            "teacher": result.is_teacher_frame,
            "stride": result.stride,
            "updates": result.updates,
        }
        if result.is_teacher_frame:
            row["accuracy_before"] = round(result.accuracy_before, 6)
            row["accuracy_after"] = round(result.accuracy_after, 6)
            row["losses"] = [round(loss, 6) for loss in result.losses]
        if result.staleness:
            row["teacher_frame"] = result.teacher_index
            row["staleness"] = result.staleness
        if result.reference_confusion is not None:
            row["iou"] = round(metrics.mean_iou(result.reference_confusion), 6)
        row["ms"] = {stage: round(1000 * s, 2) for stage, s in result.seconds.items()}
        self._file.write(json.dumps(row) + "\n")

    def flush(self):
        """Hands everything so far to the operating system."""
        self._file.flush()

    def get_state(self):
        """Nothing: a resumed run appends."""
        return {}

    def finish(self, complete):
        """Closes the file."""
        self._file.close()

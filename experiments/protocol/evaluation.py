"""Evaluates one method on one stream: the protocol of all tables and figures (paper §5.1).

IoU is taken per class from TP, FP and FN summed over the stream, and averaged over the stream's
classes without background: over all frames, and over those without the teacher's help.
"""

import dataclasses
import time

import numpy as np

from experiments.methods import named
from experiments.protocol import provenance, stability, streams
from experiments.protocol.open_stream import open_stream
from jitnet_tf.distillation import metrics
from jitnet_tf.sinks.mask_writer import MaskWriter
from teacher import open_teacher

# Distance of the frames whose predictions are kept for the figures; figure 5 shows frames so far
# apart.
KEPT_DISTANCE = 4
START_FRAMES = 100  # which better initial weights show in


class Timeline:
    """Counts TP, FP, FN of the evaluated classes, and updates, by second (for figure 4)."""

    def __init__(self, fps, class_ids):
        self._fps = fps
        self._class_ids = list(class_ids)
        self._seconds = []

    def add(self, result):
        """Adds a FrameResult that has a reference."""
        second = int(result.index / self._fps)
        while len(self._seconds) <= second:
            zeros = [0] * len(self._class_ids)
            self._seconds.append({"tp": zeros, "fp": zeros, "fn": zeros, "updates": 0})
        row, counts = self._seconds[second], result.reference.confusion
        hits = np.diag(counts)
        for name, values in (
            ("tp", hits),
            ("fp", counts.sum(0) - hits),
            ("fn", counts.sum(1) - hits),
        ):
            row[name] = (np.array(row[name]) + values[self._class_ids]).tolist()
        row["updates"] += result.updates

    def to_json(self):
        """Returns a list of one row a second."""
        return self._seconds


def frame_accuracy(counts, class_ids):
    """Returns the mean IoU of one frame over the classes `class_ids` that either map has.

    None if the reference has none of them: such a frame shows nothing.
    counts: confusion of the reference's labels (rows) and a prediction.
    """
    if not counts[class_ids].any():
        return None
    return round(float(np.nanmean(metrics.class_iou(counts)[class_ids])), 4)


def evaluate(
    stream, frames, method, settings, masks, on_step=lambda: None, kept_distance=KEPT_DISTANCE
):
    """Runs a method over a stream; returns the result as JSON values.

    Args:
      stream: a `streams.Stream`, checked.
      frames: number of its frames.
      method: its name; see `methods.named`.
      settings: {name: value}; see `Method.take`.
      masks: folder for the predictions on every kept_distance-th frame, as `MaskWriter` writes
        them. The oracle keeps its frames beside it.
      on_step: called after each frame, and after each step of a method's preparation.

    Raises:
      UserError: as the product's parts do.
    """
    made_by = named(method)
    settings = made_by.take(settings)
    live = settings.live_teacher if made_by.asks_teacher else None
    class_ids = [streams.GROUPS.names.index(name) for name in stream.classes]
    masks.parent.mkdir(parents=True, exist_ok=True)
    with open_stream(
        stream,
        frames,
        made_by.make,
        settings,
        teacher=open_teacher(live, settings.teacher_options) if live else None,
        only_timed=bool(live and settings.timed_teacher),
        scratch=masks.parent,
        on_step=on_step,
    ) as opened:
        statistics, fps = opened.statistics, opened.source.fps
        timeline = Timeline(fps, class_ids)
        flicker = stability.Flicker(len(streams.GROUPS.names))
        writer = MaskWriter(masks, streams.GROUPS.names, overwrite=True)
        frame_iou, start_iou = {}, None
        start = time.perf_counter()
        for result in opened.score(opened.frames):
            statistics.add(result)
            timeline.add(result)
            flicker.add(result)
            if result.index < START_FRAMES:
                start_iou = statistics.score.mean()
            if result.index % kept_distance == 0:
                writer.write(result.index, result.prediction)
                accuracy = frame_accuracy(result.reference.confusion, class_ids)
                if accuracy is not None:
                    frame_iou[result.index] = accuracy
            on_step()
        statistics.wall_seconds = time.perf_counter() - start
    return {
        "stream": dataclasses.asdict(stream),
        "method": method,
        "settings": dataclasses.asdict(settings),
        "frames": frames,
        "recorded": streams.recorded(stream),
        "fps": fps,
        "summary": statistics.summary(),
        "flicker": {
            "prediction": stability.flicker(flicker.prediction, class_ids),
            "teacher": stability.flicker(flicker.reference, class_ids),
        },
        "timeline": timeline.to_json(),
        "frame_iou": frame_iou,
        "start_iou": start_iou,  # mean IoU over the first START_FRAMES
        "problems": opened.source.problems,
        "machine": provenance.describe(),
        "versions": _versions(),
    }


def _versions():
    from jitnet_tf.runs.versions import versions  # imports TensorFlow

    return versions()

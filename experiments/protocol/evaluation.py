"""One method on one stream: the protocol that all tables and figures share (paper §5.1).

IoU is taken per class from TP, FP and FN summed over the stream, and averaged over the stream's
classes without background; over all frames, and over those that the teacher did not see.
"""

import contextlib
import dataclasses
import itertools
import time

import numpy as np

from experiments.methods import Context, named
from experiments.protocol import provenance, stability, streams
from jitnet_tf import video
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.stream import ScoredStream
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.runs.summary import Statistics
from jitnet_tf.sinks.writers import MaskWriter
from teacher import open_teacher
from teacher.recorded import Recording

# Predictions are kept of every fourth frame, for the figures: figure 5 shows frames so far apart.
KEPT_DISTANCE = 4
START_FRAMES = 100  # what a start from better weights should show in


class Timeline:
    """TP, FP and FN of the evaluated classes, and updates, second by second (for figure 4)."""

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
        """A list of a row per second."""
        return self._seconds


def frame_accuracy(counts, class_ids):
    """Mean IoU of one frame over the classes `class_ids` that either map has.

    None where the reference has none of them: such a frame shows nothing.
    counts: confusion of the reference's labels and a prediction.
    """
    if not counts[class_ids].any():
        return None
    return round(float(np.nanmean(metrics.class_iou(counts)[class_ids])), 4)


def evaluate(
    stream, frames, method, settings, masks, on_step=lambda: None, kept_distance=KEPT_DISTANCE
):
    """Runs a method over a stream; returns its result, all of it plain values for JSON.

    Args:
      stream: a `streams.Stream`, checked.
      frames: how many frames it has.
      method: its name; see `methods.named`.
      settings: `methods.Settings`.
      masks: path of a folder for the predictions on every kept_distance-th frame, as `MaskWriter`
        writes them; beside it is room for the oracle's frames.
      on_step: called after each frame, and each training step of the oracle.

    Raises:
      UserError: as the product's parts do.
    """
    groups = class_groups("lvs")
    label_maker = LabelMaker(groups)
    class_ids = [groups.names.index(name) for name in stream.classes]
    with contextlib.ExitStack() as stack:
        recording = stack.enter_context(Recording(stream.recording))
        live = named(method).asks_teacher and settings.teacher
        teacher = open_teacher(settings.teacher) if live else recording

        def open_source():
            return video.open_source(stream.video, recording.frame_size)

        source = stack.enter_context(open_source())
        context = Context(
            settings,
            label_maker,
            teacher,
            recording,
            source.size,
            frames,
            open_source,
            masks.parent,
            on_step,
            stream,
        )
        masks.parent.mkdir(parents=True, exist_ok=True)
        segmenter = named(method).make(context)
        first = next(source)
        # One-time costs stay out of the times.
        teacher(first, 0)
        segmenter.warm_up(first)
        shown = itertools.islice(itertools.chain([first], source), frames)
        score = metrics.StreamScore(groups.names, stream.classes)
        statistics = Statistics.of(teacher, score)
        timeline = Timeline(source.fps, class_ids)
        flicker = stability.Flicker(len(groups.names))
        writer = MaskWriter(masks, groups.names, overwrite=True)
        frame_iou, start_iou = {}, None
        start = time.perf_counter()
        for result in ScoredStream(shown, segmenter, label_maker, recording):
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
        "fps": source.fps,
        "summary": statistics.summary(),
        "flicker": {
            "prediction": stability.flicker(flicker.prediction, class_ids),
            "teacher": stability.flicker(flicker.reference, class_ids),
        },
        "timeline": timeline.to_json(),
        "frame_iou": frame_iou,
        "start_iou": start_iou,  # mean IoU over the first START_FRAMES
        "problems": source.problems,
        "machine": provenance.describe(),
        "versions": _versions(),
    }


def _versions():
    from jitnet_tf.runs.run import versions  # imports TensorFlow

    return versions()

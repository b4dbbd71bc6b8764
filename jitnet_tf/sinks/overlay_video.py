"""The overlay video: frame | student | latest teacher label."""

import pathlib
import shutil

import numpy as np

from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.overlay import Overlay, Status
from jitnet_tf.sinks.segment_files import PARTS
from jitnet_tf.sinks.segmented import SegmentedVideo
from jitnet_tf.sinks.video_writer import VideoWriter


class OverlayVideo(Sink):
    """Writes an H.264 video, in parts that begin at checkpoints, or a video for each segment.

    Args:
      writer: a VideoWriter or SegmentedVideo.
      overlay: an Overlay.
      statistics: the run's Statistics, for the status line.
    """

    name = "overlay"

    def __init__(self, writer, overlay, statistics):
        self._writer = writer
        self._overlay = overlay
        self._statistics = statistics
        self.problems = overlay.problems
        # The latest teacher frame: (frame, labels, index), and its accuracies.
        self._teacher = self._accuracy = None

    @classmethod
    def open(cls, config, stream):
        """Opens the video --output; None for 'none'."""
        parts = pathlib.Path(config.logdir) / PARTS
        if not config.overlay_path:
            if not stream.resume_at:  # an earlier run's, which nothing else replaces
                shutil.rmtree(parts, ignore_errors=True)
            return None
        path, fps, resume_at = config.overlay_path, stream.fps, stream.resume_at
        if config.segment:
            writer = SegmentedVideo(path, fps, parts, stream.segments, resume_at)
        else:
            overwrite = stream.overwrite
            writer = VideoWriter(path, fps, parts, resume_at=resume_at, overwrite=overwrite)
        overlay = Overlay(stream.class_names, stream.frame_size, ignored=stream.ignored)
        return cls(writer, overlay, stream.statistics)

    @staticmethod
    def check(config, *, resumed, overwrite):
        """Raises UserError if the video cannot be written, or would replace another."""
        if config.overlay_path:
            writer = SegmentedVideo if config.segment else VideoWriter
            writer.check(config.overlay_path, resumed=resumed, overwrite=overwrite)

    def add(self, result):
        """Draws and writes one frame."""
        if teacher := result.teacher:
            self._teacher = (teacher.frame, teacher.labels, teacher.index)
            self._accuracy = (teacher.accuracy_before, teacher.accuracy_after)
        status = Status(
            result.index,
            result.stride,
            self._accuracy,
            self._statistics.teacher_fraction,
            self._statistics.updates,
        )
        picture = self._overlay.draw(result.frame, result.prediction, self._teacher, status)
        self._writer.write(picture, result.time, result.duration)

    def flush(self):
        """Ends a part of the video, which then survives a crash."""
        self._writer.cut()

    def get_state(self):
        """Returns the latest teacher frame."""
        if self._teacher is None:
            return {}
        frame, labels, index = self._teacher
        status = np.array([index, *self._accuracy], np.float64)
        return {"frame": frame, "labels": labels, "status": status}

    def set_state(self, state):
        """Restores the latest teacher frame."""
        if state:
            index, *accuracy = state["status"].tolist()
            size, shapes = self._overlay.frame_size, (state["frame"].shape, state["labels"].shape)
            if shapes != ((*size, 3), size) or len(accuracy) != 2:
                raise ValueError("the teacher's frame is of another size")
            self._teacher = (state["frame"], state["labels"], int(index))
            self._accuracy = tuple(accuracy)

    def finish(self, complete):
        """Joins the parts to the video; a resumed run takes it apart again."""
        self._writer.finish()

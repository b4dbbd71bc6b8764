"""The overlay video: frame | student | latest teacher label."""

import math
import pathlib
import shutil

import numpy as np

from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.sinks.scenes import Scenes
from jitnet_tf.sinks.segment_files import PARTS
from jitnet_tf.sinks.segmented import SegmentedVideo
from jitnet_tf.sinks.video_writer import VideoWriter

GAP_KEPT = 2.0  # seconds
LEFT_OUT = "left_out"  # in the state


class OverlayVideo(Sink):
    """Writes an H.264 video, in parts that begin at checkpoints, or a video for each segment.

    Args:
      writer: a VideoWriter or SegmentedVideo.
      overlay: an Overlay.
      scenes: the run's Scenes.
      segments: the run's Segments.

    Of the time that a live stream was gone, the video has GAP_KEPT at most.
    """

    name = "overlay"

    def __init__(self, writer, overlay, scenes, segments):
        self._writer = writer
        self._overlay = overlay
        self._scenes = scenes
        self._segments = segments
        self._left_out = 0.0  # seconds of gaps, of this video
        self.problems = overlay.problems

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
        return cls(writer, overlay, Scenes(stream.statistics, stream.frame_size), stream.segments)

    @staticmethod
    def check(config, *, resumed, overwrite):
        """Raises UserError if the video cannot be written, or would replace another."""
        if config.overlay_path:
            writer = SegmentedVideo if config.segment else VideoWriter
            writer.check(config.overlay_path, resumed=resumed, overwrite=overwrite)

    def add(self, result):
        """Draws and writes one frame."""
        scene = self._scenes.of(result)
        picture = self._overlay.draw(scene.frame, scene.prediction, scene.teacher, scene.status)
        self._leave_out(result)
        time = None if result.time is None else result.time - self._left_out
        self._writer.write(picture, time, result.duration)

    def _leave_out(self, result):
        """Shortens the gap before a result, unless its segment, and so its video, begins here."""
        if result.gap is not None:
            self._left_out += max(result.gap - GAP_KEPT, 0.0)
        segment = self._segments.current
        if segment and segment.first == result.index:
            self._left_out = 0.0

    def flush(self):
        """Ends a part of the video, which then survives a crash."""
        self._writer.cut()

    def get_state(self):
        """Returns the latest teacher frame, and the seconds that were left out."""
        left_out = {LEFT_OUT: np.array(self._left_out)} if self._left_out else {}
        return {**self._scenes.get_state(), **left_out}

    def set_state(self, state):
        """Restores `get_state`'s values."""
        self._left_out = float(state.get(LEFT_OUT, 0.0))
        if not 0 <= self._left_out < math.inf:
            raise ValueError(f"{self._left_out} seconds were left out")
        self._scenes.set_state({n: value for n, value in state.items() if n != LEFT_OUT})

    def finish(self, complete):
        """Joins the parts to the video; a resumed run takes it apart again."""
        self._writer.finish()

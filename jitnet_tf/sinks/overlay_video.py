"""The overlay video: frame | student | latest teacher label."""

import pathlib
import shutil

from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.sinks.scenes import Scenes
from jitnet_tf.sinks.segment_files import PARTS
from jitnet_tf.sinks.segmented import SegmentedVideo
from jitnet_tf.sinks.video_writer import VideoWriter


class OverlayVideo(Sink):
    """Writes an H.264 video, in parts that begin at checkpoints, or a video for each segment.

    Args:
      writer: a VideoWriter or SegmentedVideo.
      overlay: an Overlay.
      scenes: the run's Scenes.
    """

    name = "overlay"

    def __init__(self, writer, overlay, scenes):
        self._writer = writer
        self._overlay = overlay
        self._scenes = scenes
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
        return cls(writer, overlay, Scenes(stream.statistics, stream.frame_size))

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
        self._writer.write(picture, result.time, result.duration)

    def flush(self):
        """Ends a part of the video, which then survives a crash."""
        self._writer.cut()

    def get_state(self):
        """Returns the latest teacher frame."""
        return self._scenes.get_state()

    def set_state(self, state):
        """Restores the latest teacher frame."""
        self._scenes.set_state(state)

    def finish(self, complete):
        """Joins the parts to the video; a resumed run takes it apart again."""
        self._writer.finish()

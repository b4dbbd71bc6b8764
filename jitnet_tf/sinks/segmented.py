"""Overlay and masks in segments: a video, and a folder of masks, for each."""

import shutil
from pathlib import Path

from jitnet_tf.base.errors import UserError
from jitnet_tf.sinks.disk import make_writable
from jitnet_tf.sinks.mask_writer import MaskWriter
from jitnet_tf.sinks.segment_files import segments_in
from jitnet_tf.sinks.video_writer import VideoWriter

_MOST_BUFFERED = 2**23  # bytes of video in memory


def check_no_segments(folder, *, resumed, overwrite):
    """Raises UserError if a folder holds segments that a new run may not replace."""
    if segments_in(folder) and not (resumed or overwrite):
        raise UserError(
            f"the folder {folder} holds segments of another run: give --overwrite or another folder"
        )


class SegmentedVideo:
    """Writes a video for each segment, named by it; the latest is in parts, as in VideoWriter.

    A segment's parts are kept with its video until the run has a checkpoint of a later segment, and
    `Segments` deletes them: a resumed run may yet need them.

    Args:
      folder: of the videos.
      fps: see VideoWriter.
      parts_dir: folder for the parts, with a folder for each segment.
      segments: the run's Segments, already restored if it was resumed.
      resume_at: number of frames before the checkpoint to resume from, or None.

    Raises:
      UserError: as VideoWriter's.
    """

    def __init__(self, folder, fps, parts_dir, segments, resume_at=None):
        self._folder = Path(folder)
        self._fps = fps
        self._parts_dir = Path(parts_dir)
        self._segments = segments
        self._segment = self._writer = None
        segments.write(lambda: make_writable(self._folder))
        if segments.current:
            self._begin(resume_at)
        else:
            shutil.rmtree(self._parts_dir, ignore_errors=True)  # an earlier run's

    @staticmethod
    def check(folder, *, resumed, overwrite):
        """Raises UserError if the folder cannot be written, or holds what may not be replaced."""
        check_no_segments(folder, resumed=resumed, overwrite=overwrite)
        make_writable(Path(folder))

    def write(self, frame, time=None, duration=None):
        """Appends one frame of the current segment; see VideoWriter, but time is the stream's."""
        if self._segment is not self._segments.current:
            self._end(keep_parts=True)
            self._begin()
        if time is not None:
            time -= self._segment.start
        self._writer.write(frame, time, duration)
        if self._writer.buffered > _MOST_BUFFERED:
            self.cut()

    def cut(self):
        """Ends the current part, so that all frames so far outlive a crash."""
        if self._writer:
            self._segments.write(self._writer.cut)

    def finish(self):
        """Completes the latest segment; a resumed run takes it apart again."""
        self._end(keep_parts=False)
        if self._parts_dir.is_dir() and not any(self._parts_dir.iterdir()):
            self._parts_dir.rmdir()

    def _end(self, keep_parts):
        writer, self._writer = self._writer, None
        if writer:
            self._segments.write(lambda: writer.finish(keep_parts))

    def _begin(self, resume_at=None):
        self._segment = segment = self._segments.current
        video = self._folder / f"{segment.name}.mp4"
        self._writer = self._segments.write(
            lambda: VideoWriter(
                video,
                self._fps,
                self._parts_dir / segment.name,
                resume_at=resume_at and resume_at - segment.first,
                overwrite=True,
                in_memory=True,
            )
        )
        video.unlink(missing_ok=True)  # whose frames, up to the checkpoint, are in parts


class SegmentedMasks:
    """Writes masks into a folder for each segment, named by it; see MaskWriter.

    Args:
      directory: of these folders; it has classes.json, too.
      class_names: see MaskWriter.
      segments: the run's Segments, already restored if it was resumed.
      resume_at: number of frames before the checkpoint to resume from, or None.
    """

    def __init__(self, directory, class_names, segments, resume_at=None):
        self._directory = Path(directory)
        self._names = class_names
        self._segments = segments
        self._segment = self._writer = None
        segments.write(lambda: MaskWriter(directory, class_names, overwrite=True))
        if segments.current:
            self._begin(resume_at)

    def write(self, index, class_map):
        """Writes the mask of a frame of the current segment."""
        if self._segment is not self._segments.current:
            self._begin()
        self._segments.write(lambda: self._writer.write(index, class_map))

    def _begin(self, resume_at=None):
        self._segment = self._segments.current
        folder = self._directory / self._segment.name
        self._writer = self._segments.write(
            lambda: MaskWriter(folder, self._names, resume_at=resume_at, overwrite=True)
        )

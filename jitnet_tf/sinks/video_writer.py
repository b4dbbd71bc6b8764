"""A video on disk, resumable after a kill -9.

The run that writes it can be killed at any moment. It resumes from its latest checkpoint, which may
be older than the last frame written. So the video is written in parts, one from checkpoint to
checkpoint.
"""

import collections
import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from jitnet_tf.sinks.disk import disk_errors_as_user_errors, make_writable

# For three 640-pixel panels with a strip of text on two cores: 18 ms and 5.7 kB a frame, 38.6 dB.
# superfast takes 14 ms and 11 kB, ultrafast 10 ms and 19 kB. Without B-frames a part's packets are
# in the order of its frames, so that parts join by shifting time stamps.
_X264 = {"preset": "veryfast", "crf": "23", "bf": "0"}

_LEAST_UNIT = 90_000  # time stamps a second, as in MPEG


class VideoWriter:
    """Writes frames as an H.264 MP4 (yuv420p, index in front) that browsers play.

    Until `finish` the frames are in `parts_dir`, as closed MP4 files named by the index and the
    time (in microseconds) of their first frame; a resumed run deletes the parts that begin at its
    checkpoint or later.

    Args:
      path: the video to make, ending in .mp4; its folder is created.
      fps: frames a second in the mean; the rate of frames without a time.
      parts_dir: folder for the parts alone, created here and removed by `finish`.
      resume_at: number of frames before the checkpoint to resume from; None for a new video.
      overwrite: whether a new video may replace an existing file.
      in_memory: keep the current part in memory until `cut`, so that after an error, say for a full
        disk, `cut` and `finish` can be called again.

    Raises:
      UserError: here, if the video cannot be written, or the parts of the earlier run are not all
        there; later, if writing fails, say for a full disk.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        fps: float,
        parts_dir: str | os.PathLike,
        *,
        resume_at: int | None = None,
        overwrite: bool = False,
        in_memory: bool = False,
    ):
        self._path = Path(path)
        self._parts_dir = Path(parts_dir)
        self._timeline = _Timeline(fps)
        self._part: _Part | None = None
        self._in_memory = in_memory
        self._unwritten: tuple[Path, io.BytesIO] | None = None  # a whole part
        self._index = resume_at or 0
        self.check(path, resumed=resume_at is not None, overwrite=overwrite)
        make_writable(self._parts_dir)
        with disk_errors_as_user_errors(self._path):
            self._keep_parts_before(resume_at or 0)

    @staticmethod
    def check(path: str | os.PathLike, *, resumed: bool, overwrite: bool) -> None:
        """Raises UserError if the video cannot be written; makes its folder, nothing else."""
        path = Path(path)
        if path.suffix.lower() != ".mp4":
            raise UserError(f"the video {path} has to end in .mp4: it is written as MP4")
        if path.is_dir():
            raise UserError(f"the video {path} is a folder: give a file name ending in .mp4")
        if path.exists() and not (resumed or overwrite):
            raise UserError(f"the video {path} exists: give --overwrite or another name")
        make_writable(path.parent)

    def write(
        self, frame: np.ndarray, time: float | None = None, duration: float | None = None
    ) -> None:
        """Appends one frame.

        Args:
          frame: uint8 RGB [H, W, 3].
          time: seconds from the start of the video; default: by its index and the frame rate.
          duration: seconds that it is shown if it is the last; default: by the frame rate.

        Raises:
          ValueError: its size differs from before.
        """
        time = self._index * self._timeline.period if time is None else time
        end = time + (self._timeline.period if duration is None else duration)
        with disk_errors_as_user_errors(self._path):
            if self._part is None:
                name = f"part-{self._index:09d}-{round(time * 1e6)}.mp4"
                part = self._parts_dir / name
                self._part = _Part(part, self._timeline, time, frame.shape, self._in_memory)
            self._part.write(frame, time, end)
        self._index += 1

    @property
    def buffered(self) -> int:
        """The bytes of the current part that are in memory."""
        return self._part.buffered if self._part else 0

    def cut(self) -> None:
        """Ends the current part, so that all frames so far outlive a crash."""
        with disk_errors_as_user_errors(self._path):
            if self._part is not None:
                part, self._part = self._part, None
                self._unwritten = part.close()
            if self._unwritten is not None:
                path, content = self._unwritten
                files.write_atomically(path, lambda file: file.write(content.getbuffer()))
                self._unwritten = None

    def finish(self, keep_parts: bool = False) -> None:
        """Joins the parts to the video, in one step and without encoding again.

        A writer made with `resume_at` takes the video apart again.

        keep_parts: leave them, for a run that may yet go back to a checkpoint before the end.
        """
        self.cut()
        with disk_errors_as_user_errors(self._path):
            if parts := self._parts():
                unfinished = self._path.with_name(f".{self._path.name}.tmp")
                try:
                    _join(parts, unfinished, self._timeline)
                    os.replace(unfinished, self._path)
                finally:
                    unfinished.unlink(missing_ok=True)
            if not keep_parts:
                shutil.rmtree(self._parts_dir)

    def _parts(self) -> list[Path]:
        return sorted(self._parts_dir.glob("part-*.mp4"))

    def _keep_parts_before(self, index: int) -> None:
        for file in self._parts_dir.glob("part-*.mp4.tmp"):
            file.unlink()
        for part in self._parts():
            if _first_index(part) >= index:
                part.unlink()
        if sum(map(_frame_count, self._parts())) == index:
            return
        # Killed in `finish` after the video was made, or resumed after its end.
        if not self._path.exists() or _frame_count(self._path) != index:
            raise UserError(
                f"the first {index} frames of the video {self._path} are not all in "
                f"{self._parts_dir}: start again with --overwrite"
            )
        for part in self._parts():
            part.unlink()
        whole = self._parts_dir / "part-000000000-0.mp4"
        shutil.copyfile(self._path, f"{whole}.tmp")
        os.replace(f"{whole}.tmp", whole)


class _Timeline:
    """Converts seconds into the unit of a video's time stamps, 1 / `unit` seconds.

    What is a multiple of the frame's period to the millisecond, as exactly as many containers state
    times, becomes an exact multiple: a constant rate stays constant.
    """

    def __init__(self, fps: float):
        # 29.97… from a header is 30000/1001.
        self.rate = Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)
        self.unit = self.rate.numerator * -(-_LEAST_UNIT // self.rate.numerator)
        self.period = float(1 / self.rate)

    def ticks(self, seconds: float) -> int:
        index = round(seconds * self.rate)
        if abs(seconds - index / self.rate) < 0.001:
            return index * self.rate.denominator * (self.unit // self.rate.numerator)
        return round(seconds * self.unit)


class _Part:
    """One part of the video; it has its name only once it is complete."""

    def __init__(
        self,
        path: Path,
        timeline: _Timeline,
        start: float,
        shape: tuple[int, int, int],
        in_memory: bool,
    ):
        self._path = path
        self._content = io.BytesIO() if in_memory else None
        self._shape = shape
        self._timeline = timeline
        self._start = timeline.ticks(start)
        self._times = collections.deque()  # of the frames in the encoder: start and duration
        self._earliest = 0
        rate = timeline.rate
        self._container = _create(self._content or f"{path}.tmp", timeline)
        self._stream = self._container.add_stream("libx264", rate=rate, options=_X264)
        self._stream.height, self._stream.width = (side + side % 2 for side in shape[:2])
        self._stream.pix_fmt = "yuv420p"
        self._stream.gop_size = max(1, round(2 * rate))  # a player jumps to within 2 seconds
        # What the conversion from RGB does; players guess otherwise when a video does not say.
        self._stream.codec_context.colorspace = av.video.reformatter.Colorspace.SMPTE170M
        self._stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG

    def write(self, frame: np.ndarray, time: float, end: float) -> None:
        if frame.shape != self._shape:
            raise ValueError(f"a frame of {frame.shape} in a video of {self._shape}")
        height, width, _ = frame.shape
        if height % 2 or width % 2:  # which yuv420p cannot hold
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        start = max(self._timeline.ticks(time) - self._start, self._earliest)
        self._times.append((start, max(self._timeline.ticks(end) - self._start - start, 1)))
        self._earliest = start + 1
        self._mux(self._stream.encode(picture))

    def _mux(self, packets: Sequence[av.Packet]) -> None:
        # The encoder counts frames; their packets come in the same order.
        for packet in packets:
            packet.time_base = Fraction(1, self._timeline.unit)
            packet.pts, packet.duration = self._times.popleft()
            packet.dts = packet.pts
            self._container.mux(packet)

    @property
    def buffered(self) -> int:
        return self._content.tell() if self._content else 0

    def close(self) -> tuple[Path, io.BytesIO] | None:
        """Completes the part; returns its path and content if it has yet to be written."""
        self._mux(self._stream.encode(None))
        self._container.close()
        if self._content:
            return self._path, self._content
        os.replace(f"{self._path}.tmp", self._path)
        return None


def _first_index(part: Path) -> int:
    return int(part.stem.split("-")[1])


def _start_of(part: Path) -> float:
    return int(part.stem.split("-")[2]) / 1e6


def _frame_count(path: Path) -> int:
    """Returns the header's count, which is correct in files closed by `_Part` and `_join`."""
    try:
        with av.open(str(path)) as container:
            return container.streams.video[0].frames
    except (av.FFmpegError, IndexError):
        return -1  # not a video of ours


def _create(
    target: str | BinaryIO, timeline: _Timeline, io_open: Callable | None = None, **options: str
) -> av.container.OutputContainer:
    options["video_track_timescale"] = str(timeline.unit)
    return av.open(target, "w", format="mp4", options=options, io_open=io_open)


@contextlib.contextmanager
def _faststart(path: Path, timeline: _Timeline) -> Iterator[av.container.OutputContainer]:
    """Creates a video with its index in front, so that playing over a network starts at once.

    FFmpeg reads the file for that. It does not close its own files where writing fails, and
    the deleted file would take its space on a full disk to the end of the process.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "wb"))

        def read_again(*_):
            file.flush()
            return stack.enter_context(open(path, "rb"))

        options = {"io_open": read_again, "movflags": "faststart"}
        yield stack.enter_context(_create(file, timeline, **options))


def _join(parts: Sequence[Path], path: Path, timeline: _Timeline) -> None:
    with _faststart(path, timeline) as output:
        joined, earliest = None, 0
        for part in parts:
            with av.open(str(part)) as container:
                stream = container.streams.video[0]
                if joined is None:
                    joined = output.add_stream_from_template(stream)
                start = timeline.ticks(_start_of(part))
                # A live source may state another rate each time that it is opened.
                scale = stream.time_base * timeline.unit
                for packet in container.demux(stream):
                    if packet.dts is None:  # the demuxer's sign of the end
                        continue
                    packet.pts = packet.dts = max(start + round(packet.pts * scale), earliest)
                    packet.duration = round(packet.duration * scale)
                    packet.time_base = Fraction(1, timeline.unit)
                    earliest = packet.pts + 1
                    packet.stream = joined
                    output.mux(packet)

"""Tells whether a container's packets reach the announced end, and whether any are lost before."""

import av

# Formats whose header states a length; those of others are estimates by FFmpeg from the file
# itself, which a cut shortens as well.
_STREAM_LENGTH = ("ivf", "mov", "mxf")  # of each stream
_FRAMES = ("avi",)  # of each stream, in frames
_FILE_LENGTH = ("asf", "flv", "matroska")  # of the longest stream
_INEXACT = {"asf": 0.1, "flv": 0.1}  # seconds by which some writers are wrong
# Formats whose packets follow each other in the file, and the bytes between two that are no index.
_IN_SEQUENCE = ("asf", "flv", "matroska", "mpegts")
_HOLE = 4096
_TS_PACKETS = (188, 192, 204)  # bytes of a packet of MPEG-TS, of M2TS, and with correction codes


class Completeness:
    """Compares the packets of a container with its header.

    Frames that an edit list hides, sound that lasts longer than the video, frames of varying
    duration and frames that a codec leaves out do not count as missing.

    Args:
      container: PyAV's.
      stream: its video.
    """

    def __init__(self, container, stream):
        self._container, self._stream = container, stream
        self._format = container.format.name.partition(",")[0]
        self._packets = 0
        self._video_is_cut = self._is_cut = False  # the last packet of the video, of any stream
        self._video_end: float | None = None  # seconds
        self._end: float | None = None  # of all streams
        self._read_to: int | None = None  # place in the file, in bytes
        self._unread = 0  # bytes before it that belong to no packet, since the last of the video
        self._last_time: float | None = None  # of decoding, of the video's last packet
        self._holes = 0
        self._first_hole = (0.0, 0.0)  # seconds

    def add(self, packet: av.Packet) -> None:
        """Takes a packet of any stream, in the order of the file."""
        if not packet.size:  # the end of a stream
            return
        end = self._end_of(packet)
        if end is not None:
            self._end = max(end, self._end or end)
        self._is_cut = packet.is_corrupt
        if packet.pos is not None and packet.pos >= 0:
            self._unread += max(0, packet.pos - (self._read_to or packet.pos))
            self._read_to = max(self._read_to or 0, packet.pos + packet.size)
        if packet.stream_index == self._stream.index:
            self._packets += 1
            self._video_is_cut = packet.is_corrupt
            if end is not None:
                self._video_end = max(end, self._video_end or end)
            self._look_for_hole(packet)

    def problems(self) -> list[str]:
        """Returns a sentence for each problem, at the end of the file."""
        found = []
        if self._holes:
            start, end = self._first_hole
            more = f", and {self._holes - 1} more such gaps" if self._holes > 1 else ""
            found.append(f"the file is damaged: no frame from {start:.2f} to {end:.2f} s{more}")
        if shortfall := self.shortfall():
            found.append(shortfall)
        return found

    def shortfall(self) -> str | None:
        """Returns a sentence if the video ends early; None if it does not, or nobody can tell."""
        length, reached = self._announced(), self._reached()
        if length is None:
            return self._shortfall_without_length()
        tolerance = max(0.75 * self._frame_seconds(), 0.0005 * length)
        tolerance += _INEXACT.get(self._format, 0)
        is_short = not self._has_all_frames() and reached < length - tolerance
        if is_short or self._video_is_cut:
            reached = min(reached, length)
            return f"the file is cut off: its header announces {length:.2f} s, it has {reached:.2f}"
        # The length of a fragmented MP4 may be that of the fragments that are there.
        is_fragmented = self._format == "mov" and not self._stream.frames
        return self._shortfall_without_length() if is_fragmented else None

    def _look_for_hole(self, packet: av.Packet) -> None:
        # A gap in time alone may be a frame that lasts long.
        time = None if packet.dts is None else float(packet.dts * packet.time_base)
        if time is not None and self._last_time is not None and self._unread > _HOLE:
            is_gap = time - self._last_time > 3.5 * self._frame_seconds()
            if is_gap and self._format in _IN_SEQUENCE:
                self._first_hole = self._first_hole if self._holes else (self._last_time, time)
                self._holes += 1
        self._unread = 0
        self._last_time = time

    def _announced(self) -> float | None:
        stream, container = self._stream, self._container
        if self._format in _FRAMES and stream.frames and stream.average_rate:
            return float(stream.frames / stream.average_rate)
        if self._format in _STREAM_LENGTH and stream.duration:
            return float(stream.duration * stream.time_base)
        if self._format in _FILE_LENGTH and container.duration:
            return container.duration / av.time_base
        return None

    def _reached(self) -> float:
        """Returns the seconds that correspond to those announced."""
        if self._format in _STREAM_LENGTH + _FRAMES:
            start = self._stream.start_time or 0
            return (self._video_end or 0.0) - float(start * self._stream.time_base)
        # Some writers count from 0, others from the first frame. A cut among sound that lasts
        # longer than the video does no harm; Matroska often tells how long the video is.
        if _seconds(self._stream.metadata.get("DURATION")) <= (self._video_end or 0.0):
            return self._announced() or 0.0
        return self._end or 0.0

    def _has_all_frames(self) -> bool:
        # Not of AVI, where a frame may stand for a repetition and have no packet.
        return self._format == "mov" and 0 < self._stream.frames <= self._packets

    def _shortfall_without_length(self) -> str | None:
        size = self._container.size or 0  # negative or None for pipes and live streams
        is_cut = self._is_cut or (
            self._format == "mpegts" and size > 0 and all(size % step for step in _TS_PACKETS)
        )
        if is_cut:
            return "the file ends within a packet: it seems to be cut off"
        if self._format == "asf" and size > 0:  # FFmpeg drops a length that does not suit the size
            return "the header's length is missing or does not suit the file: it may be cut off"
        return None

    def _end_of(self, packet: av.Packet) -> float | None:
        start = packet.dts if packet.pts is None else packet.pts
        if start is None:
            return None
        end = float(start * packet.time_base)
        if packet.duration:
            return end + float(packet.duration * packet.time_base)
        return end + (self._frame_seconds() if packet.stream_index == self._stream.index else 0.0)

    def _frame_seconds(self) -> float:
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(1 / rate) if rate else 0.04


def _seconds(text: str | None) -> float:
    """Returns the seconds of "00:01:02.500000000"; infinity if there are none."""
    try:
        hours, minutes, seconds = (float(part) for part in (text or "").split(":"))
    except ValueError:
        return float("inf")
    return 3600 * hours + 60 * minutes + seconds

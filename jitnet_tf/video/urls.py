"""Reads the packets of a URL, and tells a normal end from a broken connection."""

from collections.abc import Iterator

import av

from jitnet_tf.video.decoders import BrokenOffError, Note

TIMEOUT = (10.0, 30.0)  # seconds to open a stream, and to wait for its next packet
# Tolerated shortfall against the announced length: HLS rounds the length of each part, and sound
# may last longer than the video.
TOLERANCE = (2.0, 0.01)  # seconds; fraction of the length
# Formats whose bytes are no video file.
_NO_FILES = ("dash", "hls", "mpjpeg", "sdp")
NO_MORE = "no more data came"


def url_packets(container, stream, note: Note) -> Iterator[av.Packet]:
    """Yields the packets of all streams; raises BrokenOffError where the network fails.

    A run can then be resumed from there: a cut last packet is left out, and the decoder is not
    flushed, unless the stream is live.
    """
    start = (stream.start_time or 0) * stream.time_base
    reached, cut, reason = 0.0, None, None
    try:
        for packet in container.demux():  # all streams: `Completeness` needs them
            if not packet.size:  # the end of the stream
                continue
            if packet.stream_index != stream.index:
                yield packet
                continue
            if cut:  # damaged, but not the last one
                yield cut
            cut = packet if packet.is_corrupt else None
            if cut:
                continue
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - start
                reached = max(reached, float(end))
            yield packet
    except av.FFmpegError as error:
        reason = reason_of(error)
    reason = _why_early(container, stream, reached, reason)
    if cut and not reason:
        yield cut
    if not reason or is_live(container, stream):
        flush = av.Packet()  # makes the decoder return the frames that it holds
        flush.stream = stream
        yield flush
    if reason:
        raise BrokenOffError(reason)


def _why_early(container, stream, reached: float, reason: str | None) -> str | None:
    """Returns why a URL ended early; None if it ended normally.

    Args:
      container: the opened URL.
      stream: its video.
      reached: seconds of the stream received.
      reason: FFmpeg's error at the end, if there was one.
    """
    length = announced_length(container, stream)
    if length is None:
        # FFmpeg reports a lost server as a normal end of stream, or both as an error.
        return reason or (NO_MORE if is_live(container, stream) else None)
    # If a server closes the connection without having stated a length, FFmpeg reports an error.
    is_whole = stream.average_rate and abs(length - reached) < 0.5 / stream.average_rate
    is_short = length - reached > max(TOLERANCE[0], TOLERANCE[1] * length)
    if is_whole or not (reason or is_short):
        return None
    return f"{reason or NO_MORE} after {reached:.1f} of {length:.1f} s"


def is_live(container, stream) -> bool:
    """Returns whether a URL states neither its seconds nor, as a file does, its bytes."""
    is_file = container.format.name not in _NO_FILES and (container.size or 0) > 0
    return announced_length(container, stream) is None and not is_file


def reason_of(error: av.FFmpegError) -> str:
    """Returns the reason of FFmpeg's error in words."""
    # ExitError is raised only by PyAV's timeout.
    return "timed out" if isinstance(error, av.error.ExitError) else error.strerror


def announced_length(container, stream) -> float | None:
    """Returns the announced seconds; None if unknown, as for a live stream."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None

"""Decoders of frame sources: PyAV for files and URLs, OpenCV for images and cameras.

On intact files PyAV and OpenCV give the same frames at about the same rate (720p H.264 on two
cores: 3.4 and 2.7 ms a frame). But when the frame size of a stream changes, `cv2.VideoCapture`
returns frames of the first size, filled with stale pixels (4.11) or rescaled (5.0), without any
sign: the change can be neither refused nor resized as asked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from jitnet_tf.base.errors import UserError

# Called with a sentence for each problem: what was skipped, or does not fit.
Note = Callable[[str], None]

URL_TIMEOUT = (10.0, 30.0)  # seconds to open a stream, and to wait for its next packet
# Tolerated shortfall against the announced length: HLS rounds the length of each part, and sound
# may last longer than the video.
TOLERANCE = (2.0, 0.01)  # seconds; fraction of the length
LIVE_PROTOCOLS = ("rtsp", "rtmp", "srt")
NO_MORE = "no more data came"


class BrokenOffError(UserError):
    """A stream or a camera ended early.

    Frames delivered so far are valid; reopening the source may yield more.
    """


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as its decoder gives it.

    Attributes:
      size: (H, W) in pixels.
      convert: returns it as uint8 RGB [H, W, 3]; skipped frames do not need it.
      time: seconds by the source's own clock; None where it states none.
    """

    size: tuple[int, int]
    convert: Callable[[], np.ndarray]
    time: float | None = None


@dataclass(frozen=True)
class Decoder:
    """An opened source.

    Attributes:
      frames: starts the only pass over the frames; closing the iterator releases the source.
      fps: the header's frame rate; may be missing (None) or implausible.
      announced_frames: number of frames by the header or an estimate; None if unknown.
    """

    frames: Callable[[Note], Iterator[DecodedFrame]]
    fps: float | None
    announced_frames: int | None = None


def open_video(address: str, spec: str, is_url: bool) -> Decoder:
    """Opens a video file or a URL, whose frames end in a BrokenOffError if it breaks off.

    Args:
      address: absolute path, or URL.
      spec: its name in messages, without credentials.
      is_url: whether it is a URL.

    Raises:
      UserError: it cannot be opened, or has no video.
    """
    container, stream = _open_container(address, spec, is_url)
    packets = _url_packets if is_url else _file_packets
    frames = partial(_video_frames, container, stream, packets)
    return Decoder(frames, *_header(container, stream))


def _open_container(address: str, spec: str, is_url: bool):
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    try:
        container = av.open(address, options=options, timeout=URL_TIMEOUT if is_url else None)
    except av.FFmpegError as error:
        advice = (
            "check the address, the network and the login"
            if is_url
            else "the file is cut off or not a video; check that it plays, or copy it again"
        )
        # Not chained: the original text holds the URL with its credentials.
        raise UserError(f"{spec} cannot be opened as video ({_reason(error)}): {advice}") from None
    stream = container.streams.best("video")
    if stream is None or not _is_video(stream):
        container.close()
        raise UserError(f"{spec} holds no video that can be decoded: give a file or URL that does")
    # Not frame threads (PyAV's "AUTO"), though they are .5 ms faster: they decode damaged streams
    # differently in every run, and a resumed run has to equal an uninterrupted one.
    stream.thread_type = "SLICE"
    return container, stream


def _reason(error: av.FFmpegError) -> str:
    # ExitError is raised only by PyAV's timeout.
    return "timed out" if isinstance(error, av.error.ExitError) else error.strerror


def _header(container, stream) -> tuple[float | None, int | None]:
    """Returns the announced frame rate and number of frames; None where unknown."""
    rate, length = stream.average_rate, _length(container, stream)
    announced = stream.frames
    if announced <= 0 and length and rate:
        announced = round(length * rate)
    return float(rate) if rate else None, announced if announced > 0 else None


def _length(container, stream) -> float | None:
    """Returns the announced seconds; None if unknown, as for a live stream."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _is_video(stream) -> bool:
    if stream.codec_context is None:
        return False
    # FFmpeg also opens text files as videos, and the cover image of a music file.
    is_text = stream.codec_context.name in ("ansi", "bintext", "idf", "xbin")
    return not (is_text or stream.disposition & av.stream.Disposition.attached_pic)


def _video_frames(container, stream, packets, note: Note) -> Iterator[DecodedFrame]:
    # One for all frames: setting it up takes longer than converting a frame.
    reformatter = VideoReformatter()
    count, broken = 0, 0
    try:
        for packet in packets(container, stream, note):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                broken += 1
                continue
            for frame in frames:
                if broken:
                    note(f"{broken} undecodable packets before frame {count} skipped")
                    broken = 0
                if frame.is_corrupt:
                    note(f"frame {count} is damaged: kept as decoded")
                size = (frame.height, frame.width)
                upright = size[::-1] if frame.rotation % 180 else size
                convert = partial(_video_rgb, reformatter, frame)
                yield DecodedFrame(upright, convert, frame.time)
                count += 1
        if broken:
            note(f"{broken} undecodable packets after the last frame skipped")
        # Only where the container states a number: the estimate is too rough.
        if count < stream.frames:
            note(f"the header announces {stream.frames} frames, {count} were decoded")
    finally:
        container.close()


def _file_packets(container, stream, note: Note) -> Iterator[av.Packet]:
    for _ in range(100):  # reads on after damage
        try:
            yield from container.demux(stream)
            return
        except av.FFmpegError as error:
            reason = error.strerror
    note(f"the stream broke off ({reason})")


def _url_packets(container, stream, note: Note) -> Iterator[av.Packet]:
    """Yields the packets; raises BrokenOffError where the network fails.

    A run can then be resumed from there: a cut last packet is left out, and the decoder is not
    flushed.
    """
    start = (stream.start_time or 0) * stream.time_base
    reached, cut, reason = 0.0, None, None
    try:
        for packet in container.demux(stream):
            if not packet.size:  # the end of the stream
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
        reason = _reason(error)
    reason = _why_early(container, stream, reached, reason)
    if reason:
        raise BrokenOffError(reason)
    if cut:
        yield cut
    flush = av.Packet()  # makes the decoder return the frames that it holds
    flush.stream = stream
    yield flush


def _why_early(container, stream, reached: float, reason: str | None) -> str | None:
    """Returns why a URL ended early; None if it ended normally.

    Args:
      container: the opened URL.
      stream: its video.
      reached: seconds of the stream received.
      reason: FFmpeg's error at the end, if there was one.
    """
    length = _length(container, stream)
    if length is None:
        # FFmpeg reports a lost server as a normal end of stream.
        protocol = container.name.partition(":")[0].lower()
        is_live = protocol.startswith(LIVE_PROTOCOLS) or container.format.name == "hls"
        return reason or (NO_MORE if is_live else None)
    # If a server closes the connection without having stated a length, FFmpeg reports an error.
    is_whole = stream.average_rate and abs(length - reached) < 0.5 / stream.average_rate
    is_short = length - reached > max(TOLERANCE[0], TOLERANCE[1] * length)
    if is_whole or not (reason or is_short):
        return None
    return f"{reason or NO_MORE} after {reached:.1f} of {length:.1f} s"


def _video_rgb(reformatter: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    # Videos of phones are often stored rotated. The angle is counter-clockwise, as numpy's.
    return np.rot90(rgb, round(frame.rotation / 90)) if frame.rotation else rgb


def open_chunks(files: Sequence[Path]) -> Decoder:
    """Opens video files as the chunks of one video, in this order; one file is open at a time.

    Raises:
      UserError: one of them cannot be opened; a whole chunk is too much to skip.
    """
    headers = []
    for file in files:
        container, stream = _open_chunk(file)
        headers.append(_header(container, stream))
        container.close()
    fps, counts = headers[0][0], [count for _, count in headers]
    return Decoder(partial(_chunk_frames, files, fps), fps, sum(counts) if all(counts) else None)


def _open_chunk(file: Path):
    # An absolute path, since FFmpeg would read "12:30.mp4" as a protocol.
    return _open_container(str(file.resolve()), str(file), is_url=False)


def _chunk_frames(files: Sequence[Path], fps: float | None, note: Note) -> Iterator[DecodedFrame]:
    for file in files:
        container, stream = _open_chunk(file)
        rate, _ = _header(container, stream)
        if fps and rate and abs(rate - fps) > 0.01 * fps:
            note(f"{file.name} has {rate:g} frames a second, the first chunk has {fps:g}")
        is_empty = True
        note_of_chunk = partial(_note_of_chunk, note, file.name)
        with closing(_video_frames(container, stream, _file_packets, note_of_chunk)) as frames:
            for frame in frames:
                is_empty = False
                yield frame
        if is_empty:
            note(f"{file.name} holds no frame that can be decoded: skipped")


def _note_of_chunk(note: Note, name: str, problem: str) -> None:
    note(f"{name}: {problem}")


def open_images(files: Sequence[Path], fps: float) -> Decoder:
    """Opens image files as a video, in this order; undecodable ones are skipped."""
    return Decoder(partial(_image_frames, files), fps, len(files))


def _image_frames(files: Sequence[Path], note: Note) -> Iterator[DecodedFrame]:
    for file in files:
        try:
            # 8-bit BGR and upright, for any depth and number of channels.
            bgr = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error):  # no permission, or an empty file
            bgr = None
        if bgr is None:
            note(f"{file.name} cannot be decoded: skipped")
            continue
        yield DecodedFrame(bgr.shape[:2], partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB))


def open_camera(index: str) -> Decoder:
    """Opens the camera of an index of one or two digits. UserError if that fails."""
    log = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2  # OpenCV 5; 4.11
    verbosity = log.getLogLevel()
    log.setLogLevel(0)  # else each of OpenCV's backends warns that it has no such camera
    try:
        camera = cv2.VideoCapture(int(index))
    finally:
        log.setLogLevel(verbosity)
    if not camera.isOpened():
        raise UserError(
            f"camera {index} cannot be opened: check that it is plugged in and that no other "
            f"program uses it (for a file of this name write ./{index})"
        )
    return Decoder(partial(_camera_frames, camera), camera.get(cv2.CAP_PROP_FPS))


def _camera_frames(camera: cv2.VideoCapture, note: Note) -> Iterator[DecodedFrame]:
    try:
        while True:
            delivered, bgr = camera.read()
            if not delivered:
                raise BrokenOffError("the camera stopped delivering frames")
            yield DecodedFrame(bgr.shape[:2], partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB))
    finally:
        camera.release()

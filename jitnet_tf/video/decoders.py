"""What `video.open_source` decodes with: PyAV for files and URLs, OpenCV for images and cameras.

On intact files PyAV and OpenCV give the same frames at about the same rate (720p H.264 on two
cores: 3.4 and 2.7 ms a frame). But when a stream's frame size changes, `cv2.VideoCapture` goes on
handing out frames of the first size, filled with stale pixels (4.11) or rescaled (5.0), and no
property of it shows that: the change can be neither refused nor resized as asked.
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

# One decoded frame: its (H, W), and the conversion to RGB, put off because skipping does without.
DecodedFrame = tuple[tuple[int, int], Callable[[], np.ndarray]]
# Told, in a sentence, what was skipped or does not fit.
Note = Callable[[str], None]

URL_TIMEOUT = (10.0, 30.0)  # seconds to open a stream, and to wait for its next packet
# What a stream's length may be short of what was announced: HLS rounds that of each part, and
# sound may go on after the pictures.
ROUGHLY = (2.0, 0.01)  # seconds, or part of the length
LIVE_PROTOCOLS = ("rtsp", "rtmp", "srt")
NO_MORE = "no more came"


class BrokenOffError(UserError):
    """A stream or a camera ended before its time. What came is sound, and there may be more."""


@dataclass(frozen=True)
class Decoder:
    """An opened source.

    Attributes:
      frames: starts the one pass over the frames; closing the iterator releases the source.
      fps: the header's frame rate, which may be absent (None) or absurd.
      announced_frames: the header's or an estimated number of frames, None where unknown.
    """

    frames: Callable[[Note], Iterator[DecodedFrame]]
    fps: float | None
    announced_frames: int | None = None


def open_video(address: str, spec: str, is_url: bool) -> Decoder:
    """Opens a file (by its absolute path) or a URL; UserError, naming `spec`, if that fails.

    A URL's frames end in a BrokenOffError where they end too early.
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
            else "it is cut off or no video; check that it plays, or copy it again"
        )
        # Not chained: the original text holds the URL with its credentials.
        raise UserError(f"{spec} cannot be opened as video ({_reason(error)}): {advice}") from None
    stream = container.streams.best("video")
    if stream is None or not _is_video(stream):
        container.close()
        raise UserError(f"{spec} holds no video that can be decoded: give a file or URL that does")
    # Not frame threads (PyAV's "AUTO"), though they are .5 ms faster: after damage they decode
    # differently from one run to the next, and a resumed run has to equal an uninterrupted one.
    stream.thread_type = "SLICE"
    return container, stream


def _reason(error: av.FFmpegError) -> str:
    # Nobody but PyAV's time limit makes FFmpeg exit.
    return "timed out" if isinstance(error, av.error.ExitError) else error.strerror


def _header(container, stream) -> tuple[float | None, int | None]:
    """The frame rate and the number of frames announced."""
    rate, length = stream.average_rate, _length(container, stream)
    announced = stream.frames
    if announced <= 0 and length and rate:
        announced = round(length * rate)
    return float(rate) if rate else None, announced if announced > 0 else None


def _length(container, stream) -> float | None:
    """The seconds announced; None where there is no saying, as of a live stream."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _is_video(stream) -> bool:
    if stream.codec_context is None:
        return False
    # To FFmpeg a text file is a video too, and so is the cover picture in a music file.
    is_text = stream.codec_context.name in ("ansi", "bintext", "idf", "xbin")
    return not (is_text or stream.disposition & av.stream.Disposition.attached_pic)


def _video_frames(container, stream, packets, note: Note) -> Iterator[DecodedFrame]:
    # One for all frames: setting up a conversion takes longer than converting.
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
                    note(f"packets that cannot be decoded before frame {count}: {broken} skipped")
                    broken = 0
                if frame.is_corrupt:
                    note(f"frame {count} is damaged: kept as decoded")
                size = (frame.height, frame.width)
                upright = size[::-1] if frame.rotation % 180 else size
                yield upright, partial(_video_rgb, reformatter, frame)
                count += 1
        if broken:
            note(f"packets that cannot be decoded after the last frame: {broken} skipped")
        # Compared only where the container states a number; the estimate is too rough for that.
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
    """The packets up to where the network failed, if it did: BrokenOffError.

    So that a run can go on from there, they end with the last one that is whole, and what the
    decoder still holds it keeps.
    """
    start = (stream.start_time or 0) * stream.time_base
    reached, cut, reason = 0.0, None, None
    try:
        for packet in container.demux(stream):
            if not packet.size:  # at the end
                continue
            if cut:  # damaged, but not the last
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
    flush = av.Packet()  # makes the decoder give out what it holds
    flush.stream = stream
    yield flush


def _why_early(container, stream, reached: float, reason: str | None) -> str | None:
    """Why a URL's packets ended before the stream did; None if they did not.

    reached: seconds of the stream that came. reason: FFmpeg's for the end, if that was an error.
    """
    length = _length(container, stream)
    if length is None:
        # To FFmpeg a server that goes away is the end of what never has one.
        protocol = container.name.partition(":")[0].lower()
        is_live = protocol.startswith(LIVE_PROTOCOLS) or container.format.name == "hls"
        return reason or (NO_MORE if is_live else None)
    # Some servers close the connection without having said how much they would send: an error.
    is_whole = stream.average_rate and abs(length - reached) < 0.5 / stream.average_rate
    is_short = length - reached > max(ROUGHLY[0], ROUGHLY[1] * length)
    if is_whole or not (reason or is_short):
        return None
    return f"{reason or NO_MORE} after {reached:.1f} of {length:.1f} s"


def _video_rgb(reformatter: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    # Phones film on their side and say so. The angle is counter-clockwise, as numpy's.
    return np.rot90(rgb, round(frame.rotation / 90)) if frame.rotation else rgb


def open_chunks(files: Sequence[Path]) -> Decoder:
    """Video files that are chunks of one video, in the given order; one is open at a time.

    UserError if one of them cannot be opened: what is lost there is too much to skip.
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
            note(f"{file.name} has {rate:g} frames a second, the first chunk {fps:g}")
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
    """Image files in the given order; those that cannot be decoded are skipped."""
    return Decoder(partial(_image_frames, files), fps, len(files))


def _image_frames(files: Sequence[Path], note: Note) -> Iterator[DecodedFrame]:
    for file in files:
        try:
            # To 8-bit BGR, turned upright, whatever the file's depth and channels.
            bgr = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error):  # no permission; an empty file
            bgr = None
        if bgr is None:
            note(f"{file.name} cannot be decoded: skipped")
            continue
        yield bgr.shape[:2], partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB)


def open_camera(index: str) -> Decoder:
    """The camera of this index (one or two digits); UserError if it cannot be opened."""
    log = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2  # OpenCV 5; 4.11
    verbosity = log.getLogLevel()
    log.setLogLevel(0)  # each of OpenCV's backends would warn that it has no such camera
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
            yield bgr.shape[:2], partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB)
    finally:
        camera.release()

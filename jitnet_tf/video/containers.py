"""Decodes video files and URLs with PyAV.

On intact files PyAV and OpenCV give the same frames at about the same rate (720p H.264 on two
cores: 3.4 and 2.7 ms a frame). But when the frame size of a stream changes, `cv2.VideoCapture`
returns frames of the first size, filled with stale pixels (4.11) or rescaled (5.0), without any
sign: the change can be neither refused nor resized as asked.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from jitnet_tf.base.errors import UserError
from jitnet_tf.video import urls
from jitnet_tf.video.completeness import Completeness
from jitnet_tf.video.decoders import DecodedFrame, Decoder, Note, is_plausible_rate
from jitnet_tf.video.geometry import Geometry, Turn

# Of titles and the like. PyAV 19 does so by itself.
_ANY_ENCODING = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# Images in containers of video, that may be cut into tiles, a stream each.
_TILED = ("avif", "heic", "heix", "mif1")
_STREAMABLE = (
    "a pipe has to deliver a video that needs no searching, such as mkv, ts or fragmented mp4 "
    "(ffmpeg: -movflags frag_keyframe+empty_moov)"
)


def open_video(address: str, spec: str, is_url: bool = False, is_pipe: bool = False) -> Decoder:
    """Opens a video file, a pipe or a URL; a URL that breaks off ends in a BrokenOffError.

    Args:
      address: absolute path, or URL.
      spec: its name in messages, without credentials.
      is_url: whether it is a URL.
      is_pipe: whether it is a pipe, in which nothing can be searched.

    Raises:
      UserError: it cannot be opened, or has no video.
    """
    container, stream = _open_container(address, spec, is_url, is_pipe)
    packets = urls.url_packets if is_url else _file_packets
    if is_pipe:
        packets = partial(_pipe_packets, spec)
    frames = partial(_video_frames, container, stream, packets, set())
    header, remark = _header(container, stream), None
    if is_pipe:
        remark = f"{spec} is a pipe: to resume, pipe the same video in from its start"
    live = is_url and urls.is_live(container, stream)
    in_bursts = live and container.format.name in ("dash", "hls")
    return Decoder(frames, **header, live=live, in_bursts=in_bursts, remark=remark)


def _open_container(address: str, spec: str, is_url: bool = False, is_pipe: bool = False):
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    try:
        container = av.open(
            address,
            options=options,
            **_ANY_ENCODING,
            timeout=urls.TIMEOUT if is_url else None,
        )
    except av.FFmpegError as error:
        advice = "the file is cut off or not a video; check that it plays, or copy it again"
        if is_url:
            advice = "check the address, the network and the login"
        if is_pipe:
            advice = _STREAMABLE
        # Not chained: the original text holds the URL with its credentials.
        raise UserError(
            f"{spec} cannot be opened as video ({urls.reason_of(error)}): {advice}"
        ) from None
    stream = container.streams.best("video")
    if stream is None or not _is_video(stream):
        container.close()
        raise UserError(f"{spec} holds no video that can be decoded: give a file or URL that does")
    brand = container.metadata.get("major_brand", "")
    if brand in _TILED and len(container.streams.video) > 1:
        container.close()
        raise UserError(f"{spec} is an image in tiles ({brand}): convert it to JPEG or PNG")
    # Threads decode damaged streams differently in every run, and a resumed run has to equal an
    # uninterrupted one. A URL's decoder has to keep up with a camera, whose frames come only once.
    if is_url:
        stream.thread_type = "SLICE"
    else:
        stream.codec_context.thread_count = 1
    return container, stream


def _header(container, stream) -> dict:
    """Returns what the header states, by the names of `Decoder`'s attributes."""
    seconds, fps = urls.announced_length(container, stream), _rate(stream)
    frames = stream.frames
    if frames <= 0 and seconds and fps:
        frames = round(seconds * fps)
    if container.format.name.startswith("mov") and seconds and fps:
        frames = min(frames, round(seconds * fps))  # an edit list may hide frames
    return {
        "fps": fps,
        "announced_frames": frames if frames > 0 else None,
        "announced_seconds": seconds,
        "constant_rate": _is_constant(stream, fps),
    }


def _is_constant(stream, fps: float | None) -> bool:
    if stream.frames <= 0:  # then nobody knows
        return False
    return not fps or abs(fps - (stream.guessed_rate or fps)) <= 0.01 * fps


def _rate(stream) -> float | None:
    # Without time stamps the mean is a guess, but the codec may state its rate; Ogg and IVF have no
    # mean, and FFmpeg's of DV is the unit of its time stamps.
    has_mean = stream.start_time is not None and is_plausible_rate(stream.average_rate)
    codec_rate = stream.codec_context.framerate if stream.start_time is not None else None
    rate = stream.average_rate if has_mean else codec_rate or stream.guessed_rate
    return float(rate) if rate else None


def _is_video(stream) -> bool:
    if stream.codec_context is None:
        return False
    # FFmpeg also opens text files as videos, and the cover image of a music file.
    is_text = stream.codec_context.name in ("ansi", "bintext", "idf", "xbin")
    return not (is_text or stream.disposition & av.stream.Disposition.attached_pic)


def _video_frames(
    container, stream, packets, noted: set[str], note: Note
) -> Iterator[DecodedFrame]:
    # One for all frames: setting it up takes longer than converting a frame.
    reformatter = VideoReformatter()
    geometry = Geometry(stream, note, noted)
    completeness = Completeness(container, stream)
    count, broken, stamp = 0, 0, None
    waited = 0.0
    try:
        for seconds, packet in _timed(packets(container, stream, note)):
            waited += seconds
            completeness.add(packet)
            if packet.stream.index != stream.index:
                continue
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):  # ValueError: of an unknown codec
                broken += 1
                continue
            for frame in frames:
                if broken:
                    note(f"{broken} undecodable packets before frame {count} skipped")
                    broken = 0
                if frame.is_corrupt:
                    note(f"frame {count} is damaged: kept as decoded")
                size, turn = geometry.of(frame)
                convert = partial(_video_rgb, reformatter, frame, turn)
                stamp = _stamp(container, frame, stamp)
                duration = frame.duration or None
                yield DecodedFrame(
                    size,
                    convert,
                    None if stamp is None else float(stamp * stream.time_base),
                    duration and float(duration * stream.time_base),
                    waited,
                )
                waited = 0.0
                count += 1
        if broken:
            note(f"{broken} undecodable packets after the last frame skipped")
        for problem in completeness.problems():
            note(problem)
    finally:
        container.close()


def _timed(packets: Iterator[av.Packet]) -> Iterator[tuple[float, av.Packet]]:
    """Yields each packet with the seconds that it was waited for."""
    start = time.perf_counter()
    for packet in packets:
        yield time.perf_counter() - start, packet
        start = time.perf_counter()


def _stamp(container, frame: av.VideoFrame, before: int | None) -> int | None:
    """Returns the time stamp of a frame in its stream's unit. before: the frame's before it."""
    if container.format.name != "avi":
        return frame.pts
    # AVI has decoding times alone, and the frames that a decoder held back to the end have none.
    return before + frame.duration if frame.dts is None and before is not None else frame.dts


def _file_packets(container, stream, note: Note) -> Iterator[av.Packet]:
    for _ in range(100):  # reads on after damage
        try:
            yield from container.demux()  # all streams: sound may last longer than the video
            return
        except av.FFmpegError as error:
            reason = error.strerror
    note(f"the stream broke off ({reason})")


def _pipe_packets(spec: str, container, stream, note: Note) -> Iterator[av.Packet]:
    is_empty = True
    for packet in _file_packets(container, stream, note):
        is_empty = is_empty and not packet.size  # the last one is empty
        yield packet
    if is_empty:
        raise UserError(f"no frame of {spec} can be decoded: {_STREAMABLE}")


def _video_rgb(
    reformatter: VideoReformatter, frame: av.VideoFrame, turn: Turn | None
) -> np.ndarray:
    rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return turn(rgb) if turn else rgb


def open_chunks(
    files: Sequence[Path], remark: str | None = None, problems: Sequence[str] = ()
) -> Decoder:
    """Opens video files as the chunks of one video, in this order; one file is open at a time.

    remark and problems: those of the `Decoder`.

    Raises:
      UserError: one of them cannot be opened; a whole chunk is too much to skip.
    """
    headers = []
    for file in files:
        container, stream = _open_chunk(file)
        headers.append(_header(container, stream))
        container.close()
    fps = headers[0]["fps"]
    return Decoder(
        partial(_chunk_frames, files, fps),
        fps,
        announced_frames=_sum(header["announced_frames"] for header in headers),
        announced_seconds=_sum(header["announced_seconds"] for header in headers),
        constant_rate=all(header["constant_rate"] for header in headers),
        remark=remark,
        problems=problems,
    )


def _sum(values: Iterable) -> float | None:
    values = list(values)
    return sum(values) if all(values) else None


def _open_chunk(file: Path):
    # An absolute path, since FFmpeg would read "12:30.mp4" as a protocol.
    return _open_container(str(file.resolve()), str(file))


def _chunk_frames(files: Sequence[Path], fps: float | None, note: Note) -> Iterator[DecodedFrame]:
    noted: set[str] = set()
    for part, file in enumerate(files):
        container, stream = _open_chunk(file)
        rate = _rate(stream)
        if fps and rate and abs(rate - fps) > 0.01 * fps:
            note(f"{file.name} has {rate:g} frames a second, the first chunk has {fps:g}")
        is_empty = True
        note_of_chunk = partial(_note_of_chunk, note, file.name)
        decoded = _video_frames(container, stream, _file_packets, noted, note_of_chunk)
        with closing(decoded) as frames:
            for frame in frames:
                is_empty = False
                yield replace(frame, part=part)
        if is_empty:
            note(f"{file.name} holds no frame that can be decoded: skipped")


def _note_of_chunk(note: Note, name: str, problem: str) -> None:
    note(f"{name}: {problem}")

"""Videos for the tests of jitnet_tf.video, and a way to read them."""

import io
import pathlib
import struct

import av
import numpy as np
import pytest

from jitnet_tf import video

VIDEOS = pathlib.Path(__file__).parents[3] / "shared" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="../shared/videos is missing")


def numbered_frame(index, height=64, width=96):
    """A frame whose red bar on blue is (index + 1) / 24 of its width."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 2] = 255
    frame[:, : width * (index + 1) // 24] = [255, 0, 0]
    return frame


def index_of(frame):
    """Reads the index of a `numbered_frame`, also after lossy compression."""
    return round((frame[..., 0] > frame[..., 2]).mean() * 24) - 1


def encoded(
    frames,
    file_format,
    codec="libx264",
    pix_fmt="yuv420p",
    gop=4,
    rate=30,
    pixel_ratio=None,
    options=None,
):
    """The bytes of a video of uint8 RGB frames.

    pixel_ratio: width / height of a pixel, a Fraction; options: of the codec.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=file_format) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        if pixel_ratio:
            stream.codec_context.sample_aspect_ratio = pixel_ratio
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def mjpeg(frames, file_format, rate=30):
    return encoded(frames, file_format, "mjpeg", "yuvj420p", rate=rate)


def with_matrix(mp4, a, b, c, d):
    """The bytes of an MP4 whose pixel (x, y) is to be shown at (a x + c y, b x + d y)."""
    data = bytearray(mp4)
    place = data.index(b"tkhd") + 44  # in the header of the (only) track, version 0
    entries = [round(entry * 65536) for entry in (a, b, 0, c, d)]
    struct.pack_into(">5i", data, place, *entries)
    return bytes(data)


def read_all(spec, frame_size=None):
    with video.open_source(str(spec), frame_size) as source:
        frames = list(source)
    for frame in frames:
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame.shape == (*source.size, 3)
    assert source.decoded == len(frames)
    return frames, source

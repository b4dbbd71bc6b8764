"""A file that is cut off is noted, an intact one of any kind is not."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.video.clips import read_all

COUNT, RATE = 40, 20
NOISE = [
    np.random.default_rng(seed).integers(0, 255, (64, 96, 3), np.uint8) for seed in range(COUNT)
]


def written(
    path, file_format, codec="libx264", sound=None, seconds=3.0, stamps=range(COUNT), mux=None
):
    """Writes a video of 40 frames in 2 s, with B-frames if the codec has them; returns its bytes.

    sound: its codec, for so many seconds; stamps: of the frames; mux: options of the container.
    """
    with av.open(str(path), "w", format=file_format, options=mux or {}) as container:
        picture = container.add_stream(codec, rate=RATE)
        picture.width, picture.height, picture.gop_size = 96, 64, 10
        picture.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        voice = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        packets = []
        for pixels, stamp in zip(NOISE, stamps, strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, RATE)
            packets += picture.encode(frame)
        packets += picture.encode(None)
        if voice:
            samples = np.zeros((1, int(seconds * 48000)), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            packets += [*voice.encode(frame), *voice.encode(None)]
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path.read_bytes()


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
KINDS = {
    "mp4": {"file_format": "mp4", "mux": {"movflags": "faststart"}},
    "fragmented mp4": {"file_format": "mp4", "mux": FRAGMENTS},
    "mov": {"file_format": "mov", "codec": "mjpeg", "mux": {"movflags": "faststart"}},
    "mkv": {"file_format": "matroska"},
    "webm": {"file_format": "webm", "codec": "libvpx"},
    "avi": {"file_format": "avi", "codec": "mpeg4"},
    "flv": {"file_format": "flv"},
    "ts": {"file_format": "mpegts"},
    "wmv": {"file_format": "asf", "codec": "msmpeg4v3"},
    "ivf": {"file_format": "ivf", "codec": "libvpx"},
}
SOUND = {"webm": "libopus", "avi": "mp2", "ts": "mp2", "wmv": "mp2"}


def problems_of(path, data=None):
    """The number of frames, the problems, the source; of the data, if given, written to path."""
    if data is not None:
        path.write_bytes(data)
    frames, source = read_all(path)
    problems = [problem for problem in source.problems if "frame rate" not in problem]
    return len(frames), problems, source


def cut(data, share):
    """The first part of a file, not cut between packets of MPEG-TS, where it cannot be told."""
    length = int(len(data) * share)
    while any(length % packet == 0 for packet in (188, 192, 204)):
        length += 1
    return data[:length]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_is_noted_and_an_intact_file_is_not(kind, tmp_path):
    data = written(tmp_path / "whole", **KINDS[kind])
    assert problems_of(tmp_path / "whole")[:2] == (COUNT, [])
    for share in (0.35, 0.6, 0.9):
        count, problems, _ = problems_of(tmp_path / "cut", cut(data, share))
        assert 5 < count < COUNT
        assert "cut off" in problems[-1], share


@pytest.mark.parametrize("seconds", [1.0, 3.0], ids=["shorter", "longer"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("mov", "ivf")])
def test_sound_of_another_length(kind, seconds, tmp_path):
    data = written(tmp_path / "whole", **KINDS[kind], sound=SOUND.get(kind, "aac"), seconds=seconds)
    assert problems_of(tmp_path / "whole")[:2] == (COUNT, [])
    _, problems, _ = problems_of(tmp_path / "cut", cut(data, 0.5))
    assert "cut off" in problems[-1]


@pytest.mark.parametrize("kind", ["mp4", "fragmented mp4", "mkv", "flv", "ts"])
def test_frames_of_varying_duration(kind, tmp_path):
    stamps = [*range(10), *range(10, 60, 5), *range(100, 120)]
    written(tmp_path / "whole", **KINDS[kind], stamps=stamps)
    assert problems_of(tmp_path / "whole")[1] == []


@pytest.mark.parametrize(("start", "length"), [(0.63, 1.37), (0.5, 0.71), (0, 1.93)])
def test_frames_that_an_edit_list_hides(start, length, tmp_path):
    """As a copy without encoding has them, which begins between key frames."""
    data = bytearray(written(tmp_path / "whole", "mp4"))
    place = data.index(b"elst")
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    media_scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    _, first = struct.unpack_from(">2i", data, place + 12)
    edit = (round(length * movie_scale), first + round(start * media_scale))
    struct.pack_into(">2i", data, place + 12, *edit)
    count, problems, source = problems_of(tmp_path / "clip.mp4", data)
    assert count == pytest.approx(length * RATE, abs=1.5)
    assert source.announced_frames == pytest.approx(count, abs=1)
    assert problems == []


@pytest.mark.parametrize("kind", ["webm", "flv", "ts"])
def test_a_hole_in_the_middle_is_noted(kind, tmp_path):
    data = bytearray(written(tmp_path / "whole", **KINDS[kind]))
    start, end = len(data) * 2 // 5, len(data) * 3 // 5
    data[start:end] = bytes(end - start)
    count, problems, _ = problems_of(tmp_path / "damaged", data)
    assert 10 < count < COUNT - 3
    assert any("damaged: no frame from" in problem for problem in problems)


def test_the_loss_of_one_frame_is_noted(tmp_path):
    data = written(tmp_path / "whole", "matroska", "mjpeg", mux={"cluster_time_limit": "20"})
    last = data.rindex(b"\x1f\x43\xb6\x75")  # the last cluster, of one frame
    count, problems, _ = problems_of(tmp_path / "clip.mkv", data[:last])
    assert count == COUNT - 1
    assert "cut off" in problems[-1]


def test_repetitions_in_avi_are_not_missing(tmp_path):
    """Its header counts frames without a packet of their own, as recorders write them."""
    stamps = [*range(10), *range(10, 60, 5), *range(100, 120)]
    written(tmp_path / "whole", **KINDS["avi"], stamps=stamps)
    count, problems, source = problems_of(tmp_path / "whole")
    assert count == COUNT < source.announced_frames
    assert problems == []


def test_each_chunk_is_checked(tmp_path):
    data = written(tmp_path / "whole", "matroska")
    (tmp_path / "1.mkv").write_bytes(data[: len(data) // 2])
    (tmp_path / "whole").rename(tmp_path / "2.mkv")
    _, source = read_all(tmp_path)
    [problem] = source.problems
    assert problem.startswith("1.mkv: ")

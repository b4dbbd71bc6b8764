"""Folders: which files are played, in which order, and what is said of the others."""

import io
import itertools

import av
import pytest
from av.format import ContainerFormat

from jitnet_tf import video
from jitnet_tf.base.errors import UserError
from jitnet_tf.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from tests.video.clips import encoded, index_of, mjpeg, numbered_frame, read_all

# Written by FFmpeg with a codec for video, but sound, images or playlists by what they are for.
NO_VIDEO = {
    "aiff", "avif", "dash", "fits", "flac", "hls", "ico", "image2", "mp3", "oga", "rawvideo",
    "webp", "filmstrip", "film_cpk", "a64",
}  # fmt: skip


def names(files):
    return [file.name for file in files]


def play_order(folder, *files):
    for name in files:
        (folder / name).touch()
    return names(video.video_files(folder))


def test_every_suffix_of_ffmpegs_video_formats_is_a_video():
    sound = {".isma", ".m4a", ".m4b", ".mka", ".mks", ".ra", ".wma", ".ogg"}
    others = {".avif", ".avs", ".heic", ".heif", ".ism", ".mpo"}
    missing = set()
    for name in av.formats_available - NO_VIDEO:
        try:
            container = av.open(io.BytesIO(), "w", format=name)
        except ValueError:  # it can only be read
            continue
        if container.default_video_codec not in ("none", ""):
            missing |= {f".{extension}" for extension in ContainerFormat(name).extensions}
    assert missing - VIDEO_SUFFIXES <= sound | others
    assert {".mts", ".m2ts", ".vob", ".3gp", ".flv", ".ogv", ".mxf", ".dav"} <= VIDEO_SUFFIXES
    assert not VIDEO_SUFFIXES & (sound | others | IMAGE_SUFFIXES)


def test_chunks_of_several_containers(tmp_path):
    frames = [numbered_frame(index) for index in range(9)]
    (tmp_path / "00000.MTS").write_bytes(encoded(frames[:5], "mpegts"))
    (tmp_path / "00001.flv").write_bytes(encoded(frames[5:8], "flv", "flv1"))
    (tmp_path / "00002.dav.3GP").write_bytes(encoded(frames[8:], "mp4"))
    played, source = read_all(tmp_path)
    assert [index_of(frame) for frame in played] == list(range(9))
    assert source.problems == []


@pytest.mark.parametrize("kind", ["images", "videos"])
def test_what_is_passed_over_is_counted(kind, tmp_path):
    for index in range(2):
        if kind == "images":
            (tmp_path / f"{index}.jp2").write_bytes(b"")
            continue
        (tmp_path / f"{index}.avi").write_bytes(mjpeg([numbered_frame(index)] * 3, "avi"))
    if kind == "images":
        for file in tmp_path.iterdir():
            file.unlink()
        video_frames = mjpeg([numbered_frame(0)], "mjpeg")
        (tmp_path / "IMG_2.JPG").write_bytes(video_frames)
    for name in ("IMG_1.HEIC", "IMG_3.heic", "README", "GL010123.LRV"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / ".hidden").touch()
    (tmp_path / "older.mp4").mkdir()
    _, source = read_all(tmp_path)
    [problem] = source.problems
    total = 6 if kind == "images" else 7
    assert f"5 of {total} " in problem
    for part in ("2 .heic", "1 .lrv", "1 without a suffix", "1 folder"):
        assert part in problem


def test_an_animation_beside_images_is_passed_over(folder):
    (folder / "preview.gif").write_bytes(b"GIF89a")
    frames, source = read_all(folder)
    assert len(frames) == 12
    [problem] = source.problems
    assert "1 .gif" in problem


def test_a_folder_with_nothing_to_play_says_what_it_holds(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"holds no image or video .*1 \.heic.*jpg"):
        video.open_source(str(tmp_path))


def test_gopro_chapters_follow_each_other(tmp_path):
    newer = ["GH010123.MP4", "GH020123.MP4", "GH010124.MP4", "GX010125.MP4", "GX020125.MP4"]
    older = ["GOPR0119.MP4", "GP010119.MP4", "GP020119.MP4", "GOPR0120.MP4", "GP010120.MP4"]
    assert play_order(tmp_path, *sorted(newer + older)) == older + newer


@pytest.mark.parametrize(
    "order",
    [
        ["clip.mp4", "clip (1).mp4", "clip (2).mp4", "clip (10).mp4"],
        ["clip.mp4", "clip-2.mp4", "clip_3.mp4"],
        ["DJI_0009.MP4", "DJI_0010.MP4"],
        ["a.mp4", "a.ts", "b.avi"],
    ],
    ids=lambda order: order[-1],
)
def test_natural_order(order, tmp_path):
    assert play_order(tmp_path, *order) == order


def test_the_order_of_chunks_is_told_in_one_line(tmp_path):
    for number in itertools.chain(range(8, 12), range(100, 104)):
        (tmp_path / f"{number}.avi").write_bytes(mjpeg([numbered_frame(0)], "avi"))
    with video.open_source(str(tmp_path)) as source:
        assert source.remark.startswith("8 videos")
        assert "8.avi, 9.avi, 10.avi, ... (3 more), 102.avi, 103.avi" in source.remark
    with video.open_source(str(tmp_path / "8.avi")) as source:
        assert source.remark is None

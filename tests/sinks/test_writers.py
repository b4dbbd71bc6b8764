"""Written files after a run, after a crash, and after a resume."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.sinks import video_writer
from jitnet_tf.sinks.mask_writer import MaskWriter
from jitnet_tf.sinks.video_writer import VideoWriter

# Not even root can create a folder in here.
UNWRITABLE = Path("/proc/nowhere")


def frame_of(index, height=48, width=64):
    """A gray frame whose level encodes the index, up to 60, with a red corner."""
    frame = np.full((height, width, 3), 10 + 4 * index, np.uint8)
    frame[:16, :16] = [220, 0, 0]
    return frame


def decoded(path):
    """Indices of the frames in a video of `frame_of`, checking each time stamp on the way."""
    indices = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == stream.duration * stream.time_base * stream.average_rate
        for position, picture in enumerate(container.decode(stream)):
            assert picture.pts * stream.time_base * stream.average_rate == position
            rgb = picture.to_ndarray(format="rgb24")
            indices.append(round((float(rgb[20:].mean()) - 10) / 4))
    return indices


def write(writer, indices):
    for index in indices:
        writer.write(frame_of(index))


@pytest.fixture
def paths(tmp_path):
    """Paths of the video and of its parts; neither folder exists."""
    return tmp_path / "made" / "for it" / "video.mp4", tmp_path / "run" / "parts"


class TestVideo:
    @pytest.mark.parametrize("fps", [10.0, 25.0, 29.97002997002997, 23.976023976023978, 14.5])
    @pytest.mark.parametrize("cuts", [set(), {4, 5, 17}])
    def test_decodes_as_written(self, paths, fps, cuts):
        writer = VideoWriter(paths[0], fps, paths[1])
        for index in range(20):
            if index in cuts:
                writer.cut()
                writer.cut()  # with nothing new: no part without frames
            write(writer, [index])
        writer.finish()
        assert decoded(paths[0]) == list(range(20))
        with av.open(str(paths[0])) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.pix_fmt == "yuv420p"
            assert (stream.height, stream.width) == (48, 64)
            assert float(stream.average_rate) == pytest.approx(fps)
            assert stream.average_rate == Fraction(fps).limit_denominator(1001)
        assert not paths[1].exists()
        assert os.listdir(paths[0].parent) == ["video.mp4"]

    @pytest.mark.parametrize("cuts", [set(), {3, 6}])
    @pytest.mark.parametrize("resume_at", [None, 6])
    def test_frames_keep_their_times(self, paths, cuts, resume_at):
        """A screen recording: also where its parts are of two runs, with other header rates."""
        times = [0, 0.05, 0.1, 0.15, 4, 4.05, 6.123456, 70.5]
        writer = VideoWriter(paths[0], 1.14, paths[1])
        for index, time in enumerate(times):
            if index in cuts:
                writer.cut()
            if index == resume_at:
                writer.cut()
                writer = VideoWriter(paths[0], 29.97, paths[1], resume_at=resume_at)
            writer.write(frame_of(index), time, 0.25)
        writer.finish()
        with av.open(str(paths[0])) as container:
            stream = container.streams.video[0]
            assert float(stream.duration * stream.time_base) == pytest.approx(70.75, abs=0.001)
            shown = [frame.time for frame in container.decode(stream)]
        assert shown == pytest.approx(times, abs=0.001)

    def test_times_to_the_millisecond_are_a_constant_rate(self, paths):
        """As Matroska states them."""
        writer = VideoWriter(paths[0], 30, paths[1])
        for index in range(20):
            writer.write(frame_of(index), round(index / 30, 3), 0.033)
        writer.finish()
        assert decoded(paths[0]) == list(range(20))

    def test_index_is_in_front(self, paths):
        writer = VideoWriter(paths[0], 25, paths[1])
        write(writer, range(3))
        writer.finish()
        data = paths[0].read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")

    def test_opencv_sees_the_same_frames_and_colors(self, paths):
        writer = VideoWriter(paths[0], 25, paths[1])
        write(writer, range(10))
        writer.finish()
        capture = cv2.VideoCapture(str(paths[0]))
        frames = [capture.read()[1][..., ::-1] for _ in range(10)]
        assert not capture.read()[0]
        np.testing.assert_allclose(frames[9][4, 4], [220, 0, 0], atol=12)
        np.testing.assert_allclose(frames[9][30, 30], [46, 46, 46], atol=3)

    @pytest.mark.parametrize("size", [(47, 64), (48, 63), (33, 35)])
    def test_odd_sizes_are_padded_by_repeating_the_border(self, paths, size):
        writer = VideoWriter(paths[0], 25, paths[1])
        writer.write(frame_of(5, *size))
        writer.finish()
        with av.open(str(paths[0])) as container:
            (picture,) = container.decode(video=0)
        frame = picture.to_ndarray(format="rgb24")
        assert frame.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        np.testing.assert_allclose(frame[-1, -1], [30, 30, 30], atol=3)

    def test_size_is_constant(self, paths):
        writer = VideoWriter(paths[0], 25, paths[1])
        writer.write(frame_of(0))
        with pytest.raises(ValueError, match=r"\(50, 64, 3\) in a video of \(48, 64, 3\)"):
            writer.write(frame_of(1, 50))

    def test_nothing_written_makes_no_video(self, paths):
        VideoWriter(paths[0], 25, paths[1]).finish()
        assert not paths[0].exists()
        assert not paths[1].exists()

    def test_encoder_is_silent(self, paths, capfd):
        writer = VideoWriter(paths[0], 25, paths[1])
        write(writer, range(3))
        writer.finish()
        assert capfd.readouterr() == ("", "")

    def test_existing_video(self, paths):
        paths[0].parent.mkdir(parents=True)
        paths[0].write_text("precious")
        with pytest.raises(UserError, match=r"video\.mp4 .*--overwrite"):
            VideoWriter(paths[0], 25, paths[1])
        writer = VideoWriter(paths[0], 25, paths[1], overwrite=True)
        write(writer, range(3))
        assert paths[0].read_text() == "precious"  # until there is a whole one to replace it
        writer.finish()
        assert decoded(paths[0]) == [0, 1, 2]


class TestResume:
    @pytest.mark.parametrize("checkpoint", [4, 8])
    def test_equals_an_uninterrupted_video(self, paths, checkpoint):
        writer = VideoWriter(paths[0], 25, paths[1])
        for start in (0, 4, 8):
            write(writer, range(start, start + 4))
            writer.cut()
        write(writer, [12, 13])  # and no more: killed
        del writer
        writer = VideoWriter(paths[0], 25, paths[1], resume_at=checkpoint)
        for start in range(checkpoint, 20, 4):
            write(writer, range(start, start + 4))
            writer.cut()
        writer.finish()
        assert decoded(paths[0]) == list(range(20))

    @pytest.mark.parametrize("failing", ["write_atomically", "_join"])
    def test_one_in_memory_is_written_once_there_is_room(self, paths, monkeypatch, failing):
        writer = VideoWriter(paths[0], 25, paths[1], in_memory=True)
        write(writer, range(5))
        assert list(paths[1].iterdir()) == []
        owner = video_writer.files if failing == "write_atomically" else video_writer
        with monkeypatch.context() as patched:

            def full(*_, **__):
                raise OSError(errno.ENOSPC, "No space left on device")

            patched.setattr(owner, failing, full)
            with pytest.raises(UserError, match="No space left"):
                writer.finish()
        writer.finish()
        assert decoded(paths[0]) == list(range(5))
        assert os.listdir(paths[0].parent) == ["video.mp4"]

    def test_parts_are_closed_files_named_by_their_first_frame(self, paths):
        writer = VideoWriter(paths[0], 25, paths[1])
        write(writer, range(4))
        writer.cut()
        write(writer, range(4, 10))
        writer.cut()
        assert sorted(os.listdir(paths[1])) == ["part-000000000-0.mp4", "part-000000004-160000.mp4"]
        with av.open(str(paths[1] / "part-000000004-160000.mp4")) as container:
            assert len(list(container.decode(video=0))) == 6
        assert not paths[0].exists()
        writer = VideoWriter(paths[0], 25, paths[1], resume_at=10)
        write(writer, [10])
        writer.finish()
        assert decoded(paths[0]) == list(range(11))

    def test_killed_by_a_signal(self, paths):
        program = textwrap.dedent(
            f"""
            import sys
            sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
            from tests.sinks.test_writers import VideoWriter, write
            writer = VideoWriter({str(paths[0])!r}, 25, {str(paths[1])!r})
            write(writer, range(10))
            writer.cut()
            write(writer, range(10, 25))
            print("written", flush=True)
            sys.stdin.read()
            """
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = sorted(os.listdir(paths[1]))
        assert left == ["part-000000000-0.mp4", "part-000000010-400000.mp4.tmp"]
        writer = VideoWriter(paths[0], 25, paths[1], resume_at=10)
        assert os.listdir(paths[1]) == ["part-000000000-0.mp4"]
        write(writer, range(10, 30))
        writer.finish()
        assert decoded(paths[0]) == list(range(30))

    @settings(
        max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4))
    def test_any_run_of_crashes(self, tmp_path_factory, crashes):
        """Each crash loses some frames, and the next run resumes at the last checkpoint."""
        folder = tmp_path_factory.mktemp("crashes")
        reached = 0
        for until_checkpoint, lost in crashes:
            writer = VideoWriter(folder / "v.mp4", 25, folder / "parts", resume_at=reached or None)
            write(writer, range(reached, reached + until_checkpoint))
            writer.cut()
            reached += until_checkpoint
            write(writer, range(reached, reached + lost))
            del writer
        writer = VideoWriter(folder / "v.mp4", 25, folder / "parts", resume_at=reached)
        writer.finish()
        assert decoded(folder / "v.mp4") == list(range(reached))

    @pytest.mark.parametrize("parts_left", [False, True])
    def test_finished_videos_can_be_continued(self, paths, parts_left):
        writer = VideoWriter(paths[0], 25, paths[1])
        for start in (0, 5):
            write(writer, range(start, start + 5))
            writer.cut()
        second_part = (paths[1] / "part-000000005-200000.mp4").read_bytes()
        writer.finish()
        if parts_left:  # killed while the parts were being removed
            paths[1].mkdir()
            (paths[1] / "part-000000005-200000.mp4").write_bytes(second_part)
        writer = VideoWriter(paths[0], 25, paths[1], resume_at=10)
        write(writer, range(10, 14))
        writer.finish()
        assert decoded(paths[0]) == list(range(14))

    def test_missing_parts(self, paths):
        writer = VideoWriter(paths[0], 25, paths[1])
        for start in (0, 5):
            write(writer, range(start, start + 5))
            writer.cut()
        (paths[1] / "part-000000000-0.mp4").unlink()
        with pytest.raises(UserError, match=r"first 10 frames .*--overwrite"):
            VideoWriter(paths[0], 25, paths[1], resume_at=10)
        paths[0].write_text("another file")
        with pytest.raises(UserError, match=r"first 10 frames .*--overwrite"):
            VideoWriter(paths[0], 25, paths[1], resume_at=10)

    def test_new_video_removes_parts_of_other_runs(self, paths):
        writer = VideoWriter(paths[0], 25, paths[1])
        write(writer, range(5))
        writer.cut()
        writer = VideoWriter(paths[0], 25, paths[1])
        write(writer, range(3))
        writer.finish()
        assert decoded(paths[0]) == [0, 1, 2]


class TestMasks:
    def test_ids_are_read_back(self, tmp_path):
        writer = MaskWriter(tmp_path / "a" / "masks", ["background", "person", "vélo"])
        rng = np.random.default_rng(0)
        maps = rng.integers(0, 256, (3, 20, 30), np.uint8)
        for index, class_map in zip((0, 7, 1234567), maps, strict=True):
            writer.write(index, class_map)
        names = sorted(os.listdir(tmp_path / "a" / "masks"))
        assert names == ["000000.png", "000007.png", "1234567.png", "classes.json"]
        for name, class_map in zip(names, maps, strict=False):
            read = cv2.imread(str(tmp_path / "a" / "masks" / name), cv2.IMREAD_UNCHANGED)
            assert read.dtype == np.uint8
            np.testing.assert_array_equal(read, class_map)
        classes = json.loads((tmp_path / "a" / "masks" / "classes.json").read_text("utf-8"))
        assert classes == {"0": "background", "1": "person", "2": "vélo"}

    @pytest.fixture
    def earlier(self, tmp_path):
        """A folder with masks 0 to 5, one of them truncated, and a user's image."""
        writer = MaskWriter(tmp_path, ["background", "person"])
        for index in range(6):
            writer.write(index, np.full((4, 4), 1, np.uint8))
        (tmp_path / "000006.png.tmp").write_bytes(b"")
        (tmp_path / "holiday.png").write_bytes(b"")
        return tmp_path

    def test_existing_masks(self, earlier):
        with pytest.raises(UserError, match=r"--overwrite"):
            MaskWriter(earlier, ["background", "person"])
        assert len(os.listdir(earlier)) == 9

    @pytest.mark.parametrize(
        ("how", "left"), [({"overwrite": True}, 0), ({"resume_at": 4}, 4), ({"resume_at": 0}, 0)]
    )
    def test_masks_from_the_checkpoint_on_are_dropped(self, earlier, how, left):
        MaskWriter(earlier, ["background", "person"], **how)
        kept = [f"{index:06d}.png" for index in range(left)]
        assert sorted(os.listdir(earlier)) == [*kept, "classes.json", "holiday.png"]


class TestMistakes:
    @pytest.mark.parametrize("name", ["video.avi", "video", "video.mp4.mkv"])
    def test_not_mp4(self, tmp_path, name):
        with pytest.raises(UserError, match=rf"{name} .*\.mp4"):
            VideoWriter(tmp_path / name, 25, tmp_path / "parts")
        assert os.listdir(tmp_path) == []

    def test_video_is_a_folder(self, tmp_path):
        (tmp_path / "video.mp4").mkdir()
        with pytest.raises(UserError, match=r"video\.mp4 .*folder"):
            VideoWriter(tmp_path / "video.mp4", 25, tmp_path / "parts")

    def test_parent_is_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        message = r"file cannot be written \((File exists|Not a directory)\): check the path"
        with pytest.raises(UserError, match=message):
            VideoWriter(tmp_path / "file" / "video.mp4", 25, tmp_path / "parts")
        with pytest.raises(UserError, match=message):
            VideoWriter(tmp_path / "video.mp4", 25, tmp_path / "file")
        with pytest.raises(UserError, match=message):
            MaskWriter(tmp_path / "file", [])

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder nobody may write to")
    def test_folder_that_cannot_be_created(self, tmp_path):
        with pytest.raises(UserError, match=r"/proc/nowhere"):
            VideoWriter(UNWRITABLE / "video.mp4", 25, tmp_path / "parts")
        with pytest.raises(UserError, match=r"/proc/nowhere"):
            MaskWriter(UNWRITABLE, [])

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_no_permission(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match=r"Permission denied"):
            VideoWriter(tmp_path / "video.mp4", 25, tmp_path / "parts")
        with pytest.raises(UserError, match=r"Permission denied"):
            MaskWriter(tmp_path, [])

    def test_full_disk(self, paths, tmp_path):
        """Runs a process whose files are limited to 2 kB."""
        program = f"""
            import resource, signal
            import numpy as np
            from jitnet_tf.base.errors import UserError
            from jitnet_tf.sinks.mask_writer import MaskWriter
            from jitnet_tf.sinks.video_writer import VideoWriter

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
            noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
            video = VideoWriter({str(paths[0])!r}, 25, {str(paths[1])!r})
            masks = MaskWriter({str(tmp_path / "masks")!r}, ["background"])
            video.write(noise)  # into the encoder
            for work in (video.cut, lambda: masks.write(0, noise[..., 0])):
                try:
                    work()
                except UserError as error:
                    print(error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            check=True,
        )
        video, masks = done.stdout.splitlines()
        assert re.search(r"video\.mp4 .*free space", video)
        assert re.search(r"masks .*free space", masks)
        assert os.listdir(paths[1]) == ["part-000000000-0.mp4.tmp"]

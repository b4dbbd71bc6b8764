"""Sinks by themselves: what they write, their state, and their defaults."""

import dataclasses
import json
import types

import av
import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.result import FrameResult, Score, TeacherFrame
from jitnet_tf.runs.summary import Statistics
from jitnet_tf.sinks import registry
from jitnet_tf.sinks.base import Sink, StreamInfo
from jitnet_tf.sinks.class_masks import ClassMasks
from jitnet_tf.sinks.frame_log import FrameLog
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.sinks.overlay_video import OverlayVideo
from jitnet_tf.sinks.registry import SINKS, check_sinks, open_sinks
from jitnet_tf.sinks.scenes import Scenes
from jitnet_tf.sinks.segment_files import SegmentFiles
from jitnet_tf.sinks.segments import Segments
from jitnet_tf.sinks.tensorboard import TensorBoard

SIZE = (48, 64)
NAMES = ("background", "person", "car")


def class_map(class_id):
    made = np.zeros(SIZE, np.uint8)
    made[8:40, 8:32] = class_id
    return made


def result(index, teacher_index=None, staleness=0, reference=False, **seconds):
    """A result with training on a teacher frame and a score against a reference."""
    frame = np.full((*SIZE, 3), 5 * index % 256, np.uint8)
    made = FrameResult(index, frame, class_map(1), 8, {"infer": 0.01, **seconds})
    made.time = index / 3
    if teacher_index is not None:
        counts = metrics.confusion(class_map(2), class_map(1), len(NAMES))
        image = np.full((*SIZE, 3), 200, np.uint8)
        made.teacher = TeacherFrame(
            *(teacher_index, image, class_map(2), class_map(2), counts, 0.25, 1.0, 0.5),
            losses=(0.5, 0.125),
            staleness=staleness,
        )
    if reference:
        labels = class_map(1)
        made.reference = Score(labels, metrics.confusion(labels, made.prediction, len(NAMES)))
    return made


@pytest.fixture
def config(tmp_path):
    return RunConfig(video="v", teacher="t", logdir=str(tmp_path), masks=str(tmp_path / "masks"))


def stream(resume_at=None, overwrite=False, **options):
    return StreamInfo(NAMES, SIZE, 25.0, Statistics(**options), resume_at, overwrite)


def test_defaults_do_nothing():
    class Nothing(Sink):
        pass

    sink = Nothing.open(None, None)
    assert (
        sink.add(None)
        is sink.flush()
        is sink.set_state({})
        is sink.finish(True)
        is sink.close()
        is None
    )
    assert sink.get_state() == sink.summary() == {}
    assert Sink.check(None, resumed=False, overwrite=False) is None


def test_a_run_opens_the_sinks_of_its_configuration(config):
    fewer = RunConfig(logdir=config.logdir, output="none")
    always = ["frame_log", "tensorboard"]
    for wanted, names in ((config, ["overlay", "masks", *always]), (fewer, always)):
        opened = open_sinks(wanted, stream())
        assert [sink.name for sink in opened if sink.name in ("overlay", "masks", *always)] == names
        assert {sink.name for sink in opened} <= SINKS.keys()
        for sink in opened:
            sink.close()


def test_sinks_are_closed_if_a_later_one_cannot_be_opened(config, monkeypatch):
    closed = []

    class First(Sink):
        name = "first"

        def close(self):
            closed.append(self)

    class Second(Sink):
        @classmethod
        def open(cls, config, stream):
            raise UserError("no")

    parts = {"first": First, "second": Second}
    monkeypatch.setattr(registry, "SINKS", dict.fromkeys(parts))
    monkeypatch.setattr(registry.registry, "load", lambda _, name: parts[name])
    with pytest.raises(UserError, match="no"):
        open_sinks(config, stream())
    assert len(closed) == 1


@pytest.mark.parametrize("output", ["o.avi", "o"])
def test_outputs_are_checked_before_anything_is_written(tmp_path, output):
    wrong = RunConfig(logdir=str(tmp_path), output=str(tmp_path / output))
    with pytest.raises(UserError, match=output):
        check_sinks(wrong, resumed=False, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_frame_log(config, tmp_path):
    sink = FrameLog.open(config, stream())
    sink.add(result(0, 0))
    sink.add(result(1, reference=True, decode=0.0012345))
    sink.add(result(2, 1, staleness=1))
    sink.finish(True)
    sink.close()
    rows = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    trained = {"updates": 2, "accuracy_before": 0.25, "accuracy_after": 1.0}
    trained |= {"accuracy_shown": 0.5, "losses": [0.5, 0.125]}
    base = {"stride": 8, "ms": {"infer": 10.0}}
    assert rows == [
        {"frame": 0, "time": 0.0, "teacher": True, **base, **trained},
        {
            **{"frame": 1, "time": 0.333333, "teacher": False, "updates": 0, "iou": 1.0, **base},
            "ms": {"infer": 10.0, "decode": 1.23},
        },
        {
            "frame": 2,
            "time": 0.666667,
            "teacher": True,
            "teacher_frame": 1,
            "staleness": 1,
            **base,
            **trained,
        },
    ]


def test_class_masks(config, tmp_path):
    sink = ClassMasks.open(config, stream())
    sink.add(result(0))
    mask = cv2.imread(str(tmp_path / "masks" / "000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, class_map(1))
    assert ClassMasks.open(RunConfig(), stream()) is None
    with pytest.raises(UserError, match="masks"):  # another run's
        ClassMasks.check(config, resumed=False, overwrite=False)


def test_overlay_video_keeps_the_latest_teacher_frame(config, tmp_path):
    sink = OverlayVideo.open(config, stream())
    assert sink.get_state() == {}
    sink.add(result(0))
    sink.add(result(1, 1))
    sink.add(result(2))
    sink.flush()
    state = sink.get_state()
    assert state["status"].tolist() == [1, 0.25, 1.0]
    np.testing.assert_array_equal(state["labels"], class_map(2))
    resumed = OverlayVideo.open(config, stream(resume_at=3))
    resumed.set_state(state)
    again = resumed.get_state()
    assert again.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(again[name], array)
    resumed.add(result(3))
    resumed.finish(True)
    assert (tmp_path / "overlay.mp4").stat().st_size > 0
    assert OverlayVideo.open(RunConfig(output="none", logdir=str(tmp_path)), stream()) is None


def events(folder):
    accumulator = event_accumulator.EventAccumulator(str(folder), {"tensors": 0, "images": 0})
    return accumulator.Reload()


def points(found, tag):
    """The (step, value) of a scalar."""
    return [(v.step, float(tensor_util.make_ndarray(v.tensor_proto))) for v in found.Tensors(tag)]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_tensorboard(config, tmp_path, mode):
    info = stream(teacher_mode=mode)
    sink = TensorBoard.open(config, info)
    staleness = 1 if mode == "async" else 0
    for i in range(21):
        seconds = {"trial": 0.02, "update": 0.08, "teacher": 0.5} if i == 4 else {}
        each = result(i, i - staleness if i == 4 else None, staleness, **seconds)
        info.statistics.add(each)
        sink.add(each)
    sink.finish(True)
    sink.close()
    found = events(tmp_path)

    assert points(found, "accuracy/before update") == [(4, 0.25)]
    assert points(found, "schedule/updates") == [(4, 2)]
    assert points(found, "ms/teacher") == [(4, 500)]
    # A point a teacher frame, or an average over the 20 frames of a window in which it occurred.
    assert points(found, "ms/update") == ([(4, 40)] if mode == "sync" else [(19, 80)])
    assert points(found, "ms/infer") == [(19, 10)]
    assert ("schedule/staleness" in found.Tags()["tensors"]) == (mode == "async")
    assert "configuration" in found.Tags()["tensors"]
    assert "frame, student, teacher" in found.Tags()["tensors"]
    assert points(found, "final/frames") == [(21, 21)]


def test_tensorboard_of_a_resumed_run_goes_on_as_if_uninterrupted(config, tmp_path):
    """Averages over its 20 frames, and the distance of pictures."""
    first = TensorBoard.open(config, stream())
    for i in range(7):
        first.add(result(i, i if i == 4 else None, infer=0.01 * i))
    state = first.get_state()
    first.close()
    second = TensorBoard.open(config, stream(resume_at=7))
    second.set_state(state)
    for i in range(7, 20):
        second.add(result(i, i if i == 12 else None, infer=0.01 * i))
    second.close()
    found = events(tmp_path)
    [(step, mean)] = points(found, "ms/infer")
    assert (step, mean) == (19, pytest.approx(95))
    assert [v.step for v in found.Tensors("frame, student, teacher")] == [4]


def test_tensorboard_of_a_resumed_run_has_the_configuration_once(config, tmp_path):
    for resume_at in (None, 5):
        sink = TensorBoard.open(config, stream(resume_at=resume_at))
        sink.add(result(resume_at or 0))
        sink.close()
    assert len(events(tmp_path).Tensors("configuration")) == 1


def segmented(config, info):
    """The stream's StreamInfo with segments of 2 seconds."""
    config = dataclasses.replace(config, segment=2.0)
    return config, dataclasses.replace(info, segments=Segments.open(config, info, {}))


def test_tensorboard_reads_segments_as_one_run_also_while_some_are_deleted(config, tmp_path):
    config, info = segmented(config, stream())
    sink = TensorBoard.open(config, info)
    reader = events(tmp_path)
    names = []
    for index in range(24):  # 3 frames a second
        each = result(index, index)
        info.segments.add(each)
        sink.add(each)
        if index % 6 == 5:
            names.append(info.segments.current.name)
            reader.Reload()
            assert points(reader, "accuracy/before update")[-1] == (index, 0.25)
        if index == 12:
            SegmentFiles(tmp_path).delete(names[0])
    assert [step for step, _ in points(reader, "accuracy/before update")] == list(range(24))
    sink.close()
    left = events(tmp_path)
    assert [step for step, _ in points(left, "accuracy/before update")] == list(range(6, 24))
    assert len(left.Tensors("configuration")) == 1  # is in no segment
    files = sorted(path.name.split(".", 3)[-1] for path in tmp_path.glob("events*"))
    assert [name for name in names if any(f".{name}.v2" in file for file in files)] == names[1:]


def test_tensorboards_pictures_are_the_frames_own(config, tmp_path):
    sink = TensorBoard.open(config, stream())
    sink.add(result(0, 0))
    sink.close()
    [event] = events(tmp_path).Tensors("frame, student, teacher")
    width, height, png = tensor_util.make_ndarray(event.tensor_proto)
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), 1), cv2.COLOR_BGR2RGB)
    teacher = result(0, 0).teacher
    shown = Overlay(NAMES, SIZE).triptych(teacher.frame, teacher.prediction, teacher.labels)
    np.testing.assert_array_equal(picture, shown)
    assert (int(width), int(height)) == shown.shape[1::-1]


def test_the_frame_log_has_a_file_for_each_segment(config, tmp_path):
    config, info = segmented(config, stream())
    sink = FrameLog.open(config, info)
    for index in range(8):
        each = result(index)
        info.segments.add(each)
        sink.add(each)
    sink.close()
    logs = sorted(tmp_path.glob("frames*.jsonl"))
    assert [path.name[-15:] for path in logs] == ["000000000.jsonl", "000000006.jsonl"]
    rows = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(8))


def video_times(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_the_overlay_shortens_and_tells_gaps(config, tmp_path):
    """Of an hour without frames two seconds are left, also in a resumed run."""

    def play(sink, indices):
        for index in indices:
            each = result(index)
            if index >= 3:
                each.time += 3600
            each.gap = {3: 3600.25, 5: 0.5}.get(index)
            sink.add(each)

    sink = OverlayVideo.open(config, stream())
    play(sink, range(4))
    sink.flush()
    state = sink.get_state()
    again = OverlayVideo.open(config, stream(resume_at=4))
    again.set_state(state)
    play(again, range(4, 7))
    again.finish(True)
    # Three frames a second; the gap is from frame 2, at .67 s, to frame 3, at 3601 s.
    shown = [0, 1 / 3, 2 / 3, *(3601 - 3598.25 + i / 3 for i in range(4))]
    assert video_times(tmp_path / "overlay.mp4") == pytest.approx(shown, abs=2e-3)
    with pytest.raises(ValueError, match="left out"):
        again.set_state({"left_out": np.array(-1.0)})


def test_a_gap_at_a_segments_begin_is_in_no_video(config, tmp_path):
    config, info = segmented(config, stream())
    sink = OverlayVideo.open(config, info)
    for index in range(8):
        each = result(index)
        if index >= 4:
            each.time += 3600
            each.gap = 3600.25 if index == 4 else None
        info.segments.add(each)
        sink.add(each)
    sink.finish(True)
    videos = sorted((tmp_path / "overlay").glob("*.mp4"))
    times = [video_times(path) for path in videos]
    assert times == [pytest.approx([i / 3 for i in range(4)], abs=2e-3)] * 2


def test_a_gap_is_told_for_three_seconds():
    scenes = Scenes(Statistics(), SIZE)
    told = []
    for index in range(14):
        each = result(index)
        each.gap = 35.4 if index == 2 else None
        told.append(scenes.of(each).status.gap)
    assert told == [None] * 2 + [35.4] * 10 + [None] * 2
    overlay = Overlay(NAMES, SIZE)
    status = scenes.of(result(0)).status
    pictures = [
        overlay.draw(*[class_map(0)[..., None].repeat(3, 2), class_map(0), None], shown)
        for shown in (status, dataclasses.replace(status, gap=35.4))
    ]
    rows = np.flatnonzero((pictures[0] != pictures[1]).any((1, 2)))
    assert rows.size
    assert rows.max() < overlay.size[0] / 4


def test_statistics_may_be_any_object_with_the_figures(config, tmp_path):
    """Sinks read only these attributes."""
    figures = types.SimpleNamespace(teacher_fraction=0.5, updates=3)
    sink = OverlayVideo.open(config, StreamInfo(NAMES, SIZE, 25.0, figures))
    sink.add(result(0, 0))
    sink.finish(False)
    assert (tmp_path / "overlay.mp4").stat().st_size > 0

"""Hard frames: which are kept, also over kills; the files are a data set that others read."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.result import FrameResult, TeacherFrame
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.sinks.base import StreamInfo
from jitnet_tf.sinks.hard_frames import HardFrames

SIZE = (24, 32)
NAMES = class_groups("lvs").names


def scene(index):
    """A smooth picture that differs for each index; JPEG keeps it nearly as it is."""
    rows, columns = np.indices(SIZE)
    return np.stack([rows * 4 + index, columns * 4, rows + columns + 60], -1).astype(np.uint8)


def result(index, tenths, teacher_index=None):
    """A teacher frame on which the student finds so many tenths of an auto; None: without one."""
    labels, prediction = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    if tenths is not None:
        labels[4:6, 5:15] = 3
        prediction[4:6, 5 : 5 + tenths] = 3
    counts = metrics.confusion(labels, prediction, len(NAMES))
    number = index if teacher_index is None else teacher_index
    teacher = TeacherFrame(
        *(number, scene(number), labels, labels, counts, metrics.mean_iou(counts), 1.0, None),
        first_prediction=prediction,
    )
    return FrameResult(index, scene(index), prediction, teacher=teacher)


def info(resume_at=None, ignored=None):
    return StreamInfo(NAMES, SIZE, 25.0, None, resume_at, ignored=ignored)


def config_of(folder, count=2):
    return RunConfig(video="v", teacher="t", logdir=str(folder), keep_hard=count)


def on_disk(folder):
    """The frames whose files are there, whole."""
    parts = [
        {int(path.stem.removeprefix("frame_")) for path in (folder / "hard" / part).glob("*")}
        for part in ("images", "student_masks", "teacher_masks")
    ]
    assert parts[0] == parts[1] == parts[2]
    return parts[0]


def annotated(folder):
    """The frames in the annotations, in their order."""
    data = json.loads((folder / "hard" / "annotations.json").read_text())
    return [image["frame"] for image in data["images"]]


def hardest(scores, count):
    ranked = sorted((tenths, i) for i, tenths in scores if tenths is not None)
    return [i for _, i in ranked[:count]]


TENTHS = st.one_of(st.none(), st.integers(0, 10))
STEPS = st.lists(st.one_of(TENTHS, st.sampled_from(["checkpoint", "kill", "torn"])), max_size=40)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(1, 4))
def test_the_hardest_are_kept_also_after_kills(tmp_path_factory, steps, count):
    """A kill goes back to the checkpoint; what comes again is the same as before."""
    folder = tmp_path_factory.mktemp("run")
    config = config_of(folder, count)
    scores = [(i, step) for i, step in enumerate(s for s in steps if not isinstance(s, str))]
    sink, place, saved = HardFrames.open(config, info()), 0, None

    def go(end):
        nonlocal place
        while place < end:
            sink.add(result(*scores[place]))
            place += 1
            assert len(on_disk(folder)) <= 2 * count

    end = 0
    for step in steps:
        if not isinstance(step, str):
            end += 1
            go(end)
        elif step == "checkpoint":
            sink.flush()
            saved = place, sink.get_state()
        else:
            if step == "torn":  # killed while the checkpoint is written
                sink.flush()
            place, state = saved or (0, None)
            sink = HardFrames.open(config, info(resume_at=place))
            if state:
                sink.set_state(state)
                assert on_disk(folder) == set(hardest(scores[:place], count))
                assert annotated(folder) == hardest(scores[:place], count)
            go(end)
        if saved:  # what the annotations name is there at any time
            assert set(annotated(folder)) <= on_disk(folder)
    sink.flush()
    sink.finish(True)
    expected = hardest(scores[:end], count)
    assert annotated(folder) == expected
    assert on_disk(folder) == set(expected)
    assert sink.summary() == {"hard_frames": len(expected)}


def written(folder, ignored=None):
    sink = HardFrames.open(config_of(folder, 9), info(ignored=ignored))
    for index, tenths in ((0, 4), (8, None), (16, 2)):
        sink.add(result(index, tenths))
    sink.add(result(25, 7, teacher_index=24))  # of an asynchronous teacher
    sink.add(FrameResult(26, scene(26), np.zeros(SIZE, np.uint8)))
    sink.flush()
    sink.finish(True)
    return folder / "hard"


def test_the_files_are_frame_labels_and_the_students_mask(tmp_path):
    hard = written(tmp_path)
    for index, tenths in ((0, 4), (16, 2), (24, 7)):
        expected = result(index, tenths).teacher
        bgr = cv2.imread(str(hard / f"images/frame_{index:06d}.jpg"))
        difference = np.abs(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(int) - expected.frame)
        assert difference.mean() < 2
        for part, mask in (
            ("teacher_masks", expected.labels),
            ("student_masks", expected.first_prediction),
        ):
            path = str(hard / part / f"frame_{index:06d}.png")
            np.testing.assert_array_equal(cv2.imread(path, cv2.IMREAD_UNCHANGED), mask)


def test_pycocotools_reads_them_hardest_first(tmp_path):
    dataset = COCO(str(written(tmp_path) / "annotations.json"))
    images = dataset.dataset["images"]
    assert [image["id"] for image in images] == [16, 0, 24]
    assert [image["accuracy_before_update"] for image in images] == [0.2, 0.4, 0.7]
    for image in images:
        [row] = dataset.loadAnns(dataset.getAnnIds(imgIds=image["id"]))
        assert dataset.cats[row["category_id"]]["name"] == "auto"
        np.testing.assert_array_equal(3 * dataset.annToMask(row), result(0, 4).teacher.labels)


def test_pretraining_reads_them(tmp_path):
    """By the names of the groups, which are no categories of COCO; nothing is learned in crowds."""
    ignored = np.zeros(SIZE, bool)
    ignored[10:, 10:] = True
    hard = written(tmp_path, ignored)
    maker = LabelMaker(class_groups("lvs"))
    dataset = CocoDataset(hard / "annotations.json", hard / "images", maker)
    assert dataset.names == [f"frame_{index:06d}.jpg" for index in (0, 16, 24)]
    assert dataset.unknown == []
    for number in range(3):
        _, labels, weights = dataset.read(number)
        np.testing.assert_array_equal(labels, result(0, 4).teacher.labels)
        np.testing.assert_array_equal(weights == 0, ignored)


def test_a_new_run_deletes_what_an_earlier_one_has_kept(tmp_path):
    hard = written(tmp_path)
    (hard / "images" / "mine.jpg").touch()
    assert HardFrames.open(config_of(tmp_path, 0), info()) is None
    assert [path.name for path in hard.rglob("*") if path.is_file()] == ["mine.jpg"]


@pytest.mark.parametrize("name", ["images/frame_000001.jpg", "annotations.json"])
def test_files_of_others_stay(tmp_path, name):
    mine = tmp_path / "hard" / name
    mine.parent.mkdir(parents=True)
    mine.write_text('{"info": {"year": 2026}}')
    HardFrames.check(config_of(tmp_path, 0), resumed=False, overwrite=False)
    assert HardFrames.open(config_of(tmp_path, 0), info()) is None
    with pytest.raises(UserError, match=r"hard holds other files .*--overwrite"):
        HardFrames.check(config_of(tmp_path), resumed=False, overwrite=False)
    assert mine.exists()
    HardFrames.check(config_of(tmp_path), resumed=False, overwrite=True)
    HardFrames.open(config_of(tmp_path), dataclasses.replace(info(), overwrite=True))
    assert (on_disk(tmp_path), annotated(tmp_path)) == (set(), [])


def test_those_of_a_run_without_a_checkpoint_are_known(tmp_path):
    HardFrames.open(config_of(tmp_path), info()).add(result(0, 4))
    HardFrames.check(config_of(tmp_path), resumed=False, overwrite=False)
    HardFrames.open(config_of(tmp_path), info())
    assert on_disk(tmp_path) == set()


def test_frames_that_were_taken_away_are_a_problem(tmp_path):
    sink = HardFrames.open(config_of(tmp_path), info())
    sink.add(result(0, 4))
    sink.add(result(8, 5))
    sink.flush()
    (tmp_path / "hard/images/frame_000000.jpg").unlink()
    again = HardFrames.open(config_of(tmp_path), info(resume_at=9))
    again.set_state(sink.get_state())
    [problem] = again.problems
    assert "hard frame 0 " in problem
    assert annotated(tmp_path) == [8]
    assert on_disk(tmp_path) == {8}


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([0.5])},
        {"accuracies": np.array([0.1, 0.2])},
        {"accuracies": np.array([np.nan])},
        {"accuracies": np.array([1.5])},
        {"indices": np.arange(3), "accuracies": np.zeros(3)},
    ],
)
def test_damaged_states_are_refused(tmp_path, change):
    sink = HardFrames.open(config_of(tmp_path), info(resume_at=9))
    state = {"indices": np.array([0]), "accuracies": np.array([0.1]), **change}
    with pytest.raises(ValueError, match="hard frames"):
        sink.set_state(state)


@pytest.mark.parametrize("labels", [None, np.full(SIZE, 9, np.uint8)])
def test_damaged_labels_are_refused(tmp_path, labels):
    sink = HardFrames.open(config_of(tmp_path), info())
    sink.add(result(0, 4))
    sink.flush()
    path = tmp_path / "hard/teacher_masks/frame_000000.png"
    path.write_bytes(b"no PNG" if labels is None else cv2.imencode(".png", labels)[1].tobytes())
    again = HardFrames.open(config_of(tmp_path), info(resume_at=1))
    with pytest.raises(ValueError, match="frame_000000"):
        again.set_state(sink.get_state())


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "hard").touch()
    with pytest.raises(UserError, match="hard"):
        HardFrames.check(config_of(tmp_path), resumed=False, overwrite=False)

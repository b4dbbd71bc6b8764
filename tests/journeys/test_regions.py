"""A region to ignore, from the mask's file to the figures, and the hard frames of such a run."""

import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from jitnet_tf import distill, video
from jitnet_tf.distillation import metrics
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.recorded import Recording
from tests.commands import different_arrays, read_frames, read_summary, run_command
from tests.materials import write_square_stream

COUNT = 10
CHEAP = ("--width=0.25", "--init=random", "--max_updates=1", "--min_stride=2", "--output=none")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A stream with a person that goes into the region; the region is black in black.png."""
    folder = tmp_path_factory.mktemp("street")
    write_square_stream(folder, "square", COUNT, speed=(0, 4))
    cv2.imwrite(str(folder / "mask.png"), 90 * region((192, 288)).astype(np.uint8))
    cv2.imwrite(str(folder / "black.png"), np.zeros((64, 96), np.uint8))
    return folder


def region(size):
    ignored = np.zeros(size, bool)
    ignored[:, size[1] // 2 :] = True
    return ignored


def distill_square(folder, logdir, *arguments):
    recording = f"{folder}/square.recording"
    inputs = [f"--video={folder}/square.mp4", f"--teacher=recorded:{recording}"]
    logdirs = [f"--reference={recording}", f"--logdir={logdir}"]
    return run_command(distill, *inputs, *logdirs, *CHEAP, *arguments)


@pytest.mark.slow
def test_a_region_is_ignored_by_masks_and_figures(material, tmp_path, capsys):
    run, masks = tmp_path / "run", tmp_path / "masks"
    arguments = (f"--masks={masks}", f"--ignore_mask={material}/mask.png", "--keep_hard=9")
    assert distill_square(material, run, *arguments, "--max_frames=8") == 0
    message = f"--ignore_mask={material}/black.png"
    changed = (f"--ignore_mask={material}/black.png", "--resume", "--max_frames=10")
    assert distill_square(material, run, *changed) == 2
    assert message in capsys.readouterr().err

    ignored, maker = region((64, 96)), LabelMaker(class_groups("lvs"))
    recording = Recording(material / "square.recording")
    everything = 0
    frames = video.open_source(f"{material}/square.mp4")
    for row, frame in zip(read_frames(run), frames, strict=False):
        mask = cv2.imread(f"{masks}/{row['frame']:06d}.png", cv2.IMREAD_UNCHANGED)
        assert not mask[ignored].any()
        truth = maker.labels(recording(frame, row["frame"]), frame.shape[:2])
        counts = metrics.confusion(truth, mask, 9, ignored)
        assert row["iou"] == pytest.approx(metrics.mean_iou(counts), abs=1e-6)
        everything = everything + counts
    recording.close()
    iou = metrics.class_iou(everything)[1]
    assert read_summary(run)["per_class_iou"] == {"person": pytest.approx(iou)}

    dataset = COCO(str(run / "hard" / "annotations.json"))
    teacher_frames = [row["frame"] for row in read_frames(run) if row["teacher"]]
    assert sorted(dataset.imgs) == teacher_frames
    assert read_summary(run)["hard_frames"] == len(teacher_frames)
    for number, image in dataset.imgs.items():
        labels = cv2.imread(f"{run}/hard/teacher_masks/frame_{number:06d}.png", -1)
        assert not labels[ignored].any()
        assert labels.any()
        accuracy = next(row for row in read_frames(run) if row["frame"] == number)
        assert image["accuracy_before_update"] == accuracy["accuracy_before"]
    [student] = cv2.imread(f"{run}/hard/student_masks/frame_000000.png", -1)[None]
    counts = metrics.confusion(
        cv2.imread(f"{run}/hard/teacher_masks/frame_000000.png", -1), student, 9, ignored
    )
    before = read_frames(run)[0]["accuracy_before"]
    assert metrics.mean_iou(counts) == pytest.approx(before, abs=1e-6)


@pytest.mark.slow
def test_a_black_mask_changes_nothing_and_is_noted(material, tmp_path):
    for name, further in (("plain", ()), ("black", (f"--ignore_mask={material}/black.png",))):
        assert distill_square(material, tmp_path / name, *further, "--max_frames=4") == 0
    assert different_arrays(tmp_path / "plain", tmp_path / "black") == []
    [problem] = read_summary(tmp_path / "black")["problems"]
    assert "nothing is ignored" in problem
    assert json.loads((tmp_path / "black" / "config.json").read_text())["keep_hard"] == 0

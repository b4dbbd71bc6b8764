"""python -m jitnet_tf.labels: data sets that other tools read, and every refusal."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from jitnet_tf import video
from jitnet_tf.base import checkpoint
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.labels import LabelMaker, class_groups, masks
from jitnet_tf.labels import __main__ as labels_command
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder
from jitnet_tf.runs import directory, inputs
from jitnet_tf.sinks.base import StreamInfo
from jitnet_tf.sinks.class_masks import ClassMasks
from jitnet_tf.sinks.mask_writer import MaskWriter
from jitnet_tf.sinks.segment_files import SegmentFiles
from jitnet_tf.sinks.segments import Segments
from tests.commands import refusal, run_command
from tests.labels.test_yolo import painted
from tests.materials import square_scene, write_video

COUNT = 6
SIZE = (64, 96)
NAMES = class_groups("lvs").names
FRAMES, LABELS = square_scene(COUNT)
MAKER = LabelMaker(class_groups("lvs"))
IGNORED = np.zeros(SIZE, bool)
IGNORED[48:] = True


def class_map(index):
    """A person, an auto that changes its place, and a second person."""
    found = LABELS[index % COUNT].copy()
    found[40:46, 60 : 70 + index] = 3
    found[2:6, 80:90] = 1
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a run with masks in `run`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "street.mp4", FRAMES)
    write_run()
    return tmp_path


def write_run(count=COUNT, **changes):
    values = {"video": "street.mp4", "masks": "run/masks", "teacher": "t", "logdir": "run"}
    config = RunConfig(**{**values, **changes})
    os.makedirs("run", exist_ok=True)
    directory.write_config(config)
    if config.masks:
        writer = MaskWriter(config.masks, NAMES, overwrite=True)
        for index in range(count):
            writer.write(index, class_map(index))
    with video.open_source("street.mp4") as source:
        source.skip(COUNT - 1)
        progress = {"frames": COUNT, **inputs.describe_frame(next(source))}
    checkpoint.save("run", {}, progress)


def export(*arguments):
    return run_command(labels_command, "--run=run", "--output=set", *arguments)


def report(folder):
    return json.loads((folder / "set" / "labels.json").read_text())


def check_images(folder, indices=range(COUNT)):
    paths = sorted((folder / "set" / "images").iterdir())
    assert [path.name for path in paths] == [f"frame_{index:06d}.jpg" for index in indices]
    for path, index in zip(paths, indices, strict=True):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        assert np.abs(rgb.astype(int) - FRAMES[index]).mean() < 4
        others = [np.abs(rgb.astype(int) - frame).mean() for frame in FRAMES]
        assert np.argmin(others) == index


def test_coco_gives_the_masks_back_and_is_trained_on(folder, capsys):
    assert export("--format=coco") == 0
    assert "6 frames, 18 objects, classes background, person" in capsys.readouterr().out
    check_images(folder)
    dataset = COCO("set/annotations.json")
    assert sorted(dataset.imgs) == list(range(COUNT))
    for index in range(COUNT):
        found = np.zeros(SIZE, np.uint8)
        for row in dataset.loadAnns(dataset.getAnnIds(imgIds=index)):
            found[dataset.annToMask(row) > 0] = row["category_id"]
        np.testing.assert_array_equal(found, class_map(index))
    trained = CocoDataset("set/annotations.json", "set/images", MAKER)
    for index in range(COUNT):
        np.testing.assert_array_equal(trained.read(index)[1], class_map(index))
    assert (report(folder)["objects"], report(folder)["notes"]) == (18, [])


def test_yolo_has_polygons_beside_the_images(folder):
    assert export("--format=yolo", "--every=2") == 0
    check_images(folder, [0, 2, 4])
    labels = sorted((folder / "set" / "labels").iterdir())
    assert [path.name for path in labels] == [f"frame_{index:06d}.txt" for index in (0, 2, 4)]
    for index, path in zip((0, 2, 4), labels, strict=True):
        np.testing.assert_array_equal(painted(path.read_text(), SIZE)[0], class_map(index))
    assert '  2: "auto"\n' in (folder / "set" / "data.yaml").read_text()
    assert report(folder)["frames"] == 3


def test_png_is_trained_on(folder):
    assert export("--format=png") == 0
    check_images(folder)
    trained = LabelFolder("set/labels", "set/images", MAKER)
    assert len(trained) == COUNT
    for index in range(COUNT):
        np.testing.assert_array_equal(trained.read(index)[1], class_map(index))
    assert report(folder)["objects"] is None


@pytest.mark.parametrize("kind", ["coco", "png", "yolo"])
def test_the_ignored_region_is_of_no_class(folder, kind):
    """Where a format can say so; else it is noted."""
    cv2.imwrite("mask.png", np.where(IGNORED, 255, 0).astype(np.uint8))
    write_run(ignore_mask=str(folder / "mask.png"))
    os.rename("mask.png", "moved.png")
    assert export(f"--format={kind}", "--ignore_mask=moved.png") == 0
    if kind == "yolo":
        [note] = report(folder)["notes"]
        assert "--ignore_mask" in note
        return
    if kind == "coco":
        trained = CocoDataset("set/annotations.json", "set/images", MAKER)
    else:
        trained = LabelFolder("set/labels", "set/images", MAKER)
    _, labels, weights = trained.read(0)
    assert (weights[IGNORED & (labels == 0)] == 0).all()
    assert (weights[~IGNORED] > 0).all()


def test_masks_in_segments_are_taken_in_the_order_of_the_frames(folder):
    """Of a run whose first segment is deleted."""
    shutil.rmtree("run/masks")
    write_run(0, segment=2.0, keep=3.0)
    config = directory.load_config("run")
    segments = Segments(2.0, 3.0, SegmentFiles("run", masks=config.masks))
    stream = StreamInfo(NAMES, SIZE, 25.0, None, segments=segments)
    sink = ClassMasks.open(config, stream)
    for index in range(COUNT):
        result = FrameResult(index, FRAMES[index], class_map(index))
        result.time = float(index)
        segments.add(result)
        sink.add(result)
    segments.saved()
    assert len([path for path in (folder / "run/masks").iterdir() if path.is_dir()]) == 2
    assert export("--format=png") == 0
    check_images(folder, range(2, COUNT))
    trained = LabelFolder("set/labels", "set/images", MAKER)
    for number in range(COUNT - 2):
        np.testing.assert_array_equal(trained.read(number)[1], class_map(number + 2))


def test_masks_that_go_meanwhile_are_an_error_of_one_line(folder, capsys, monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(masks, "mask_files", gone)
    message = refusal(labels_command, folder, capsys, "--run=run", "--output=set")
    assert "try again" in message


def test_masks_of_a_video_played_in_real_time_have_no_images(folder):
    write_run(realtime=True)
    assert export() == 2
    assert export("--noimages") == 0


def test_labels_alone_need_no_video(folder):
    os.remove("street.mp4")
    assert export("--noimages") == 0
    assert not (folder / "set" / "images").exists()
    assert len(COCO("set/annotations.json").imgs) == COUNT


def test_masks_beyond_the_checkpoint_of_a_killed_run_are_taken(folder):
    (folder / "run" / "checkpoint.npz").unlink()
    assert export() == 0
    check_images(folder)


def test_an_earlier_set_is_replaced_whole_or_stays(folder, capsys):
    assert export("--format=png") == 0
    assert export("--format=coco") == 2
    assert "--overwrite" in capsys.readouterr().err
    (folder / "run" / "masks" / "000003.png").write_bytes(b"damaged")
    assert export("--format=coco", "--overwrite") == 2
    assert report(folder)["format"] == "png"
    write_run()
    assert export("--format=coco", "--overwrite") == 0
    names = {path.name for path in (folder / "set").iterdir()}
    assert names == {"images", "annotations.json", "labels.json"}
    assert {path.name for path in folder.iterdir()} == {"run", "set", "street.mp4"}


def test_an_interruption_leaves_nothing(folder, monkeypatch):
    def interrupted(self, index, name, class_map):
        raise KeyboardInterrupt

    monkeypatch.setattr(labels_command.FORMATS["coco"], "add", interrupted)
    assert export() == 130
    assert {path.name for path in folder.iterdir()} == {"run", "street.mp4"}


def remove_masks(folder):
    for path in (folder / "run" / "masks").glob("*.png"):
        path.unlink()


def smaller_mask(folder):
    cv2.imwrite("run/masks/000000.png", np.zeros((32, 48), np.uint8))


def other_class(folder):
    cv2.imwrite("run/masks/000000.png", np.full(SIZE, 9, np.uint8))


def other_video(folder):
    write_video(folder / "street.mp4", [255 - frame for frame in FRAMES])


def make_file(folder):
    (folder / "set").mkdir()
    (folder / "set" / "mine.txt").touch()


@pytest.mark.parametrize(
    ("change", "arguments", "named"),
    [
        (lambda _: write_run(masks=None), (), "--masks=FOLDER"),
        (lambda folder: (folder / "run/masks").rename(folder / "x"), (), "run/masks"),
        (remove_masks, (), "holds no masks"),
        (lambda folder: (folder / "run/masks/classes.json").unlink(), (), "classes.json"),
        (lambda folder: (folder / "run/masks/000000.png").write_text("x"), (), "000000.png"),
        (other_class, (), "class 9"),
        (smaller_mask, ("--video=street.mp4",), "(32, 48)"),
        (lambda folder: (folder / "street.mp4").unlink(), (), "street.mp4"),
        (lambda _: write_run(video="rtsp://me:***@camera/1"), (), "give --video"),
        (lambda _: write_run(realtime=True), ("--video=street.mp4",), "--noimages"),
        (lambda _: write_run(ignore_mask="mask.png"), (), "--ignore_mask=mask.png"),
        (make_file, ("--overwrite",), "--output=set"),
        (lambda _: None, ("--format=voc",), "voc"),
        (lambda _: None, ("--every=0",), "every"),
    ],
)
def test_refusals(folder, capsys, change, arguments, named):
    change(folder)
    capsys.readouterr()
    message = refusal(labels_command, folder, capsys, "--run=run", "--output=set", *arguments)
    assert named in message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_video, "is not the video that the run"),
        (lambda folder: write_run(COUNT + 1), "ends after 6 frames, before frame 6"),
    ],
)
def test_another_video_is_found_out_at_its_end(folder, capsys, change, named):
    """After a line of progress."""
    change(folder)
    assert export() == 2
    assert named in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "set").exists()


def test_live_streams_cannot_be_read_again(folder, monkeypatch, capsys):
    source = video.open_source("street.mp4")
    source.live = True
    monkeypatch.setattr(video, "open_source", lambda *_: source)
    message = refusal(labels_command, folder, capsys, "--run=run", "--output=set")
    assert "--noimages" in message

"""The sample's recording at another size, and runs in turns."""

import contextlib
import itertools
import types

import numpy as np
import pytest

from experiments.speed import peers, product_run
from jitnet_tf import distill, labels, video
from jitnet_tf.base.errors import UserError
from teacher.detections import Detections
from teacher.recorded import Recording


def detections(*masks):
    """Detections with the masks: pairs of an array and its origin."""
    count = len(masks)
    return Detections(
        np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (count, 1)),
        np.arange(1, count + 1, dtype=np.int32),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        tuple(np.array(mask, bool) for mask, _ in masks),
        np.array([origin for _, origin in masks], np.int32).reshape(-1, 2),
    )


def test_masks_grow_with_the_frame():
    before = detections(([[1, 0], [1, 1]], (1, 2)), (np.zeros((0, 0)), (0, 0)))
    after = product_run.resized(before, (4, 6), (8, 18))
    np.testing.assert_array_equal(after.masks[0], np.kron([[1, 0], [1, 1]], np.ones((2, 3))))
    assert after.origins.tolist() == [[2, 6], [0, 0]]
    assert after.masks[1].size == 0
    for name in ("boxes", "classes", "scores"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_masks_that_vanish_are_dropped():
    after = product_run.resized(detections(([[1]], (1, 1))), (4, 4), (2, 2))
    assert (after.masks[0].size, after.origins.tolist()) == (0, [[0, 0]])
    assert len(product_run.resized(detections(), (4, 4), (2, 2))) == 0


def test_the_recording_replays_at_its_size(tmp_path):
    path = tmp_path / "sample.recording"
    assert product_run.record(path, (136, 320), 5) == 5
    maker = labels.LabelMaker(labels.class_groups("coco"), 0.5, 5, 0.15)
    with (
        Recording(path) as small,
        Recording(distill.SAMPLE_RECORDING) as whole,
        video.open_source("sample") as source,
        video.open_source("sample", (136, 320)) as resized,
    ):
        objects = 0
        for index, frames in enumerate(itertools.islice(zip(source, resized, strict=True), 5)):
            expected = maker.labels(whole(frames[0], index), (272, 640))
            found = maker.labels(small(frames[1], index), (136, 320))
            np.testing.assert_array_equal(found, expected[::2, ::2])
            objects += (expected > 0).sum()
        assert objects
        with pytest.raises(UserError, match="ends after 5 frames"):
            small(frames[1], 5)


def test_runs_without_and_with_output_take_turns(monkeypatch):
    """Both are of the same frames and the same student."""
    walls, configs = iter([2.0, 3.0, 4.0, 6.0]), []

    def execute(function, config):
        assert function is product_run.run
        configs.append(config)
        return {"wall_seconds": next(walls)}

    monkeypatch.setattr(peers, "call_in_process", execute)
    monkeypatch.setattr(product_run, "record", lambda path, size, frames: frames - 1)
    found = product_run.measure(peers.Network((64, 96), 9, 0.25, "frame"), 8)
    assert [config.masks is None for config in configs] == [True, False, True, False]
    assert [config.output for config in configs] == ["none", None, "none", None]
    assert len({config.logdir for config in configs}) == 4
    for config in configs:
        assert (config.frame_size, config.max_frames, config.init) == ((64, 96), 7, "random")
        assert config.student.width == 0.25
    assert found["frames"] == 7
    assert found["slower"] == pytest.approx(4.5 / 3 - 1)  # of medians
    assert [len(runs) for runs in found["runs"].values()] == [2, 2]


def test_a_runs_share_of_computing(monkeypatch):
    """Inference, trials, updates and teacher, against the wall clock."""
    from jitnet_tf.runs import run

    seconds = {"infer": 1.0, "trial": 0.5, "update": 2.0, "teacher": 0.5, "decode": 9.0}
    summary = {"frames": 20, "updates": 3, "teacher_frames": 2, "seconds": seconds}
    clock = iter([0.0, 5.0])
    opened = types.SimpleNamespace(execute=lambda: summary)
    monkeypatch.setattr(run, "Run", lambda config: contextlib.nullcontext(opened))
    time = types.SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(product_run, "time", time)
    found = product_run.run("a configuration")
    assert found.pop("seconds") == seconds
    assert found == {
        "frames": 20,
        "updates": 3,
        "teacher_frames": 2,
        "wall_seconds": 5.0,
        "fps": 4.0,
        "computing": pytest.approx(4 / 5),
    }

"""Fine-tuning on teacher frames with a fake network, and its settings."""

import hashlib
import math
import types

import numpy as np
import pytest

from experiments.methods import named, osvos_network
from experiments.methods.osvos import OneShotSegmentation
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from teacher.detections import Detections

SIZE = (48, 64)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


class Network:
    """Records its calls; predicts the upper half."""

    def __init__(self, steps=3):
        self.steps = steps
        self.calls = []

    def start(self, keeps_weights):
        self.calls.append(("start", keeps_weights))

    def fine_tune(self, frame, mask, steps, seconds, on_step):
        self.calls.append(("fine_tune", frame, mask, steps, seconds))
        for _ in range(self.steps):
            on_step()
        return [0.5] * self.steps

    def segment(self, frame):
        self.calls.append(("segment", frame))
        found = np.zeros(frame.shape[:2], bool)
        found[: len(found) // 2] = True
        return found


MAKER = LabelMaker(class_groups("lvs"))
DOG = MAKER.groups.names.index("dog")


def teacher(frame, index):
    """Detects a dog in the left half and a person in the lower right quarter."""
    height, width = frame.shape[:2]
    masks = np.ones((height, width // 2), bool), np.ones((height // 2, width // 2), bool)
    origins = np.int32([[0, 0], [height // 2, width // 2]])
    boxes = np.float32([[0, 0, 1, 0.5], [0.5, 0.5, 1, 1]])
    return Detections(boxes, np.int32([18, 1]), np.float32([0.9, 0.9]), masks, origins)


def segmentation(network, **changes):
    values = {"stride": 4, "keeps_weights": True, "steps": 5, "seconds": 9.0, **changes}
    return OneShotSegmentation(network, teacher, MAKER, DOG, **values)


@pytest.mark.parametrize("keeps_weights", [True, False])
def test_every_interval_begins_with_fine_tuning(keeps_weights):
    network, progress = Network(), []
    segmenter = segmentation(
        network, keeps_weights=keeps_weights, on_step=lambda: progress.append(1)
    )
    frames = [picture(seed=seed) for seed in range(9)]
    results = [segmenter.step(frame) for frame in frames]
    for i, result in enumerate(results):
        assert (result.index, result.stride) == (i, 4)
        assert result.frame is frames[i]
        # The network's own prediction, also on a teacher frame.
        assert result.prediction.dtype == np.uint8
        assert (result.prediction[:24] == DOG).all()
        assert not result.prediction[24:].any()
        assert result.is_teacher_frame == (i % 4 == 0)
        assert result.updates == (3 if i % 4 == 0 else 0)
        learns = {"teacher", "labels", "update"} if i % 4 == 0 else set()
        assert set(result.seconds) == {"infer", *learns}
    assert set(np.unique(results[0].teacher.labels)) == {0, 1, DOG}
    asked = [call[0] for call in network.calls]
    learning = ["start", "fine_tune", "segment"]
    assert asked == [*learning, *["segment"] * 3] * 2 + learning
    assert {call[1] for call in network.calls if call[0] == "start"} == {keeps_weights}
    tuned = [call for call in network.calls if call[0] == "fine_tune"]
    for (_, frame, mask, steps, seconds), i in zip(tuned, (0, 4, 8), strict=True):
        assert frame is frames[i]
        assert mask[:, :32].all()
        assert not mask[:, 32:].any()  # the person is background
        assert (steps, seconds) == (5, 9.0)
    assert len(progress) == 3 * 5  # what was cut off, too


def test_a_failing_teacher_leaves_the_index():
    network = Network()
    segmenter = segmentation(network)
    segmenter._teacher = lambda frame, index: (_ for _ in ()).throw(UserError("no"))
    with pytest.raises(UserError):
        segmenter.step(picture())
    assert (segmenter.index, network.calls) == (0, [])


@pytest.mark.parametrize(("name", "keeps_weights"), [("osvos_a", True), ("osvos_b", False)])
def test_methods(monkeypatch, name, keeps_weights):
    made = []
    monkeypatch.setattr(osvos_network, "OSVOS", lambda *given: made.append(given) or Network())
    method = named(name)
    values = {"osvos_weights": "w.npz", "osvos_scale": 0.5, "osvos_steps": 7, "osvos_seconds": 3.0}
    context = types.SimpleNamespace(
        settings=method.take({**values, "seed": 2}),
        frame_size=SIZE,
        teacher=teacher,
        label_maker=MAKER,
        stream=types.SimpleNamespace(classes=("dog",)),
        on_step=lambda: None,
    )
    segmenter = method.make(context)
    assert made == [(SIZE, "w.npz", 0.5, 2)]
    result = segmenter.step(picture())
    assert set(np.unique(result.prediction)) == {0, DOG}
    assert result.stride == 30
    calls = segmenter._network.calls
    assert calls[0] == ("start", keeps_weights)
    assert calls[1][3:] == (7, 3.0)


def test_preparation_counts_steps_on_teacher_frames():
    method = named("osvos_a")
    settings = method.take({"osvos_steps": 7})
    assert [method.preparation(settings, frames) for frames in (30, 31)] == [7, 14]


def test_origin(tmp_path):
    method, path = named("osvos_a"), tmp_path / "parent.npz"
    path.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (
        method.origin(method.take({"osvos_weights": str(path)})) == f"parent.npz, sha256 {digest}"
    )
    assert method.origin(method.take({"seed": 5})) == "random, seed 5"
    jitnet = named("jitnet_0.8")
    assert jitnet.origin(jitnet.take({"init": "x"})) == "x"


def test_infinite_seconds_are_valid():
    method = named("osvos_a")
    method.check(method.take({"osvos_seconds": math.inf}))

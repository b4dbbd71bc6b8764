"""experiments.methods: each row is what its title says, and is chosen and checked by name."""

import dataclasses
import types

import numpy as np
import pytest

from experiments import methods
from experiments.methods import (
    METHODS,
    Context,
    NeverAdapted,
    Settings,
    check,
    flow,
    named,
    relevant,
    select,
)
from experiments.protocol.streams import Stream
from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.distillation.distiller import Distiller
from jitnet_tf.distillation.schedule import Schedule
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.runs import run

MAKER = LabelMaker(class_groups("lvs"))
JITNET = ("jitnet_0.7", "jitnet_0.8", "jitnet_0.9")
ROWS = ("never_adapted", "oracle", "flow_slow", "flow_fast", "fixed_stride", *JITNET)


def streams(*names):
    return [Stream(name, "c", ("person",), "v", "r", None) for name in names]


class Student:
    """Predicts one class everywhere, and may not be trained."""

    def infer(self, frame):
        return np.ones(frame.shape[:2], np.uint8)

    def attempt(self, frame, labels, weights, wants_update):
        assert not wants_update(self.infer(frame))


@pytest.fixture
def made(monkeypatch):
    """Makes a method with everything expensive replaced; returns (configuration, segmenter)."""
    configs = []

    def make_distiller(config, label_maker, teacher, frame_size):
        configs.append(config)
        schedule = Schedule(
            config.accuracy_threshold, config.max_updates, config.min_stride, config.max_stride
        )
        return Distiller(Student(), teacher, label_maker, schedule)

    monkeypatch.setattr(run, "make_distiller", make_distiller)

    def make(name, **settings):
        configs.clear()
        context = Context(
            Settings(**settings), MAKER, "teacher", "recording", (64, 96), 9, *4 * [None]
        )
        segmenter = named(name).make(context)
        return (configs or [None])[0], segmenter

    return make


def test_the_rows():
    assert tuple(METHODS) == ROWS
    assert len({method.title for method in METHODS.values()}) == len(METHODS)
    for method in METHODS.values():
        assert set(method.settings) <= set(methods.SETTINGS)


@pytest.mark.parametrize("name", JITNET)
def test_jitnet_is_the_product_with_its_defaults(made, name):
    config, segmenter = made(name, init="some", seed=7)
    threshold = float(name.partition("_")[2])
    assert segmenter.schedule == Schedule(accuracy_threshold=threshold)
    default = type(config)("", "", "")
    changed = {"init": "some", "seed": 7, "accuracy_threshold": threshold}
    assert config == dataclasses.replace(default, **changed)
    assert segmenter.teacher == "teacher"


@pytest.mark.parametrize("stride", [1, 16, 100])
def test_fixed_stride(made, stride):
    _, segmenter = made("fixed_stride", fixed_stride=stride)
    schedule = segmenter.schedule
    for accuracy in (0.0, 1.0, 0.8):
        schedule.adapt_stride(accuracy)
        assert schedule.stride == stride
    assert (schedule.accuracy_threshold, schedule.max_updates) == (0.8, 8)


def test_never_adapted_asks_nobody(made):
    _, segmenter = made("never_adapted")
    assert isinstance(segmenter.schedule, NeverAdapted)
    for index in range(130):
        result = segmenter.step(np.zeros((64, 96, 3), np.uint8))
        assert (result.index, result.stride, result.updates) == (index, 0, 0)
        assert not result.is_teacher_frame
        assert (result.prediction == 1).all()
        assert set(result.seconds) == {"infer"}


@pytest.mark.parametrize(
    ("name", "preset", "stride"), [("flow_slow", "medium", 8), ("flow_fast", "ultrafast", 16)]
)
def test_flow(made, monkeypatch, name, preset, stride):
    presets = []
    monkeypatch.setattr(flow, "DIS", presets.append)
    config, segmenter = made(name)
    assert config is None  # there is no student
    assert presets == [preset]
    frame = np.zeros((4, 4, 3), np.uint8)
    asked = []

    def teacher(frame, index):
        asked.append(index)
        return types.SimpleNamespace()

    monkeypatch.setattr(LabelMaker, "labels", lambda *_: np.zeros((4, 4), np.uint8))
    segmenter._teacher = teacher
    segmenter._estimator = lambda *_: np.zeros((4, 4, 2), np.float32)
    for _ in range(33):
        segmenter.step(frame)
    assert asked == list(range(0, 33, stride))


# Settings as a name


def test_a_variant_without_changes_is_the_product(made):
    config, segmenter = made("defaults", init="some", seed=7)
    assert config == RunConfig("", "", "", init="some", seed=7)
    assert segmenter.schedule == Schedule()


def test_a_variant_changes_what_its_name_says(made):
    name = "max_updates=4,skip=False,learning_rate=0.5,width=1,optimizer=adam,init=random"
    config, segmenter = made(name, init="some", seed=7)
    student = StudentConfig(skip=False, width=1.0)
    changes = {"max_updates": 4, "learning_rate": 0.5, "optimizer": "adam", "init": "random"}
    assert config == RunConfig("", "", "", seed=7, student=student, **changes)
    assert segmenter.schedule == Schedule(max_updates=4)


def test_a_variant_of_the_labels(made):
    _, segmenter = made("box_weight=2.0,box_dilation=0.3")
    changed = dataclasses.replace(MAKER, box_weight=2.0, box_dilation=0.3)
    assert segmenter.label_maker == changed
    assert made("defaults")[1].label_maker == MAKER


def test_names():
    assert named("oracle") is METHODS["oracle"]
    assert named("teacher") is methods.OTHERS["teacher"]
    variant = named("width=1.0")
    assert variant.title == "width=1.0"
    assert set(variant.settings) == {"teacher", "init", "seed", "noise"}
    assert variant.asks_teacher


@pytest.mark.parametrize(
    "name",
    [
        *("", "magic", "magic=3", "defaults,width=1.0", "max_updates=4,", "=4"),
        *("max_updates", "max_updates=many", "max_updates=4.5", "width=wide"),
        *("skip=maybe", "skip=false", "skip"),
        *("video=x", "overlay_path=x", "check=x", "__module__=x"),
    ],
)
def test_names_of_no_method(name):
    with pytest.raises(ValueError, match=r"no setting of a student|not in list|invalid|convert"):
        named(name)


def test_names_of_settings_that_make_no_sense():
    with pytest.raises(UserError, match=r"--accuracy_threshold=1\.5 is outside 0…1"):
        named("accuracy_threshold=1.5")
    with pytest.raises(UserError, match="--skip is for --student=jitnet"):
        named("student=mobilenetv2,skip=False")


# Noise


def state(seed=0):
    """Two kernels and what is none."""
    generator = np.random.default_rng(seed)
    return {
        "weights/a/kernel": generator.normal(0, 3, (3, 3, 64, 32)).astype(np.float32),
        "weights/b/kernel": generator.normal(5, 0.1, (1, 1, 128, 64)).astype(np.float32),
        "weights/a/bias": generator.normal(0, 1, 32).astype(np.float32),
        "weights/a_norm/gamma": np.ones(32, np.float32),
        "optimizer/a/kernel": generator.normal(0, 1, (3, 3, 64, 32)).astype(np.float32),
        "step": np.int64(7),
    }


def test_noise_is_on_kernels_alone_and_as_large_as_said():
    before = state()
    after = methods.perturbed(before, 0.01, 3)
    assert list(after) == list(before)
    for name in ("weights/a/kernel", "weights/b/kernel"):
        noise = after[name] - before[name]
        assert after[name].dtype == np.float32
        assert noise.std() == pytest.approx(0.01 * before[name].std(), rel=0.05)
        assert abs(noise.mean()) < 0.1 * noise.std()
    for name in before.keys() - {"weights/a/kernel", "weights/b/kernel"}:
        np.testing.assert_array_equal(after[name], before[name])
    untouched = state()
    assert all((before[name] == untouched[name]).all() for name in before)


def test_noise_is_that_of_its_seed():
    one, same, other = (methods.perturbed(state(), 0.01, seed) for seed in (1, 1, 2))
    assert all((one[name] == same[name]).all() for name in one)
    for name in ("weights/a/kernel", "weights/b/kernel"):
        assert (one[name] != other[name]).mean() > 0.9


def test_noise_of_a_variant(made, monkeypatch):
    """Once, on what the student starts from; without it nothing is touched."""
    kept = {"state": state()}
    monkeypatch.setattr(Student, "get_state", lambda self: kept["state"], raising=False)
    monkeypatch.setattr(
        Student, "set_state", lambda self, state: kept.update(state=state), raising=False
    )
    made("max_updates=4", seed=5)
    assert (kept["state"]["weights/a/kernel"] == state()["weights/a/kernel"]).all()
    made("jitnet_0.8", seed=5, noise=0.1)  # a row of Table 2 has none
    assert (kept["state"]["weights/a/kernel"] == state()["weights/a/kernel"]).all()
    made("max_updates=4", seed=5, noise=0.1)
    expected = methods.perturbed(state(), 0.1, 5)
    assert all((kept["state"][name] == expected[name]).all() for name in expected)


def test_a_real_students_state_takes_noise():
    """It has kernels and they change; get_state and set_state know each other's arrays."""
    config = RunConfig("", "", "", init="random", student=StudentConfig(width=0.25))
    student = run.make_student(config, MAKER.groups, (64, 64))
    before = student.get_state()
    student.set_state(methods.perturbed(before, 0.1, 0))
    after = student.get_state()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert len(changed) > 10
    assert all(name.endswith("kernel") for name in changed)
    assert changed == {n for n in before if n.startswith("weights/") and n.endswith("kernel")}


def test_settings_that_bear_on_a_method():
    settings = Settings("t", init="x", seed=3, oracle_steps=5, fixed_stride=9, pwcnet_small="w")
    student = {"init": "x", "seed": 3}
    assert relevant(settings, "jitnet_0.8") == {"teacher": "t", **student}
    assert relevant(settings, "never_adapted") == student
    assert relevant(settings, "oracle") == {**student, "oracle_steps": 5, "oracle_epochs": 5}
    assert relevant(settings, "fixed_stride") == {"teacher": "t", **student, "fixed_stride": 9}
    assert relevant(settings, "flow_fast") == {"teacher": "t", "flow": "dis", "pwcnet_small": "w"}
    assert relevant(settings, "flow_slow") == {"teacher": "t", "flow": "dis", "pwcnet_dense": None}
    noisy = dataclasses.replace(settings, noise=0.5)
    assert relevant(noisy, "width=1.0") == {"teacher": "t", **student, "noise": 0.5}
    assert relevant(noisy, "jitnet_0.8") == {"teacher": "t", **student}


@pytest.mark.parametrize(
    ("frames", "least", "epochs", "steps"),
    [
        (120, 500, 5, 500),  # 24 frames: 6 batches an epoch
        (30_000, 500, 5, 7500),  # the paper's streams: 6,000 frames
        (30_000, 500, 0, 500),
        (120, 1, 5, 30),
    ],
)
def test_the_oracles_steps(frames, least, epochs, steps):
    settings = Settings(oracle_steps=least, oracle_epochs=epochs)
    assert methods.oracle_steps(settings, frames) == steps
    assert methods.preparation(settings, "oracle", frames) == frames + steps
    assert methods.preparation(settings, "jitnet_0.8", frames) == 0


def test_select():
    known = streams("a", "b", "c")
    assert select([], known) == (list(METHODS), known)
    assert select(["b"], known) == (list(METHODS), [known[1]])
    # In the order of the table and of the list.
    assert select(["jitnet_0.8", "oracle"], known) == (["oracle", "jitnet_0.8"], known)
    assert select(["c", "flow_fast", "a"], known) == (["flow_fast"], [known[0], known[2]])


@pytest.mark.parametrize("name", ["jitnet", "jitnet_0.75", "d", ""])
def test_select_neither(name):
    with pytest.raises(UserError, match=f"'{name}' is neither a method .never_adapted, oracle.*b"):
        select(["oracle", name], streams("a", "b"))


def test_select_both():
    with pytest.raises(UserError, match="'oracle' is both a method and a stream"):
        select(["oracle"], streams("a", "oracle"))
    select(["a"], streams("a", "oracle"))


def test_check_of_flow(tmp_path):
    settings = Settings(flow="pwcnet")
    check(settings, ["jitnet_0.8", "oracle"])  # which have no flow
    with pytest.raises(UserError, match=r"PWC-Net \(small\) has no weights: .* --flow=dis"):
        check(settings, ["jitnet_0.8", "flow_fast"])
    settings = Settings(flow="pwcnet", pwcnet_dense=str(tmp_path / "none.npz"))
    with pytest.raises(UserError, match="does not exist"):
        check(settings, ["flow_slow"])


def test_check_of_a_live_teacher(tmp_path):
    settings = Settings(teacher=str(tmp_path / "none"))
    check(settings, ["never_adapted", "oracle"])  # which ask none
    with pytest.raises(UserError, match="is not a folder"):
        check(settings, ["jitnet_0.8"])


def test_check(tmp_path):
    check(Settings(), list(METHODS))
    with pytest.raises(UserError, match="'nowhere' does not exist: give a run directory"):
        check(Settings(init="nowhere"), ["oracle"])
    (tmp_path / "checkpoint.npz").write_bytes(b"x")
    with pytest.raises(UserError, match="is not a checkpoint"):
        check(Settings(init=str(tmp_path)), ["oracle"])
    checkpoint.save(tmp_path, {"a": np.zeros(3)}, {})
    check(Settings(init=str(tmp_path)), ["oracle"])

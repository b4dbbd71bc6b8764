"""JITNet methods: the student with the settings in the method's name."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from experiments.methods import METHODS, OTHERS, jitnet, named
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from jitnet_tf.distillation.schedules.paper import Schedule
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.student.build import build_student

MAKER = LabelMaker(class_groups("lvs"))


@pytest.mark.parametrize("name", ["jitnet_0.7", "jitnet_0.8", "jitnet_0.9"])
def test_jitnet_is_the_product_with_its_defaults(made, name):
    config, segmenter = made(name, init="some", seed=7)
    threshold = float(name.partition("_")[2])
    assert segmenter.schedule == Schedule(accuracy_threshold=threshold)
    assert config == RunConfig(init="some", seed=7, shown="teacher", accuracy_threshold=threshold)
    assert segmenter.teacher == "teacher"


@pytest.mark.parametrize("stride", [1, 16, 100])
def test_fixed_stride(made, stride):
    _, segmenter = made("fixed_stride", fixed_stride=stride)
    schedule = segmenter.schedule
    for accuracy in (0.0, 1.0, 0.8):
        schedule.adapt_stride(accuracy)
        assert schedule.stride == stride
    assert (schedule.accuracy_threshold, schedule.max_updates) == (0.8, 8)


def test_a_frozen_student_never_changes(made):
    _, segmenter = made("never_adapted")
    for index in range(130):
        result = segmenter.step(np.zeros((64, 96, 3), np.uint8))
        assert (result.index, result.stride, result.updates) == (index, 0, 0)
        assert not result.is_teacher_frame
        assert (result.prediction == 1).all()
        assert set(result.seconds) == {"infer"}
        assert result.latency == result.seconds["infer"]


# Settings as a name


def test_a_variant_without_changes_is_the_product(made):
    config, segmenter = made("defaults", init="some", seed=7)
    assert config == RunConfig(init="some", seed=7, shown="teacher")
    assert segmenter.schedule == Schedule()


def test_a_variant_changes_the_settings_in_its_name(made):
    name = "max_updates=4,skip=False,learning_rate=0.5,width=1,optimizer=adam,init=random"
    config, segmenter = made(name, init="some", seed=7)
    student = StudentConfig(skip=False, width=1.0)
    changes = {"max_updates": 4, "learning_rate": 0.5, "optimizer": "adam", "init": "random"}
    assert config == RunConfig(seed=7, shown="teacher", student=student, **changes)
    assert segmenter.schedule == Schedule(max_updates=4)


def test_a_variant_that_looks_ahead(made):
    assert made("fusion=gate,lookahead=True")[0].lookahead
    assert not made("fusion=gate")[0].lookahead


def test_a_variant_of_the_labels(made):
    _, segmenter = made("box_weight=2.0,box_dilation=0.3,hesitation=0.2,score_threshold=0.6")
    changes = {"box_weight": 2.0, "box_dilation": 0.3, "hesitation": 0.2, "score_threshold": 0.6}
    changed = dataclasses.replace(MAKER, **changes)
    assert segmenter.label_maker == changed
    assert made("defaults")[1].label_maker == MAKER


def test_names():
    assert named("oracle") is METHODS["oracle"]
    assert named("teacher") is OTHERS["teacher"]
    variant = named("width=1.0")
    assert variant.title == "width=1.0"
    options_of_teacher = {"teacher_classes", "teacher_signature", "teacher_input", "timed_teacher"}
    own = {"init", "seed", "shown", "noise", "preset"}
    assert set(variant.settings) == {"teacher", *own, *options_of_teacher}
    assert variant.asks_teacher
    # The paper states the cost of the default network only.
    assert named("max_updates=4").is_jitnet
    assert not named("balanced").is_jitnet  # nor is flow in the paper's costs
    assert not variant.is_jitnet


@pytest.mark.parametrize(
    "name",
    [
        *("", "magic", "magic=3", "defaults,width=1.0", "max_updates=4,", "=4"),
        *("max_updates", "max_updates=many", "max_updates=4.5", "width=wide"),
        *("skip=maybe", "skip=false", "skip"),
        *("balanced,", "balanced,saving", "max_updates=4,balanced", "max_updates=None"),
        *("teacher_budget=", "class_groups=coco", "evaluated_classes=person", "teacher_input=0..1"),
        *("video=x", "overlay_path=x", "check=x", "__module__=x"),
    ],
)
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError):  # noqa: PT011  it has many sources
        named(name)


def test_invalid_settings_are_refused():
    with pytest.raises(UserError, match=r"--accuracy_threshold=1\.5"):
        named("accuracy_threshold=1.5")
    with pytest.raises(UserError, match="--skip"):
        named("architecture=mobilenetv2,skip=False")


# Presets


@pytest.mark.parametrize(
    ("name", "budget"), [("saving", 0.02), ("balanced", 0.04), ("accurate", 0.08)]
)
def test_a_preset_is_its_flag_file(made, name, budget):
    """The product reads the same file by absl's flags."""
    config, _ = made(name, init="some", seed=7)
    assert config.teacher_budget == budget
    arguments = f"--flagfile={jitnet.FLAG_FILES / name}.flags", "--seed=7", "--shown=teacher"
    assert config == product_config(*arguments)


def product_config(*arguments):
    """The product's RunConfig of a command line, with initial weights 'some'."""
    command = [sys.executable, "-c", PRINT_CONFIG, *arguments, "--init=some"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return RunConfig.from_json(found.stdout)


PRINT_CONFIG = """
import sys
from absl import flags
from jitnet_tf import flags as of_product
from jitnet_tf.config import RunConfig
of_product.define_flags(RunConfig)
flags.FLAGS(sys.argv)
flags.FLAGS.init = "some"
print(RunConfig(**of_product.values(RunConfig)).to_json())
"""


@pytest.fixture
def preset(tmp_path):
    """Returns the Preset of a flag file's text."""

    def preset(text):
        path = tmp_path / "own.flags"
        path.write_text(text)
        return jitnet.Preset("Own", path)

    return preset


def test_lines_of_a_flag_file(preset):
    own = preset("# --max_updates=1\n\n--learning_rate=.5\n--noskip\n--separable\n--triggers=\n")
    student = StudentConfig(skip=False, separable=True)
    assert own.changes == {"learning_rate": 0.5, "triggers": (), "student": student}
    assert not own.is_jitnet
    assert own.take({}).preset == "learning_rate=.5,skip=False,separable=True,triggers="


@pytest.mark.parametrize("line", ["--magic=3", "--max_updates=many", "--video=x", "--width=9x"])
def test_a_flag_file_that_is_no_preset_is_refused(preset, line):
    with pytest.raises(UserError, match=r"own\.flags"):
        preset(line).changes  # noqa: B018  it is read now


def test_a_missing_flag_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.flags"):
        jitnet.Preset("Own", tmp_path / "none.flags").take({})


def test_a_preset_with_changes(preset):
    own = preset("--teacher_budget=.04\n--max_updates=4\n--width=1\n--skip=False\n")
    made = jitnet.variant("own,teacher_budget=0.03,skip=True", {"own": own})
    expected = {"teacher_budget": 0.03, "max_updates": 4, "student": StudentConfig(width=1.0)}
    assert made.changes == expected
    assert jitnet.variant("own,teacher_budget=None", {"own": own}).changes["teacher_budget"] is None
    assert own.changes["teacher_budget"] == 0.04
    # Results know what was in the file.
    assert made.take({"noise": 0.5}) == jitnet.VariantSettings(noise=0.5, preset=own.text)


def test_a_budget_in_a_name():
    assert named("teacher_budget=0.05").changes["teacher_budget"] == 0.05
    both = named("teacher_budget=0.05,fusion=gate,triggers=cut+novelty")
    assert both.changes["triggers"] == ("cut", "novelty")
    assert named("balanced,triggers=,teacher_budget=None").changes["triggers"] == ()
    with pytest.raises(UserError, match="teacher_budget"):
        named("balanced,teacher_budget=1.5")


# Noise


def state(seed=0):
    """A state of two kernels and other arrays."""
    generator = np.random.default_rng(seed)
    return {
        "weights/a/kernel": generator.normal(0, 3, (3, 3, 64, 32)).astype(np.float32),
        "weights/b/kernel": generator.normal(5, 0.1, (1, 1, 128, 64)).astype(np.float32),
        "weights/a/bias": generator.normal(0, 1, 32).astype(np.float32),
        "weights/a_norm/gamma": np.ones(32, np.float32),
        "optimizer/a/kernel": generator.normal(0, 1, (3, 3, 64, 32)).astype(np.float32),
        "step": np.int64(7),
    }


def test_noise_is_on_kernels_alone_and_of_the_given_size():
    before = state()
    after = jitnet.perturbed(before, 0.01, 3)
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


def test_noise_depends_on_the_seed():
    one, same, other = (jitnet.perturbed(state(), 0.01, seed) for seed in (1, 1, 2))
    assert all((one[name] == same[name]).all() for name in one)
    for name in ("weights/a/kernel", "weights/b/kernel"):
        assert (one[name] != other[name]).mean() > 0.9


def test_noise_of_a_variant(made):
    """Noise is added once, to the initial weights; without it nothing changes."""
    kept = {"state": state()}
    made.student.get_state = lambda: kept["state"]
    made.student.set_state = lambda state: kept.update(state=state)
    made("max_updates=4", seed=5)
    assert (kept["state"]["weights/a/kernel"] == state()["weights/a/kernel"]).all()
    expected = jitnet.perturbed(state(), 0.1, 5)
    for method in ("max_updates=4", "jitnet_0.8", "balanced", "balanced,max_updates=0"):
        kept["state"] = state()
        made(method, seed=5, noise=0.1)
        assert all((kept["state"][name] == expected[name]).all() for name in expected)


def test_noise_changes_the_state_of_a_real_student():
    """Its kernels change; set_state accepts the arrays of get_state."""
    config = RunConfig(init="random", student=StudentConfig(width=0.25))
    student = build_student(config, MAKER.groups, (64, 64))
    before = student.get_state()
    student.set_state(jitnet.perturbed(before, 0.1, 0))
    after = student.get_state()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert len(changed) > 10
    assert all(name.endswith("kernel") for name in changed)
    assert changed == {n for n in before if n.startswith("weights/") and n.endswith("kernel")}

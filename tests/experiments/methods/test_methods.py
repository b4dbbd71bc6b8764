"""The registry of methods."""

import numpy as np
import pytest

from experiments import methods
from experiments.methods import METHODS, check, named, select, settings_of
from experiments.protocol.streams import Stream
from jitnet_tf.base import checkpoint
from jitnet_tf.base.errors import UserError

JITNET = ("jitnet_0.7", "jitnet_0.8", "jitnet_0.9")
PRESETS = ("saving", "balanced", "accurate")
ROWS = ("never_adapted", "oracle", "flow_slow", "flow_fast", "fixed_stride", *JITNET, *PRESETS)


def streams(*names):
    return [Stream(name, "c", ("person",), "v", "r", None) for name in names]


def test_names_of_the_methods():
    assert tuple(METHODS) == ROWS
    everything = [*METHODS.values(), *methods.OTHERS.values()]
    assert len({method.title for method in everything}) == len(everything)
    assert {s for method in everything for s in method.settings} == set(methods.SETTINGS)


def test_settings_of_a_method():
    values = {
        **{"teacher": "t", "init": "x", "seed": 3, "oracle_steps": 5, "fixed_stride": 9},
        **{"pwcnet_small": "w", "noise": 0.5},
    }
    student = {"init": "x", "seed": 3}
    options = dict.fromkeys(("teacher_classes", "teacher_signature", "teacher_input"))
    options["timed_teacher"] = None
    teacher = {"teacher": "t", **options}
    online, flow = {**teacher, **student, "shown": "teacher"}, {**teacher, "flow": "dis"}
    variant = {**online, "noise": 0.5, "preset": None}
    for name, expected in (
        ("jitnet_0.8", variant),
        ("never_adapted", student),
        ("oracle", {**student, "oracle_steps": 5, "oracle_epochs": 5}),
        ("fixed_stride", {**online, "fixed_stride": 9}),
        ("flow_fast", {**flow, "pwcnet_small": "w"}),
        ("flow_slow", {**flow, "pwcnet_dense": None}),
        ("flow_20", {**flow, "pwcnet_small": "w"}),
        ("width=1.0", variant),
        ("first_annotation", {**student, "annotation_updates": 32}),
        ("teacher", teacher),
    ):
        assert settings_of(name, values) == expected
        assert set(named(name).settings) == set(expected)
    osvos = {"osvos_weights": None, "osvos_steps": 500, "osvos_seconds": 30.0, "osvos_scale": 1.0}
    assert settings_of("osvos_b") == {**options, "teacher": None, "seed": 0, **osvos}


@pytest.mark.parametrize("stride", [1, 20, 999999])
def test_flow_at_a_stride(stride):
    method = named(f"flow_{stride}")
    assert (method.stride, method.title) == (stride, f"Flow, stride {stride}")
    assert method.settings == named("flow_fast").settings


@pytest.mark.parametrize("name", ["flow_0", "flow_08", "flow_", "flow_-8", "flow_8.5", "flow_8,"])
def test_a_stride_of_flow_that_is_none(name):
    with pytest.raises(ValueError, match="flow"):
        named(name)


def test_select():
    known = streams("a", "b", "c")
    assert select([], known) == (list(METHODS), known)
    assert select(["b"], known) == (list(METHODS), [known[1]])
    # In the order of the table and of the list.
    assert select(["jitnet_0.8", "oracle"], known) == (["oracle", "jitnet_0.8"], known)
    assert select(["c", "flow_fast", "a"], known) == (["flow_fast"], [known[0], known[2]])


@pytest.mark.parametrize("name", ["jitnet", "jitnet_0.75", "d", ""])
def test_select_without_a_choice(name):
    with pytest.raises(UserError, match=f"'{name}' .*never_adapted, oracle.*b"):
        select(["oracle", name], streams("a", "b"))


def test_select_variants():
    known, name = streams("a", "b"), "width=1.0"
    with pytest.raises(UserError, match=f"'{name}'"):
        select([name], known)
    chosen = select(["max_updates=2", "oracle", "b", name], known, variants=True)
    assert chosen == (["oracle", "max_updates=2", name], [known[1]])
    assert select(["teacher"], known, variants=True) == (["teacher"], known)
    with pytest.raises(UserError, match="'magic=1'"):
        select(["magic=1"], known, variants=True)
    with pytest.raises(UserError, match=r"accuracy_threshold=1\.5"):
        select(["accuracy_threshold=1.5"], known, variants=True)


def test_select_both():
    with pytest.raises(UserError, match="'oracle' is both a method and a stream"):
        select(["oracle"], streams("a", "oracle"))
    select(["a"], streams("a", "oracle"))


@pytest.mark.parametrize(
    ("settings", "unaffected", "name", "message"),
    [
        ({"flow": "pwcnet"}, ["jitnet_0.8", "oracle"], "flow_fast", "--pwcnet_small"),
        ({"flow": "pwcnet", "pwcnet_dense": "none.npz"}, ["oracle"], "flow_slow", "'none.npz'"),
        ({"teacher": "none"}, ["never_adapted", "oracle"], "jitnet_0.8", "'none'"),
        ({"timed_teacher": "none"}, ["never_adapted", "oracle"], "balanced", "'none'"),
        ({"teacher": ".", "timed_teacher": "."}, ["oracle"], "flow_20", "--timed_teacher"),
        ({"init": "none"}, ["flow_slow", "osvos_a"], "oracle", "'none'"),
        ({"osvos_weights": "none.npz"}, ["jitnet_0.8"], "osvos_a", "'none.npz'"),
        ({"osvos_seconds": 0.0}, ["jitnet_0.8"], "osvos_a", "--osvos_seconds=0.0"),
        ({"osvos_seconds": float("nan")}, [], "osvos_b", "--osvos_seconds=nan"),
        ({"osvos_scale": 0.0}, ["jitnet_0.8"], "osvos_a", "--osvos_scale=0.0"),
        ({"osvos_scale": 1.5}, [], "osvos_a", "--osvos_scale=1.5"),
        ({"osvos_scale": float("nan")}, [], "osvos_a", "--osvos_scale=nan"),
    ],
)
def test_invalid_settings_are_refused(settings, unaffected, name, message):
    check(settings, unaffected)
    with pytest.raises(UserError) as error:
        check(settings, [*unaffected, name])
    assert message in str(error.value)


def test_check(tmp_path):
    check({}, [*METHODS, *methods.OTHERS])
    (tmp_path / "checkpoint.npz").write_bytes(b"x")
    with pytest.raises(UserError, match="is not a checkpoint"):
        check({"init": str(tmp_path)}, ["oracle"])
    checkpoint.save(tmp_path, {"a": np.zeros(3)}, {})
    check({"init": str(tmp_path)}, ["oracle"])

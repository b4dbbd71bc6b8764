"""jitnet_tf.config: to JSON and back, and every combination that cannot be meant."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig, StudentConfig
from teacher import MIN_SCORE

NAN, INFINITY = float("nan"), float("inf")
NEEDED = {"video": "street.mp4", "teacher": "recorded:street.rec", "logdir": "runs/street"}
# Every value differs from its default.
OTHER = RunConfig(
    **NEEDED,
    reference="full.rec",
    output="out.mp4",
    masks="masks",
    frame_size=(360, 640),
    max_frames=99,
    init="runs/earlier",
    seed=7,
    class_groups="coco",
    evaluated_classes=("person", "traffic light"),
    score_threshold=0.3,
    box_weight=10.0,
    box_dilation=0.075,
    accuracy_threshold=0.7,
    max_updates=16,
    min_stride=3,
    max_stride=50,
    teacher_mode="async",
    max_staleness=5,
    learning_rate=0.001,
    momentum=0.5,
    xla="on",
    checkpoint_every=5,
    image_every=10,
    optimizer="adam",
    updated_layers="last",
    student=StudentConfig(
        1.0, 2, False, True, "moving", "bfloat16", input_scale=0.5, input_normalization="raw"
    ),
)


def test_defaults_are_the_papers():
    config = RunConfig(**NEEDED)
    assert (config.accuracy_threshold, config.max_updates) == (0.8, 8)
    assert (config.min_stride, config.max_stride) == (8, 64)
    assert (config.learning_rate, config.momentum) == (0.01, 0.9)
    assert (config.box_weight, config.box_dilation, config.score_threshold) == (5, 0.15, 0.5)
    assert (config.student.width, config.student.units, config.student.skip) == (0.5, 1, True)
    assert not config.student.separable
    assert (config.class_groups, config.evaluated_classes) == ("lvs", ())


def test_the_other_config_differs_everywhere():
    default = RunConfig(**NEEDED)
    same = {k for k, v in OTHER.flat().items() if k in default.flat() and default.flat()[k] == v}
    # What else the other student has is JITNet's alone.
    assert same == {*NEEDED, "student"}


@pytest.mark.parametrize("config", [RunConfig(**NEEDED), OTHER])
def test_json_round_trip(config):
    text = config.to_json()
    again = RunConfig.from_json(text)
    assert again == config
    assert again.to_json() == text
    assert type(again.frame_size) is type(config.frame_size)
    assert type(again.evaluated_classes) is tuple
    assert type(again.student) is StudentConfig
    assert text.endswith("}\n")


@given(
    st.floats(0, 1),
    st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False),
    st.text(),
    st.lists(st.text()),
)
def test_json_round_trip_of_any_text_and_number(threshold, rate, video, classes):
    config = RunConfig(
        video=video,
        teacher="t",
        logdir="l",
        accuracy_threshold=threshold,
        learning_rate=rate,
        evaluated_classes=tuple(classes),
    )
    assert RunConfig.from_json(config.to_json()) == config


def test_from_json_of_an_older_run_takes_defaults():
    assert RunConfig.from_json(json.dumps(NEEDED)) == RunConfig(**NEEDED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "not JSON",
        json.dumps({"video": "v"}),  # the rest is missing
        json.dumps({**NEEDED, "strides": 8}),
        json.dumps({**NEEDED, "student": {"depth": 3}}),
        json.dumps({**NEEDED, "student": None}),
        json.dumps([NEEDED]),
        json.dumps("text"),
        json.dumps({**NEEDED, "frame_size": 5}),
        json.dumps({**NEEDED, "min_stride": "8"}),
    ],
)
def test_from_json_of_something_else(text):
    with pytest.raises((TypeError, ValueError)):
        RunConfig.from_json(text)


def test_from_json_checks_values_too():
    with pytest.raises(UserError, match=r"--accuracy_threshold=1\.5 is outside"):
        RunConfig.from_json(json.dumps({**NEEDED, "accuracy_threshold": 1.5}))


@pytest.mark.parametrize("name", ["accuracy_threshold", "score_threshold"])
@pytest.mark.parametrize("value", [-0.01, 1.01, 80, -INFINITY, INFINITY, NAN])
def test_thresholds_outside_their_range(name, value):
    with pytest.raises(UserError, match=f"--{name}={value} is outside 0…1"):
        RunConfig(**NEEDED, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("accuracy_threshold", edge) for edge in (0, 0.0, 1, 1.0)),
        *(("score_threshold", edge) for edge in (MIN_SCORE, 1, 1.0)),
    ],
)
def test_thresholds_at_the_edge(name, value):
    assert getattr(RunConfig(**NEEDED, **{name: value}), name) == value


@pytest.mark.parametrize("value", [0, 0.0499])
def test_scores_below_what_teachers_keep(value):
    with pytest.raises(UserError, match=rf"--score_threshold={value} is below 0\.05"):
        RunConfig(**NEEDED, score_threshold=value)


@pytest.mark.parametrize(("least", "most"), [(0, 64), (-8, 64), (65, 64), (8, 7), (0, 0), (2, -1)])
def test_strides_that_make_no_sense(least, most):
    with pytest.raises(UserError, match=f"--min_stride={least} --max_stride={most}: strides are"):
        RunConfig(**NEEDED, min_stride=least, max_stride=most)


@pytest.mark.parametrize(("least", "most"), [(1, 1), (8, 8), (1, 1000)])
def test_strides_at_the_edge(least, most):
    assert RunConfig(**NEEDED, min_stride=least, max_stride=most).max_stride == most


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"max_updates": -1}, "--max_updates=-1"),
        ({"box_weight": 0.0}, "--box_weight"),
        ({"box_weight": -5.0}, "--box_weight"),
        ({"box_weight": NAN}, "--box_weight"),
        ({"box_dilation": -0.1}, "--box_dilation"),
        ({"box_dilation": NAN}, "--box_dilation"),
        ({"learning_rate": -0.01}, "--learning_rate"),
        ({"learning_rate": NAN}, "--learning_rate"),
        ({"momentum": -0.1}, "--momentum"),
        ({"momentum": 1.0}, "--momentum"),
        ({"momentum": NAN}, "--momentum"),
        ({"student": StudentConfig(width=0.0)}, "--width"),
        ({"student": StudentConfig(width=0.125)}, "--width has to be at least 0.25"),
        ({"student": StudentConfig(width=-1.0)}, "--width"),
        ({"student": StudentConfig(width=NAN)}, "--width"),
        ({"student": StudentConfig(width=INFINITY)}, "--width"),
        ({"student": StudentConfig(units=0)}, "--units"),
        ({"student": StudentConfig(input_scale=0.0)}, "--input_scale=0.0 is outside"),
        ({"student": StudentConfig(input_scale=1.5)}, "--input_scale=1.5 is outside"),
        ({"student": StudentConfig(input_scale=NAN)}, "--input_scale=nan is outside"),
        (
            {"student": StudentConfig(student="mobilenetv2", width=1.0)},
            "--width is for --student=jitnet: leave it out",
        ),
        ({"student": StudentConfig(student="mobilenetv2", skip=False)}, "--skip is for"),
    ],
)
def test_other_values_that_make_no_sense(values, flag):
    with pytest.raises(UserError) as error:
        RunConfig(**NEEDED, **values)
    assert flag in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["max_updates", "box_dilation", "learning_rate", "momentum"])
def test_values_at_the_edge(name):
    assert RunConfig(**NEEDED, **{name: 0}).flat()[name] == 0
    with pytest.raises(UserError, match=f"--{name}"):
        RunConfig(**NEEDED, **{name: -1e-9})


def test_replacing_a_value_checks_it():
    with pytest.raises(UserError, match="--max_updates=-2"):
        dataclasses.replace(RunConfig(**NEEDED), max_updates=-2)


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OTHER.seed = 8


def test_flat_has_one_entry_a_flag():
    flat = OTHER.flat()
    names = {field.name for field in dataclasses.fields(RunConfig)} - {"student"}
    assert set(flat) == names | {field.name for field in dataclasses.fields(StudentConfig)}
    assert flat["width"] == 1.0
    assert flat["normalization"] == "moving"
    assert flat["frame_size"] == (360, 640)
    assert OTHER.student.width == 1.0  # and OTHER is as it was


def test_flagfile():
    lines = OTHER.to_flagfile().splitlines()
    assert len(lines) == len(OTHER.flat())
    assert {
        *("--video=street.mp4", "--teacher=recorded:street.rec", "--frame_size=360x640"),
        *("--evaluated_classes=person,traffic light", "--accuracy_threshold=0.7"),
        *("--noskip", "--separable", "--normalization=moving", "--width=1.0", "--max_frames=99"),
    } <= set(lines)


def test_flagfile_of_the_defaults():
    lines = RunConfig(**NEEDED).to_flagfile().splitlines()
    assert {"--skip", "--noseparable", "--seed=0"} <= set(lines)
    # What was not given has no value that a flag could state.
    unset = ("reference", "masks", "frame_size", "max_frames", "evaluated_classes")
    assert "--student=jitnet" in lines
    assert not [line for line in lines if line.lstrip("-").partition("=")[0] in unset]
    assert not [line for line in lines if "None" in line]


def test_flagfile_keeps_numbers_exactly():
    rate = math.pi / 300
    line = f"--learning_rate={rate!r}"
    assert line in RunConfig(**NEEDED, learning_rate=rate).to_flagfile().splitlines()

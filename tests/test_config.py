"""Configurations: to JSON and back, from older versions, and every invalid value."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import options
from jitnet_tf.config import PretrainConfig, RunConfig, StudentConfig
from jitnet_tf.flags import options_of
from teacher import MIN_SCORE

NAN, INFINITY = float("nan"), float("inf")
NEEDED = {"video": "street.mp4", "teacher": "recorded:street.rec", "logdir": "runs/street"}
# Every value differs from its default.
OTHER = RunConfig(
    **NEEDED,
    reference="full.rec",
    output="overlays",
    masks="masks",
    segment=600.0,
    keep=86400.0,
    frame_size=(360, 640),
    max_frames=99,
    init="runs/earlier",
    seed=7,
    class_groups="coco",
    teacher_classes="voc",
    teacher_signature="raw",
    teacher_input="-1..1",
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
    stride_from="teacher_frame",
    teacher_budget=0.05,
    triggers=("cut", "novelty"),
    hesitation=0.1,
    ignore_mask="mask.png",
    keep_hard=7,
    fusion="gate",
    infer_every=2,
    update_policy="replay",
    replay_memory=4,
    reconnect_for=90.0,
    frozen_for=0.0,
    realtime=True,
    export_every=600.0,
    export_dir="models/street",
    export_keep=5,
    export_tflite=True,
    metrics_port=0,
    preview_port=8000,
    bind="::",
    student=StudentConfig(
        width=1.0,
        units=2,
        skip=False,
        separable=True,
        normalization="moving",
        precision="bfloat16",
        input_scale=0.5,
        input_normalization="raw",
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
    # Options without a second value, and the architecture, which all other options depend on.
    single = {
        name for name, (_, _, about) in options_of(RunConfig).items() if len(about.choices) == 1
    }
    # An asynchronous teacher's labels cannot be shown, nor asked for ahead.
    assert same == {*NEEDED, "architecture", "shown", "lookahead", *single}


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


# What a file can be called.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(
    st.floats(0, 1),
    st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False),
    TEXTS,
    st.lists(TEXTS),
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
        json.dumps({**NEEDED, "student": {"student": "jitnet", "architecture": "jitnet"}}),
        json.dumps({**NEEDED, "student": None}),
        json.dumps([NEEDED]),
        json.dumps("text"),
        json.dumps({**NEEDED, "frame_size": 5}),
        "[" * 100_000,
    ],
)
def test_from_json_of_something_else(text):
    with pytest.raises((TypeError, ValueError)):
        RunConfig.from_json(text)


def test_from_json_takes_the_names_of_older_versions():
    student = {"student": "mobilenetv2", "input_normalization": "standardised"}
    made = RunConfig.from_json(json.dumps({**NEEDED, "student": student})).student
    assert (made.architecture, made.input_normalization) == ("mobilenetv2", "standardized")
    older = {"logdir": "l", "photographs": "p", "photographs_rate": 0.25, "colour": 0.125}
    made = PretrainConfig.from_json(json.dumps(older))
    assert (made.unlabeled_images, made.unlabeled_rate, made.color) == ("p", 0.25, 0.125)


@pytest.mark.parametrize("value", ["8", None, [8]])
def test_from_json_of_a_value_of_another_type(value):
    with pytest.raises(UserError, match="--min_stride="):
        RunConfig.from_json(json.dumps({**NEEDED, "min_stride": value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("video", 5),
        ("video", "a\0b"),
        ("teacher", None),
        ("masks", ["m"]),
        ("output", "\ud800"),
        ("seed", True),
        ("seed", 0.5),
        ("evaluated_classes", [3]),
        ("learning_rate", "0.1"),
    ],
)
def test_from_json_of_a_value_of_another_type_without_bounds(name, value):
    with pytest.raises(UserError, match=f"--{name}="):
        RunConfig.from_json(json.dumps({**NEEDED, name: value}))


def test_from_json_checks_values_too():
    with pytest.raises(UserError, match=r"--accuracy_threshold=1\.5 "):
        RunConfig.from_json(json.dumps({**NEEDED, "accuracy_threshold": 1.5}))


NUMBERS = {
    kind: [
        (field.name, about)
        for field, about in options(kind)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    ]
    for kind in (RunConfig, PretrainConfig, StudentConfig)
}


def made(kind, **values):
    config = kind(**values)
    if kind is StudentConfig:
        config.check()
    return config


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, found in NUMBERS.items() for name, _ in found]
)
@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY])
def test_no_number_may_be_nan_or_infinite(kind, name, value):
    with pytest.raises(UserError, match=f"--{name}={value} .*finite"):
        made(kind, **{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *((RunConfig, "accuracy_threshold", x) for x in (-0.01, 1.01, 80)),
        *((RunConfig, "score_threshold", x) for x in (0, 0.0499, 1.01)),
        *((RunConfig, "min_stride", x) for x in (0, -8)),
        (RunConfig, "max_stride", -1),
        (RunConfig, "max_updates", -1),
        (RunConfig, "max_frames", 0),
        (RunConfig, "checkpoint_every", 0),
        (RunConfig, "image_every", 0),
        (RunConfig, "max_staleness", 0),
        *((RunConfig, "export_every", x) for x in (0, -1.0)),
        (RunConfig, "export_keep", 0),
        *((RunConfig, name, x) for name in ("metrics_port", "preview_port") for x in (-1, 65536)),
        *((RunConfig, "box_weight", x) for x in (0.0, -5.0)),
        (RunConfig, "box_dilation", -0.1),
        (RunConfig, "learning_rate", -0.01),
        *((RunConfig, "momentum", x) for x in (-0.1, 1.0)),
        (RunConfig, "seed", -1),
        (RunConfig, "teacher_mode", "never"),
        (RunConfig, "optimizer", "lion"),
        *((StudentConfig, "width", x) for x in (0.0, 0.125, -1.0)),
        (StudentConfig, "units", 0),
        *((StudentConfig, "input_scale", x) for x in (0.0, 1.5)),
        (StudentConfig, "architecture", "unet"),
        *((PretrainConfig, "unlabeled_rate", x) for x in (-0.1, 1.1)),
        *((PretrainConfig, "holdout", x) for x in (-0.1, 1.1)),
        *((PretrainConfig, "cooldown", x) for x in (-0.1, 1.1)),
        *((PretrainConfig, name, 0) for name in ("steps", "batch_size", "validate_every")),
        (PretrainConfig, "crop", 31),
        (PretrainConfig, "min_scale", 0.0),
        (PretrainConfig, "stretch", 0.9),
        *((PretrainConfig, "color", x) for x in (-0.1, 1.0)),
        (PretrainConfig, "epsilon", 0.0),
        (PretrainConfig, "weight_decay", -1.0),
        (PretrainConfig, "warmup", -1),
        (PretrainConfig, "ema_decay", 1.0),
    ],
)
def test_values_out_of_bounds_are_refused_by_flag_and_value(kind, name, value):
    with pytest.raises(UserError, match=f"--{name}={value} ") as error:
        made(kind, **{name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *((RunConfig, "accuracy_threshold", x) for x in (0, 0.0, 1, 1.0)),
        *((RunConfig, "score_threshold", x) for x in (MIN_SCORE, 1, 1.0)),
        *((RunConfig, x, 0) for x in ("max_updates", "box_dilation", "learning_rate", "momentum")),
        (RunConfig, "min_stride", 1),
        (RunConfig, "max_stride", 1000),
        (StudentConfig, "width", 0.25),
        (StudentConfig, "input_scale", 1.0),
        (PretrainConfig, "crop", 32),
    ],
)
def test_values_on_their_bounds_are_taken(kind, name, value):
    assert getattr(made(kind, **{name: value}), name) == value


@pytest.mark.parametrize(
    ("kind", "values", "flags"),
    [
        (RunConfig, {"min_stride": 65}, ["--min_stride=65", "--max_stride=64"]),
        (RunConfig, {"min_stride": 8, "max_stride": 7}, ["--min_stride=8", "--max_stride=7"]),
        (RunConfig, {"keep": 86400.0}, ["--keep=1d", "--segment"]),
        (RunConfig, {"segment": 600.0, "keep": 90.0}, ["--keep=90s", "--segment=10min"]),
        (PretrainConfig, {"min_scale": 2.0}, ["--min_scale=2.0", "--max_scale=1.5"]),
        (RunConfig, {"export_every": 600.0}, ["--export_every=10min", "--export_dir"]),
        (RunConfig, {"export_dir": "models"}, ["--export_dir=models", "--export_every"]),
        (RunConfig, {"export_keep": 5}, ["--export_keep=5", "--export_every"]),
        (RunConfig, {"export_tflite": True}, ["--export_tflite", "--export_every"]),
        (RunConfig, {"bind": "::1"}, ["--bind=::1", "--metrics_port"]),
        (RunConfig, {"metrics_port": 9, "preview_port": 9}, ["--metrics_port=9", "--preview_port"]),
        (RunConfig, {"frame_size": "360x640"}, ["--frame_size=360x640"]),
        (RunConfig, {"frame_size": (360, 640, 3)}, ["--frame_size"]),
        (
            RunConfig,
            {"student": StudentConfig(architecture="mobilenetv2", width=1.0)},
            ["--width", "--architecture=jitnet"],
        ),
        (
            RunConfig,
            {"student": StudentConfig(architecture="mobilenetv2", skip=False)},
            ["--skip", "--architecture=jitnet"],
        ),
        (PretrainConfig, {"student": StudentConfig(units=0)}, ["--units=0"]),
    ],
)
def test_contradictions_are_refused_by_their_flags(kind, values, flags):
    with pytest.raises(UserError) as error:
        kind(**values)
    assert all(flag in str(error.value) for flag in flags)


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
    # Options without a value are left out.
    unset = ("reference", "masks", "frame_size", "max_frames", "evaluated_classes")
    assert "--architecture=jitnet" in lines
    assert not [line for line in lines if line.lstrip("-").partition("=")[0] in unset]
    assert not [line for line in lines if "None" in line]


def test_flagfile_keeps_numbers_exactly():
    rate = math.pi / 300
    line = f"--learning_rate={rate!r}"
    assert line in RunConfig(**NEEDED, learning_rate=rate).to_flagfile().splitlines()

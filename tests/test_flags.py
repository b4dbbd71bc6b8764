"""Flags: made from the fields of configurations, with everything that --help and docs say."""

import contextlib
import pathlib

import pytest
from absl import flags

from jitnet_tf import distill, pretrain
from jitnet_tf import flags as jitnet_flags
from jitnet_tf.base.options import options
from jitnet_tf.config import PretrainConfig, RunConfig, StudentConfig
from tests.commands import run_command

ROOT = pathlib.Path(__file__).parents[1]


@contextlib.contextmanager
def parsed(kind, *arguments):
    """Defines the flags of a configuration and parses these."""
    before = set(flags.FLAGS)
    jitnet_flags.define_flags(kind)
    try:
        flags.FLAGS(["command", *arguments])
        yield
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)


@pytest.mark.parametrize("kind", [RunConfig, PretrainConfig])
def test_defaults_of_flags_are_those_of_the_configuration(kind):
    with parsed(kind):
        assert kind(**jitnet_flags.values(kind)) == kind()


def test_every_type_of_value():
    with parsed(
        RunConfig,
        "--video=http://host/x",
        "--frame_size=360x640",
        "--max_frames=9",
        "--noskip",
        "--width=1",
        "--evaluated_classes=person,auto",
        "--teacher_mode=async",
        "--architecture=jitnet",
    ):
        made = RunConfig(**jitnet_flags.values(RunConfig))
    assert (made.video, made.frame_size, made.max_frames) == ("http://host/x", (360, 640), 9)
    assert made.evaluated_classes == ("person", "auto")
    assert (made.student.skip, made.student.width, made.teacher_mode) == (False, 1.0, "async")


def test_words_are_not_taken_for_files(tmp_path, monkeypatch):
    """--video=sample is the sample also where a folder has that name."""
    monkeypatch.chdir(tmp_path)
    for name in ("sample", "lvs", "random", "0", "street"):
        (tmp_path / name).mkdir()

    def value(argument):
        with parsed(RunConfig, argument):
            return jitnet_flags.value_of(RunConfig, argument.lstrip("-").partition("=")[0])

    assert value("--video=sample") == "sample"
    assert value("--video=0") == "0"
    assert value("--class_groups=lvs") == "lvs"
    assert value("--init=random") == "random"
    assert value("--video=./sample") == str(tmp_path / "sample")
    assert value("--teacher=recorded:street") == f"recorded:{tmp_path}/street"
    assert value("--teacher=zoo:street") == "zoo:street"
    assert value("--init=0") == str(tmp_path / "0")


def test_options_page_is_up_to_date():
    """Run `python -m jitnet_tf.flags > docs/options.md` after changing an option."""
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert "`--resume`" in page
    assert page == jitnet_flags.markdown()


@pytest.mark.parametrize(("command", "kind"), [(distill, RunConfig), (pretrain, PretrainConfig)])
def test_help_has_every_group_and_choice(command, kind, capsys):
    assert run_command(command, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (kind, StudentConfig):
        for _, about in options(part):
            assert f" {about.group}: " in text
            assert about.help.split(";")[0] in text
            assert all(str(choice) in text for choice in about.choices)

"""The help of the commands."""

import subprocess
import sys

import pytest
from absl import flags

from jitnet_tf import distill, export, pretrain
from jitnet_tf.base import help as help_text
from teacher import annotate, record, zoo
from tests.commands import run_command


@pytest.fixture
def values():
    found = flags.FlagValues()
    flags.DEFINE_string("video", None, "Video file.", flag_values=found)
    flags.DEFINE_integer("max_updates", 8, "Most updates.", lower_bound=0, flag_values=found)
    flags.DEFINE_float("part", 0.5, "A part.", 0, 1, flag_values=found)
    flags.DEFINE_enum("mode", "sync", ["sync", "async"], "How to ask.", flag_values=found)
    flags.DEFINE_bool("resume", False, "Resume the run.", flag_values=found)
    flags.DEFINE_list("classes", ["a", "b"], "Classes.", flag_values=found)
    flags.DEFINE_string("a_name_that_is_longer_than_the_column", "x", "Long.", flag_values=found)
    return found


def test_every_flag_with_default_choices_and_bounds(values):
    text = help_text.text("Does something.\n", values)
    assert text.startswith("Does something.\n\nFlags:\n")
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for row in (
        "--video= Video file.",
        "--max_updates=8 Most updates. (at least 0)",
        "--part=0.5 A part. (0 to 1)",
        "--mode=sync How to ask. (sync, async)",
        "--[no]resume Resume the run. (default: no)",
        "--classes=a,b Classes.",
    ):
        assert row in rows
    assert rows[rows.index("--a_name_that_is_longer_than_the_column=x") + 1] == "Long."
    assert rows[-2].startswith("--flagfile=FILE ")


def test_headings_in_the_order_of_their_flags(values):
    for name, heading in {"max_updates": "Training", "video": "Input", "part": "Training"}.items():
        values[name].heading = heading
    lines = help_text.text("", values).splitlines()
    headings = [line for line in lines if line.endswith(":") and line[0] != " "]
    assert headings == ["Input:", "Training:", "Flags:", "Flags from a file:"]
    training = lines[lines.index("Training:") + 1 :][:2]
    assert [line.split("=")[0] for line in training] == ["  --max_updates", "  --part"]


def test_lines_are_wrapped():
    values = flags.FlagValues()
    flags.DEFINE_string("name", None, "word " * 60, flag_values=values)
    lines = help_text.text("", values).splitlines()
    assert max(map(len, lines)) <= 100
    assert len([line for line in lines if "word" in line]) > 3


@pytest.mark.parametrize("command", [distill, pretrain, export, annotate, record, zoo])
def test_commands_list_all_their_flags(command, capsys, monkeypatch):
    defined = []
    define = command.define_flags

    def define_flags():
        before = set(flags.FLAGS)
        define()
        defined.extend(set(flags.FLAGS) - before)

    monkeypatch.setattr(command, "define_flags", define_flags)
    assert run_command(command, "--help") == 0
    captured = capsys.readouterr()
    listed = [line for line in captured.out.splitlines() if line.startswith("  --")]
    names = {line.split()[0].split("=")[0].replace("[no]", "") for line in listed}
    assert names == {f"--{name}" for name in [*defined, "flagfile"]}
    assert defined
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 100


def test_help_does_not_import_tensorflow():
    code = (
        "import atexit, sys; from jitnet_tf import distill; "
        "from jitnet_tf.base import command_line; distill.define_flags(); "
        "atexit.register(lambda: print('tensorflow' in sys.modules)); "
        "command_line.main(distill.main, ['distill', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "python -m jitnet_tf.distill --video=sample" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"

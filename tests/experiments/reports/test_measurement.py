"""Commands that write or print a measurement."""

import functools
import json

import pytest
from absl import flags

from experiments.reports import measurement
from tests.commands import refusal, run_command

FORMAT = "example, 1"


class Example:
    """A command that measures 3."""

    __name__ = "example"

    @staticmethod
    def define_flags():
        measurement.define_flags("json")

    @staticmethod
    def main():
        def measure():
            measurement.check_output(flags.FLAGS.json, "json")
            values = {"format": FORMAT, "value": 3}
            measurement.write(flags.FLAGS.json, values, "json")
            return values

        render = "value {value}".format_map
        measurement.measure_or_print(measure, render, FORMAT, "example", flag="json")


def test_a_measurement_is_printed_and_can_be_printed_again(tmp_path, capsys):
    file = tmp_path / "new" / "a.json"
    assert run_command(Example(), f"--json={file}") == 0
    assert json.loads(file.read_text()) == {"format": FORMAT, "value": 3}
    assert run_command(Example(), f"--print={file}") == 0
    assert capsys.readouterr().out == "value 3\n" * 2


class Continued(Example):
    """A command that adds 1 each time."""

    @staticmethod
    def define_flags():
        measurement.define_flags()
        flags.DEFINE_integer("seed", 0, "Seed.")

    @staticmethod
    def main():
        values = measurement.opened("example", FORMAT, ("seed",), {"counts": []})
        values["counts"].append(1)
        measurement.write(flags.FLAGS.output, values)


def test_a_measurement_is_continued_with_the_same_settings_alone(tmp_path, capsys):
    file = tmp_path / "a.json"
    for count in (1, 2):
        assert run_command(Continued(), f"--output={file}") == 0
        assert json.loads(file.read_text()) == {"format": FORMAT, "seed": 0, "counts": [1] * count}
    arguments = f"--output={file}", "--seed=1"
    assert "--seed=0" in refusal(Continued(), tmp_path, capsys, *arguments)


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return functools.partial(refusal, Example(), tmp_path, capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--json=FILE.json"),
        (["--json=a.json", "--print=b.json"], "--print=FILE.json"),
        (["--json=."], "--json=. exists"),
        (["--json=/proc/none/a.json"], "--json=/proc/none/a.json"),
        (["--print=nowhere.json"], "--print=nowhere.json"),
        (["--print=."], "--print=."),
    ],
)
def test_invalid_flags_are_refused(refused, arguments, named):
    assert named in refused(*arguments)


@pytest.mark.parametrize(
    "content",
    ["", "# Table", "[1, 2]", '{"format": "other"}', '{"value": 3}', f'{{"format": "{FORMAT}"}}'],
)
def test_files_of_another_kind_are_refused(refused, tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    message = refused("--print=a.json")
    assert "--print=a.json" in message
    assert "example --json" in message


def test_binary_files_are_refused(refused, tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    assert "--print=a.json" in refused("--print=a.json")

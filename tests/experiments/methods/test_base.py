"""Settings of methods as flags."""

import dataclasses

import pytest
from absl import flags

from experiments.methods import base
from experiments.methods.base import Method, Settings, setting
from jitnet_tf.base.errors import UserError
from tests.commands import run_command


@dataclasses.dataclass(frozen=True)
class ExampleSettings(Settings):
    text: str | None = setting(None, "Some text.")
    count: int = setting(3, "A count.", at_least=1)
    scale: float = setting(1.0, "A scale.")
    kind: str = setting("a", "A kind.", choices=("a", "b"))
    hidden: float = 0.5


class Example(Method):
    settings_class = ExampleSettings


EXAMPLE = Example("Example")


class Command:
    """A command with the flags of the example, or with some of them."""

    __name__ = "example"

    def __init__(self, names=None):
        self.names = names
        self.found = None

    def define_flags(self):
        base.define_flags([EXAMPLE], self.names)

    def main(self):
        self.found = {n: flags.FLAGS[n].value for n in EXAMPLE.settings if n in flags.FLAGS}


def test_a_flag_for_each_option():
    command = Command()
    assert run_command(command) == 0
    assert command.found == {"text": None, "count": 3, "scale": 1.0, "kind": "a"}
    assert run_command(command, "--text=x", "--count=7", "--scale=0.5", "--kind=b") == 0
    assert command.found == {"text": "x", "count": 7, "scale": 0.5, "kind": "b"}


def test_flags_of_chosen_settings_only():
    command = Command(["count"])
    assert run_command(command, "--count=7") == 0
    assert command.found == {"count": 7}


@pytest.mark.parametrize("flag", ["--count=x", "--scale=x", "--kind=c", "--hidden=1"])
def test_invalid_flags_are_refused(flag, capsys):
    assert run_command(Command(), flag) == 2
    assert flag[2:].partition("=")[0] in capsys.readouterr().err


def test_check_refuses_values_out_of_bounds():
    ExampleSettings(count=1).check()
    with pytest.raises(UserError, match="--count=0"):
        EXAMPLE.check(ExampleSettings(count=0))


def test_take_keeps_its_own_settings():
    taken = EXAMPLE.take({"count": 7, "unknown": 1})
    assert taken == ExampleSettings(count=7)
    assert EXAMPLE.settings == ("text", "count", "scale", "kind", "hidden")
    assert not EXAMPLE.asks_teacher

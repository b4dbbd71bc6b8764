"""Paths in flags: the user's home, in every command."""

import ast
import importlib
import pathlib

import pytest
from absl import flags

from jitnet_tf.base import paths
from tests.commands import run_command

ROOT = pathlib.Path(__file__).parents[2]
# Flags of text that is no path.
TEXTS = {
    *("frame_size", "method", "student", "fetch", "teacher_signature", "bind", "address"),
    "options",  # of another command
}


def is_command(path):
    names = {node.name for node in ast.parse(path.read_text("utf-8")).body if hasattr(node, "name")}
    return {"define_flags", "main"} <= names


COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("jitnet_tf", "teacher", "experiments")
    for pattern in ("*.py", "*/__main__.py")
    for path in (ROOT / folder).glob(pattern)
    if is_command(path)
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~", "/home/me"),
        ("~/runs/t", "/home/me/runs/t"),
        ("recorded:~/street.recording", "recorded:/home/me/street.recording"),
        ("lvs:~/LVS", "lvs:/home/me/LVS"),
        ("annotated:~/a.json", "annotated:/home/me/a.json"),
        ("~/img_%04d.png", "/home/me/img_%04d.png"),
        ("~backup-of-nobody", "~backup-of-nobody"),
        ("recorded:~backup-of-nobody/x", "recorded:~backup-of-nobody/x"),
        ("runs/~/t", "runs/~/t"),
        ("runs/t~", "runs/t~"),
        ("rtsp://host/~me/x", "rtsp://host/~me/x"),
        ("sample", "sample"),
        ("", ""),
    ],
)
def test_home_is_expanded(monkeypatch, given, expected):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expand(given) == expected


def test_home_of_another_user():
    pwd = pytest.importorskip("pwd")
    user = pwd.getpwuid(0)
    assert paths.expand(f"recorded:~{user.pw_name}/x") == f"recorded:{user.pw_dir}/x"


def test_unknown_home_is_refused(monkeypatch):
    """A folder called ~ would be made."""
    monkeypatch.setattr(paths.os.path, "expanduser", lambda path: path)
    with pytest.raises(ValueError, match=r"~/runs.*HOME"):
        paths.expand("~/runs")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_of_every_command_is_expanded(name, monkeypatch, tmp_path, capsys):
    """On the command line, and in a file of flags, where no shell expands it."""
    module = importlib.import_module(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    before, found = set(flags.FLAGS), {}
    monkeypatch.setattr(module, "main", lambda: found.update(flags.FLAGS.flag_values_dict()))
    module.main.__module__ = name
    module.define_flags()
    texts = {n for n in set(flags.FLAGS) - before if flags.FLAGS[n].flag_type() == "string"}
    choices = {  # some are required
        f"--{n}={flags.FLAGS[n].parser.enum_values[0]}"
        for n in set(flags.FLAGS) - before
        if hasattr(flags.FLAGS[n].parser, "enum_values")
    }
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)
    (tmp_path / "x.flags").write_text("".join(f"--{n}=~/{n}\n" for n in texts))
    assert run_command(module, "--flagfile=~/x.flags", *choices) == 0, capsys.readouterr().err
    assert {n for n in texts if found[n] != f"{tmp_path}/{n}"} <= TEXTS


def test_commands_are_found():
    assert {"jitnet_tf.distill", "teacher.record", "experiments.table2"} <= set(COMMANDS)

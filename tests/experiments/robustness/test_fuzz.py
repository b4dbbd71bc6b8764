"""Fuzzing: the damage, what counts as a failure, and a few hundred damaged files."""

import json
import random
import zlib

import pytest

from experiments import fuzz
from experiments.robustness import damage, victim
from experiments.robustness.kinds import Kind
from jitnet_tf.base.errors import UserError
from tests.builders import markdown_table
from tests.commands import refusal, run_command

# Those that take milliseconds a file.
CHEAP = (
    *("videos", "images", "recordings", "groups", "annotations", "labels"),
    *("lists", "resultfiles", "partials", "flags"),
)
EACH = 25


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return victim.Reader(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", CHEAP)
def test_damaged_files_are_read_or_refused(reader, monkeypatch, name):
    monkeypatch.chdir(reader.kind(name).folder)
    found = {}
    for number in range(EACH):
        outcome, text = reader.read(name, reader.damage(name, number, seed=14))
        found.setdefault(outcome, []).append((number, text))
    assert found.get(victim.FAILED, []) == []
    assert found[victim.REFUSED]


@pytest.mark.parametrize("name", CHEAP)
def test_intact_files_are_read(reader, monkeypatch, name):
    kind = reader.kind(name)
    monkeypatch.chdir(kind.folder)
    for original, content in kind.originals.items():
        damaged = reader.damage(name, 0, 0)
        damaged.unlink()
        path = damaged.with_name(original.rpartition("/")[2])
        path.write_bytes(content)
        assert reader.read(name, path) == (victim.READ, "")


def test_the_same_seed_gives_the_same_file(reader):
    first, again, other = (reader.damage("groups", n, 3).read_bytes() for n in (5, 5, 6))
    assert first == again != other


def test_most_files_are_damaged():
    text = "person\nauto = car, bus\n" * 3
    values = {"a": [1, 2, {"b": "c"}]}
    changed = 0
    for seed in range(100):
        changed += damage.damaged_bytes(text.encode(), random.Random(seed)) != text.encode()
        changed += damage.damaged_text(text, random.Random(seed)) != text.encode()
        changed += damage.damaged_json(values, random.Random(seed)) != json.dumps(values).encode()
    assert changed > 280


def test_zeros_are_a_stream_of_zeros():
    packed = damage.zeros(3 << 20)
    assert len(packed) < 10_000
    assert zlib.decompress(packed, -15) == bytes(3 << 20)


class Odd(Kind):
    """Files of a letter, each with an outcome."""

    def write(self):
        return {"a": b"a"}

    def read(self, path):
        what = path.read_bytes()
        if what == b"u":
            raise UserError("no")
        if what == b"z":
            raise ZeroDivisionError
        if what == b"r":
            raise RecursionError
        if what == b"w":
            path.write_bytes(b"changed")
        if what == b"d":
            path.unlink()


@pytest.mark.parametrize(
    ("content", "outcome", "text"),
    [
        (b"a", victim.READ, ""),
        (b"u", victim.REFUSED, "no"),
        (b"z", victim.FAILED, "ZeroDivisionError"),
        (b"r", victim.FAILED, "RecursionError"),
        (b"w", victim.FAILED, "changed"),
        (b"d", victim.FAILED, "changed"),
    ],
)
def test_outcomes(tmp_path, monkeypatch, content, outcome, text):
    monkeypatch.setattr(victim, "kinds", lambda: {"odd": Odd})
    reader = victim.Reader(tmp_path)
    reader.kind("odd")
    path = tmp_path / "file"
    path.write_bytes(content)
    found, said = reader.read("odd", path)
    assert found == outcome
    assert text in said


def test_work_is_shared_by_kind_and_selected_by_name():
    inputs, commands = fuzz.plan({"a": 0.75, "b": 0.25}, 8, 3)
    assert [inputs.count((name, n)) for name, n in (("a", 5), ("a", 6), ("b", 1))] == [1, 0, 1]
    assert [name for name, _ in commands] == ["command a", "command b", "command a"]
    assert fuzz.selected(inputs, ["b", "a-3"]) == [("b", 0), ("b", 1), ("a", 3)]
    with pytest.raises(UserError, match="'a-6'"):
        fuzz.selected(inputs, ["a-6"])


def test_a_file_of_other_settings_is_not_continued(tmp_path, capsys):
    output = tmp_path / "fuzz.json"
    values = {"format": fuzz.FORMAT, "seed": 1, "inputs": 10_000, "commands": 26, "done": 0}
    output.write_text(json.dumps(values))
    assert "--seed=1" in refusal(fuzz, tmp_path, capsys, f"--output={output}", "--seed=2")


@pytest.mark.slow
def test_the_command_counts_by_kind_and_continues(tmp_path, capsys):
    output = tmp_path / "fuzz.json"
    arguments = (f"--output={output}", "--inputs=30", "--commands=1", "--seed=3")
    assert run_command(fuzz, *arguments) == 0
    table = markdown_table(capsys.readouterr().out, "")
    assert {"videos", "runs", "command videos", "all"} <= set(table.cells)
    total = table.cells["all"]
    assert int(total["tried"]) == int(total["read"]) + int(total["refused"]) > 30
    assert run_command(fuzz, *arguments) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("| kind")

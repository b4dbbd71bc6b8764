"""The comparison of schedulers: a small one, its table and plot, and refusals."""

import json

import pytest

from experiments import scheduling
from experiments.protocol.streams import to_csv
from tests.builders import markdown_table
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

SMALL = ("--numbers=2,5", "--shares=5,100", "--steps=40", "--warm_up=10", "--seeds=2")


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    streams = [
        write_square_stream(folder, "slow", 12, speed=(0, 1)),
        write_square_stream(folder, "fast", 12, speed=(2, 4)),
    ]
    (folder / "list.csv").write_text(to_csv(streams, folder, folder).replace("None", ""))
    return f"--streams={folder}/list.csv"


def test_measured_continued_and_printed(listed, tmp_path, capsys):
    output, plot = tmp_path / "scheduling.json", tmp_path / "plot.png"
    arguments = (listed, *SMALL, f"--output={output}")
    assert run_command(scheduling, *arguments) == 0
    table = markdown_table(capsys.readouterr().out).rows
    assert [row[:3] for row in table] == [
        [number, share, name]
        for number in ("2", "5")
        for share in ("5", "100")
        for name in scheduling.SCHEDULERS
    ]
    # With an answer to every request the order is nothing, and none waits.
    for place in (3, 9):
        first, *others = [row[3:] for row in table[place : place + 3]]
        assert others == [first, first]
        assert first[-2:] == ["0.0", "0.0"]

    whole = json.loads(output.read_text())
    output.write_text(json.dumps({**whole, "rows": whole["rows"][:7]}))
    assert run_command(scheduling, *arguments) == 0
    assert json.loads(output.read_text()) == whole

    capsys.readouterr()
    assert run_command(scheduling, f"--print={output}", f"--plot={plot}") == 0
    assert markdown_table(capsys.readouterr().out).rows == table
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_one_number(listed, tmp_path):
    arguments = ("--numbers=2", "--shares=100", "--steps=3", "--warm_up=0", "--seeds=1")
    outputs = (f"--output={tmp_path}/one.json", f"--plot={tmp_path}/plot.png")
    assert run_command(scheduling, listed, *arguments, *outputs) == 0
    assert (tmp_path / "plot.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--numbers=2,0"], "--numbers=2,0"),
        (["--numbers="], "--numbers="),
        (["--shares=5,many"], "--shares=5,many"),
        (["--shares=nan"], "--shares=nan"),
        (["--streams=none.csv"], "none.csv"),
        (["--streams="], "--streams is missing"),
        (["--plot=plot.jpg"], "--plot=plot.jpg"),
        (["--print=x.json"], "--print"),
    ],
)
def test_refusals(listed, tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert named in refusal(scheduling, tmp_path, capsys, listed, "--output=a.json", *arguments)

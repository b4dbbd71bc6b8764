"""experiments.pretraining_speed: rates by a clock of its own; the command on photographs."""

import re
import types

from experiments import pretraining_speed
from tests.commands import run_command
from tests.materials import write_photographs


def test_rate_is_of_the_median_batch(monkeypatch):
    now = 0.0
    lasting = iter([9, 9, 9, *[2, 4, 4, 100]])  # the first three are not timed

    def step():
        nonlocal now
        now += next(lasting)

    monkeypatch.setattr(pretraining_speed, "time", types.SimpleNamespace(perf_counter=lambda: now))
    assert pretraining_speed.rate(step, batch_size=8, seconds=110) == 8 / 4


def test_command(tmp_path, capsys):
    file, folder = write_photographs(tmp_path / "photographs", 12)
    small = ("--width=.125", "--crop=32", "--batch_size=4", "--steps=100000", "--seconds=1")
    flags = (f"--annotations={file}", f"--images={folder}", f"--logdir={tmp_path / 'run'}")
    assert run_command(pretraining_speed, *flags, *small) == 0
    lines = capsys.readouterr().out.splitlines()
    for what in ("input pipeline alone", "training step alone", "both together"):
        [line] = [line for line in lines if line.startswith(what)]
        assert float(re.search(r"([\d.]+) photographs/s", line)[1]) > 0
    assert "cores of" in lines[-1]

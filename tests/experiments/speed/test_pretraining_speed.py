"""experiments.pretraining_speed: rates by a clock of its own; the command on photographs."""

import re
import types

from experiments import pretraining_speed
from tests.commands import run_command
from tests.materials import write_images


def test_rate_is_of_all_batches(monkeypatch):
    """A pipeline hands them out in bursts."""
    now = 0.0
    lasting = iter([9] * pretraining_speed.UNTIMED + [0, 0, 0, 100])

    def step():
        nonlocal now
        now += next(lasting)

    monkeypatch.setattr(pretraining_speed, "time", types.SimpleNamespace(perf_counter=lambda: now))
    assert pretraining_speed.rate(step, batch_size=8, seconds=90) == 8 * 4 / 100


def test_command(tmp_path, capsys):
    file, folder = write_images(tmp_path / "photographs", 12)
    small = ("--width=.25", "--crop=32", "--batch_size=4", "--steps=100000", "--seconds=1")
    flags = (f"--annotations={file}", f"--images={folder}")
    assert run_command(pretraining_speed, *flags, *small) == 0
    lines = capsys.readouterr().out.splitlines()
    for what in ("input pipeline alone", "training step alone", "both together"):
        [line] = [line for line in lines if line.startswith(what)]
        assert float(re.search(r"([\d.]+) photographs/s", line)[1]) > 0
    assert "cores of" in lines[-1]

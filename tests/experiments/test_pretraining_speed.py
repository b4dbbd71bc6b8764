"""The pretraining_speed command, with a fake clock and on a few images."""

import re
import types

import pytest

from experiments import pretraining_speed
from experiments.pretraining_speed import UNTIMED
from tests.commands import refusal, run_command
from tests.materials import write_images


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances only where something adds to `now`."""
    clock = types.SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(pretraining_speed, "time", clock)
    return clock


def test_a_rate_is_of_all_batches_but_the_first_ones(clock):
    """A pipeline yields them in bursts."""
    lasting = iter([9] * UNTIMED + [0, 0, 0, 100])

    def step():
        clock.now += next(lasting)

    assert pretraining_speed.rate(step, batch_size=8, seconds=90) == 8 * 4 / 100


class Session:
    """A Pretraining whose pipeline takes 1 s a batch, and whose step takes 3 s to complete."""

    config = types.SimpleNamespace(batch_size=8)

    def __init__(self, clock):
        self.clock = clock
        self.trained_on = []

    def batches(self):
        for batch in range(1000):
            self.clock.now += 1
            yield batch

    def train_step(self, batch):
        def complete():
            self.clock.now += 3
            self.trained_on.append(batch)

        return types.SimpleNamespace(numpy=complete)


def test_pipeline_and_step_are_timed_alone_and_together(clock):
    session = Session(clock)
    found = pretraining_speed.measure(session, seconds=12)
    assert found == {
        "input pipeline alone": 8 / 1,
        "training step alone": 8 / 3,
        "both together": 8 / 4,
    }
    alone, together = UNTIMED + 4, UNTIMED + 3
    assert session.trained_on == [UNTIMED + 12] * alone + list(range(together))


def test_seconds_of_no_batch_are_refused(tmp_path, capsys):
    assert "seconds" in refusal(pretraining_speed, tmp_path, capsys, "--seconds=0")


@pytest.mark.slow
def test_the_command_prints_three_rates_and_the_machine(tmp_path, capsys):
    file, folder = write_images(tmp_path / "images", 12)
    small = ("--width=.25", "--crop=32", "--batch_size=4", "--steps=100000", "--seconds=1")
    flags = (f"--annotations={file}", f"--images={folder}")
    assert run_command(pretraining_speed, *flags, *small) == 0
    *rates, machine = capsys.readouterr().out.splitlines()
    found = [re.fullmatch(r"(.*?) +([\d.]+) images/s", line) for line in rates]
    assert [match[1] for match in found] == [
        "input pipeline alone",
        "training step alone",
        "both together",
    ]
    assert all(float(match[2]) > 0 for match in found)
    assert "cores of" in machine

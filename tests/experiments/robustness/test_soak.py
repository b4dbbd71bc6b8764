"""The soak: its figures, and a short one."""

import pytest

from experiments import soak
from tests.builders import markdown_table
from tests.commands import refusal, run_command


def samples(values, first=1000, every=500):
    return [
        {"frame": first + every * i, "Rss": value, "Private_Dirty": value, "descriptors": 9}
        | {"threads": 5}
        for i, value in enumerate(values)
    ]


def test_growth_is_that_of_a_line_after_the_settled_frames():
    first, last, slope = soak.line(samples([5, 9, 100, 101, 102, 103]), "Rss")
    assert (first, last, slope) == pytest.approx((100, 103, 2))
    scattered = soak.line(samples([0, 0, 99, 102, 99, 102, 99, 102]), "Rss")
    assert scattered[0] < 100 < 101 < scattered[1]


def test_one_sample_has_no_growth():
    assert soak.line(samples([1, 2, 3]), "Rss") is None


@pytest.mark.parametrize(("last", "verdict"), [(1009, "is flat"), (1012, "is not flat")])
def test_memory_is_flat_within_a_percent(last, verdict):
    values = {
        **{"frames": 3000, "frame_size": [4, 4], "outputs": ["masks"], "complete": True},
        **{"samples": samples([500, 800, 1000, (1000 + last) / 2, last]), "seconds": 1.0},
        **{"machine": {"cpu": "c", "cores": 2, "gpus": []}, "versions": {}},
    }
    text = soak.render(values)
    assert f"Memory {verdict} " in text
    assert markdown_table(text, "").cells["descriptors"]["range"] == "9–9"


def test_an_existing_file_is_refused(tmp_path, capsys):
    (tmp_path / "a.json").write_text("x")
    assert "--output" in refusal(soak, tmp_path, capsys, f"--output={tmp_path}/a.json")


@pytest.mark.slow
def test_a_short_soak_is_measured_and_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(soak, "SETTLED", 4)
    monkeypatch.setattr(soak, "SAMPLED_EVERY", 4)
    output = tmp_path / "soak.json"
    flags = ("--frames=12", "--frame_size=64x96", f"--work={tmp_path / 'work'}")
    assert run_command(soak, f"--output={output}", *flags) == 0
    printed = capsys.readouterr().out
    cells = markdown_table(printed, "").cells
    assert {"Rss, MiB", "Private_Dirty, MiB", "descriptors", "threads"} == set(cells)
    assert "12 of 12 frames, of 64×96" in printed
    assert len(list((tmp_path / "work" / "masks").glob("*.png"))) == 12
    assert run_command(soak, f"--print={output}") == 0
    assert capsys.readouterr().out == printed

"""Kills: the moments, the comparison of two runs, and two killed runs."""

import json
import shutil

import pytest

from experiments import kills
from experiments.robustness import equality, killed_runs
from jitnet_tf.base import checkpoint
from tests.builders import markdown_rows
from tests.commands import refusal, run_command


def test_moments_are_told_by_what_is_on_disk(tmp_path):
    found = []
    for name in ("", "config.json", "checkpoint.npz", "overlay.mp4", "summary.json"):
        if name == "checkpoint.npz":
            checkpoint.save(tmp_path, {}, {"frames": 7})
        elif name:
            (tmp_path / name).write_text('{"complete": true}')
        found.append(killed_runs.moment(tmp_path))
    assert [each["moment"] for each in found] == [
        killed_runs.STARTING,
        killed_runs.NO_CHECKPOINT,
        killed_runs.FRAMES,
        killed_runs.FINISHING,
        killed_runs.ENDED,
    ]
    assert [each["frames"] for each in found] == [0, 0, 7, 7, 7]


def test_a_file_of_other_settings_is_not_continued(tmp_path, capsys):
    output = tmp_path / "kills.json"
    values = {"format": kills.FORMAT, "runs": 100, "frames": 50, "trials": {}}
    output.write_text(json.dumps(values))
    assert "--frames=50" in refusal(kills, tmp_path, capsys, f"--output={output}")


@pytest.mark.slow
def test_killed_runs_end_like_an_uninterrupted_one(tmp_path, capsys):
    output, work = tmp_path / "kills.json", tmp_path / "work"
    flags = ("--runs=2", "--frames=20", f"--output={output}", f"--work={work}")
    assert run_command(kills, *flags) == 0
    printed = capsys.readouterr().out
    assert markdown_rows(printed, "equal to the uninterrupted run") == [
        ["equal to the uninterrupted run", "2 of 2"]
    ]
    assert len(json.loads(output.read_text())["trials"]) == 2
    assert "complete" in refusal(kills, tmp_path, capsys, *flags)

    # What differs is found.
    whole, other = work / "uninterrupted-0", work / "other"
    shutil.copytree(whole, other)
    assert equality.differences(whole, other) == []
    (other / "masks" / "000003.png").write_bytes(b"x")
    (other / "overlay.mp4").write_bytes((other / "overlay.mp4").read_bytes()[:-2000])
    log = other / "frames.jsonl"
    log.write_text(log.read_text().replace('"frame": 5', '"frame": 6'))
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps({**summary, "updates": 9999}))
    for path in other.glob("events.out.*"):
        path.unlink()
    arrays, progress = checkpoint.load(other)
    name = next(name for name in arrays if "/weights/" in name)
    arrays[name].flat[0] += 1
    checkpoint.save(other, arrays, progress)
    found = {text.partition(":")[0] for text in equality.differences(whole, other)}
    assert {"checkpoint", "masks", "frames.jsonl", "TensorBoard", "summary.json"} <= found

"""Going on after the end of a run, when its inputs and its directory have moved meanwhile."""

import json
import shutil

import cv2
import numpy as np
import pytest

from jitnet_tf import distill
from jitnet_tf.base import checkpoint
from tests.commands import read_files, read_frames, read_summary, run_command
from tests.materials import write_square_stream

COUNT, FIRST = 10, 6
CHEAP = ("--width=0.25", "--init=random", "--max_updates=1", "--min_stride=2")


def without_times(logdir):
    return [{**row, "ms": None} for row in read_frames(logdir)]


@pytest.mark.slow
def test_a_moved_run_goes_on_with_moved_inputs(tmp_path, capsys):
    """Video, teacher, reference, class groups and run directory, with its outputs, all at once.

    The result is that of a run that never stopped.
    """
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_square_stream(old, "square", COUNT)
    (old / "groups.txt").write_text("person\n")
    ignored = np.zeros((128, 192), np.uint8)  # of any size
    ignored[:, 150:] = 1
    cv2.imwrite(str(old / "mask.png"), ignored)

    def command(folder, run):
        named = {
            "video": "square.mp4",
            "reference": "square.recording",
            "class_groups": "groups.txt",
            "ignore_mask": "mask.png",
        }
        inputs = [f"--{flag}={folder}/{name}" for flag, name in named.items()]
        return [*inputs, f"--teacher=recorded:{folder}/square.recording", f"--logdir={run}"]

    outputs = ("--output={0}/o.mp4", "--masks={0}/masks", "--keep_hard=2")
    for name, frames in (("straight", COUNT), ("run", FIRST)):
        of_run = [text.format(old / name) for text in outputs]
        arguments = (*command(old, old / name), *of_run, *CHEAP, f"--max_frames={frames}")
        assert run_command(distill, *arguments) == 0
    assert run_command(distill, "--resume", f"--logdir={old}/run", f"--max_frames={FIRST}") == 2
    assert "is complete" in capsys.readouterr().err
    old.rename(new)

    assert run_command(distill, "--resume", f"--logdir={new}/run", "--max_frames=8") == 2
    message = capsys.readouterr().err
    assert "give --class_groups, --ignore_mask, --video, --teacher, --reference with" in message
    more = ("--resume", f"--max_frames={COUNT}")
    assert run_command(distill, *more, *command(new, new / "run")) == 0
    assert not old.exists()
    straight, resumed = new / "straight", new / "run"
    assert without_times(resumed) == without_times(straight)
    assert read_summary(resumed)["problems"] == []
    one, two = (checkpoint.load(logdir)[0] for logdir in (straight, resumed))
    assert one.keys() == two.keys()
    computed = [name for name in one if name.startswith("distiller/")]
    assert computed
    assert all(np.array_equal(one[name], two[name]) for name in computed)
    assert len(list((resumed / "masks").glob("*.png"))) == COUNT
    assert read_summary(resumed)["hard_frames"] == len(list(resumed.glob("hard/images/*"))) == 2
    for folder in ("masks", "hard"):
        one, two = (
            {path.relative_to(run): content for path, content in read_files(run / folder).items()}
            for run in (straight, resumed)
        )
        assert one == two
    kept = json.loads((resumed / "config.json").read_text())
    assert (kept["logdir"], kept["max_frames"]) == (str(resumed), COUNT)
    assert kept["video"] == f"{new}/square.mp4"
    assert kept["masks"] == f"{resumed}/masks"

    shutil.copy(new / "square.mp4", new / "again.mp4")
    again = ("--resume", f"--logdir={resumed}", f"--video={new}/again.mp4")
    assert run_command(distill, *again, f"--max_frames={COUNT + 1}") == 2
    assert "no more frames" in capsys.readouterr().err
    assert read_summary(resumed)["complete"]

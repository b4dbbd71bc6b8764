"""The examples of docs/extending.md, added to a copy of the packages."""

import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.commands import read_frames

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`(jitnet_tf/\S+\.py)`:\n\n```python\n(.*?)```", PAGE, re.M | re.S)
LINES = re.findall(r"^The line in `(\w+)` of `(\S+)`:\n\n```python\n(.*?\n)```", PAGE, re.M | re.S)
[COMMAND] = re.findall(r"^python (-m jitnet_tf\.distill .*)$", PAGE, re.M)


def test_examples_are_short():
    assert len(FILES) == len(LINES) == 3
    for path, code in FILES:
        assert len([line for line in code.splitlines() if line.strip()]) <= 25, path
    assert all(line.count("\n") == 1 for _, _, line in LINES)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages with the examples' files and registry lines."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("jitnet_tf", "teacher"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=skipped)
    for path, code in FILES:
        assert not (folder / path).exists()
        (folder / path).write_text(code, encoding="utf-8")
    for registry, path, line in LINES:
        before = (folder / path).read_text(encoding="utf-8")
        after = before.replace(f"{registry} = {{\n", f"{registry} = {{\n{line}")
        assert after != before
        (folder / path).write_text(after, encoding="utf-8")
    return folder


def run(copy, *arguments):
    command = [sys.executable, *COMMAND.split(), "--output=none", *arguments]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy / "runs"


@pytest.mark.slow
def test_the_examples_run(copy):
    whole = run(copy, "--logdir=runs/whole", "--checkpoint_every=16") / "whole"
    rows = read_frames(whole)
    assert len(rows) == 40
    assert sum(row["updates"] for row in rows) > 8
    areas = np.loadtxt(whole / "areas.csv", delimiter=",", dtype=int)
    assert areas.shape == (40, 10)
    assert (areas[:, 0] == range(40)).all()
    assert len(set(areas[:, 1:].sum(1))) == 1  # every pixel of every frame
    with np.load(whole / "checkpoint.npz") as file:
        assert {"sinks/class_areas/end", "distiller/policy/labels"} <= set(file.files)
        assert "distiller/student/weights/conv3/kernel" in file.files

    # Once more, with the old files in place.
    run(copy, "--logdir=runs/whole", "--overwrite", "--max_frames=3")
    assert len((whole / "areas.csv").read_text().splitlines()) == 3


@pytest.mark.slow
def test_the_examples_resume(copy):
    whole = run(copy, "--logdir=runs/uninterrupted") / "uninterrupted"
    rows = read_frames(whole)
    run(copy, "--logdir=runs/parts", "--max_frames=20")
    summary = copy / "runs" / "parts" / "summary.json"
    summary.write_text(summary.read_text().replace('"complete": true', '"complete": false'))
    parts = run(copy, "--logdir=runs/parts", "--resume", "--max_frames=40") / "parts"
    assert (parts / "areas.csv").read_text() == (whole / "areas.csv").read_text()
    again = read_frames(parts)
    for row in (*rows, *again):
        del row["ms"]
    assert again == rows

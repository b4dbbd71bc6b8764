"""Every command of the README works as it stands there, in the order of a reader."""

import importlib
import pathlib
import re
import shlex

import pytest
from tensorflow import keras

from tests.commands import run_command
from tests.materials import frames, write_images, write_teacher, write_video

ROOT = pathlib.Path(__file__).parents[2]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
COMMANDS = [
    line
    for language, block in BLOCKS
    if not language
    for line in block.replace("\\\n", " ").splitlines()
    if re.match(r"(python|pip|tensorboard) ", line)
]
FIRST, TESTS = COMMANDS[:2]
# test_distill.py starts the dashboard.
ELSEWHERE = {FIRST, TESTS, "tensorboard --logdir=runs"}
# A pretraining takes hours, a comparison minutes; what a step takes is no question here.
SHORTER = {
    "jitnet_tf.pretrain": ["--steps=2", "--crop=32", "--batch_size=2", "--width=.25"],
    "experiments.benchmark": [
        "--frame_size=64x96",
        "--width=.25",
        "--rounds=1",
        "--peers=ours",
        "--loop_frames=2",
    ],
    "experiments.table3": ["--osvos_steps=1"],
    "experiments.ablations": ["--close=0"],
    "experiments.efficiency": ["--only=flow_fast"],
}


def test_first_two_commands_are_those_of_ci():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for command in (FIRST, TESTS):
        install, work = (part.strip() for part in command.split("&&"))
        assert install == "pip install -r requirements.txt"
        assert 'pip" install -q -r requirements.txt' in script
        assert work.removeprefix("python ") in script


def test_commands(tmp_path, monkeypatch):
    write_video(tmp_path / "street.mp4", frames(20))
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "street.mp4", frames(20))
    write_teacher(tmp_path / "path" / "to" / "saved_model")
    for part in ("train2017", "val2017"):
        file, folder = write_images(tmp_path / part, 3)
        (tmp_path / "coco").mkdir(exist_ok=True)
        file.rename(tmp_path / "coco" / f"instances_{part}.json")
        folder.rename(tmp_path / "coco" / part)
    write_images(tmp_path / "unlabelled", 20)[1].rename(tmp_path / "photos")
    (tmp_path / "flags").symlink_to(ROOT / "flags")
    monkeypatch.chdir(tmp_path)
    commands = [command for command in COMMANDS if command not in ELSEWHERE]
    assert len(commands) >= 6
    for command in commands:
        if "--resume" in command:  # it has to find something to do
            [logdir] = re.findall(r"--logdir=(\S+)", command)
            pathlib.Path(logdir, "summary.json").unlink()
        python, dash_m, module, *arguments = shlex.split(command)
        if not any(argument.startswith(("--resume", "--print")) for argument in arguments):
            arguments += SHORTER.get(module, [])
        if "--init=runs/coco" in arguments and module == "jitnet_tf.distill":
            arguments.append("--width=.25")
        assert (python, dash_m) == ("python", "-m")
        assert run_command(importlib.import_module(module), *arguments) == 0, command
    assert pathlib.Path("street.tflite").stat().st_size > 1_000_000
    assert pathlib.Path("runs/street/overlay.mp4").exists()
    assert len(list(pathlib.Path("runs/table2/street").glob("*/result.json"))) == 9
    for figure in ("figure4", "ablations/updated_layers", "efficiency/efficiency", "efficiency"):
        assert pathlib.Path(f"runs/{figure}.png").exists()


def test_class_groups_example(tmp_path):
    from jitnet_tf.labels import class_groups

    [example] = [block for _, block in BLOCKS if block.startswith("# traffic.txt")]
    (tmp_path / "traffic.txt").write_text(example)
    names = class_groups(str(tmp_path / "traffic.txt")).names
    assert names == ("background", "person", "two_wheeler", "car", "heavy")


def test_library_examples(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    example, own_network = [block for language, block in BLOCKS if language == "python"]
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[8] == "8 True (272, 640)"
    keras.utils.set_random_seed(0)
    exec(compile(own_network, "README.md", "exec"), {})
    updates, before, after = map(float, capsys.readouterr().out.split())
    assert 0 < updates <= 8
    assert 0 <= before < after


def test_links_lead_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(targets) >= 3
    assert [link for link in targets if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("preset", ["0.7", "0.8", "0.9"])
def test_presets_state_what_to_expect(preset):
    text = (ROOT / "flags" / f"jitnet_{preset}.flags").read_text("utf-8")
    assert f"--accuracy_threshold={preset}\n" in text
    assert f"python -m jitnet_tf.distill --flagfile=flags/jitnet_{preset}.flags" in text
    expected = re.findall(r"^#   (\S+) \(\d+(?: frames)?\) +[\d.]+ +[\d.]+ +\d+ \(", text, re.M)
    assert expected == ["sample", "animals-horses", "traffic-junction"]

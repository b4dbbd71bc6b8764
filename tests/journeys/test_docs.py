"""The documents: commands parse and run, links and images exist."""

import dataclasses
import importlib.util
import pathlib
import re
import shlex
import shutil

import cv2
import numpy as np
import pytest
from absl import flags

from jitnet_tf.labels import class_groups
from tests.commands import run_command
from tests.materials import frames, write_images, write_semantic_teacher, write_teacher, write_video

FLAGS = flags.FLAGS
ROOT = pathlib.Path(__file__).parents[2]
GUIDE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = sorted((ROOT / "experiments" / "results").glob("*.md"))
OTHERS = [
    ROOT / name
    for name in ("WORKSPACE.md", "experiments/RESULTS.md", "jitnet_tf/data/MODEL_CARD.md")
]
MARKDOWN = [*GUIDE, *RESULTS, *OTHERS]
# Its commands need the code that the page adds; see test_extending.
WITHOUT_COMMANDS = {"extending.md"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"python -m ((?:jitnet_tf|teacher|experiments)\.[^;&|]*)")

# Part of a command → its requirement that tests do not have.
NEEDS = {
    "jitnet_tf.distill --video=sample": "minutes; .ci/run has it",
    "--video=0": "a camera",
    "--video=rtsp:": "a camera",
    "teacher.zoo --fetch": "a download",
    "experiments.gpu_benchmark --run": "a GPU, or JAX",
    "experiments.mask_rcnn": "an environment of its own",
    "experiments.benchmark --json": "minutes; tests/experiments/test_benchmark.py runs it",
    "experiments.table1 --output": "minutes; tests/experiments/test_table1.py runs it",
    "experiments.gpu_benchmark --export": "minutes; test_gpu_benchmark.py runs it",
    "experiments.asynchronous --streams": "minutes; tests/experiments/test_asynchronous.py runs it",
    "experiments.capacity": "minutes on an idle machine",
    "experiments.fleet_kills": "an hour",
    "--mask_rcnn=": "the SavedModel that experiments.mask_rcnn makes",
    "archive/street": "a run that was moved; tests/journeys/test_moved.py resumes one",
    "path/to/yolo11n-seg": "an export; tests/teacher/test_yolo.py makes one",
    "LVS": "the dataset",
    "DAVIS": "the dataset",
}
# Flags of outputs.
OUTPUTS = ("output", "logdir", "results", "json", "export", "masks")
# Start of a command → flags that make it small: a pretraining takes hours, a comparison minutes.
SMALL = {
    "jitnet_tf.pretrain": ["--steps=2", "--crop=32", "--batch_size=2", "--width=.25"],
    "jitnet_tf.fleet": ["--max_frames=8", "--width=.25", "--init=random", "--output=none"],
    "experiments.benchmark": [
        "--frame_size=64x96",
        "--width=.25",
        "--rounds=1",
        "--peers=ours",
        "--loop_frames=2",
    ],
    "experiments.gpu_benchmark --export": ["--frame_size=64x96"],
    "experiments.table1": ["--frame_size=64x96", "--rounds=1"],
    "experiments.table2 --streams": ["--oracle_steps=20", "--oracle_epochs=0"],
    "experiments.table3": ["--osvos_steps=1"],
    "experiments.ablations": ["--close=0"],
    "experiments.efficiency --streams": ["--only=flow_fast"],
    "experiments.frontier --streams": ["--only=flow", "--seeds=1"],
}
# Modules whose commands take less than 5 s on small material.
FAST = {"teacher.zoo", "teacher.record", "teacher.annotate", "experiments.streams"}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a page: its module, the arguments, its place among the page's commands."""

    page: pathlib.Path
    place: int
    module: str
    arguments: tuple[str, ...]

    def __str__(self):
        return f"{self.page.stem}-{self.place}-{self.module}"

    @property
    def text(self):
        return " ".join([self.module, *self.arguments])

    @property
    def values(self):
        """The arguments' values, without a teacher's prefix."""
        pairs = (argument.partition("=") for argument in self.arguments)
        return [re.sub(r"^(recorded|annotated):", "", value) for _, _, value in pairs if value]

    @property
    def outputs(self):
        pairs = (argument.removeprefix("--").partition("=") for argument in self.arguments)
        return [value for name, _, value in pairs if name in OUTPUTS]

    @property
    def missing(self):
        """Returns a requirement that tests do not have, or None."""
        return next((reason for part, reason in NEEDS.items() if part in self.text), None)


def read_commands(page):
    """The commands in a page's fenced blocks without a language, also those in a shell loop."""
    text = page.read_text("utf-8")
    blocks = [block for language, block in BLOCK.findall(text) if not language]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [re.sub(r"\$\([^)]*\)", "NAME", line) for line in lines]
    found = [shlex.split(command) for line in lines for command in COMMAND.findall(line)]
    return [Command(page, i, name, tuple(rest)) for i, (name, *rest) in enumerate(found)]


def python_blocks(page):
    text = (ROOT / "docs" / page).read_text("utf-8")
    return [block for language, block in BLOCK.findall(text) if language == "python"]


COMMANDS = {page: read_commands(page) for page in GUIDE if page.name not in WITHOUT_COMMANDS}
ALL_COMMANDS = [c for page in [*COMMANDS, *RESULTS, *OTHERS] for c in read_commands(page)]


def prerequisites(command):
    """Returns the earlier commands of the page that write its inputs."""
    return [
        earlier
        for earlier in COMMANDS[command.page][: command.place]
        for path in earlier.outputs
        if any(f"{path}/".startswith(f"{v}/") or v.startswith(f"{path}/") for v in command.values)
    ]


def is_slow(command):
    return command.module not in FAST or any(map(is_slow, prerequisites(command)))


def marks(command):
    found = [pytest.mark.slow] if is_slow(command) else []
    if command.module == "jitnet_tf.fleet":
        without = importlib.util.find_spec("ray") is None
        found.append(pytest.mark.skipif(without, reason="Ray is not installed: .[fleet]"))
    return found


def first_of_each(commands):
    """The commands without those that an earlier page has, too."""
    found = {}
    for command in commands:
        found.setdefault(command.text, command)
    return found.values()


RUNNABLE = [
    pytest.param(command, marks=marks(command), id=str(command))
    for command in first_of_each(c for page in COMMANDS.values() for c in page)
    if not command.missing
]


def parse(module, *arguments):
    """Parses a command line as absl does; returns the flags' values by name."""
    before = set(FLAGS)
    module.define_flags()
    try:
        assert FLAGS([module.__name__, *arguments]) == [module.__name__]
        return {name: FLAGS[name].value for name in set(FLAGS) - before}
    finally:
        FLAGS.unparse_flags()
        FLAGS.remove_flag_values(set(FLAGS) - before)


def module_of(command):
    """The module that `python -m` runs."""
    module = importlib.import_module(command.module)
    is_package = hasattr(module, "__path__")
    return importlib.import_module(f"{command.module}.__main__") if is_package else module


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=str)
def test_flags_of_every_command_exist_and_parse(command, monkeypatch):
    monkeypatch.chdir(ROOT)  # for --flagfile
    parse(module_of(command), *command.arguments)


@pytest.mark.parametrize("page", [ROOT / "README.md", *RESULTS], ids=lambda page: page.name)
def test_page_has_a_command(page):
    assert read_commands(page)


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """A folder with small inputs of all the pages' commands."""
    folder = tmp_path_factory.mktemp("material")
    write_video(folder / "street.mp4", frames(20))
    (folder / "clips").mkdir()
    shutil.copy(folder / "street.mp4", folder / "clips")
    write_teacher(folder / "path" / "to" / "saved_model")
    write_semantic_teacher(folder / "path" / "to" / "deeplab")
    (folder / "coco").mkdir()
    for part in ("train2017", "val2017"):
        annotations, images = write_images(folder / part, 3)
        annotations.rename(folder / "coco" / f"instances_{part}.json")
        images.rename(folder / "coco" / part)
    for image in (folder / "coco" / "train2017").rglob("*.*"):
        size = cv2.imread(str(image)).shape[:2]
        label = folder / "label_images" / image.relative_to(folder / "coco" / "train2017")
        label.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(label.with_suffix(".png")), np.eye(*size, dtype=np.uint8))
    write_images(folder / "unlabeled", 20)[1].rename(folder / "photos")
    (folder / "cameras.csv").write_text("name,video\none,street.mp4\ntwo,clips/street.mp4\n")
    (folder / "traffic.txt").write_text(class_groups_example())
    shutil.copytree(ROOT / "flags", folder / "flags")
    return folder


@pytest.fixture(scope="module")
def workplaces(material, tmp_path_factory):
    """Gives each page a folder of its own: page → (folder, commands that ran there)."""
    places = {}

    def of(page):
        if page not in places:
            folder = tmp_path_factory.mktemp(page.stem) / "work"
            shutil.copytree(material, folder)
            places[page] = folder, set()
        return places[page]

    return of


def run(command, done):
    """Runs a command in the working directory, after its prerequisites, unless it is done."""
    if command in done:
        return
    for earlier in prerequisites(command):
        run(earlier, done)
    arguments = list(command.arguments)
    if "--resume" in arguments:  # a complete run has nothing to resume
        pathlib.Path(*command.outputs, "summary.json").unlink()
    else:
        arguments += [
            a for start, small in SMALL.items() if command.text.startswith(start) for a in small
        ]
    if "--init=runs/coco" in arguments and command.module == "jitnet_tf.distill":
        arguments.append("--width=.25")  # as SMALL has it
    if "--init=pretrained" in arguments:
        arguments.append("--width=.5")
    assert run_command(module_of(command), *arguments) == 0, command.text
    done.add(command)
    assert [
        path for path in command.outputs if path != "none" and not pathlib.Path(path).exists()
    ] == []


@pytest.mark.parametrize("command", RUNNABLE)
def test_command_runs_as_it_stands(command, workplaces, monkeypatch):
    folder, done = workplaces(command.page)
    monkeypatch.chdir(folder)
    run(command, done)


def class_groups_example():
    text = (ROOT / "docs" / "your_teacher.md").read_text("utf-8")
    [example] = [block for _, block in BLOCK.findall(text) if block.startswith("# traffic.txt")]
    return example


def test_class_groups_example(tmp_path):
    (tmp_path / "traffic.txt").write_text(class_groups_example())
    names = class_groups(str(tmp_path / "traffic.txt")).names
    assert names == ("background", "person", "two_wheeler", "car", "heavy")


@pytest.fixture
def library_example(tmp_path, monkeypatch, capsys):
    """Runs the i-th example of docs/library.md outside the checkout; returns the printed lines."""
    (tmp_path / "jitnet_tf").symlink_to(ROOT / "jitnet_tf")
    monkeypatch.chdir(tmp_path)

    def execute(i):
        exec(compile(python_blocks("library.md")[i], "library.md", "exec"), {})
        return capsys.readouterr().out.splitlines()

    return execute


@pytest.mark.slow
@pytest.mark.parametrize("i", [0, 1, 2])
def test_library_examples_of_loops_distill(library_example, i):
    lines = library_example(i)
    assert len(lines) == 20
    assert re.fullmatch(r"0 True [1-8] \(272, 640\)", lines[0])
    assert re.fullmatch(r"1 False 0 \(272, 640\)", lines[1])


@pytest.mark.slow
def test_library_example_of_a_run_gives_every_frame_and_a_summary(library_example):
    lines = library_example(3)
    frames_shown = [line for line in lines if re.fullmatch(r"\d+ \d+", line)]
    assert len(frames_shown) == 20
    assert re.fullmatch(r"\d+ updates", lines[-1])
    assert pathlib.Path("runs/library/summary.json").exists()


@pytest.mark.parametrize("file", sorted((ROOT / "flags").iterdir()), ids=lambda file: file.stem)
def test_flag_files_parse(file):
    pretrains = file.stem.startswith("pretrain")
    module = importlib.import_module("jitnet_tf.pretrain" if pretrains else "jitnet_tf.distill")
    values = parse(module, f"--flagfile={file}")
    if file.stem.startswith("jitnet_"):
        assert values["accuracy_threshold"] == float(file.stem.removeprefix("jitnet_"))
    elif not pretrains:
        assert 0 < values["teacher_budget"] < 0.1


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_are_valid(page):
    text = BLOCK.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_images_in_docs_are_used():
    shown = "".join(page.read_text("utf-8") for page in MARKDOWN)
    pictures = [p.name for p in (ROOT / "docs").iterdir() if p.suffix in (".png", ".jpg")]
    assert [name for name in pictures if f"docs/{name})" not in shown] == []

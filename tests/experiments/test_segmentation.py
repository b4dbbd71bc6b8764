"""The segmentation command: scores, table, interruptions, refusals."""

import hashlib
import json
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from experiments import segmentation
from jitnet_tf.base import checkpoint
from jitnet_tf.config import StudentConfig
from jitnet_tf.distillation.metrics import StreamScore
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import validation
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.student import initial_weights, weights
from jitnet_tf.student.architectures import build_network
from tests.commands import refusal, run_command
from tests.materials import png, texture, write_images, write_label_folder

GROUPS = class_groups("lvs")
SMALL = StudentConfig(width=0.25)


def write_weights(path, student, groups=GROUPS, name=checkpoint.WEIGHTS, **more):
    """Random weights as a pretraining leaves them, with a spread of classes; returns the model."""
    tf.keras.utils.set_random_seed(0)
    model = build_network(len(groups.names), student)
    arrays = weights.arrays(weights.named(model))
    path.mkdir(exist_ok=True)
    checkpoint.save(path, {**arrays, **more}, initial_weights.describe(groups, student), name)
    return model


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Images with annotations and as labels, and weights: a folder, and the model."""
    folder = tmp_path_factory.mktemp("segmentation")
    write_label_folder(folder, 12)
    return folder, write_weights(folder / "weights", SMALL)


def flags(material, output, kind="annotations", **changes):
    """The command's flags for annotations or labels, with changes; None removes a flag."""
    folder = material[0]
    labels = {"annotations": folder / "instances.json", "labels": folder / "labels"}
    given = {
        "init": folder / "weights" / "weights.npz",
        "images": folder / "pictures",
        kind: labels[kind],
        "output": output,
    }
    return [f"--{name}={value}" for name, value in {**given, **changes}.items() if value]


@pytest.fixture(scope="module")
def evaluated(material, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated") / "new" / "scores.json"
    assert run_command(segmentation, *flags(material, output)) == 0
    return output


def read(path):
    return json.loads(path.read_text("utf-8"))


def counts_by_hand(model, file, pictures):
    """Pixels (label, prediction) outside crowds, one image after the other."""
    annotated = CocoDataset(file, pictures, LabelMaker(GROUPS))
    counts = np.zeros((9, 9), np.int64)
    for number in range(len(annotated)):
        frame, labels, weights = annotated.read(number)
        prediction = model(frame[None], training=False)[0].numpy().argmax(-1)
        np.add.at(counts, (labels[weights > 0], prediction[weights > 0]), 1)
    return counts


# Scores


def test_scores_equal_independent_counts(material, evaluated):
    folder, model = material
    values = read(evaluated)
    counts = counts_by_hand(model, folder / "instances.json", folder / "pictures")
    assert len(np.unique(np.nonzero(counts)[1])) > 1
    np.testing.assert_array_equal(values["counts"], counts)
    assert (values["done"], values["judged"], values["lost"]) == (12, 12, {})
    assert values["pixels"] == counts.sum()
    assert values["pixel_accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    iou = {}
    for i, name in enumerate(GROUPS.names):
        union = counts[i].sum() + counts[:, i].sum() - counts[i, i]
        if counts[i].any():
            iou[name] = counts[i, i] / union
        row = values["classes"][name]
        assert row["iou"] == pytest.approx(iou.get(name), abs=1e-12)
        assert (row["pixels"], row["images"]) == (counts[i].sum(), 12 * counts[i].any())
    assert set(iou) == {"background", "person", "auto"}
    assert values["mean_iou"] == pytest.approx((iou["person"] + iou["auto"]) / 2)
    assert values["mean_iou_with_background"] == pytest.approx(sum(iou.values()) / 3)


def test_result_names_weights_and_datasets(material, evaluated):
    values, weights = read(evaluated), material[0] / "weights" / "weights.npz"
    assert values["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert values["weights"]["init"] == str(weights)
    assert values["weights"]["student"]["width"] == 0.25
    assert values["weights"]["classes"] == list(GROUPS.names)
    assert values["set"]["count"] == 12
    assert values["set"]["unknown"] == ["lamp"]
    assert values["set"]["absent"] == ["bike", "bird", "dog", "horse", "elephant", "giraffe"]


def test_labels_in_a_folder_give_the_same(material, evaluated, tmp_path):
    """Counts are equal to the pixel."""
    output = tmp_path / "labels.json"
    assert run_command(segmentation, *flags(material, output, "labels")) == 0
    one, other = read(output), read(evaluated)
    for name in ("counts", "classes", "images_with", "mean_iou", "pixels", "weights"):
        assert one[name] == other[name]
    assert one["set"]["digest"] != other["set"]["digest"]


def test_a_summary_by_hand():
    score = StreamScore(("background", "person", "dog", "bird"))
    score.add(np.array([[50, 10, 0, 6], [5, 25, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]]), False)
    score.add(np.array([[20, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), False)
    found = segmentation.summary(score)
    person = {"iou": 25 / 40, "precision": 25 / 35, "recall": 25 / 30, "pixels": 30, "images": 1}
    dog = {"iou": 0, "precision": None, "recall": 0, "pixels": 4, "images": 1}
    bird = {"iou": None, "precision": 0, "recall": None, "pixels": 0, "images": 0}
    background = {"iou": 70 / 95, "precision": 70 / 79, "recall": 70 / 86, "pixels": 86}
    assert found["classes"]["person"] == pytest.approx(person)
    assert found["classes"]["dog"] == dog
    assert found["classes"]["bird"] == bird
    assert found["classes"]["background"] == pytest.approx({**background, "images": 2})
    assert found["mean_iou"] == pytest.approx(25 / 40 / 2)
    assert found["mean_iou_with_background"] == pytest.approx((25 / 40 + 70 / 95) / 3)
    assert (found["pixels"], found["pixel_accuracy"]) == (120, pytest.approx(95 / 120))
    nothing = segmentation.summary(StreamScore(("background", "person")))
    assert [nothing[n] for n in ("mean_iou", "mean_iou_with_background", "pixel_accuracy")] == [
        None,
        None,
        None,
    ]


# Any student


@pytest.mark.parametrize(
    "student",
    [
        StudentConfig(architecture="mobilenetv2"),
        StudentConfig(width=0.25, normalization="moving", input_scale=0.5),
        StudentConfig(width=0.25, precision="bfloat16"),
    ],
    ids=str,
)
def test_student_has_the_options_of_its_weights(tmp_path, student):
    """Also for checkpoints of runs, which hold more; in float32."""
    file = tmp_path / "groups.txt"
    file.write_text("two_wheeler = bicycle, motorcycle\nperson\n")
    groups = class_groups(str(file))
    model = write_weights(
        tmp_path / "run", student, groups, checkpoint.NAME, **{"momentum/000": np.ones(3)}
    )
    (tmp_path / "pictures").mkdir()
    (tmp_path / "labels").mkdir()
    frame = texture((64, 96), 0)
    (tmp_path / "pictures" / "a.png").write_bytes(png(frame, kind=2))
    ids = np.arange(64 * 96).reshape(64, 96) // 100 % 3
    (tmp_path / "labels" / "a.png").write_bytes(png(ids))
    output = tmp_path / "scores.json"
    arguments = [f"--init={tmp_path / 'run'}", f"--images={tmp_path / 'pictures'}"]
    arguments += [f"--labels={tmp_path / 'labels'}", f"--output={output}"]
    arguments += ["--label_classes=background,person,bicycle"]
    assert run_command(segmentation, *arguments) == 0
    values = read(output)
    assert values["weights"]["student"] == {**vars(student), "precision": "float32"}
    assert values["weights"]["classes"] == ["background", "two_wheeler", "person"]
    if student.precision == "float32":
        prediction = model(frame[None], training=False)[0].numpy().argmax(-1)
        counts = np.zeros((3, 3), np.int64)
        np.add.at(counts, (np.array([0, 2, 1])[ids], prediction), 1)
        np.testing.assert_array_equal(values["counts"], counts)


# Interrupted


@pytest.fixture
def built(material, monkeypatch):
    """Builds the student once, to save time."""
    monkeypatch.setattr(segmentation.Weights, "build", lambda weights: material[1])


def interrupt_after(monkeypatch, images, interruption):
    """Calls `interruption` once, while the next image is scored."""
    judge = validation.judge
    judged = []

    def judge_on(*arguments):
        judged.append(arguments[2])
        if len(judged) == images + 1:
            interruption()
        return judge(*arguments)

    monkeypatch.setattr(validation, "judge", judge_on)
    return judged


def assert_same(one, other):
    one, other = read(one), read(other)
    assert one.pop("seconds") > 0
    assert other.pop("seconds") > 0
    assert one == other


def test_interrupted_evaluations_continue(
    material, built, evaluated, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "scores.json"
    judged = interrupt_after(monkeypatch, 4, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(segmentation, *flags(material, output)) == 130
    captured = capsys.readouterr()
    assert f"({output})" in captured.err
    assert "**Stopped early**: 5 of 12 images." in captured.out
    values = read(output)
    assert (values["done"], values["judged"]) == (5, 5)
    assert run_command(segmentation, *flags(material, output)) == 0
    assert judged == list(range(12))
    assert_same(output, evaluated)
    # The third time there is nothing left to do.
    assert run_command(segmentation, *flags(material, output)) == 0
    assert len(judged) == 12
    assert "Stopped early" not in capsys.readouterr().out.split("Weights")[-1]


def test_killed_evaluations_continue_from_their_last_save(
    material, built, evaluated, tmp_path, monkeypatch
):
    output = tmp_path / "scores.json"
    times = iter(range(0, 10_000, 6))  # each image takes six seconds

    def kill():
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        clock = types.SimpleNamespace(monotonic=lambda: next(times))
        patched.setattr(segmentation, "time", clock)  # not of the progress bar
        interrupt_after(patched, 5, kill)
        with pytest.raises(RuntimeError, match="killed"):
            run_command(segmentation, *flags(material, output))
    assert read(output)["done"] == 4
    judged = interrupt_after(monkeypatch, 99, None)
    assert run_command(segmentation, *flags(material, output)) == 0
    assert judged == list(range(4, 12))
    assert_same(output, evaluated)


def test_unreadable_images_before_an_interruption_count(
    material, built, tmp_path, monkeypatch, capsys
):
    """One of twelve images may be unreadable, not two; the report names it."""
    _, pictures = write_images(tmp_path, 12)
    (pictures / "002.png").write_bytes(b"not an image")
    output, another = tmp_path / "scores.json", pictures / "more/009.jpg"
    arguments = flags(material, output, images=pictures)
    interrupt_after(monkeypatch, 4, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(segmentation, *arguments) == 130
    whole = another.read_bytes()
    another.write_bytes(b"not an image")
    assert run_command(segmentation, *arguments) == 2
    assert "2 of the 12 images of" in capsys.readouterr().err.splitlines()[-1]
    another.write_bytes(whole)
    assert run_command(segmentation, *arguments) == 0
    values = read(output)
    assert (values["done"], values["judged"]) == (12, 11)
    assert values["lost"] == {"002.png": f"{pictures}/002.png (not an image, or damaged)"}
    assert "1 images skipped, such as" in capsys.readouterr().out


def test_other_weights_or_images_are_refused(material, evaluated, tmp_path, capsys):
    before = evaluated.read_bytes()
    other = tmp_path / "other"
    write_weights(other, SMALL, name=checkpoint.NAME, extra=np.zeros(1))
    for arguments, what in (
        (flags(material, evaluated, init=other), "other weights"),
        (flags(material, evaluated, "labels"), "other images or labels"),
    ):
        message = refusal(segmentation, tmp_path, capsys, *arguments)
        assert what in message
        assert "give another name" in message
    assert evaluated.read_bytes() == before


def test_other_files_are_left_alone(material, tmp_path, capsys):
    for text in ("", "{}", '{"format": "experiments.segmentation, 2"}', "[1]"):
        output = tmp_path / "other.json"
        output.write_text(text)
        message = refusal(segmentation, tmp_path, capsys, *flags(material, output))
        assert "give another name" in message
        assert output.read_text() == text


# The table


def test_printing_needs_only_the_file(evaluated, tmp_path):
    """Needs no TensorFlow, no weights, no images."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(evaluated.read_bytes())
    code = (
        "import sys; from experiments import segmentation as s; "
        "from jitnet_tf.base import command_line as cli; "
        "s.define_flags(); import atexit; "
        "atexit.register(lambda: print('tensorflow' in sys.modules)); "
        f"cli.main(s.main, ['s', '--print={copy}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| person |" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def example():
    score = StreamScore(("background", "person", "bird"))
    score.add(np.array([[700_000, 100_000, 0], [50_000, 150_000, 0], [0, 0, 0]]), False)
    student = {**vars(SMALL), "precision": "float32"}
    classes = {
        "background": "background",
        "human": "person",
        "rider": "person",
        "sky": "background",
    }
    return {
        "format": segmentation.FORMAT,
        "weights": {"init": "runs/coco", "sha256": "abc", "student": student},
        "set": {
            "images": "pictures",
            "labels": "labels",
            "digest": "123",
            "count": 2,
            "classes": classes,
            "unknown": ["human", "rider", "sky"],
            "absent": ["bird"],
        },
        "machine": {"cpu": "some processor", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2.15.1"},
        "done": 2,
        "judged": 1,
        "lost": {"b.jpg": "pictures/b.jpg (missing)"},
        "seconds": 3.2,
        **segmentation.summary(score),
    }


def test_the_table():
    lines = segmentation.render(example()).splitlines()
    assert lines[0] == (
        "Weights runs/coco (SHA-256 abc): jitnet, width 0.25. 1 images of pictures, 1.0 "
        "million pixels, labeled by labels (digest 123), in 3 s. 2 cores of some processor, no "
        "GPU; tensorflow 2.15.1."
    )
    assert "1 images skipped, such as pictures/b.jpg (missing)." in lines
    assert "Mean IoU 50.0 %, with background 66.2 %; pixel accuracy 85.0 %." in lines
    assert "| background | 82.4 | 93.3 | 87.5 | 80.00 | 1 |" in lines
    assert "| person | 50.0 | 60.0 | 75.0 | 20.00 | 1 |" in lines
    assert "| bird | – | – | – | 0.00 | 0 |" in lines
    assert "Taken for person: human, rider." in lines
    assert "Taken for background: sky." in lines
    assert "Not labeled, and so not in the mean: bird." in lines
    annotated = example()
    annotated["set"]["classes"], annotated["done"] = None, 1
    text = segmentation.render(annotated)
    assert "Taken for background: human, rider, sky." in text
    assert "**Stopped early**: 1 of 2 images." in text


def test_files_of_another_kind_are_refused(tmp_path, capsys):
    values = example()
    del values["set"]["count"]
    for text in ("", "{}", json.dumps(values), json.dumps({**example(), "format": "another"})):
        (tmp_path / "a.json").write_text(text)
        message = refusal(segmentation, tmp_path, capsys, f"--print={tmp_path / 'a.json'}")
        assert "a.json" in message


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None}, "--output=FILE.json"),
        ({"print": "a.json"}, "--print=FILE.json"),
        ({"init": None}, "--init is missing"),
        ({"images": None}, "--images is missing"),
        ({"annotations": None}, "--annotations"),
        ({"labels": "l"}, "--annotations"),
        ({"label_classes": "a,b"}, "--label_classes"),
        ({"init": "nowhere"}, "'nowhere'"),
        ({"init": "random"}, "'random'"),
        ({"images": "nowhere"}, "'nowhere'"),
        ({"annotations": "nowhere.json"}, "'nowhere.json'"),
        ({"annotations": None, "labels": "nowhere"}, "'nowhere'"),
        ({"output": "/proc/nothing/a.json"}, "--output=/proc/nothing/a.json"),
    ],
)
def test_invalid_flags_are_refused(material, tmp_path, capsys, changes, message):
    arguments = flags(material, **{"output": tmp_path / "scores.json", **changes})
    assert message in refusal(segmentation, tmp_path, capsys, *arguments)


@pytest.mark.parametrize(
    ("progress", "message"),
    [
        ({}, "KeyError('classes')"),
        ({"groups": {"b": ["lamp"]}, "classes": ["background", "a"]}, "KeyError('a')"),
        ({"groups": {}, "classes": 3}, "TypeError"),
        ({"student": {"height": 3}}, "TypeError"),
        ({"student": {"width": 0}}, "--width=0"),
        ({"student": {"width": 0.5}}, "does not fit this network"),
        ({"groups": {"person": ["person"]}, "classes": ["background", "person"]}, "does not fit"),
    ],
)
def test_weights_without_their_options_are_refused(material, tmp_path, capsys, progress, message):
    arrays, saved = checkpoint.load(material[0] / "weights" / "weights.npz")
    checkpoint.save(tmp_path, arrays, {**saved, **progress} if progress else {})
    arguments = flags(material, tmp_path / "scores.json", init=tmp_path)
    assert message in refusal(segmentation, tmp_path, capsys, *arguments)


def test_labels_of_other_classes_are_refused(material, tmp_path, capsys):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(np.zeros((9, 9), int)))
    arguments = flags(material, tmp_path / "s.json", annotations=None, labels=folder)
    message = refusal(segmentation, tmp_path, capsys, *arguments, "--label_classes=road,lamp")
    assert "person, bike" in message
    assert "but of road, lamp" in message

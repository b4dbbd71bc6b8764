"""Pretraining by the command, on a few small images."""

import errno
import json
import pathlib
import shutil
import signal

import numpy as np
import pytest
from absl import flags
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jitnet_tf import distill, pretrain
from jitnet_tf.base import checkpoint
from jitnet_tf.pretraining.session import Pretraining
from jitnet_tf.pretraining.splits import TEACHER_LABELS
from jitnet_tf.runs import directory
from tests.commands import read_summary, run_command
from tests.materials import (
    frames,
    write_images,
    write_label_folder,
    write_teacher,
    write_video,
)

SMALL = ("--width=.25", "--crop=32", "--batch_size=4", "--warmup=2", "--checkpoint_every=4")
STEPS = 10


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Flags that name an annotation file and its images."""
    file, folder = write_images(tmp_path_factory.mktemp("annotated"), 12)
    return f"--annotations={file}", f"--images={folder}"


def command(annotated, logdir, *others):
    return (*annotated, *SMALL, f"--steps={STEPS}", "--holdout=.3", f"--logdir={logdir}", *others)


@pytest.fixture(scope="module")
def pretrained(annotated, tmp_path_factory):
    """The folder of a complete pretraining."""
    logdir = tmp_path_factory.mktemp("runs") / "pretrained"
    assert run_command(pretrain, *command(annotated, logdir, "--validate_every=5")) == 0
    return logdir


def interrupt_at(monkeypatch, step, interruption):
    """Calls `interruption` once, in the middle of a step."""
    original = Pretraining.train_step

    def train_step(self, batch):
        if self.step == step:
            monkeypatch.setattr(Pretraining, "train_step", original)
            interruption()
        return original(self, batch)

    monkeypatch.setattr(Pretraining, "train_step", train_step)


def assert_same_training(one, other):
    one, other = (checkpoint.load(logdir) for logdir in (one, other))
    assert one[0].keys() == other[0].keys()
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name], err_msg=name)
    assert one[1]["step"] == other[1]["step"] == STEPS


def losses(logdir):
    """TensorBoard's curve of the loss: (step, value)."""
    events = EventAccumulator(str(logdir)).Reload()
    tensors = (event.tensor_proto for event in events.Tensors("loss"))
    values = [np.frombuffer(t.tensor_content, np.float32)[0] for t in tensors]
    return [event.step for event in events.Tensors("loss")], values


# Complete


def test_files_of_a_complete_pretraining(pretrained):
    summary = read_summary(pretrained)
    assert (summary["complete"], summary["steps"]) == (True, STEPS)
    lamp, absent = summary["problems"]
    assert "background: lamp" in lamp
    assert absent.startswith("no image shows bike, bird, ")
    [counted] = summary["pixels"]["training"]
    assert counted["images"] == counted["counted"] == counted["images_with"]["person"]
    assert counted["pixels"]["person"] > counted["pixels"]["bike"] == 0
    assert summary["seconds"] > 0
    assert set(summary["validation"]["class_iou"]) == {"person", "auto"}
    assert [name.split("/")[-1] for name in summary["validation"]["datasets"]] == ["instances.json"]
    tags = EventAccumulator(str(pretrained)).Reload().Tags()["tensors"]
    assert {"loss", "learning rate", "images per second", "validation/mean IoU"} <= set(tags)
    assert {"validation IoU/person", "image, student, labels/0"} <= set(tags)
    assert (pretrained / directory.FLAGFILE).is_file()
    weights, described = checkpoint.load(pretrained / "weights.npz")
    whole, progress = checkpoint.load(pretrained)
    assert weights.keys() == {name for name in whole if name.startswith("weights/")}
    for name, array in weights.items():
        np.testing.assert_array_equal(array, whole[name])
    assert described == {name: progress[name] for name in ("classes", "groups", "student")}


def test_the_report_gives_steps_and_scores(pretrained):
    text = pretrain.report(read_summary(pretrained))
    assert f"{STEPS} steps" in text
    assert "mean IoU on held-out images" in text
    assert "person" in text


def test_a_run_starts_from_the_averaged_weights(pretrained, tmp_path):
    street = write_video(tmp_path / "street.mp4", frames(3))
    run = tmp_path / "run"
    assert (
        run_command(
            distill,
            f"--video={street}",
            f"--teacher={write_teacher(tmp_path / 'teacher')}",
            f"--init={pretrained}",
            "--width=.25",
            "--max_updates=0",
            "--output=none",
            f"--logdir={run}",
        )
        == 0
    )
    wanted, _ = checkpoint.load(pretrained)
    for name, array in checkpoint.load(run)[0].items():
        if name.startswith("weights/"):
            np.testing.assert_array_equal(array, wanted[name])


@pytest.mark.slow
def test_the_flagfile_repeats_a_pretraining(pretrained, tmp_path):
    logdir = tmp_path / "again"
    flagfile = pretrained / directory.FLAGFILE
    assert run_command(pretrain, f"--flagfile={flagfile}", f"--logdir={logdir}") == 0
    assert_same_training(pretrained, logdir)


# Interrupted


@pytest.mark.slow
def test_interrupted_and_resumed_gives_the_same_weights(
    annotated, pretrained, tmp_path, monkeypatch, capsys
):
    """Ctrl-C in the middle of a step."""
    logdir = tmp_path / "run"
    interrupt_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(pretrain, *command(annotated, logdir, "--validate_every=5")) == 130
    assert f"--resume --logdir={logdir}" in capsys.readouterr().out
    assert checkpoint.load(logdir)[1]["step"] == 6
    assert run_command(pretrain, "--resume", f"--logdir={logdir}") == 0
    assert_same_training(pretrained, logdir)
    assert read_summary(logdir)["problems"] == read_summary(pretrained)["problems"]


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(annotated, pretrained, tmp_path, monkeypatch):
    """Resumes at the last checkpoint; the curves are cut back to it."""
    logdir = tmp_path / "run"

    def kill():
        raise RuntimeError("killed")

    interrupt_at(monkeypatch, 7, kill)
    with pytest.raises(RuntimeError, match="killed"):
        run_command(pretrain, *command(annotated, logdir, "--validate_every=5"))
    assert checkpoint.load(logdir)[1]["step"] == 4
    assert run_command(pretrain, "--resume", f"--logdir={logdir}") == 0
    assert_same_training(pretrained, logdir)
    assert losses(logdir)[0] == sorted(set(losses(logdir)[0]))


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(annotated, tmp_path, monkeypatch, capsys):
    logdir = tmp_path / "run"
    full = OSError(errno.ENOSPC, "No space left on device")
    save = checkpoint.save

    def save_or_fail(directory, arrays, progress):
        if progress["step"] > 4:
            raise full
        save(directory, arrays, progress)

    monkeypatch.setattr(checkpoint, "save", save_or_fail)
    assert run_command(pretrain, *command(annotated, logdir)) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device" in message
    assert "--resume" in message
    assert checkpoint.load(logdir)[1]["step"] == 4
    monkeypatch.undo()
    assert run_command(pretrain, "--resume", f"--logdir={logdir}", "--steps=6") == 0
    assert checkpoint.load(logdir)[1]["step"] == 6
    assert "--steps=6\n" in (logdir / directory.FLAGFILE).read_text()  # another resume needs it


@pytest.mark.slow
def test_a_diverging_training_ends_with_an_error(annotated, tmp_path, capsys):
    logdir = tmp_path / "run"
    arguments = command(annotated, logdir, "--learning_rate=1e38", "--warmup=0")
    assert run_command(pretrain, *arguments) == 2
    assert "--learning_rate" in capsys.readouterr().err.splitlines()[-1]


# Labels of a teacher


@pytest.mark.slow
def test_a_teacher_labels_images_once(annotated, tmp_path, capsys):
    """They have the given share beside annotated images; another training reuses the labels."""
    teacher = write_teacher(tmp_path / "teacher")
    _, folder = write_images(tmp_path / "more", 10)
    (folder / "broken.jpg").write_bytes(b"not an image")
    logdir = tmp_path / "run"
    unlabeled = (
        f"--unlabeled_images={folder}",
        f"--teacher={teacher}",
        "--unlabeled_rate=.75",
    )
    steps = (*SMALL, "--steps=1", f"--logdir={logdir}")
    assert run_command(pretrain, *annotated, *unlabeled, *steps) == 0
    labels = logdir / TEACHER_LABELS
    assert len(json.loads(labels.read_text())["images"]) == 10
    before = labels.stat().st_mtime_ns
    unlabeled = (f"--unlabeled_images={folder}", f"--teacher=annotated:{labels}")
    steps = (*SMALL, "--steps=1", f"--logdir={tmp_path / 'alone'}")
    assert run_command(pretrain, *unlabeled, *steps) == 0
    assert labels.stat().st_mtime_ns == before
    assert "validat" not in capsys.readouterr().out


# Labels in a folder


@pytest.mark.slow
def test_labels_in_a_folder(tmp_path, monkeypatch, capsys):
    """Labels for training, held out and for validation; interrupted and resumed."""
    _, pictures, labels = write_label_folder(tmp_path / "some", 12)
    _, others, judged = write_label_folder(tmp_path / "others", 5)
    (labels / "classes.json").unlink()
    (judged / "classes.json").unlink()
    logdir = tmp_path / "run"
    arguments = (
        *(f"--images={pictures}", f"--labels={labels}"),
        *(f"--validation_images={others}", f"--validation_labels={judged}"),
        "--label_classes=background,person,bike,car,bird,dog,street,ignore,cat",
    )
    interrupt_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(pretrain, *command(arguments, logdir)) == 130
    assert run_command(pretrain, "--resume", f"--logdir={logdir}") == 0
    assert "street" in capsys.readouterr().out  # a class that COCO lacks
    summary = read_summary(logdir)
    assert list(summary["validation"]["datasets"]) == [str(judged), str(labels)]
    assert set(summary["validation"]["class_iou"]) == {"person", "auto"}
    flagfile = (logdir / directory.FLAGFILE).read_text().splitlines()
    assert {arguments[1], arguments[3], arguments[4]} <= set(flagfile)


# Refusals


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ((), ("--images", "--unlabeled_images")),
        (("--annotations=a.json",), ("--images", "--annotations", "--labels")),
        (("--labels=l",), ("--images", "--annotations", "--labels")),
        (("--validation_labels=v",), ("--validation_images", "--validation_labels")),
        (("--label_classes=a,b",), ("--label_classes", "--labels", "--validation_labels")),
        (("--unlabeled_images=p",), ("--unlabeled_images", "--teacher")),
        (("--unlabeled_rate=1.5",), ("--unlabeled_rate=1.5",)),
        (("--crop=8",), ("--crop=8",)),
        (("--steps=0",), ("--steps=0",)),
        (("--min_scale=2", "--max_scale=1"), ("--min_scale=2", "--max_scale=1")),
        (("--holdout=1.5",), ("--holdout=1.5",)),
        (("--epsilon=0",), ("--epsilon",)),
        (("--ema_decay=1",), ("--ema_decay",)),
        (("--stretch=.5",), ("--stretch",)),
        (("--resume", "--overwrite"), ("--resume", "--overwrite")),
        (("--resume",), ("holds no run",)),
        (("--logdir=",), ("--logdir",)),
        (("--class_groups=nothing",), ("'nothing'",)),
        (("--init=nowhere",), ("'nowhere'",)),
        (("--holdout=1",), ("--holdout=1", "instances.json")),
        (("--annotations=nowhere.json",), ("'nowhere.json'",)),
    ],
)
def test_invalid_flags_are_refused(annotated, tmp_path, capsys, flags, named):
    logdir = tmp_path / "run"
    names = {flag.split("=")[0] for flag in flags}
    if flags and "--unlabeled_images" not in names and flags != ("--annotations=a.json",):
        flags = (*(flag for flag in annotated if flag.split("=")[0] not in names), *flags)
    assert run_command(pretrain, *SMALL, f"--logdir={logdir}", *flags) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert [name for name in named if name not in message] == []
    assert not logdir.exists()


def refusal(capsys, *arguments):
    """The line with which the command refuses its arguments."""
    assert run_command(pretrain, *arguments) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_initial_weights_of_other_options_are_refused(annotated, pretrained, tmp_path, capsys):
    flags = (*annotated, f"--init={pretrained}", "--width=.5", f"--logdir={tmp_path / 'x'}")
    message = refusal(capsys, *flags)
    assert f"--init={pretrained}" in message
    assert "--width=0.25" in message


def test_a_complete_pretraining_is_neither_replaced_nor_resumed(annotated, pretrained, capsys):
    before = (pretrained / checkpoint.NAME).read_bytes()
    message = refusal(capsys, *command(annotated, pretrained))
    assert f"--logdir={pretrained}" in message
    assert "--overwrite" in message
    message = refusal(capsys, "--resume", f"--logdir={pretrained}")
    assert f"{str(pretrained)!r} is complete" in message
    assert (pretrained / checkpoint.NAME).read_bytes() == before


def test_initial_weights_in_the_folder_to_overwrite_are_refused(pretrained, annotated, capsys):
    weights = pretrained / "weights.npz"
    arguments = command(annotated, pretrained, "--overwrite", f"--init={weights}")
    message = refusal(capsys, *arguments)
    assert "--init" in message
    assert f"--logdir={pretrained}" in message
    assert weights.exists()


@pytest.fixture
def unfinished(pretrained, tmp_path):
    """A copy of the complete pretraining that looks stopped after 6 of 10 steps."""
    logdir = tmp_path / "unfinished"
    shutil.copytree(pretrained, logdir)
    (logdir / "summary.json").unlink()
    arrays, progress = checkpoint.load(logdir)
    checkpoint.save(logdir, arrays, {**progress, "step": 6})
    return logdir


@pytest.mark.parametrize(
    ("flag", "named"),
    [("--crop=64", "--crop=32, not 64"), ("--steps=3", "--steps=3: 6 are done")],
)
def test_resuming_with_other_flags_is_refused(unfinished, capsys, flag, named):
    assert named in refusal(capsys, "--resume", f"--logdir={unfinished}", flag)


def test_resuming_with_other_steps_while_the_rate_falls_is_refused(unfinished, capsys):
    arrays, progress = checkpoint.load(unfinished)
    checkpoint.save(unfinished, arrays, {**progress, "step": 9})
    message = refusal(capsys, "--resume", f"--logdir={unfinished}", "--steps=20")
    assert "--steps=20" in message
    assert "step 9" in message


def test_resuming_with_other_images_is_refused(unfinished, capsys):
    config = json.loads((unfinished / directory.CONFIG).read_text())
    data = json.loads(pathlib.Path(config["annotations"]).read_text())
    fewer = unfinished / "fewer.json"
    fewer.write_text(json.dumps({**data, "images": data["images"][:-1]}))
    config["annotations"] = str(fewer)
    (unfinished / directory.CONFIG).write_text(json.dumps(config))
    message = refusal(capsys, "--resume", f"--logdir={unfinished}")
    assert "images" in message
    assert str(unfinished) in message


def test_resuming_a_pretraining_of_an_older_version_is_refused(unfinished, capsys):
    arrays, progress = checkpoint.load(unfinished)
    progress["photographs"] = progress.pop("images")
    checkpoint.save(unfinished, arrays, progress)
    message = refusal(capsys, "--resume", f"--logdir={unfinished}")
    assert "older version" in message
    assert f"--init={unfinished}" in message


def test_the_flagfile_of_the_papers_authors():
    flagfile = pathlib.Path(__file__).parents[2] / "flags" / "pretrain_authors.flags"
    before = set(flags.FLAGS)
    pretrain.define_flags()
    try:
        images = ("--annotations=a", "--images=b", "--logdir=runs/coco")
        flags.FLAGS(["pretrain", f"--flagfile={flagfile}", *images])
        config = pretrain.new_config()
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)
    assert (config.learning_rate, config.epsilon, config.weight_decay) == (0.1, 1.0, 4e-5)
    assert (config.crop, config.batch_size, config.steps) == (768, 6, 150_000)
    assert (config.ema_decay, config.cooldown, config.half_size_loss) == (0.9999, 0, False)
    assert (config.student.width, config.student.units) == (1.0, 2)
    assert config.class_groups == "coco"

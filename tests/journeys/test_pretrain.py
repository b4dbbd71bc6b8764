"""python -m jitnet_tf.pretrain: the journeys of its users, on a handful of small photographs."""

import errno
import json
import pathlib
import signal

import numpy as np
import pytest
from absl import flags
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jitnet_tf import distill, pretrain
from jitnet_tf.base import checkpoint
from jitnet_tf.pretraining.session import Pretraining
from jitnet_tf.runs import directory
from tests.commands import run_command
from tests.materials import frames, write_photographs, write_teacher, write_video
from tests.pretraining.test_label_folder import write_labelled

SMALL = ("--width=.25", "--crop=32", "--batch_size=4", "--warmup=2", "--checkpoint_every=4")
STEPS = 10


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Flags that name an annotation file and its photographs."""
    file, folder = write_photographs(tmp_path_factory.mktemp("photographs"), 12)
    return f"--annotations={file}", f"--images={folder}"


def command(photographs, logdir, *others):
    return (*photographs, *SMALL, f"--steps={STEPS}", "--holdout=.3", f"--logdir={logdir}", *others)


@pytest.fixture(scope="module")
def pretrained(photographs, tmp_path_factory):
    """The folder of a complete pretraining."""
    logdir = tmp_path_factory.mktemp("runs") / "pretrained"
    assert run_command(pretrain, *command(photographs, logdir, "--validate_every=5")) == 0
    return logdir


def interrupt_at(monkeypatch, step, interruption):
    """Calls `interruption` in the middle of a step, once."""
    original = Pretraining.step_on

    def step_on(self, batch):
        if self.step == step:
            monkeypatch.setattr(Pretraining, "step_on", original)
            interruption()
        return original(self, batch)

    monkeypatch.setattr(Pretraining, "step_on", step_on)


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


# To the end


def test_what_a_pretraining_leaves(pretrained):
    summary = json.loads((pretrained / "summary.json").read_text())
    assert (summary["complete"], summary["steps"], summary["problems"]) == (True, STEPS, [])
    assert summary["seconds"] > 0
    assert set(summary["validation"]["class_iou"]) == {"person", "auto"}
    assert [name.split("/")[-1] for name in summary["validation"]["sets"]] == ["instances.json"]
    tags = EventAccumulator(str(pretrained)).Reload().Tags()["tensors"]
    assert {"loss", "learning rate", "photographs per second", "validation/mean IoU"} <= set(tags)
    assert {"validation IoU/person", "photograph, student, labels/0"} <= set(tags)
    assert (pretrained / directory.FLAGFILE).is_file()
    weights, said = checkpoint.load(pretrained / "weights.npz")
    whole, progress = checkpoint.load(pretrained)
    assert weights.keys() == {name for name in whole if name.startswith("weights/")}
    for name, array in weights.items():
        np.testing.assert_array_equal(array, whole[name])
    assert said == {name: progress[name] for name in ("classes", "groups", "student")}


def test_its_report(pretrained):
    text = pretrain.report(json.loads((pretrained / "summary.json").read_text()))
    assert f"{STEPS} steps" in text
    assert "mean IoU on held-out photographs" in text
    assert "person" in text


def test_a_run_starts_from_it(pretrained, tmp_path):
    """From the averaged weights, to the last bit."""
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


def test_its_flagfile_repeats_it(pretrained, tmp_path):
    logdir = tmp_path / "again"
    flagfile = pretrained / directory.FLAGFILE
    assert run_command(pretrain, f"--flagfile={flagfile}", f"--logdir={logdir}") == 0
    assert_same_training(pretrained, logdir)


# Interrupted


def test_interrupted_and_resumed(photographs, pretrained, tmp_path, monkeypatch, capsys):
    """Ctrl-C in the middle of a step: resumed, it ends as if uninterrupted."""
    logdir = tmp_path / "run"
    interrupt_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(pretrain, *command(photographs, logdir, "--validate_every=5")) == 130
    assert f"go on with --resume --logdir={logdir}" in capsys.readouterr().out
    assert checkpoint.load(logdir)[1]["step"] == 6
    assert run_command(pretrain, "--resume", f"--logdir={logdir}") == 0
    assert_same_training(pretrained, logdir)
    assert not json.loads((logdir / "summary.json").read_text())["problems"]


def test_killed_and_resumed(photographs, pretrained, tmp_path, monkeypatch):
    """It goes on from the last checkpoint, with the curves cut back to it."""
    logdir = tmp_path / "run"

    def kill():
        raise RuntimeError("killed")

    interrupt_at(monkeypatch, 7, kill)
    with pytest.raises(RuntimeError, match="killed"):
        run_command(pretrain, *command(photographs, logdir, "--validate_every=5"))
    assert checkpoint.load(logdir)[1]["step"] == 4
    assert run_command(pretrain, "--resume", f"--logdir={logdir}") == 0
    assert_same_training(pretrained, logdir)
    assert losses(logdir)[0] == sorted(set(losses(logdir)[0]))


def test_no_room_on_the_disk(photographs, tmp_path, monkeypatch, capsys):
    logdir = tmp_path / "run"
    full = OSError(errno.ENOSPC, "No space left on device")
    save = checkpoint.save

    def save_or_fail(directory, arrays, progress):
        if progress["step"] > 4:
            raise full
        save(directory, arrays, progress)

    monkeypatch.setattr(checkpoint, "save", save_or_fail)
    assert run_command(pretrain, *command(photographs, logdir)) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device" in message
    assert "--resume goes on from the last checkpoint" in message
    assert checkpoint.load(logdir)[1]["step"] == 4
    monkeypatch.undo()
    assert run_command(pretrain, "--resume", f"--logdir={logdir}", "--steps=6") == 0
    assert checkpoint.load(logdir)[1]["step"] == 6
    assert "--steps=6\n" in (logdir / directory.FLAGFILE).read_text()  # another resume needs it


def test_a_training_that_diverges(photographs, tmp_path, capsys):
    logdir = tmp_path / "run"
    arguments = command(photographs, logdir, "--learning_rate=1e38", "--warmup=0")
    assert run_command(pretrain, *arguments) == 2
    assert "training diverged" in capsys.readouterr().err


# By a teacher


def test_photographs_without_annotations(photographs, tmp_path, capsys):
    """A teacher labels them, once; they come at the rate asked for, beside annotated ones."""
    teacher = write_teacher(tmp_path / "teacher")
    _, folder = write_photographs(tmp_path / "more", 10)
    (folder / "broken.jpg").write_bytes(b"no picture")
    logdir = tmp_path / "run"
    taught = (f"--photographs={folder}", f"--teacher={teacher}", "--photographs_rate=.75")
    steps = (*SMALL, "--steps=1", f"--logdir={logdir}")
    assert run_command(pretrain, *photographs, *taught, *steps) == 0
    labels = logdir / "photographs.json"
    assert len(json.loads(labels.read_text())["images"]) == 10
    before = labels.stat().st_mtime_ns
    # Alone, from the labels made, as another training would.
    taught = (f"--photographs={folder}", f"--teacher=annotated:{labels}")
    steps = (*SMALL, "--steps=1", f"--logdir={tmp_path / 'alone'}")
    assert run_command(pretrain, *taught, *steps) == 0
    assert labels.stat().st_mtime_ns == before
    assert "validat" not in capsys.readouterr().out


# Labels in a folder


def test_labels_in_a_folder(tmp_path, monkeypatch, capsys):
    """Learned from, held out and judged by; resumed as any other."""
    _, pictures, labels = write_labelled(tmp_path / "some", 12)
    _, others, judged = write_labelled(tmp_path / "others", 5)
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
    assert "not COCO's, taken for background: street" in capsys.readouterr().out
    summary = json.loads((logdir / "summary.json").read_text())
    assert list(summary["validation"]["sets"]) == [str(judged), str(labels)]
    assert set(summary["validation"]["class_iou"]) == {"person", "auto"}
    flagfile = (logdir / directory.FLAGFILE).read_text().splitlines()
    assert {arguments[1], arguments[3], arguments[4]} <= set(flagfile)


# What cannot be


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "nothing to learn from: give --images or --photographs"),
        (("--annotations=a.json",), "--images and --annotations or --labels go together"),
        (("--labels=l",), "--images and --annotations or --labels go together"),
        (("--validation_labels=v",), "--validation_images and --validation_annotations or --val"),
        (("--label_classes=a,b",), "--label_classes is for --labels or --validation_labels"),
        (("--photographs=p",), "--photographs and --teacher go together"),
        (("--crop=8",), "--crop=8 is below 32"),
        (("--steps=0",), "--steps=0 is below 1"),
        (("--min_scale=2", "--max_scale=1"), "--min_scale=2.0 --max_scale=1.0: scales"),
        (("--holdout=1.5",), "--holdout=1.5 is outside 0…1"),
        (("--epsilon=0",), "--epsilon above 0"),
        (("--ema_decay=1",), "--ema_decay in 0…1, below 1"),
        (("--stretch=.5",), "--stretch has to be at least 1"),
        (("--resume", "--overwrite"), "--resume and --overwrite exclude each other"),
        (("--resume",), "holds no run"),
        (("--logdir=",), "--logdir is missing"),
        (("--class_groups=nothing",), "no such preset or file"),
        (("--init=nowhere",), "'nowhere' does not exist"),
        (("--holdout=1",), "--holdout=1.0 leaves none of the photographs"),
        (("--annotations=nowhere.json",), "annotation file 'nowhere.json' does not exist"),
    ],
)
def test_bad_flags(photographs, tmp_path, capsys, flags, message):
    logdir = tmp_path / "run"
    named = {flag.split("=")[0] for flag in flags}
    if flags and not named & {"--photographs"} and flags != ("--annotations=a.json",):
        flags = (*(flag for flag in photographs if flag.split("=")[0] not in named), *flags)
    assert run_command(pretrain, *SMALL, f"--logdir={logdir}", *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert error[-1].startswith("error: ")
    assert not logdir.exists()


def test_options_that_the_weights_do_not_have(photographs, pretrained, tmp_path, capsys):
    flags = (*photographs, f"--init={pretrained}", "--width=.5", f"--logdir={tmp_path / 'x'}")
    assert run_command(pretrain, *flags) == 2
    assert "holds a student of --width=0.25, not 0.5" in capsys.readouterr().err


def test_another_pretraining_is_left_alone(photographs, pretrained, capsys):
    before = (pretrained / checkpoint.NAME).read_bytes()
    assert run_command(pretrain, *command(photographs, pretrained)) == 2
    assert "holds another run: give --resume" in capsys.readouterr().err
    assert run_command(pretrain, "--resume", f"--logdir={pretrained}") == 2
    assert "is complete, there is nothing to resume" in capsys.readouterr().err
    assert (pretrained / checkpoint.NAME).read_bytes() == before


@pytest.fixture
def unfinished(photographs, tmp_path, monkeypatch):
    """The folder of a pretraining stopped after 6 steps."""
    logdir = tmp_path / "unfinished"
    interrupt_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(pretrain, *command(photographs, logdir)) == 130
    return logdir


def test_resumed_otherwise(unfinished, capsys):
    for others, message in (
        (("--crop=64",), "has --crop=32, not 64: leave the flag out"),
        (("--steps=3",), "--steps=3: 6 are done already"),
    ):
        assert run_command(pretrain, "--resume", f"--logdir={unfinished}", *others) == 2
        assert message in capsys.readouterr().err
    config = json.loads((unfinished / directory.CONFIG).read_text())
    data = json.loads(pathlib.Path(config["annotations"]).read_text())
    config["annotations"] = str(unfinished / "fewer.json")
    (unfinished / "fewer.json").write_text(json.dumps({**data, "images": data["images"][:-1]}))
    (unfinished / directory.CONFIG).write_text(json.dumps(config))
    assert run_command(pretrain, "--resume", f"--logdir={unfinished}") == 2
    assert "the photographs are not those that the training" in capsys.readouterr().err


def test_other_steps_while_the_learning_rate_falls(photographs, tmp_path, monkeypatch, capsys):
    logdir = tmp_path / "run"
    interrupt_at(monkeypatch, 8, lambda: signal.raise_signal(signal.SIGINT))
    assert run_command(pretrain, *command(photographs, logdir)) == 130
    assert run_command(pretrain, "--resume", f"--logdir={logdir}", "--steps=20") == 2
    assert "the learning rate is falling already at step 9" in capsys.readouterr().err


def test_weights_in_the_folder_to_write_to(pretrained, photographs, capsys):
    """They would be deleted before they are read again."""
    weights = pretrained / "weights.npz"
    arguments = command(photographs, pretrained, "--overwrite", f"--init={weights}")
    assert run_command(pretrain, *arguments) == 2
    assert "is also the --init, which would be lost" in capsys.readouterr().err
    assert weights.exists()


def test_the_authors_recipe():
    flagfile = pathlib.Path(__file__).parents[2] / "flags" / "pretrain_authors.flags"
    before = set(flags.FLAGS)
    pretrain.define_flags()
    try:
        flags.FLAGS(["pretrain", f"--flagfile={flagfile}", "--annotations=a", "--images=b"])
        config = pretrain.new_config("runs/coco")
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)
    assert (config.learning_rate, config.epsilon, config.weight_decay) == (0.1, 1.0, 4e-5)
    assert (config.crop, config.batch_size, config.steps) == (768, 6, 150_000)
    assert (config.ema_decay, config.cooldown, config.half_size_loss) == (0.9999, 0, False)
    assert (config.student.width, config.student.units) == (1.0, 2)
    assert config.class_groups == "coco"

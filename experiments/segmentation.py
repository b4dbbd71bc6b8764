"""Standard segmentation: how well a student segments labeled images, without adapting.

    python -m experiments.segmentation --init=runs/coco --images=coco/val2017 \\
        --annotations=coco/instances_val2017.json --output=coco.json
    python -m experiments.segmentation --init=pretrained --images=pictures --labels=labels \\
        --label_classes=background,person,car --output=pictures.json
    python -m experiments.segmentation --print=coco.json

The student is the one that the weights were made for, computed in float32; each image is
segmented at its own size. `jitnet_tf.pretraining.datasets.label_folder` says how labels in a
folder are read. Interrupted, the same command continues; `--print` makes the table from the file.
"""

import dataclasses
import hashlib
import os
import pathlib
import sys
import time

import numpy as np
from absl import flags

from experiments.protocol import provenance
from experiments.reports import markdown, measurement
from jitnet_tf.base import checkpoint, command_line, options
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.config import PretrainConfig, StudentConfig
from jitnet_tf.config.names import PRETRAINED
from jitnet_tf.distillation import metrics
from jitnet_tf.flags import options_of
from jitnet_tf.labels import BACKGROUND, ClassGroups, LabelMaker
from jitnet_tf.student import initial_weights, weights

FLAGS = flags.FLAGS

FORMAT = "experiments.segmentation, 2"
SAVED_EVERY = 10  # seconds
SHOWN_PROBLEMS = 5

NOTES = """\
IoU is over all pixels of the set at once: true positives, false positives and false negatives
summed over its images. The mean is over the classes that are labeled anywhere, without
background unless it says so; precision is the part of the pixels given a class that are labeled
so, recall the part of those labeled so that are given it. Pixels in crowds, or labeled to be
ignored, do not count."""


def define_flags():
    """Defines --init, the flags of the labeled images as in pretraining, --output and --print."""
    define_path(
        "init",
        None,
        "The student's weights: 'pretrained', the folder of a run or pretraining, or a checkpoint "
        "file such as weights.npz.",
    )
    shared = options_of(PretrainConfig)
    for name in ("images", "annotations", "labels", "label_classes"):
        field, of_type, about = shared[name]
        about = dataclasses.replace(about, group="Labeled images")
        options.define_flag(name, field.default, of_type, about)
    measurement.define_flags()


@dataclasses.dataclass(frozen=True)
class Weights:
    """A student's weights with its classes and its options.

    Attributes:
      init: where they come from, see `initial_weights.load`.
      sha256: of their file.
      groups: its ClassGroups.
      student: its StudentConfig.
    """

    init: str
    sha256: str
    groups: ClassGroups
    student: StudentConfig

    def described(self):
        """Returns the description of the weights for the file, as JSON values."""
        description = initial_weights.describe(self.groups, self.student)
        return {"init": self.init, "sha256": self.sha256, **description}

    def build(self):
        """Builds the student as a Keras model, for frames of any size."""
        from jitnet_tf.student.architectures import build_network

        model = build_network(len(self.groups.names), self.student)
        initial_weights.start(weights.named(model), self.init, self.groups, self.student)
        return model


def open_weights(init):
    """Returns the Weights of 'pretrained', a folder or a file.

    Raises:
      UserError: there are none, or the description of their student is missing.
    """
    _, about = initial_weights.load(init)
    path = initial_weights.PRETRAINED_FILE if init == PRETRAINED else pathlib.Path(init)
    path = path / checkpoint.NAME if path.is_dir() else path
    try:
        groups = ClassGroups({name: tuple(about["groups"][name]) for name in about["classes"][1:]})
        groups.class_ids()
        values = {**about.get("student", {}), "precision": "float32"}
        student = StudentConfig.from_values(values)
        student.check()
        return Weights(init, hashlib.sha256(path.read_bytes()).hexdigest(), groups, student)
    except (LookupError, TypeError, AttributeError, OSError) as error:
        raise UserError(
            f"--init={init} does not describe its student ({error!r}): give the output of "
            "jitnet_tf.pretrain or jitnet_tf.distill"
        ) from None


def describe_dataset(labeled, images):
    """Returns the description of a dataset for the file, as JSON values.

    labeled: a LabeledDataset. images: the folder of its images, as given.
    """
    from jitnet_tf.pretraining import splits

    return {
        "images": images,
        "labels": labeled.file,
        "digest": splits.digest_of([labeled]),
        "count": len(labeled),
        "classes": getattr(labeled, "classes", None),
        "unknown": labeled.unknown,
        "absent": labeled.absent,
        "notes": labeled.notes,
    }


def find_earlier(output, weights, described):
    """Returns the values of the same evaluation, begun earlier; None without a file.

    Raises:
      UserError: the file is no evaluation, or one of other weights, images or labels.
    """
    if not os.path.lexists(output):
        measurement.check_output(output)
        return None
    command = "experiments.segmentation --output"
    try:
        values = measurement.render_file(output, command, FORMAT, _checked)
    except UserError:
        raise UserError(
            f"--output={output} exists and is no evaluation: give another name"
        ) from None
    for what, now, then in (
        ("other weights", weights.sha256, values["weights"]["sha256"]),
        ("other images or labels", described["digest"], values["set"]["digest"]),
    ):
        if now != then:
            raise UserError(
                f"--output={output} holds an evaluation of {what} ({then[:12]}…, not "
                f"{now[:12]}…): give another name"
            )
    return values


def _checked(values):
    """Returns the values of an evaluation. LookupError or TypeError if something is missing."""
    classes = len(values["weights"]["classes"])
    counts = np.array(values["counts"], np.int64)
    if counts.shape != (classes, classes) or len(values["images_with"]) != classes:
        raise ValueError("counts of other classes")
    values["set"]["digest"], values["done"], values["judged"], values["lost"], values["seconds"]
    return values


def evaluate(weights, labeled, described, output, earlier=None):
    """Segments the images that are not in the file yet. Returns the file's values.

    Ctrl-C ends it between two images; the file then has all images so far.

    Args:
      weights: a Weights.
      labeled: a LabeledDataset.
      described: see `describe_dataset`.
      output: the JSON file.
      earlier: see `find_earlier`.
    """
    from jitnet_tf.base.interrupt import StopRequest
    from jitnet_tf.pretraining import validation
    from jitnet_tf.runs.versions import versions
    from jitnet_tf.student.devices import make_repeatable

    names = weights.groups.names
    score = metrics.StreamScore(names)
    values = {
        "format": FORMAT,
        "weights": weights.described(),
        "set": described,
        "machine": provenance.describe(),
        "versions": versions(),
        "done": 0,
        "judged": 0,
        "lost": dict(labeled.unreadable),
        "seconds": 0.0,
    }
    if earlier:
        score.all_frames += np.array(earlier["counts"])
        score.frames_with += np.array(earlier["images_with"])
        values.update({name: earlier[name] for name in ("done", "judged", "lost", "seconds")})
        labeled.unreadable.update(earlier["lost"])
    make_repeatable(0)
    segment = validation.segmenter(weights.build())
    images = labeled.names

    def save():
        values["lost"] = labeled.unreadable
        values.update(summary(score))
        measurement.write(output, values)

    start = saved = time.monotonic()
    progress = progress_bar(total=len(images), initial=values["done"], unit="image")
    with StopRequest() as stop, progress:
        for number in range(values["done"], len(images)):
            counts = validation.judge(segment, labeled, number, len(names))
            score.add(counts, is_teacher_frame=False)
            progress.update()
            now = time.monotonic()
            values["seconds"] += now - start
            values["done"] += 1
            values["judged"] += images[number] not in labeled.unreadable
            start = now
            if stop.made:
                break
            if now - saved > SAVED_EVERY:
                save()
                saved = now
        save()
    return values


def summary(score):
    """Returns a StreamScore as JSON values: its counts, and the measures of each class."""
    counts = score.all_frames
    labeled, predicted, right = counts.sum(1), counts.sum(0), np.diag(counts)
    iou = metrics.class_iou(counts)
    classes = {}
    for i, name in enumerate(score.class_names):
        judged = bool(labeled[i])
        classes[name] = {
            "iou": float(iou[i]) if judged else None,
            "precision": float(right[i] / predicted[i]) if predicted[i] else None,
            "recall": float(right[i] / labeled[i]) if judged else None,
            "pixels": int(labeled[i]),
            "images": int(score.frames_with[i]),
        }
    every = [row["iou"] for row in classes.values() if row["iou"] is not None]
    pixels = int(counts.sum())
    return {
        "mean_iou": score.mean(),
        "mean_iou_with_background": sum(every) / len(every) if every else None,
        "pixel_accuracy": float(right.sum() / pixels) if pixels else None,
        "pixels": pixels,
        "classes": classes,
        "counts": counts.tolist(),
        "images_with": score.frames_with.tolist(),
    }


def render(values):
    """Returns the values of the file as Markdown."""
    weights, described = values["weights"], values["set"]
    total, done = described["count"], values["done"]
    changes = dict(weights["student"])
    student = changes.pop("architecture")
    student += "".join(
        f", {name} {value}"
        for name, value in changes.items()
        if value != getattr(StudentConfig, name)
    )
    paragraphs = [
        f"Weights {weights['init']} (SHA-256 {weights['sha256']}): {student}. "
        f"{values['judged']} images of {described['images']}, {values['pixels'] / 1e6:.1f} "
        f"million pixels, labeled by {described['labels']} (digest {described['digest']}), in "
        f"{values['seconds']:.0f} s. {provenance.setting_in_words(values)}."
    ]
    if done < total:
        paragraphs.append(f"**Stopped early**: {done} of {total} images.")
    if values["lost"]:
        some = [*values["lost"].values()][:SHOWN_PROBLEMS]
        paragraphs.append(f"{len(values['lost'])} images skipped, such as {'; '.join(some)}.")
    paragraphs += [f"Note: {note}." for note in described.get("notes", ())]
    paragraphs.append(
        f"Mean IoU {markdown.percent(values['mean_iou'])} %, with background "
        f"{markdown.percent(values['mean_iou_with_background'])} %; pixel accuracy "
        f"{markdown.percent(values['pixel_accuracy'])} %."
    )
    head = ["class", "IoU (%)", "precision (%)", "recall (%)", "pixels (%)", "images"]
    lines = []
    for name, row in values["classes"].items():
        part = row["pixels"] / values["pixels"] if values["pixels"] else None
        shares = map(markdown.percent, (row["iou"], row["precision"], row["recall"]))
        lines.append([name, *shares, markdown.percent(part, 2), str(row["images"])])
    paragraphs.append(markdown.table(head, lines))
    taken = {}
    for name, own in (described["classes"] or {}).items():
        if name != own:
            taken.setdefault(own, []).append(name)
    if not taken and described["unknown"]:
        taken[BACKGROUND] = described["unknown"]
    for own, others in taken.items():
        paragraphs.append(f"Taken for {own}: {', '.join(others)}.")
    if described["absent"]:
        paragraphs.append(f"Not labeled, and so not in the mean: {', '.join(described['absent'])}.")
    return "\n\n".join([*paragraphs, NOTES])


def _measure_to_file():
    for name in ("init", "images"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; --help lists the flags")
    if (FLAGS.annotations is None) == (FLAGS.labels is None):
        raise UserError("give the labels of --images, as either --annotations or --labels")
    if FLAGS.label_classes and FLAGS.labels is None:
        raise UserError("--label_classes is for --labels: leave it out")
    weights = open_weights(FLAGS.init)
    from jitnet_tf.pretraining import splits

    label_maker = LabelMaker(weights.groups)
    labeled = splits.open_labeled(
        FLAGS.images, FLAGS.annotations, FLAGS.labels, tuple(FLAGS.label_classes), label_maker
    )
    described = describe_dataset(labeled, FLAGS.images)
    earlier = find_earlier(FLAGS.output, weights, described)
    if earlier and earlier["done"] == described["count"]:
        return earlier
    command_line.import_tensorflow()
    return evaluate(weights, labeled, described, FLAGS.output, earlier)


def main():
    """Measures or prints."""
    values = measurement.measure_or_print(
        _measure_to_file, render, FORMAT, "experiments.segmentation"
    )
    if values and values["done"] < values["set"]["count"]:
        print(f"stopped early: run the same command to continue ({FLAGS.output})", file=sys.stderr)
        sys.exit(command_line.EXIT_INTERRUPTED)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

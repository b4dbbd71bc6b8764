"""The training and validation splits of a pretraining."""

import hashlib
import os
import pathlib

import cv2
import numpy as np

from jitnet_tf.base import pictures
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.pretraining import census
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder
from teacher import ANNOTATED, coco, split_spec
from teacher.class_names import meanings, plain

TEACHER_LABELS = "teacher_labels.json"  # in the run directory
BITS = 64  # of an image's fingerprint
COMPARED = 1000  # fingerprints at a time, which bounds the memory
# Fingerprints of one image in other sizes and qualities differ in at most this many bits.
SAME_BITS = 6


class Splits:
    """The splits of a pretraining.

    Attributes:
      training: one or two LabeledDatasets.
      validation: a list of LabeledDatasets, empty for no validation.
      digest: a text that differs for different images or labels.
      pixels: split → the counts of `census.describe` of each of its datasets.
    """

    def __init__(self, training, validation, class_names):
        self.training = training
        self.validation = validation
        self.digest = digest_of([*training, *validation])
        self.pixels = {
            split: [census.describe(dataset, class_names) for dataset in datasets]
            for split, datasets in (("training", training), ("validation", validation))
        }
        self._notes = [note for dataset in (*training, *validation) for note in dataset.notes]
        self._notes += census.notes(training, class_names)

    def problems(self):
        """Returns what does not fit in the labels and folders, and the skipped images, as texts."""
        datasets = (*self.training, *self.validation)
        skipped = [
            f"skipped {text}" for dataset in datasets for text in dataset.unreadable.values()
        ]
        return [*self._notes, *skipped]

    def tables(self):
        """Returns what there is to learn and to judge on, as lines of text."""
        lines = [line for one in self.pixels["training"] for line in census.table(one)]
        if self.validation:
            lines += [line for one in self.pixels["validation"] for line in census.table(one)]
            count = sum(map(len, self.validation))
            lines.append(f"{sum(map(len, self.training))} images for training, {count} held out")
        return lines


def digest_of(datasets):
    """Returns a 16-digit fingerprint of datasets and their labels."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(dataset.identity())
        digest.update(os.fsencode("\n".join(["", *dataset.names, ""])))
    return digest.hexdigest()[:16]


def open_splits(config, label_maker):
    """Opens the datasets of a PretrainConfig; its teacher labels `unlabeled_images`.

    Raises:
      UserError: no image is left for training or for validation, or a dataset is invalid.
    """
    training = _open_training(config, label_maker)
    validation = _open_validation(config, label_maker)
    if config.holdout:
        validation += hold_out(training, config.holdout)
        if not validation:
            raise UserError(
                f"--holdout={config.holdout} holds out none of the few images: raise it, or give "
                "--validation_images"
            )
    for dataset in training:
        if not len(dataset):
            raise UserError(
                f"--holdout={config.holdout} leaves none of the images of {dataset.file!r} for "
                "training: lower it"
            )
    _check_groups(label_maker.groups, [*training, *validation])
    class_names = label_maker.groups.names
    if not sum(map(census.pixels, training))[1:-1].any():
        raise UserError(
            f"--holdout={config.holdout} leaves no pixel of {', '.join(class_names[1:])} for "
            "training: lower it"
        )
    return Splits(training, validation, class_names)


def _check_groups(groups, datasets):
    """Raises UserError for a category that neither COCO nor the labels have: a slip."""
    named = [*coco.IDS, *(name for dataset in datasets for name in dataset.categories)]
    known = {meaning for name in named for meaning in meanings(name)}
    for group, members in groups.groups.items():
        for member in members:
            # Class masks of a run have the names of the groups instead.
            if plain(member) not in known and group not in named:
                there = sorted(set(named) - set(coco.IDS))
                raise UserError(
                    f"--class_groups: class {group!r} has {member!r}, which neither COCO nor the "
                    f"labels name: correct it; beside COCO's, labeled are {', '.join(there) or '-'}"
                )


def _open_training(config, label_maker):
    datasets = []
    if config.images:
        datasets.append(
            open_labeled(
                config.images, config.annotations, config.labels, config.label_classes, label_maker
            )
        )
    if config.unlabeled_images:
        labels = _teacher_labels(config)
        dataset = CocoDataset(labels, config.unlabeled_images, label_maker)
        census.take(dataset)
        datasets.append(dataset)
    return datasets


def _open_validation(config, label_maker):
    if not config.validation_images:
        return []
    return [
        open_labeled(
            config.validation_images,
            config.validation_annotations,
            config.validation_labels,
            config.label_classes,
            label_maker,
        )
    ]


def open_labeled(images, annotations, labels, label_classes, label_maker):
    """Opens a folder of images with its annotation file or else its folder of labels.

    Their pixels are counted. label_classes: see `LabelFolder`.

    Raises:
      UserError: as `CocoDataset`, `LabelFolder` and `census.take`.
    """
    if annotations:
        dataset = CocoDataset(annotations, images, label_maker)
    else:
        dataset = LabelFolder(labels, images, label_maker, label_classes)
    census.take(dataset)
    return dataset


def _teacher_labels(config):
    """Returns the annotation file of `unlabeled_images`; makes it if there is none yet."""
    prefix, path = split_spec(config.teacher)
    if prefix == ANNOTATED:
        return path
    from teacher import annotate, open_teacher
    from teacher.record import describe_live

    annotate.check_not_precomputed(config.teacher)
    labels = pathlib.Path(config.logdir) / TEACHER_LABELS
    described = describe_live(config.teacher, config.teacher_options)
    if labels.exists():  # of this pretraining, interrupted, or of the one that it replaces
        annotate.check_same(labels, config.unlabeled_images, described)
        return labels
    try:
        teacher = open_teacher(config.teacher, config.teacher_options)
        annotate.annotate(config.unlabeled_images, teacher, described, labels)
    except KeyboardInterrupt:
        print("labeling stopped: repeat the command, without --resume, to continue it")
        raise
    return labels


def hold_out(training, part):
    """Takes a part of the images out of each training dataset, for validation.

    An image is held out by its file name only, so adding images does not change the choice.
    Images that look like a held-out one (see `fingerprints`) are dropped from `training`.

    Args:
      training: LabeledDatasets, which are changed.
      part: 0…1.

    Returns:
      The datasets of held-out images, without empty ones.
    """
    held_out = []
    for dataset in training:
        ranks = np.array([rank(name) for name in dataset.names])
        held_out.append(dataset.subset(np.flatnonzero(ranks < part)))
        dataset.keep(np.flatnonzero(ranks >= part))
    total = sum(map(len, (*training, *held_out)))
    with progress_bar(total=total, desc="comparing images", leave=False) as progress:
        seen = np.concatenate([fingerprints(dataset, progress) for dataset in held_out])
        for dataset in training:
            differing = _least_difference(fingerprints(dataset, progress), seen)
            dataset.keep(np.flatnonzero(differing > SAME_BITS))
    return [dataset for dataset in held_out if len(dataset)]


def rank(name):
    """Maps a file name to a number in 0…1, by a hash: always the same and evenly distributed."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") / 2**64


def fingerprints(dataset, progress):
    """Computes fingerprints that are alike for images that look alike.

    Each bit compares one of 8 × 8 patches with the patch to its left ("dHash", Krawetz 2013,
    "Kind of like that"). Crops and mirrored copies of an image are not recognized.

    Args:
      dataset: a LabeledDataset.
      progress: a tqdm, advanced by one for each image.

    Returns:
      float32 [N, 64] of ±1, zeros for unreadable images.
    """
    rows = np.zeros((len(dataset), BITS), np.float32)
    for number in range(len(dataset)):
        try:
            data = np.fromfile(dataset.path(number), np.uint8)
            gray = pictures.decode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except OSError:  # missing
            gray = None
        if gray is not None:
            small = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
            rows[number] = np.where(small[:, 1:] > small[:, :-1], 1, -1).ravel()
        progress.update()
    return rows


def _least_difference(rows, others):
    """For each of N fingerprints, the number of bits that differ from the most similar other."""
    parts = np.array_split(rows, len(rows) // COMPARED + 1)
    likeness = [(part @ others.T).max(axis=1, initial=-BITS) for part in parts]
    return (BITS - np.concatenate(likeness)) / 2

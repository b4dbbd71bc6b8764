"""Which photographs a pretraining learns from, and which it is judged on."""

import hashlib
import os
import pathlib

import cv2
import numpy as np
from tqdm import tqdm

from jitnet_tf.base.errors import UserError
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder
from teacher import ANNOTATED, split_spec

LABELS = "photographs.json"  # the teacher's, in the run directory
BITS = 64
COMPARED = 1000  # fingerprints at a time, which bounds the memory
SAME_BITS = 6  # in which fingerprints of the same picture may differ: sizes, compression


def digest_of(labelled):
    """What tells sets of photographs and their labels from others: a text of 16 digits."""
    digest = hashlib.sha256()
    for one in labelled:
        digest.update(one.identity())
        digest.update(os.fsencode("\n".join(["", *one.names, ""])))
    return digest.hexdigest()[:16]


class Photographs:
    """The photographs of a pretraining.

    Attributes:
      training: one or two Labelled.
      validation: what it is judged on: a list of Labelled, empty for none.
      digest: tells them from others.
    """

    def __init__(self, training, validation):
        self.training = training
        self.validation = validation
        self.digest = digest_of([*training, *validation])

    def problems(self):
        """What was skipped, a text each."""
        return [text for a in (*self.training, *self.validation) for text in a.lost.values()]

    def notes(self):
        """What is worth knowing before the training, a line each."""
        lines = []
        for annotated in self.training:
            if annotated.unknown:
                names = ", ".join(annotated.unknown)
                lines.append(f"{annotated.file}: not COCO's, taken for background: {names}")
        if absent := set.intersection(*(set(annotated.absent) for annotated in self.training)):
            lines.append(f"no photograph shows {', '.join(sorted(absent))}")
        if self.validation:
            count = sum(map(len, self.validation))
            lines.append(f"{sum(map(len, self.training))} photographs, {count} to judge by")
        return lines


def open_sets(config, label_maker):
    """Opens what a PretrainConfig names, labelling by the teacher what has no labels.

    Raises:
      UserError: nothing to learn from, or see `open_labelled`.
    """
    training = []
    if config.images:
        training.append(
            open_labelled(
                config.images, config.annotations, config.labels, config.label_classes, label_maker
            )
        )
    if config.unlabeled_images:
        training.append(
            CocoDataset(_labels_of_photographs(config), config.unlabeled_images, label_maker)
        )
    validation = []
    if config.validation_images:
        validation.append(
            open_labelled(
                config.validation_images,
                config.validation_annotations,
                config.validation_labels,
                config.label_classes,
                label_maker,
            )
        )
    if config.holdout:
        validation += hold_out(training, config.holdout)
        if not validation:
            raise UserError(
                f"--holdout={config.holdout} takes none of the few photographs: raise it, or give "
                "--validation_images"
            )
    for annotated in training:
        if not len(annotated):
            raise UserError(
                f"--holdout={config.holdout} leaves none of the photographs of {annotated.file!r}: "
                "lower it"
            )
    return Photographs(training, validation)


def open_labelled(images, annotations, labels, label_classes, label_maker):
    """A folder of photographs with its labels, an annotation file or else a folder.

    label_classes: see `LabelFolder`. Raises UserError as `CocoDataset` or `LabelFolder` does.
    """
    if annotations:
        return CocoDataset(annotations, images, label_maker)
    return LabelFolder(labels, images, label_maker, label_classes)


def _labels_of_photographs(config):
    prefix, path = split_spec(config.teacher)
    if prefix == ANNOTATED:
        return path
    from teacher import annotate, open_teacher
    from teacher.record import describe_live

    annotate.check_takes_images(config.teacher)
    labels = pathlib.Path(config.logdir) / LABELS
    described = describe_live(config.teacher)
    if labels.exists():  # made before the training was interrupted, or by the run it replaces
        annotate.check_same(labels, config.unlabeled_images, described)
    else:
        try:
            teacher = open_teacher(config.teacher)
            annotate.annotate(config.unlabeled_images, teacher, described, labels)
        except KeyboardInterrupt:
            print("labelling stopped: the same command, without --resume, goes on with it")
            raise
    return labels


def hold_out(training, part):
    """Takes a part of the photographs of each set out of it, and drops what looks like them.

    The choice depends on the file names alone, so it stays when photographs are added. Nothing that
    is left in `training` looks like what is held out (see `fingerprints`).

    Returns:
      The held-out sets.
    """
    held = []
    for annotated in training:
        ranks = np.array([_rank(name) for name in annotated.names])
        held.append(annotated.subset(np.flatnonzero(ranks < part)))
        annotated.keep(np.flatnonzero(ranks >= part))
    total = sum(map(len, (*training, *held)))
    with tqdm(total=total, desc="comparing photographs", leave=False) as progress:
        judged = np.concatenate([fingerprints(annotated, progress) for annotated in held])
        for annotated in training:
            rows = fingerprints(annotated, progress)
            parts = np.array_split(rows, len(rows) // COMPARED + 1)
            likeness = [(part @ judged.T).max(axis=1, initial=-BITS) for part in parts]
            differing = (BITS - np.concatenate(likeness)) / 2
            annotated.keep(np.flatnonzero(differing > SAME_BITS))
    return [annotated for annotated in held if len(annotated)]


def _rank(name):
    """A number in 0…1 that a file name always has, evenly spread."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") / 2**64


def fingerprints(annotated, progress):
    """What tells pictures that look alike: float32 [N, 64] of ±1, zeros where unreadable.

    Whether each of 8 × 8 patches is brighter than its right-hand neighbour ("dHash": Krawetz 2013,
    "Kind of like that"). Crops and mirrored pictures are not found.
    """
    rows = np.zeros((len(annotated), BITS), np.float32)
    for number in range(len(annotated)):
        try:
            data = np.fromfile(annotated.path(number), np.uint8)
            grey = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except (OSError, cv2.error):  # gone, empty, or smaller than 8 × 8
            grey = None
        if grey is not None:
            small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
            rows[number] = np.where(small[:, 1:] > small[:, :-1], 1, -1).ravel()
        progress.update()
    return rows

"""Images with labels as PNGs of class ids, as VOC's and Cityscapes' tools write them."""

import json
import pathlib
import threading
import unicodedata

import cv2
import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import BACKGROUND
from jitnet_tf.pretraining.datasets.base import MAX_UNREADABLE, LabeledDataset
from jitnet_tf.pretraining.datasets.class_ids import open_ids, read_ids
from teacher import coco
from teacher.class_names import plain
from teacher.detections import Detections
from teacher.images import (
    UnreadableError,
    in_words,
    list_images,
    passed_over,
    read_image,
    scan,
)

CLASSES = "classes.json"  # `sinks.mask_writer.MaskWriter` writes it beside its masks
IGNORED = "ignore"  # the name of classes without loss
IGNORED_ID = 255  # without loss unless it has a name
SUFFIX = ".png"
SHOWN_IDS = 5


class LabelFolder(LabeledDataset):
    """The images of one folder with the labels of another.

    The label of image `some/name.jpg` is `some/name.png`, of the image's size: class ids, as gray
    values or as indices of a palette. Ids have names in `classes.json`,
    {"0": "background", "1": "person", …}, or else in `class_names`. A name is a class of the
    student, a COCO category in one of its groups, or "ignore", for weight 0; other names are
    background. Pixels of id 255 have loss weight 0 if it has no name.

    Loss weights are computed as for detections, with each connected region of a class as one: the
    label does not separate objects of a class that touch.

    Args:
      labels: the folder of the labels.
      folder: the folder of the images; if the labels are inside it, they are no images.
      label_maker: a LabelMaker.
      class_names: names of the ids 0, 1, …, for labels without a `classes.json`; "255=person"
        names the id 255, and those after it the following ones.

    Attributes:
      classes: name in the labels → class of the student, or "ignore".

    Raises:
      UserError: the ids have no names, no name is a class of the student, there are no labels or
        images, or too many images lack a valid label.
    """

    advice = "check both folders"
    counted = "pixels"

    def __init__(self, labels, folder, label_maker, class_names=()):
        super().__init__(labels, folder, label_maker)
        self._labels = pathlib.Path(labels)
        if not self._labels.is_dir():
            raise UserError(f"{self.file!r} is not a folder: give the folder of the labels")
        self._label_of = _labels_by_stem(self._labels)
        self._named = _names(self._labels, class_names)
        self._set_classes(label_maker.groups)
        self._lock = threading.Lock()  # of what `_count` sums up
        self._id_pixels = np.zeros(256, np.int64)
        self._ignored_alone = 0  # images that have id 255 where others have objects
        images = [
            {"file_name": name, "label": self._label_of.get(_stem(name), _stem(name) + SUFFIX)}
            for name in self._list_images()
        ]
        self._note_files(images)
        self._set_images(images)

    def _note_files(self, images):
        """Notes labels without an image, or with several, and files that are neither."""
        taken = {image["label"] for image in images}
        if unused := sorted(set(self._label_of.values()) - taken):
            self.advice = f"labels have the names of their images; {unused[0]!r} has no image"
            self.notes.append(
                f"{self.file}: {len(unused)} labels, such as {unused[0]}, have no image"
            )
        if shared := len(images) - len(taken):
            self.notes.append(f"{self.file}: {shared} images share their label with another image")
        if others := passed_over(self._folder):
            self.notes.append(others)

    def _set_classes(self, groups):
        """Maps the labels' classes to the student's, and builds the tables by id for `_read`."""
        self.classes = {name: _student_class(name, groups) for name in self._named.values()}
        found = set(self.classes.values())
        self.absent = [name for name in groups.groups if name not in found]
        self.categories = sorted(self.classes)
        known = {BACKGROUND, IGNORED, *coco.IDS, *groups.groups}
        self.unknown = sorted(
            name for name in self.classes if name not in known and plain(name) not in known
        )
        self._class_ids = np.zeros(256, np.uint8)
        self._is_named, self._has_loss = np.zeros(256, bool), np.zeros(256, bool)
        for number, name in self._named.items():
            has_loss = self.classes[name] != IGNORED
            self._class_ids[number] = groups.names.index(self.classes[name]) if has_loss else 0
            self._is_named[number], self._has_loss[number] = True, has_loss
        self._is_named[IGNORED_ID] = True  # at least as what does not count
        if not found & set(groups.groups):
            raise UserError(
                f"the labels in {self.file!r} are of none of the classes "
                f"{', '.join(groups.groups)}, but of {', '.join(self.classes)}"
                f"{self.advice_on_names()}"
            )
        # A detection has a category; any of a group serves for its class.
        ids = [
            np.flatnonzero(self._label_maker.class_ids == i + 1) for i in range(len(groups.groups))
        ]
        self._categories = [0, *(int(one[0]) for one in ids)]

    def _list_images(self):
        root, labels = self._folder.resolve(), self._labels.resolve()
        found = list_images(self._folder)
        if labels.is_relative_to(root):
            found = [name for name in found if not (root / name).is_relative_to(labels)]
        if not found:
            raise UserError(
                f"{str(self._folder)!r} holds no images but the labels: give each a folder"
            )
        return found

    def identity(self):
        """Returns the classes and the sizes of the label files: reading them all would be slow."""
        sizes = [(self._labels / image["label"]).stat().st_size for image in self._images]
        return json.dumps([sorted(self._named.items()), sizes]).encode()

    def _problem(self, image, path):
        label = self._labels / image["label"]
        try:
            with open(label, "rb") as file:
                open_ids(file)
        except FileNotFoundError:
            return f"without a label {label}"
        except OSError as error:
            return f"its label {label}: {error.strerror}"
        except ValueError as error:
            return f"its label {label}: {error}"
        return super()._problem(image, path)

    def _read(self, image, path):
        ids = self._ids(image)
        frame = read_image(path, ids.shape)
        labels = self._class_ids[ids]
        weights = self._label_maker.weights(self._regions(labels), ids.shape)
        weights[~self._has_loss[ids]] = 0
        return frame, labels, weights

    def _count(self, image, path):
        ids = self._ids(image)
        pixels = np.bincount(ids.ravel(), minlength=256)
        ignored = pixels[IGNORED_ID] and not self._has_loss[IGNORED_ID]
        with self._lock:
            self._id_pixels += pixels
            self._ignored_alone += bool(ignored and not self._class_ids[pixels > 0].any())
        return ids.shape, self._bins(self._class_ids[ids], self._has_loss[ids]), []

    def _ids(self, image):
        """Returns the class ids of an image, uint8 [H, W]."""
        label = self._labels / image["label"]
        try:
            ids = read_ids(label)
            if unnamed := sorted(set(np.unique(ids)) - set(np.flatnonzero(self._is_named))):
                some = ", ".join(map(str, unnamed[:SHOWN_IDS]))
                raise ValueError(f"class ids without a name: {some}")
        except ValueError as error:
            raise UnreadableError(f"{label} ({error})") from None
        return ids

    @property
    def found(self):
        """The contents of the counted labels: (name, id, number of pixels)."""
        named = {IGNORED_ID: "which does not count", **self._named}
        return [
            (named[number], number, int(self._id_pixels[number]))
            for number in sorted(named)
            if self._id_pixels[number]
        ]

    def doubts(self):
        """Returns texts on labels that do not count."""
        if self._ignored_alone <= MAX_UNREADABLE * len(self.pixels):
            return []
        return [
            f"{self._ignored_alone} of the labels that were looked at have id {IGNORED_ID}, which "
            "does not count, and no object: if it is a class, name it, as in "
            f"--label_classes=background,{IGNORED_ID}=person"
        ]

    def _regions(self, labels):
        """The connected regions of each class as Detections with a box and no mask."""
        boxes, categories = [np.zeros((0, 4))], []
        for class_id in np.unique(labels[labels > 0]):
            here = (labels == class_id).astype(np.uint8)
            x, y, w, h, _ = cv2.connectedComponentsWithStats(here)[2][1:].T
            boxes.append(np.stack([y, x, y + h, x + w], axis=1) / np.tile(labels.shape, 2))
            categories += [self._categories[class_id]] * len(x)
        count = len(categories)
        return Detections(
            np.concatenate(boxes).astype(np.float32),
            np.array(categories, np.int32),
            np.ones(count, np.float32),
            (np.zeros((0, 0), bool),) * count,
            np.zeros((count, 2), np.int32),
        )


def _names(labels, given):
    """Returns class id → name, from the folder's `classes.json` or from --label_classes."""
    path = labels / CLASSES
    if not path.exists():
        if not given:
            raise UserError(
                f"{str(labels)!r} has no {CLASSES}: name the classes by --label_classes, separated "
                "by commas, in the order of their ids"
            )
        where = f"--label_classes={','.join(given)}"
        named = _numbered(given, where)
    elif given:
        raise UserError(f"{str(path)!r} names the classes: leave --label_classes out")
    else:
        where = repr(str(path))
        try:
            content = files.parse_json(path.read_bytes())
            named = {int(number): name for number, name in content.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f'{where} is not {{"0": "background", …}} ({error})') from None
    for number, name in named.items():
        if not (0 <= number <= IGNORED_ID and isinstance(name, str) and name.strip()):
            raise UserError(f"{where}: {number} → {name!r} is not a name of a class id 0…255")
    return {number: name.strip() for number, name in named.items()}


def _numbered(given, where):
    """Returns class id → name from names in the order of ids, and from texts such as 255=person."""
    named, number = {}, 0
    for text in given:
        left, equals, right = text.partition("=")
        name, number = (right, _number(left, where)) if equals else (left, number)
        if number in named:
            raise UserError(f"{where}: id {number} has two names")
        named[number] = name
        number += 1
    return named


def _number(text, where):
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{where}: {text!r} is not a class id, as in 255=person") from None


def _stem(name):
    """Returns the path of an image or label without its suffix, in one Unicode form."""
    return unicodedata.normalize("NFC", pathlib.PurePosixPath(name).with_suffix("").as_posix())


def _labels_by_stem(folder):
    """Returns path without suffix → path in the folder, of each label."""
    images, others = scan(folder)
    labels = [name for name in images if name.lower().endswith(SUFFIX)]
    if not labels:
        others.update(pathlib.PurePosixPath(name).suffix.lower() for name in images)
        there = f", but {in_words(others)}" if others else ""
        raise UserError(
            f"{str(folder)!r} holds no labels ({SUFFIX}){there}: class ids have to be in PNGs, "
            "since JPEG changes them"
        )
    return {_stem(name): name for name in labels}


def _student_class(name, groups):
    """Returns the student's class for the name of a label's class, or IGNORED."""
    for one in (name, plain(name)):
        if one == IGNORED or one in groups.groups:
            return one
        for group, members in groups.groups.items():
            if one in members:
                return group
    return BACKGROUND

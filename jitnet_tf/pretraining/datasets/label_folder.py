"""Photographs with a picture of class ids each, in folders, as VOC's and Cityscapes' tools use."""

import io
import json
import pathlib

import cv2
import numpy as np
from PIL import Image

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import BACKGROUND
from jitnet_tf.pretraining.datasets.base import LabeledDataset
from teacher import coco, images
from teacher.detections import Detections

CLASSES = "classes.json"  # as `writers.MaskWriter` leaves it beside its masks
IGNORED = "ignore"  # the name of classes that do not count
IGNORED_ID = 255  # does not count either, whatever its name
# Pillow's modes of images with one channel or a palette; others are colors.
ONE_CHANNEL = ("1", "L", "P")
SIXTEEN_BITS = ("I", "I;16")
# Pillow spreads grey values of few bits over 0…255: raw mode → the step between two ids.
GREY_STEPS = {"L;2": 85, "L;4": 17}


class LabelFolder(LabeledDataset):
    """The photographs of a folder, labelled in another.

    The label of photograph `some/name.jpg` is `some/name.png`: class ids, as grey values or as
    places in a palette, of the photograph's size. Id 255 does not count. Ids have names in
    `classes.json`, {"0": "background", "1": "person", …}, else in `class_names`; by name they are
    classes of the student: its own, or a COCO category in one of its groups. Other names are
    background, but for "ignore", which does not count.

    Loss weights are as for instances, of which each connected part of a class is taken to be one:
    objects of a class that touch share a box, and parts of one object have several.

    Args:
      labels: the folder of the labels.
      folder: that of the photographs; a folder of labels inside it is passed over.
      label_maker: a LabelMaker.
      class_names: names of the ids 0, 1, …, where the labels have no `classes.json`.

    Attributes:
      classes: name of a label's class → the student's class, or "ignore".

    Raises:
      UserError: the ids have no names, none of them is a class of the student, there are no labels
        or photographs, or too many have no label that can be one.
    """

    advice = "check both folders"

    def __init__(self, labels, folder, label_maker, class_names=()):
        super().__init__(labels, folder, label_maker)
        self._labels = pathlib.Path(labels)
        if not self._labels.is_dir():
            raise UserError(f"{self.file!r} is not a folder: give the one that holds the labels")
        if next(self._labels.rglob("*.png"), None) is None:
            raise UserError(f"{self.file!r} holds no labels (.png)")
        self._named = _names(self._labels, class_names)
        groups = label_maker.groups
        self.classes = {name: _student_class(name, groups) for name in self._named.values()}
        found = set(self.classes.values())
        if not found & set(groups.groups):
            raise UserError(
                f"the labels in {self.file!r} are of none of the classes "
                f"{', '.join(groups.groups)}, but of {', '.join(self.classes)}"
            )
        self.absent = [name for name in groups.groups if name not in found]
        known = {BACKGROUND, IGNORED, *coco.IDS, *groups.groups}
        self.unknown = sorted(name for name in self.classes if name not in known)
        self._class_ids = np.zeros(256, np.uint8)
        self._is_named, self._counts = np.zeros(256, bool), np.zeros(256, bool)
        for number, name in self._named.items():
            is_class = self.classes[name] != IGNORED
            self._class_ids[number] = groups.names.index(self.classes[name]) if is_class else 0
            self._is_named[number], self._counts[number] = True, is_class
        self._is_named[IGNORED_ID] = True
        # An instance has a category; any of a group stands for it.
        self._categories = [0, *(coco.IDS[members[0]] for members in groups.groups.values())]
        self._take(
            [
                {"file_name": name, "label": pathlib.PurePosixPath(name).with_suffix(".png")}
                for name in self._photographs()
            ]
        )

    def _photographs(self):
        root, labels = self._folder.resolve(), self._labels.resolve()
        names = images.names(self._folder)
        if labels.is_relative_to(root):
            names = [name for name in names if not (root / name).is_relative_to(labels)]
        if not names:
            raise UserError(
                f"{str(self._folder)!r} holds no photographs but the labels: give each a folder"
            )
        return names

    def identity(self):
        """See `LabeledDataset`. Labels go by file size: reading them all would take long."""
        sizes = [(self._labels / image["label"]).stat().st_size for image in self._images]
        return json.dumps([sorted(self._named.items()), sizes]).encode()

    def _missing(self, image, path):
        label = self._labels / image["label"]
        try:
            with open(label, "rb") as file:
                _open_ids(file)
        except FileNotFoundError:
            return f"without a label {label}"
        except OSError as error:
            return f"its label {label}: {error.strerror}"
        except ValueError as error:
            return f"its label {label}: {error}"
        return super()._missing(image, path)

    def _read(self, image, path):
        label = self._labels / image["label"]
        try:
            ids = read_ids(label)
            if unnamed := sorted(set(np.unique(ids)) - set(np.flatnonzero(self._is_named))):
                raise ValueError(f"class id {unnamed[0]} has no name")
        except ValueError as error:
            raise images.UnreadableError(f"{label} ({error})") from None
        frame = images.read(path, ids.shape)
        labels = self._class_ids[ids]
        weights = self._label_maker.weights(self._parts(labels), ids.shape)
        weights[~self._counts[ids]] = 0
        return frame, labels, weights

    def _parts(self, labels):
        """The connected parts of classes as Detections, by their boxes alone."""
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
    """Class id → name."""
    path = labels / CLASSES
    if not path.exists():
        if not given:
            raise UserError(
                f"{str(labels)!r} has no {CLASSES}: name the classes by --label_classes, separated "
                "by commas, in the order of their ids"
            )
        names, where = dict(enumerate(given)), f"--label_classes={','.join(given)}"
    elif given:
        raise UserError(f"{str(path)!r} names the classes: leave --label_classes out")
    else:
        where = repr(str(path))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = {int(number): name for number, name in content.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f'{where} is not {{"0": "background", …}} ({error})') from None
    for number, name in names.items():
        if not (0 <= number < IGNORED_ID and isinstance(name, str) and name.strip()):
            raise UserError(f"{where}: {number} → {name!r} is not a name of a class id 0…254")
    return {number: name.strip() for number, name in names.items()}


def _student_class(name, groups):
    """A class of the student by the name of a label's, or IGNORED."""
    if name == IGNORED or name in groups.groups:
        return name
    return next((g for g, members in groups.groups.items() if name in members), BACKGROUND)


def read_ids(path):
    """Reads the class ids in a PNG: its grey values or the indices of its palette, uint8 [H, W].

    Raises:
      ValueError: the file is not such a PNG, or damaged.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from None
    image = _open_ids(io.BytesIO(data))
    try:
        step = GREY_STEPS.get(image.tile[0][3], 1)
        image.verify()  # checksums, which decoding ignores; the image cannot be decoded after it
        ids = np.asarray(_open_ids(io.BytesIO(data)), np.uint8)
    except Exception:  # Pillow raises many kinds for damaged files
        raise ValueError("damaged") from None
    return ids // step


def _open_ids(file):
    """Opens a PNG of class ids, reading only its header; ValueError if it is something else."""
    try:
        image = Image.open(file, formats=["PNG"])
    except Exception:  # Pillow raises many kinds for damaged files
        raise ValueError("not a PNG, or damaged") from None
    if image.mode in SIXTEEN_BITS:
        raise ValueError("16 bits a pixel, but class ids have at most 8")
    if image.mode not in ONE_CHANNEL:
        raise ValueError("a color image, not class ids in one channel or a palette")
    return image

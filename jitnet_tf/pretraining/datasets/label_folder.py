"""Images with labels as PNGs of class ids, as VOC's and Cityscapes' tools write them."""

import io
import json
import pathlib

import cv2
import numpy as np
from PIL import Image

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import BACKGROUND
from jitnet_tf.pretraining.datasets.base import LabeledDataset
from teacher import coco
from teacher.detections import Detections
from teacher.images import UnreadableError, list_images, read_image

CLASSES = "classes.json"  # `sinks.writers.MaskWriter` writes it beside its masks
IGNORED = "ignore"  # the name of classes without loss
IGNORED_ID = 255  # always without loss
# Pillow's modes of images with one channel or a palette; others are colors.
ONE_CHANNEL = ("1", "L", "P")
SIXTEEN_BITS = ("I", "I;16")
# Pillow spreads gray values of few bits over 0…255: raw mode → the step between two ids.
GRAY_STEPS = {"L;2": 85, "L;4": 17}


class LabelFolder(LabeledDataset):
    """The images of one folder with the labels of another.

    The label of image `some/name.jpg` is `some/name.png`, of the image's size: class ids, as gray
    values or as indices of a palette. Pixels of id 255 have loss weight 0. Ids have names in
    `classes.json`, {"0": "background", "1": "person", …}, or else in `class_names`. A name is a
    class of the student, a COCO category in one of its groups, or "ignore", for weight 0; other
    names are background.

    Loss weights are computed as for detections, with each connected region of a class as one: the
    label does not separate objects of a class that touch.

    Args:
      labels: the folder of the labels.
      folder: the folder of the images; if the labels are inside it, they are no images.
      label_maker: a LabelMaker.
      class_names: names of the ids 0, 1, …, for labels without a `classes.json`.

    Attributes:
      classes: name in the labels → class of the student, or "ignore".

    Raises:
      UserError: the ids have no names, no name is a class of the student, there are no labels or
        images, or too many images lack a valid label.
    """

    advice = "check both folders"

    def __init__(self, labels, folder, label_maker, class_names=()):
        super().__init__(labels, folder, label_maker)
        self._labels = pathlib.Path(labels)
        if not self._labels.is_dir():
            raise UserError(f"{self.file!r} is not a folder: give the folder of the labels")
        if next(self._labels.rglob("*.png"), None) is None:
            raise UserError(f"{self.file!r} holds no labels (.png)")
        self._named = _names(self._labels, class_names)
        self._set_classes(label_maker.groups)
        self._set_images(
            [
                {"file_name": name, "label": pathlib.PurePosixPath(name).with_suffix(".png")}
                for name in self._list_images()
            ]
        )

    def _set_classes(self, groups):
        """Maps the labels' classes to the student's, and builds the tables by id for `_read`."""
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
        self._is_named, self._has_loss = np.zeros(256, bool), np.zeros(256, bool)
        for number, name in self._named.items():
            has_loss = self.classes[name] != IGNORED
            self._class_ids[number] = groups.names.index(self.classes[name]) if has_loss else 0
            self._is_named[number], self._has_loss[number] = True, has_loss
        self._is_named[IGNORED_ID] = True
        # A detection has a COCO category; any of a group serves for its class.
        self._categories = [0, *(coco.IDS[members[0]] for members in groups.groups.values())]

    def _list_images(self):
        root, labels = self._folder.resolve(), self._labels.resolve()
        names = list_images(self._folder)
        if labels.is_relative_to(root):
            names = [name for name in names if not (root / name).is_relative_to(labels)]
        if not names:
            raise UserError(
                f"{str(self._folder)!r} holds no images but the labels: give each a folder"
            )
        return names

    def identity(self):
        """Returns the classes and the sizes of the label files: reading them all would be slow."""
        sizes = [(self._labels / image["label"]).stat().st_size for image in self._images]
        return json.dumps([sorted(self._named.items()), sizes]).encode()

    def _problem(self, image, path):
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
        return super()._problem(image, path)

    def _read(self, image, path):
        label = self._labels / image["label"]
        try:
            ids = read_ids(label)
            if unnamed := sorted(set(np.unique(ids)) - set(np.flatnonzero(self._is_named))):
                raise ValueError(f"class id {unnamed[0]} has no name")
        except ValueError as error:
            raise UnreadableError(f"{label} ({error})") from None
        frame = read_image(path, ids.shape)
        labels = self._class_ids[ids]
        weights = self._label_maker.weights(self._regions(labels), ids.shape)
        weights[~self._has_loss[ids]] = 0
        return frame, labels, weights

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
    """Returns the student's class for the name of a label's class, or IGNORED."""
    if name == IGNORED or name in groups.groups:
        return name
    return next((g for g, members in groups.groups.items() if name in members), BACKGROUND)


def read_ids(path):
    """Reads the class ids in a PNG: its gray values or the indices of its palette, uint8 [H, W].

    Raises:
      ValueError: the file is not such a PNG, or damaged.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from None
    image = _open_ids(io.BytesIO(data))
    try:
        step = GRAY_STEPS.get(image.tile[0][3], 1)
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

"""Photographs with a picture of class ids each, in folders, as VOC's and Cityscapes' tools use."""

import io
import json
import pathlib
import struct
import zlib

import av
import cv2
import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import BACKGROUND
from jitnet_tf.pretraining.datasets.base import LabeledDataset
from teacher import coco, images
from teacher.detections import Detections

CLASSES = "classes.json"  # as `writers.MaskWriter` leaves it beside its masks
IGNORED = "ignore"  # the name of classes that do not count
IGNORED_ID = 255  # does not count either, whatever its name
HEADER = struct.Struct(">8s8xIIBB")  # of a PNG: signature, width, height, bits, kind of colors
LENGTH = struct.Struct(">I")  # of what each of its parts holds
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3


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
                _header(file.read(HEADER.size))
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


def _header(data):
    """Bits and kind of a PNG of class ids; ValueError where it can hold none."""
    if len(data) < HEADER.size:
        raise ValueError("no PNG")
    signature, _, _, bits, kind = HEADER.unpack_from(data)
    if signature != SIGNATURE:
        raise ValueError("no PNG")
    if kind not in (GREY, PALETTE):
        raise ValueError("a color picture, not class ids in one channel or a palette")
    if bits > 8:
        raise ValueError(f"{bits} bits a pixel, where class ids have at most 8")
    return bits, kind


def _check_sums(data):
    """ValueError where a PNG's part is not what its checksum says: FFmpeg does not look at it."""
    place, name = len(SIGNATURE), b""
    while place < len(data) and name != b"IEND":
        (length,) = LENGTH.unpack_from(data.ljust(place + LENGTH.size, b"\0"), place)
        start = place + LENGTH.size
        name, end = data[start : start + 4], start + 4 + length
        found = zlib.crc32(data[start:end]).to_bytes(4, "big")
        if data[end : end + 4] != found:
            raise ValueError("damaged")
        place = end + 4


def read_ids(path):
    """The class ids in a PNG, uint8 [H, W]: its grey values or, with a palette, the places in it.

    Raises:
      ValueError: it is no such PNG, or damaged.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ValueError(error.strerror) from None
    bits, kind = _header(data.tobytes()[: HEADER.size])
    if kind == PALETTE:  # in which OpenCV sees nothing but colors
        _check_sums(data.tobytes())
        try:
            with av.open(io.BytesIO(data.tobytes())) as container:
                return next(container.decode(video=0)).to_ndarray()[0]
        except (av.FFmpegError, StopIteration, IndexError):
            raise ValueError("damaged") from None
    try:
        grey = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        grey = None
    if grey is None or grey.ndim != 2:
        raise ValueError("damaged")
    return grey // (255 // (2**bits - 1))  # which OpenCV spreads over 0…255

"""Data sets of frames and class maps, in the formats of other tools."""

import json
from typing import Protocol

import cv2
import numpy as np

from jitnet_tf.labels import coco, yolo
from jitnet_tf.labels.masks import CLASSES

IMAGES, LABELS = "images", "labels"  # folders of a data set
QUALITY = 95  # of the JPEGs; frames have been compressed before
UNKNOWN = 255  # class id of pixels without a class, as `pretrain --labels` takes it


class Format(Protocol):
    """Writes the labels of a data set; derive from it for what formats have in common.

    Args:
      folder: the data set's, which exists.
      class_names: background first.
      ignored: the region in which no class is known, bool [H, W]; None without one.

    Attributes:
      objects: number of objects so far; None in a format of pixels.
      notes: what the user has to know, a sentence each.
    """

    objects: int | None = 0

    def __init__(self, folder, class_names, ignored=None):
        self._folder, self._names, self._ignored = folder, class_names, ignored
        self.notes = []

    def add(self, index, name, class_map):
        """Writes the labels of a frame. name: of its files, without suffix."""

    def finish(self):
        """Writes what belongs to the whole data set."""


class Coco(Format):
    """annotations.json in COCO's format; the region is a crowd of each class."""

    def __init__(self, folder, class_names, ignored=None):
        super().__init__(folder, class_names, ignored)
        self._images = []
        self._crowds = [] if ignored is None else coco.crowds(ignored, class_names)

    def add(self, index, name, class_map):
        """Takes the regions of a class map."""
        height, width = class_map.shape
        image = {"id": index, "file_name": f"{name}.jpg", "height": height, "width": width}
        rows = coco.annotations(class_map)
        self.objects += len(rows)
        self._images.append((image, [*rows, *self._crowds]))

    def finish(self):
        """Writes the annotations."""
        content = json.dumps(coco.data_set(self._names, self._images))
        (self._folder / "annotations.json").write_text(content + "\n", encoding="utf-8")


class Yolo(Format):
    """labels/NAME.txt with polygons, and data.yaml, as Ultralytics' YOLO reads them."""

    def __init__(self, folder, class_names, ignored=None):
        super().__init__(folder, class_names, ignored)
        (folder / LABELS).mkdir()
        self._lost = yolo.Lost()

    def add(self, index, name, class_map):
        """Writes the polygons of a class map."""
        text = yolo.lines(class_map, self._lost)
        self.objects += text.count("\n")
        (self._folder / LABELS / f"{name}.txt").write_text(text, encoding="utf-8")

    def finish(self):
        """Writes the names of the classes."""
        text = yolo.data_yaml(self._names)
        (self._folder / "data.yaml").write_text(text, encoding="utf-8")
        self.notes += self._lost.sentences()
        if self._ignored is not None:
            self.notes.append(
                "the format has no regions without a class: where --ignore_mask is, the images "
                "are background"
            )


class Png(Format):
    """labels/NAME.png with class ids, 255 in the region, and labels/classes.json."""

    objects = None

    def __init__(self, folder, class_names, ignored=None):
        super().__init__(folder, class_names, ignored)
        (folder / LABELS).mkdir()

    def add(self, index, name, class_map):
        """Writes a class map."""
        if self._ignored is not None:
            class_map = np.where(self._ignored, np.uint8(UNKNOWN), class_map)
        content = cv2.imencode(".png", class_map)[1]
        (self._folder / LABELS / f"{name}.png").write_bytes(content)

    def finish(self):
        """Writes the names of the classes."""
        text = json.dumps(dict(enumerate(self._names)), indent=1) + "\n"
        (self._folder / LABELS / CLASSES).write_text(text, encoding="utf-8")


FORMATS = {"coco": Coco, "yolo": Yolo, "png": Png}


def write_image(folder, name, frame):
    """Writes a frame, uint8 RGB [H, W, 3], as an image of a data set."""
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    (folder / IMAGES / f"{name}.jpg").write_bytes(content)

"""Photographs with instances in COCO's format, as what a student is trained on."""

import contextlib
import io
import math
import pathlib

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from jitnet_tf.base.errors import UserError
from jitnet_tf.pretraining.datasets.base import LabeledDataset
from teacher import coco, images
from teacher.detections import Detections
from teacher.encoding import decode_mask
from teacher.images import UNREAD

MAX_REACH = 10  # times the picture's longer side, of polygons: some do reach outside


class CocoDataset(LabeledDataset):
    """The photographs of one annotation file.

    Annotations of categories in no group are left out, as they are online. Weights are 0 in regions
    that are annotated as a crowd.

    Args:
      file: annotations, JSON in the format of COCO's instances_*.json.
      folder: of the photographs that they name.
      label_maker: a LabelMaker; annotations without a score count as certain.

    `lost` has what `teacher.annotate` could not read, too.

    Raises:
      UserError: the file is not in COCO's format, nothing in it is of any group, or too many
        photographs are missing.
    """

    def __init__(self, file, folder, label_maker):
        super().__init__(file, folder, label_maker)
        data = _load(file)
        try:
            images = self._parse(data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(
                f"annotation file {self.file!r} is not in COCO's instances format "
                f"({type(error).__name__}: {error})"
            ) from error
        self._take(images)

    def _parse(self, data):
        images = sorted(data.loadImgs(data.getImgIds()), key=lambda image: image["id"])
        for image in images:
            image["height"], image["width"] = int(image["height"]), int(image["width"])
            image["file_name"] = str(image["file_name"])
        if not images:
            raise ValueError("no images")
        for name, problem in data.dataset.get(UNREAD, {}).items():
            self.lost[name] = str(problem)
        names = {number: category["name"] for number, category in data.cats.items()}
        self.unknown = sorted(set(names.values()) - set(coco.IDS))
        class_ids = self._label_maker.groups.class_ids()
        ids = {
            number: coco.IDS[name]
            for number, name in names.items()
            if name in coco.IDS and class_ids[coco.IDS[name]]
        }
        self._annotations = {}
        found = set()
        for image in images:
            rows = []
            for row in data.imgToAnns.get(image["id"], ()):
                if row["category_id"] in ids and row.get("segmentation"):
                    number = ids[row["category_id"]]
                    found.add(class_ids[number])
                    rows.append(
                        (
                            number,
                            row["segmentation"],
                            _box(row["bbox"]),
                            float(row.get("score", 1.0)),
                            bool(row.get("iscrowd", 0)),
                        )
                    )
            self._annotations[image["id"]] = rows
        classes = self._label_maker.groups.names
        if not found:
            raise UserError(
                f"annotation file {self.file!r} holds no mask of any of the classes "
                f"{', '.join(classes[1:])}: choose other --class_groups, or labels of these"
            )
        self.absent = [name for i, name in enumerate(classes) if i and i not in found]
        return images

    def identity(self):
        """See `LabeledDataset`."""
        return pathlib.Path(self.file).read_bytes()

    def _read(self, image, path):
        size = (image["height"], image["width"])
        frame = images.read(path, size)
        try:
            labels, weights = self._targets(self._annotations[image["id"]], size)
        except ValueError as error:
            raise images.UnreadableError(f"{path} ({error})") from None
        return frame, labels, weights

    def _targets(self, rows, size):
        objects = [row for row in rows if not row[4]]
        masks = [decode(row[1], size) for row in objects]
        H, W = size
        x, y, w, h = np.reshape([row[2] for row in objects], (-1, 4)).T
        detections = Detections(
            (np.stack([y, x, y + h, x + w], axis=1) / (H, W, H, W)).astype(np.float32),
            np.array([row[0] for row in objects], np.int32),
            np.array([row[3] for row in objects], np.float32),
            tuple(mask for mask, _ in masks),
            np.array([origin for _, origin in masks], np.int32).reshape(-1, 2),
        )
        labels = self._label_maker.labels(detections, size)
        weights = self._label_maker.weights(detections, size)
        for row in rows:
            if row[4]:
                mask, (y, x) = decode(row[1], size)
                window = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
                weights[window][mask & (labels[window] == 0)] = 0
        return labels, weights


def _load(file):
    path = pathlib.Path(file)
    if not path.is_file():
        raise UserError(f"annotation file {str(file)!r} does not exist")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how long it took
            data = COCO(str(path))
        if not all(isinstance(data.dataset.get(part), list) for part in ("images", "categories")):
            raise ValueError("no images or no categories")
    except Exception as error:  # of many kinds, for one user-visible fact
        raise UserError(
            f"annotation file {str(file)!r} is not in COCO's instances format "
            f"({type(error).__name__}: {error})"
        ) from error
    return data


def _box(numbers):
    """A box as (x, y, width, height); ValueError where it is not four finite numbers."""
    box = tuple(map(float, numbers))
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"a box {numbers}")
    return box


def decode(segmentation, size):
    """An annotation's mask: (boolean array, (y, x) of its first pixel), cut to what it covers.

    segmentation: polygons, or run lengths as numbers or as pycocotools' text, of a picture of size
      (H, W).

    Raises:
      ValueError: it is of another size, or nothing that COCO's format knows.
    """
    try:
        if isinstance(segmentation, list):
            rle = _fill(segmentation, size)
        elif tuple(segmentation["size"]) != tuple(size):
            raise ValueError("a mask of another size")
        elif isinstance(segmentation["counts"], list):
            rle = _pack(segmentation)
        else:
            rle = segmentation
        mask = _unpack(rle)
        x, y, w, h = coco_mask.toBbox(rle).astype(int)
    except Exception as error:  # pycocotools raises even Exception itself
        raise ValueError(f"annotation: {error}") from None
    return mask[y : y + h, x : x + w].astype(bool), (y, x)


# pycocotools reads and writes past its memory, or leaves it as it was, where polygons or run
# lengths are none. What follows lets only such through as are, and raises anything for others.


def _fill(polygons, size):
    """Polygons, [x, y, x, y, …] each, as run lengths."""
    polygons = [np.array(polygon, np.float64) for polygon in polygons]
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) % 2:
            raise ValueError("a polygon with half a corner")
        if not (np.abs(polygon) <= MAX_REACH * max(size)).all():
            raise ValueError("a polygon far outside")
    # Points and lines cover nothing, and four numbers would be taken for a box.
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return coco_mask.encode(np.zeros(size, np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def _pack(segmentation):
    """Run lengths that are numbers as packed ones."""
    H, W = segmentation["size"]
    counts = np.array(segmentation["counts"])
    if counts.dtype.kind != "i" or counts.min() < 0 or counts.sum() != H * W:
        raise ValueError("run lengths that do not cover the picture")
    return coco_mask.frPyObjects(segmentation, H, W)


def _unpack(rle):
    """Packed run lengths as a mask, [H, W]: from a file, of any text; else what is packed here."""
    if isinstance(rle["counts"], str):
        return decode_mask(rle["size"], rle["counts"])
    return coco_mask.decode(rle)

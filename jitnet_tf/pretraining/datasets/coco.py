"""Images with instances in COCO's format."""

import contextlib
import io
import math
import pathlib
import typing

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from jitnet_tf.base.errors import UserError
from jitnet_tf.pretraining.datasets.base import LabeledDataset
from teacher import coco
from teacher.detections import Detections
from teacher.encoding import decode_mask
from teacher.images import UNREAD, UnreadableError, read_image

# Polygons may reach outside the image, but not further than this many times its longer side.
MAX_REACH = 10


class Annotation(typing.NamedTuple):
    """One annotated object, or a crowd of them.

    Attributes:
      category: COCO's category id.
      segmentation: see `decode`.
      box: (x, y, width, height), pixels.
      score: 1 unless a teacher made the annotation.
      is_crowd: True for a region of many objects.
    """

    category: int
    segmentation: typing.Any
    box: tuple[float, float, float, float]
    score: float
    is_crowd: bool


class CocoDataset(LabeledDataset):
    """The images of one annotation file.

    Annotations of categories in no class group are ignored, as detections are online. Weights are
    0 in regions that are annotated as a crowd.

    Args:
      file: annotations, JSON in the format of COCO's instances_*.json.
      folder: the folder of the images that they name.
      label_maker: a LabelMaker; annotations without a score have score 1.

    `unreadable` also has the images that `teacher.annotate` could not read.

    Raises:
      UserError: the file is not in COCO's format, it has no mask of any class group, or too many
        images are missing.
    """

    def __init__(self, file, folder, label_maker):
        super().__init__(file, folder, label_maker)
        try:
            data = _load(file)
            images = self._parse_images(data)
            self._parse_annotations(data, images)
        except UserError:
            raise
        except Exception as error:  # pycocotools raises many kinds for files that are not COCO's
            raise UserError(
                f"annotation file {self.file!r} is not in COCO's instances format "
                f"({type(error).__name__}: {error})"
            ) from error
        self._check_classes()
        self._set_images(images)

    def _parse_images(self, data):
        """Returns the file's images, ordered by id; notes those that were unreadable before."""
        images = sorted(data.loadImgs(data.getImgIds()), key=lambda image: image["id"])
        for image in images:
            image["height"], image["width"] = int(image["height"]), int(image["width"])
            image["file_name"] = str(image["file_name"])
        if not images:
            raise ValueError("no images")
        for name, problem in data.dataset.get(UNREAD, {}).items():
            self.unreadable[name] = str(problem)
        return images

    def _parse_annotations(self, data, images):
        """Sets `_annotations`: image id → Annotations of the categories in class groups."""
        names = {number: category["name"] for number, category in data.cats.items()}
        self.unknown = sorted(set(names.values()) - set(coco.IDS))
        class_ids = self._label_maker.groups.class_ids()
        # The file's category ids may differ from COCO's: categories are matched by name.
        categories = {
            number: coco.IDS[name]
            for number, name in names.items()
            if name in coco.IDS and class_ids[coco.IDS[name]]
        }
        self._annotations = {
            image["id"]: [
                _annotation(row, categories[row["category_id"]])
                for row in data.imgToAnns.get(image["id"], ())
                if row["category_id"] in categories and row.get("segmentation")
            ]
            for image in images
        }

    def _check_classes(self):
        """Sets `absent`; raises UserError if there is no annotation of any class."""
        class_ids = self._label_maker.groups.class_ids()
        found = {class_ids[one.category] for rows in self._annotations.values() for one in rows}
        classes = self._label_maker.groups.names
        if not found:
            raise UserError(
                f"annotation file {self.file!r} has no mask of any of the classes "
                f"{', '.join(classes[1:])}: choose other --class_groups, or labels of these"
            )
        self.absent = [name for i, name in enumerate(classes) if i and i not in found]

    def identity(self):
        """Returns the annotation file's content."""
        return pathlib.Path(self.file).read_bytes()

    def _read(self, image, path):
        size = (image["height"], image["width"])
        frame = read_image(path, size)
        try:
            labels, weights = self._targets(self._annotations[image["id"]], size)
        except ValueError as error:
            raise UnreadableError(f"{path} ({error})") from None
        return frame, labels, weights

    def _targets(self, annotations, size):
        """Returns labels and loss weights [H, W]; ValueError for an invalid mask."""
        detections = _detections([one for one in annotations if not one.is_crowd], size)
        labels = self._label_maker.labels(detections, size)
        weights = self._label_maker.weights(detections, size)
        for one in annotations:
            if one.is_crowd:
                mask, (y, x) = decode(one.segmentation, size)
                window = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
                weights[window][mask & (labels[window] == 0)] = 0
        return labels, weights


def _load(file):
    """Reads an annotation file by pycocotools; raises any error if it is not in COCO's format."""
    if not pathlib.Path(file).is_file():
        raise UserError(f"annotation file {str(file)!r} does not exist")
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints its loading time
        data = COCO(str(file))
    if not all(isinstance(data.dataset.get(part), list) for part in ("images", "categories")):
        raise ValueError("no images or no categories")
    return data


def _annotation(row, category):
    """An Annotation from a row of the file; raises ValueError, TypeError or KeyError."""
    box = tuple(map(float, row["bbox"]))
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"invalid box {row['bbox']}")
    score, is_crowd = float(row.get("score", 1.0)), bool(row.get("iscrowd", 0))
    return Annotation(category, row["segmentation"], box, score, is_crowd)


def _detections(annotations, size):
    """Annotations as Detections on an image of size (H, W); ValueError for an invalid mask."""
    masks = [decode(one.segmentation, size) for one in annotations]
    H, W = size
    x, y, w, h = np.reshape([one.box for one in annotations], (-1, 4)).T
    return Detections(
        (np.stack([y, x, y + h, x + w], axis=1) / (H, W, H, W)).astype(np.float32),
        np.array([one.category for one in annotations], np.int32),
        np.array([one.score for one in annotations], np.float32),
        tuple(mask for mask, _ in masks),
        np.array([origin for _, origin in masks], np.int32).reshape(-1, 2),
    )


def decode(segmentation, size):
    """Decodes an annotation's mask, cropped to the pixels that it covers.

    Args:
      segmentation: polygons, or run lengths as numbers or in pycocotools' text encoding.
      size: (H, W) of the image.

    Returns:
      (bool [h, w], (y, x) of its first pixel).

    Raises:
      ValueError: the mask is of another size, or not in COCO's format.
    """
    try:
        if isinstance(segmentation, list):
            rle = _fill(segmentation, size)
        elif tuple(segmentation["size"]) != tuple(size):
            raise ValueError("a mask of another size")
        elif isinstance(segmentation["counts"], list):
            rle = _compress(segmentation)
        else:
            rle = segmentation
        mask = _uncompress(rle)
        x, y, w, h = coco_mask.toBbox(rle).astype(int)
    except Exception as error:  # pycocotools raises even Exception itself
        raise ValueError(f"annotation: {error}") from None
    return mask[y : y + h, x : x + w].astype(bool), (y, x)


# Given invalid polygons or run lengths, pycocotools reads and writes outside its memory or leaves
# memory uninitialized. The functions below pass only valid ones on, and raise for others.


def _fill(polygons, size):
    """Polygons, [x, y, x, y, …] each, as compressed run lengths."""
    polygons = [np.array(polygon, np.float64) for polygon in polygons]
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) % 2:
            raise ValueError("a polygon with half a corner")
        if not (np.abs(polygon) <= MAX_REACH * max(size)).all():
            raise ValueError("a polygon far outside")
    # Points and lines cover no pixel, and pycocotools takes four numbers for a box.
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return coco_mask.encode(np.zeros(size, np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def _compress(segmentation):
    """Run lengths given as numbers, as compressed ones."""
    H, W = segmentation["size"]
    counts = np.array(segmentation["counts"])
    if counts.dtype.kind != "i" or counts.min() < 0 or counts.sum() != H * W:
        raise ValueError("run lengths that do not cover the image")
    return coco_mask.frPyObjects(segmentation, H, W)


def _uncompress(rle):
    """Compressed run lengths as a mask [H, W]. Text comes from a file and may be invalid."""
    if isinstance(rle["counts"], str):
        return decode_mask(rle["size"], rle["counts"])
    return coco_mask.decode(rle)

"""Images with instances in COCO's format."""

import collections
import pathlib

import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels.coco import CLASSES
from jitnet_tf.pretraining.datasets import coco_annotations
from jitnet_tf.pretraining.datasets.base import LabeledDataset
from jitnet_tf.pretraining.datasets.coco_annotations import decode
from teacher.class_names import NO_CLASS, meanings, plain
from teacher.detections import Detections
from teacher.images import (
    NOTES,
    UNREAD,
    UnreadableError,
    passed_over,
    read_image,
    scan,
    written_otherwise,
)

PARTS = ("images", "annotations", "categories")
# Boxes and masks with a lower IoU do not belong together.
MIN_BOX_IOU = 0.2
# Remarks on images.
EMPTY_MASKS = "with masks that cover no pixel: nothing is learned inside their boxes"
FOREIGN_BOXES = (
    "with boxes that are not about their masks (bbox has to be x, y, width, height, and all in "
    "pixels): the loss is weighted inside them all the same"
)


class CocoDataset(LabeledDataset):
    """The images of one annotation file.

    Annotations of categories in no class group are ignored, as detections are online. Weights are
    0 in regions that are annotated as a crowd, and in boxes of objects without a mask.

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
        self._doubts = []  # texts on annotations that do not count
        try:
            data = _load(file)
            images, by_id = self._parse_images(data)
            self._parse_annotations(data, by_id)
        except UserError:
            raise
        except Exception as error:  # of many kinds for files that are not COCO's
            raise UserError(
                f"annotation file {self.file!r} is not in COCO's instances format "
                f"({type(error).__name__}: {error})"
            ) from error
        self._check_classes()
        self._set_images(images)
        self._note_others(images)

    def _parse_images(self, data):
        """Returns the file's images, ordered by id, and those by each of their ids.

        Notes those that were unreadable before.
        """
        by_id, by_name = {}, {}
        there = written_otherwise(self._folder, [str(row["file_name"]) for row in data["images"]])
        for row in data["images"]:
            name = str(row["file_name"])
            image = {"id": row["id"], "file_name": there.get(name, name)}
            image["height"], image["width"] = int(row["height"]), int(row["width"])
            if min(image["height"], image["width"]) < 1:
                raise ValueError(f"an image of {image['height']}×{image['width']} pixels")
            first = by_name.setdefault(image["file_name"], image)
            if by_id.setdefault(image["id"], first) is not first:
                raise ValueError(f"two images with the id {image['id']!r}")
            if any(first[side] != image[side] for side in ("height", "width")):
                raise ValueError(f"two sizes of the image {image['file_name']!r}")
        if not by_name:
            raise ValueError("no images")
        if more := len(data["images"]) - len(by_name):
            self._doubts.append(f"{more} images are listed twice: their annotations are joined")
        for name, problem in data.get(UNREAD, {}).items():
            self.unreadable[name] = str(problem)
        self.notes += [f"{self.file}: {note}" for note in data.get(NOTES, [])]
        return sorted(by_name.values(), key=lambda image: image["id"]), by_id

    def _parse_annotations(self, data, by_id):
        """Sets `_annotations`: image id → Annotations of the categories in class groups."""
        named = _categories(data)
        class_ids = self._label_maker.class_ids
        # The file's category ids may differ from COCO's: categories are matched by name.
        origin = is_teachers(data), is_of_classes(data)
        known = {number: self._category(name, *origin) for number, name in named.items()}
        self._annotations = {image["id"]: [] for image in by_id.values()}
        counts, bare = collections.Counter(), set(self._annotations)
        doubts = collections.Counter()
        for row in data["annotations"]:
            image, category = by_id.get(row["image_id"]), row["category_id"]
            if image is None:
                doubts["of images that the file does not list"] += 1
                continue
            bare.discard(image["id"])
            if category not in named:
                doubts["of categories that the file does not name"] += 1
                continue
            counts[category] += 1
            if known[category] is not None and class_ids[known[category]]:
                try:
                    one = coco_annotations.parse(row, known[category])
                except (ValueError, TypeError, KeyError) as error:
                    raise ValueError(f"annotation {row.get('id')!r}: {error!r}") from error
                self._annotations[image["id"]].append(one)
        self._doubts += [f"{count} annotations are {what}" for what, count in doubts.items()]
        if bare and UNREAD not in data:  # a teacher looked at every image
            self._doubts.append(
                f"{len(bare)} of {len(self._annotations)} images have no annotation: all of them "
                "is background"
            )
        self._add_doubts_of_objects()
        self.found = [(name, number, counts[number]) for number, name in named.items()]
        self.categories = sorted(set(named.values()))
        unknown = {named[number] for number in known if known[number] is None}
        self.unknown = sorted(name for name in unknown if plain(name) not in NO_CLASS)

    def _category(self, name, by_teacher, of_classes):
        """Returns the label maker's id of a category, or None.

        Of a teacher's categories also those with another name for the same thing, as online; of a
        student's classes any in the group of their name.
        """
        ids, class_ids = self._label_maker.ids, self._label_maker.class_ids
        groups = self._label_maker.groups
        if of_classes and name in groups.groups:
            return int(np.flatnonzero(class_ids == groups.names.index(name))[0])
        found = [ids[one] for one in meanings(name) if one in ids] if by_teacher else []
        grouped = [number for number in found if class_ids[number]]
        return (grouped or found or [ids.get(plain(name))])[0]

    def _add_doubts_of_objects(self):
        rows = [one for rows in self._annotations.values() for one in rows]
        threshold = self._label_maker.score_threshold
        boxes = sum(one.segmentation is None for one in rows)
        small = sum(one.segmentation is None and min(one.box[2:]) < 1 for one in rows)
        faint = sum(not one.score >= threshold for one in rows)
        crowds = sum(one.is_crowd for one in rows)
        if boxes:
            self._doubts.append(
                f"{boxes} of {len(rows)} objects have a box and no mask: nothing is learned inside "
                "these boxes"
            )
        if small:
            self._doubts.append(
                f"{small} of these boxes are smaller than a pixel (bbox has to be x, y, width, "
                "height in pixels): such objects are background"
            )
        if rows and crowds == len(rows):
            self._doubts.append("all objects are crowds (iscrowd): crowds are not learned")
        if rows and faint == len(rows):
            self._doubts.append(f"all objects have scores below --score_threshold={threshold}")

    def _check_classes(self):
        """Sets `absent`; raises UserError if there is no mask of any class."""
        class_ids = self._label_maker.class_ids
        masks = [one for rows in self._annotations.values() for one in rows if one.segmentation]
        found = {class_ids[one.category] for one in masks}
        classes = self._label_maker.groups.names
        if not found:
            raise UserError(self.nothing("has no mask"))
        if not any(one.reaches_beyond(1) for one in masks):
            raise UserError(
                f"{self.file!r} has polygons with coordinates from 0 to 1: COCO's are in pixels"
            )
        self.absent = [name for i, name in enumerate(classes) if i and i not in found]

    def doubts(self):
        """Returns texts on annotations that do not count."""
        return self._doubts

    def _note_others(self, images):
        """Notes images in the folder that the file does not list, and files of other kinds."""
        there, _ = scan(self._folder)
        listed = {pathlib.PurePosixPath(image["file_name"]).as_posix() for image in images}
        if others := [name for name in there if name not in listed | set(self.unreadable)]:
            self.notes.append(
                f"{str(self._folder)!r}: {len(others)} images, such as {others[0]}, are not in "
                f"{self.file}: not used"
            )
        if others := passed_over(self._folder):
            self.notes.append(others)

    def identity(self):
        """Returns the annotation file's content."""
        return pathlib.Path(self.file).read_bytes()

    def showing(self, class_id):
        """Returns the numbers of the images with a mask of this class."""
        class_ids = self._label_maker.class_ids
        return [
            number
            for number, image in enumerate(self._images)
            if any(
                one.segmentation and class_ids[one.category] == class_id
                for one in self._annotations[image["id"]]
            )
        ]

    def _read(self, image, path):
        size = (image["height"], image["width"])
        frame = read_image(path, size)
        labels, weights, _ = self._checked_targets(image, path)
        return frame, labels, weights

    def _count(self, image, path):
        labels, weights, remarks = self._checked_targets(image, path)
        return labels.shape, self._bins(labels, weights), remarks

    def _checked_targets(self, image, path):
        size = (image["height"], image["width"])
        try:
            return self._targets(self._annotations[image["id"]], size)
        except ValueError as error:
            raise UnreadableError(f"{path} ({error})") from None

    def _targets(self, annotations, size):
        """Returns labels, loss weights [H, W] and remarks; ValueError for an invalid mask."""
        threshold = self._label_maker.score_threshold
        masked = [one for one in annotations if one.segmentation]
        objects = [one for one in masked if not one.is_crowd]
        detections = _detections(objects, size)
        labels = self._label_maker.labels(detections, size)
        weights = self._label_maker.weights(detections, size)
        empty = [
            one
            for one, mask in zip(objects, detections.masks, strict=True)
            if not mask.size and one.score >= threshold
        ]
        for one in annotations:
            if one.is_crowd and one.segmentation:
                mask, (y, x) = decode(one.segmentation, size)
                window = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
                weights[window][mask & (labels[window] == 0)] = 0
        boxes = [one for one in annotations if not one.segmentation and one.score >= threshold]
        for one in boxes + empty:
            window = one.window(size)
            weights[window][labels[window] == 0] = 0
        remarks = [EMPTY_MASKS] if empty else []
        if any(map(_is_foreign, objects, detections.masks, detections.origins)):
            remarks.append(FOREIGN_BOXES)
        return labels, weights, remarks


def _load(file):
    """Reads an annotation file; raises any error if it is not in COCO's format."""
    path = pathlib.Path(file)
    if not path.is_file():
        raise UserError(f"annotation file {str(file)!r} does not exist")
    # Bytes: UTF-8 or UTF-16, with a byte order mark or without.
    data = {"annotations": [], **files.parse_json(path.read_bytes())}
    for part in PARTS:
        if not isinstance(data.get(part), list):
            raise ValueError(f"no {part}")
    return data


def is_teachers(data):
    """Returns whether an annotation file was written by `teacher.annotate`."""
    info = data.get("info")
    return isinstance(info, dict) and "teacher_sha256" in info


def is_of_classes(data):
    """Returns whether the categories of an annotation file are a student's classes."""
    info = data.get("info")
    return isinstance(info, dict) and CLASSES in info


def _categories(data):
    """Returns category id → name."""
    named = {}
    for category in data["categories"]:
        number, name = category["id"], category["name"]
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is not a category's name")
        if named.setdefault(number, name) != name:
            raise ValueError(f"two categories with the id {number!r}")
    return named


def _is_foreign(annotation, mask, origin):
    """Returns whether an annotation's box is not about its mask. Boxes of teachers are loose."""
    if annotation.score != 1 or not mask.size:
        return False
    x, y, w, h = annotation.box
    (top, left), (height, width) = origin, mask.shape
    rows = min(y + h, top + height) - max(y, top)
    columns = min(x + w, left + width) - max(x, left)
    both = max(rows, 0) * max(columns, 0)
    return both < MIN_BOX_IOU * (w * h + height * width - both)


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

"""Class maps as data sets in COCO's format: each connected region of a class is an object."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

CLASSES = "classes"  # in a file's "info": its categories are a student's classes, by name


def regions(class_map):
    """Yields the connected regions of each class, 8 neighbors: (class id, mask, (y, x)).

    class_map: uint8 [H, W]. A mask is bool [h, w], (y, x) the place of its first pixel in the map.
    """
    for class_id in range(1, int(class_map.max(initial=0)) + 1):
        here = (class_map == class_id).view(np.uint8)
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats(here)
        for number in range(1, count):
            x, y, w, h, _ = boxes[number].tolist()
            yield class_id, numbers[y : y + h, x : x + w] == number, (y, x)


def annotations(class_map):
    """Returns the regions of a class map, uint8 [H, W], as COCO's annotations, without ids."""
    whole = np.zeros(class_map.shape, np.uint8, order="F")
    rows = []
    for class_id, mask, (y, x) in regions(class_map):
        window = whole[y : y + mask.shape[0], x : x + mask.shape[1]]
        window[:] = mask
        rows.append(_annotation(class_id, whole, 0))
        window[:] = 0
    return rows


def crowds(ignored, class_names):
    """Returns annotations by which no class is known in a region: a crowd of each.

    ignored: bool [H, W]. class_names: background first.
    """
    if not ignored.any():
        return []
    whole = np.asfortranarray(ignored, np.uint8)
    return [_annotation(class_id, whole, 1) for class_id in range(1, len(class_names))]


def _annotation(class_id, whole, is_crowd):
    rle = coco_mask.encode(whole)
    return {
        "category_id": class_id,
        "segmentation": {"size": list(whole.shape), "counts": rle["counts"].decode()},
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": int(coco_mask.area(rle)),
        "iscrowd": is_crowd,
    }


def data_set(class_names, images):
    """Returns the content of an annotation file.

    Args:
      class_names: background first.
      images: (image, annotations) of each: an entry of the file's "images", with its id, and rows
        as `annotations` returns them.
    """
    images = list(images)
    rows = [{"image_id": image["id"], **row} for image, of_it in images for row in of_it]
    return {
        "info": {"description": "masks of jitnet_tf", CLASSES: list(class_names)},
        "images": [image for image, _ in images],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, 1)],
        "categories": [
            {"id": class_id, "name": name} for class_id, name in enumerate(class_names) if class_id
        ],
    }

"""Class maps as labels in Ultralytics' format for segmentation: a polygon an object."""

import dataclasses
import json

import cv2
import numpy as np

from jitnet_tf.labels import coco

MIN_CORNERS = 3


@dataclasses.dataclass
class Lost:
    """Counts of what polygons cannot say.

    Attributes:
      filled: pixels of other classes inside objects, whose holes a polygon fills.
      parts, pixels: objects of a line or a point, which have no polygon, and their pixels.
    """

    filled: int = 0
    parts: int = 0
    pixels: int = 0

    def sentences(self):
        """Returns what a user has to know, a sentence each."""
        said = []
        if self.filled:
            said.append(f"polygons have no holes: {self.filled} pixels inside objects are filled")
        if self.parts:
            said.append(
                f"{self.parts} objects that are a line or a point of pixels have no polygon and "
                f"are left out ({self.pixels} pixels)"
            )
        return said


def lines(class_map, lost):
    """Returns the label file of a class map, uint8 [H, W].

    Each line is a class, 0 for the first after background, and x, y of the centers of the pixels
    along the object's edge, as parts of the width and the height.

    lost: the Lost that is added to.
    """
    size = np.array(class_map.shape[::-1])
    text = ""
    for class_id, mask, (y, x) in coco.regions(class_map):
        pixels = mask.astype(np.uint8)
        [edge], _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        area = int(np.count_nonzero(mask))
        if len(edge) < MIN_CORNERS:
            lost.parts, lost.pixels = lost.parts + 1, lost.pixels + area
            continue
        cv2.drawContours(pixels, [edge], 0, 1, cv2.FILLED)
        lost.filled += int(np.count_nonzero(pixels)) - area
        points = (edge.reshape(-1, 2) + np.array([x + 0.5, y + 0.5])) / size
        text += f"{class_id - 1} {' '.join(f'{value:.6f}' for value in points.ravel())}\n"
    return text


def data_yaml(names):
    """Returns data.yaml. names: of the classes, background first."""
    named = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(names[1:]))
    return (
        "# Validation on the images of the training says nothing: give other ones to val.\n"
        f"train: images\nval: images\nnames:\n{named}"
    )

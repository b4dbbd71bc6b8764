"""DAVIS's annotated masks: found, read, and learned from.

A sequence has its frames in DAVIS/JPEGImages/480p/NAME/00000.jpg and so on, and its masks in
DAVIS/Annotations/480p/NAME/00000.png: 0 where there is no object (all objects count as one, as in
DAVIS 2016).
"""

import os
import pathlib

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError
from teacher import coco
from teacher.detections import Detections

FRAMES, ANNOTATIONS, RESOLUTION = "JPEGImages", "Annotations", "480p"
# What learns from one annotation has a third of the online rate, and 32 updates. Of rates .003 and
# .01, 8 to 256 updates, box weights 1 and 5, an object of its own class or of a class new to the
# student, these gave the best mean J (.68; the others .58 to .68) on the very sequences that
# streams/davis_objects.csv lists: the baseline is no weaker than it could be.
LEARNING_RATE = 0.003
UPDATES = 32


def path(video, index):
    """Where the annotation of a frame is; video: the path of the sequence's folder of frames."""
    frames = pathlib.Path(os.path.abspath(video))
    root = frames.parent.parent.parent
    return root / ANNOTATIONS / frames.parent.name / frames.name / f"{index:05d}.png"


def read(video, index, frame_size):
    """The annotated mask of a frame, boolean [H, W]; frame_size: (H, W), what it has to be.

    Raises:
      UserError: there is none, or of another size.
    """
    file = path(video, index)
    if not file.is_file():
        raise UserError(f"there is no annotation {file}: --davis is to be the folder as released")
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise UserError(f"the annotation {file} cannot be read: get it again")
    if mask.shape != tuple(frame_size):
        found, wanted = ("x".join(map(str, size)) for size in (mask.shape, frame_size))
        raise UserError(
            f"the annotation {file} is {found}, the recording's frames are {wanted} (height x "
            "width): record the teacher on the frames that the annotations are of"
        )
    return mask > 0


def instance(mask, category):
    """A mask as what a teacher says of a frame: one object of a category of COCO's, certain.

    mask: boolean [H, W], not empty. Returns Detections.
    """
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return Detections(
        np.float32([[top / height, left / width, bottom / height, right / width]]),
        np.int32([coco.IDS[category]]),
        np.float32([1]),
        (mask[top:bottom, left:right],),
        np.int32([[top, left]]),
    )


def teach(student, frame, mask, category, label_maker, updates, on_step):
    """Trains a student on one frame's annotation: as many updates, as Algorithm 1 makes them.

    Args:
      student: a `student.Student`.
      frame: uint8 RGB [H, W, 3].
      mask: boolean [H, W], not empty.
      category: of COCO's, what to take the object for.
      label_maker: a LabelMaker, which weights the surroundings of the object as it does online.
      updates: how many.
      on_step: called after each.
    """
    objects = instance(mask, category)
    labels = label_maker.labels(objects, mask.shape)
    weights = label_maker.weights(objects, mask.shape)
    for _ in range(updates):
        student.update(frame, labels, weights)
        on_step()

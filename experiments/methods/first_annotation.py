"""The baseline of DAVIS: a student learns the annotation of the first frame, then stays as it is.

A sequence of DAVIS has its frames in DAVIS/JPEGImages/480p/NAME/00000.jpg and so on, and its masks
in DAVIS/Annotations/480p/NAME/00000.png: 0 in the background. All objects count as one, as in
DAVIS 2016.
"""

import dataclasses
import os
import pathlib

import cv2
import numpy as np

from experiments.methods.base import Method, StudentSettings, setting
from experiments.methods.jitnet import FrozenStudent, distiller
from jitnet_tf.base.errors import UserError
from teacher import coco
from teacher.detections import Detections

FRAMES, ANNOTATIONS, RESOLUTION = "JPEGImages", "Annotations", "480p"
# A third of the online rate, and 32 updates. Of rates .003 and .01, 8 to 256 updates, box weights 1
# and 5, an object of its own class or of a class new to the student, these gave the best mean J
# (.68; the others .58 to .68) on the very sequences of streams/davis_objects.csv: the baseline is
# no weaker than it could be.
LEARNING_RATE = 0.003
UPDATES = 32


def path(video, index):
    """Returns the path of a frame's annotation. video: the sequence's folder of frames."""
    frames = pathlib.Path(os.path.abspath(video))
    root = frames.parent.parent.parent
    return root / ANNOTATIONS / frames.parent.name / frames.name / f"{index:05d}.png"


def read(video, index, frame_size):
    """Reads the annotated mask of a frame, boolean [H, W]. frame_size: (H, W), as required.

    Raises:
      UserError: it is missing, unreadable or of another size.
    """
    file = path(video, index)
    if not file.is_file():
        raise UserError(
            f"the annotation {file} is missing: give DAVIS's folder as it was released as --davis"
        )
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise UserError(f"the annotation {file} is unreadable: download it again")
    if mask.shape != tuple(frame_size):
        found, wanted = ("x".join(map(str, size)) for size in (mask.shape, frame_size))
        raise UserError(
            f"the annotation {file} is {found}, the recording's frames are {wanted} (height x "
            "width): record the teacher on the frames that were annotated"
        )
    return mask > 0


def as_detections(mask, category):
    """Returns a mask as a teacher's Detections: one object with score 1.

    mask: boolean [H, W], not empty. category: a name of COCO's.
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


def train(student, frame, mask, category, label_maker, updates, on_step):
    """Trains a student on one annotated frame, with updates as in Algorithm 1.

    Args:
      student: a `student.Student`.
      frame: uint8 RGB [H, W, 3].
      mask: boolean [H, W], not empty.
      category: a name of COCO's: the object's class.
      label_maker: a LabelMaker, which weights the surroundings of the object as it does online.
      updates: how many.
      on_step: called after each.
    """
    detections = as_detections(mask, category)
    labels = label_maker.labels(detections, mask.shape)
    weights = label_maker.weights(detections, mask.shape)
    for _ in range(updates):
        student.update(frame, labels, weights)
        on_step()


@dataclasses.dataclass(frozen=True)
class FirstAnnotationSettings(StudentSettings):
    """Settings of FirstAnnotation."""

    annotation_updates: int = setting(
        UPDATES, "Updates of first_annotation on the first frame.", at_least=1
    )


class FirstAnnotation(Method):
    """A student that learns the annotation of the first frame alone."""

    settings_class = FirstAnnotationSettings
    has_speedup = False
    is_jitnet = True

    def preparation(self, settings, frames):
        """Returns the number of updates on the first frame."""
        return settings.annotation_updates

    def make(self, context):
        """Trains a student on the annotation of the first frame; returns it as a FrozenStudent."""
        stream, label_maker = context.stream, context.label_maker
        student = distiller(context, learning_rate=LEARNING_RATE).student
        with context.open_source() as source:
            frame = next(source)
        train(
            student,
            frame,
            read(stream.video, 0, context.frame_size),
            label_maker.groups.groups[stream.classes[0]][0],
            label_maker,
            context.settings.annotation_updates,
            context.on_step,
        )
        return FrozenStudent(student)

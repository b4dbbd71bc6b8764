"""The hard frames: teacher frames on which the student was worst, for training a better one."""

import json
import pathlib
import re

import cv2
import numpy as np

from jitnet_tf.base import files, pictures
from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.labels import coco
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.disk import disk_errors_as_user_errors, make_writable
from jitnet_tf.sinks.segments import Segments

FOLDER = "hard"  # in the run directory
ANNOTATIONS = "annotations.json"
IMAGES, STUDENT_MASKS, TEACHER_MASKS = "images", "student_masks", "teacher_masks"
PARTS = {IMAGES: ".jpg", STUDENT_MASKS: ".png", TEACHER_MASKS: ".png"}
QUALITY = 95  # of the JPEGs; frames have been compressed before
_NAME = re.compile(r"frame_([0-9]{6,})\.(jpg|png)(\.tmp)?")


class HardFrames(Sink):
    """Keeps the teacher frames of lowest accuracy before update, of equal ones the earlier.

    Frames without an object, in label and prediction, say nothing and are not kept. What the last
    checkpoint refers to is deleted only when the next one is written, so that a killed run goes on
    as if it had not been; until then there are up to twice as many frames on disk.

    Args:
      folder: their folder.
      count: the number of frames kept.
      class_names: background first.
      ignored: the region to ignore, bool [H, W], which the annotations have as crowds; None for
        none.
      segments: the run's Segments, which make room on a full disk.
    """

    name = "hard_frames"

    def __init__(self, folder, count, class_names, ignored=None, segments=None):
        self._segments = segments or Segments()
        self._folder = pathlib.Path(folder)
        self._count, self._class_names = count, tuple(class_names)
        self._crowds = [] if ignored is None else coco.crowds(ignored, class_names)
        self._kept = {}  # frame index → accuracy
        self._rows = {}  # frame index → (height, width), annotations
        # Frames that the last checkpoint has, and those that the coming one will have.
        self._saved, self._saving = frozenset(), None
        self.problems = []

    @classmethod
    def open(cls, config, stream):
        """Opens LOGDIR/hard; None without --keep_hard."""
        folder = pathlib.Path(config.logdir) / FOLDER
        if not stream.resume_at and (stream.overwrite or _is_of_a_run(folder)):
            _clear(folder)
        if not config.keep_hard:
            return None
        of = stream.class_names, stream.ignored, stream.segments
        sink = cls(folder, config.keep_hard, *of)
        if not stream.resume_at:  # so that the folder is known to be a run's from the start
            stream.segments.write(sink._write_annotations)
        return sink

    @staticmethod
    def check(config, *, resumed, overwrite):
        """Raises UserError if the folder cannot be written, or holds other files."""
        folder = pathlib.Path(config.logdir) / FOLDER
        if not (config.keep_hard and folder.exists()):  # it is as writable as the run directory
            return
        make_writable(folder)
        if resumed or overwrite or _is_of_a_run(folder):
            return
        if (folder / ANNOTATIONS).exists() or any(_written(folder)):
            raise UserError(
                f"the folder {folder} holds other files named like hard frames: give --overwrite "
                "or another --logdir"
            )

    def add(self, result):
        """Keeps the teacher frame of a result, if it is among the hardest so far."""
        self._delete_unsaved()
        teacher = result.teacher
        if teacher is None or teacher.first_prediction is None:
            return
        if not metrics.has_foreground(teacher.confusion):
            return
        if len(self._kept) == self._count:
            worst = max(self._kept, key=lambda index: (self._kept[index], index))
            if (teacher.accuracy_before, teacher.index) >= (self._kept[worst], worst):
                return
            self._drop(worst)
        self._segments.write(lambda: self._write(teacher))
        self._kept[teacher.index] = teacher.accuracy_before
        self._rows[teacher.index] = _rows(teacher.labels)

    def _write(self, teacher):
        bgr = cv2.cvtColor(teacher.frame, cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        contents = {
            IMAGES: cv2.imencode(".jpg", bgr, quality)[1],
            STUDENT_MASKS: cv2.imencode(".png", teacher.first_prediction)[1],
            TEACHER_MASKS: cv2.imencode(".png", teacher.labels)[1],
        }
        with disk_errors_as_user_errors(self._folder):
            for part, content in contents.items():
                path = self._path(part, teacher.index)
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write_atomically(path, lambda file, content=content: file.write(content))

    def _drop(self, index):
        del self._kept[index], self._rows[index]
        if index not in self._saved:
            self._delete(index)

    def _delete(self, index):
        for part in PARTS:
            self._path(part, index).unlink(missing_ok=True)

    def _delete_unsaved(self):
        """Deletes what only the checkpoint before the last one had."""
        if self._saving is None:
            return
        for index in self._saved - self._saving:
            self._delete(index)
        self._saved, self._saving = self._saving, None

    def _path(self, part, index):
        return self._folder / part / _name(part, index)

    def flush(self):
        """Writes the annotations of the frames that are kept now."""
        self._delete_unsaved()
        self._segments.write(self._write_annotations)
        self._saving = frozenset(self._kept)

    def _write_annotations(self):
        hardest_first = sorted(self._kept, key=lambda index: (self._kept[index], index))
        images = []
        for index in hardest_first:
            (height, width), rows = self._rows[index]
            image = {
                "id": index,
                "file_name": _name(IMAGES, index),
                "height": height,
                "width": width,
                "frame": index,
                "accuracy_before_update": round(self._kept[index], 6),
            }
            images.append((image, [*rows, *self._crowds]))
        text = json.dumps(coco.data_set(self._class_names, images)) + "\n"
        with disk_errors_as_user_errors(self._folder):
            self._folder.mkdir(exist_ok=True)
            files.write_text(self._folder / ANNOTATIONS, text)

    def get_state(self):
        """Returns the frames kept, int64 [n], and their accuracies, float64 [n]."""
        return {
            "indices": np.array(list(self._kept), np.int64),
            "accuracies": np.array(list(self._kept.values()), np.float64),
        }

    def set_state(self, state):
        """Goes back to the frames of a checkpoint. KeyError or ValueError where they do not fit."""
        indices, accuracies = state["indices"], state["accuracies"]
        if indices.dtype != np.int64 or indices.ndim != 1 or indices.shape != accuracies.shape:
            raise ValueError("hard frames without an accuracy each")
        if not ((accuracies >= 0) & (accuracies <= 1)).all() or len(indices) > self._count:
            raise ValueError("accuracies of hard frames outside 0…1, or too many")
        for index, accuracy in zip(indices.tolist(), accuracies.tolist(), strict=True):
            if all(self._path(part, index).is_file() for part in PARTS):
                self._kept[index] = accuracy
                self._rows[index] = _rows(self._read_labels(index))
            else:
                self.problems.append(
                    f"hard frame {index} is no longer in {self._folder}, and no longer kept"
                )
        self._saved = frozenset(self._kept)
        self._write_annotations()
        for path, index in _written(self._folder):
            if index not in self._saved:
                path.unlink()

    def _read_labels(self, index):
        path = self._path(TEACHER_MASKS, index)
        labels = pictures.decode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.dtype != np.uint8 or labels.ndim != 2:
            raise ValueError(f"{path} is no label of a hard frame")
        if labels.max() >= len(self._class_names):
            raise ValueError(f"{path} has other classes")
        return labels

    def finish(self, complete):
        """Deletes the frames that are no longer kept."""
        self._delete_unsaved()

    def summary(self):
        """Returns how many frames are kept."""
        return {"hard_frames": len(self._kept)}


def _rows(labels):
    return labels.shape, coco.annotations(labels)


def _name(part, index):
    return f"frame_{index:06d}{PARTS[part]}"


def _written(folder):
    """Yields (path, frame index) of the files in it that a run has written."""
    for part in PARTS:
        for path in sorted((folder / part).glob("frame_*")):
            if found := _NAME.fullmatch(path.name):
                yield path, int(found[1])


def _is_of_a_run(folder):
    """Returns whether the annotations in a folder are as `HardFrames` writes them."""
    try:
        return coco.CLASSES in files.parse_json((folder / ANNOTATIONS).read_bytes())["info"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _clear(folder):
    """Deletes an earlier run's hard frames, and folders that are then empty."""
    for path, _ in _written(folder):
        path.unlink()
    (folder / ANNOTATIONS).unlink(missing_ok=True)  # last, which says that it is a run's
    for part in (*PARTS, "."):
        place = folder / part
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()

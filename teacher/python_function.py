"""A Python function as a teacher, for programs that use the package as a library."""

import inspect
from collections.abc import Mapping

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError
from teacher import class_names
from teacher.base import Teacher, TeacherError
from teacher.checks import check_boxes, check_classes, detector_output, numbers, without_batch
from teacher.detections import Detections, from_rows
from teacher.semantic import VOID, VOID_ALONE, best_class, regions, void_alone

NAMES = ("boxes", "scores", "classes", "masks", "num_detections")
API_NAMES = (*(f"detection_{name}" for name in NAMES[:-1]), NAMES[-1])
EXPECTED = "expected Detections, a dictionary of arrays, or a class map"


class CallableTeacher(Teacher):
    """Makes a Teacher of a function of a frame, such as a call of a Keras model.

    The function gets a frame of its own, uint8 RGB [H, W, 3], and, if it takes two arguments, the
    frame's index. It returns one of:

    - class ids, integers [h, w], or scores of any range [h, w, C], of which the greatest counts;
      both are resized to the frame. Objects are the connected regions of a class, with score 1.
    - a dictionary of a detector's arrays: boxes [N, 4] (ymin, xmin, ymax, xmax) in 0…1, scores [N]
      in 0…1, classes [N], masks [N, h, w] in 0…1, cropped to the boxes, or [N, H, W], of the whole
      frame; or the outputs of the Object Detection API by their own names.
    - Detections.

    A batch of one is as good as no batch, and TensorFlow's tensors are as good as arrays.

    Args:
      function: the function. Its own exceptions are passed on as they are.
      classes: names by class id, a list from 0 or a mapping; "background" and "" do not count. Or a
        word or file, as --teacher_classes; by default COCO's categories.

    Raises:
      TypeError: the function takes neither one argument nor two.
      UserError: `classes` cannot be read. `__call__` raises TeacherError where the function returns
        anything else.
    """

    def __init__(self, function, classes=class_names.COCO):
        if isinstance(classes, str):
            self._listed = class_names.read(classes)
        else:
            uncounted, listed = class_names.NO_CLASS, _listed(classes)
            self._listed = tuple("" if class_names.plain(n) in uncounted else n for n in listed)
        self.names = class_names.by_id(self._listed)
        if self._listed is not None and not self.names:
            raise UserError(f"classes {list(classes)} has no name that counts")
        self.problems = []
        self._function, self._takes_index = function, _takes_index(function)

    def __call__(self, frame, index):
        """Returns the function's objects on a frame, uint8 RGB [H, W, 3]."""
        arguments = (frame.copy(), index)[: 1 + self._takes_index]
        try:
            returned = self._function(*arguments)
        except Exception as error:
            if hasattr(error, "add_note"):  # from Python 3.11 on
                error.add_note(f"the teacher's function was called with frame {index}")
            raise
        try:
            return self._detections(returned, frame.shape[:2])
        except UserError as error:
            raise TeacherError(f"its function returned what does not fit: {error}", index) from None

    def _detections(self, returned, size):
        """Returns what the function returned as Detections; UserError unless it fits."""
        if isinstance(returned, Detections):
            self._check(returned, size)
            return returned
        if isinstance(returned, Mapping):
            return self._from_arrays(returned, size)
        if returned is None or isinstance(returned, (str, bytes, int, float)):
            raise UserError(f"{returned!r:.60}, {EXPECTED}")
        try:
            dimensions = np.ndim(returned)
        except ValueError:  # of lists of different lengths
            dimensions = 0
        if dimensions not in (2, 3, 4):
            found = f" {list(np.shape(returned))}" if dimensions else ""
            raise UserError(f"a {type(returned).__name__}{found}, {EXPECTED} [h, w] or [h, w, C]")
        return self._from_map(returned, dimensions, size)

    def _from_map(self, returned, dimensions, size):
        """Returns the regions of class ids, or of scores."""
        array = numbers("the class map", returned, "nhwC"[-dimensions:] if dimensions > 2 else "hw")
        if array.ndim > 2 and len(array) == 1:  # a batch of one
            array = array[0]
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim == 4 or not array.size:
            raise UserError(f"a class map {list(array.shape)}, expected [h, w] or [h, w, C]")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError("a class map with NaN or infinity, expected finite numbers")
        ids = self._ids(array) if array.ndim == 2 else self._best(array, size)
        if ids.shape != size:
            ids = cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return regions(ids, self.names)

    def _ids(self, array):
        last = max(self.names) if self._listed is None else len(self._listed) - 1
        for number in np.unique(array).tolist():
            if number not in VOID and not (number == int(number) and 0 <= number <= last):
                raise UserError(f"a class map with {number:g}, expected ids from 0 to {last}")
        if void_alone(array) and VOID_ALONE not in self.problems:
            self.problems.append(VOID_ALONE)
        return array.astype(np.int32)

    def _best(self, scores, size):
        count = scores.shape[2]
        if self._listed is None:
            ids, _ = class_names.of_classes(None, count, class_names.COCO)
        elif count != len(self._listed):
            named = len(self._listed)
            raise UserError(f"scores {list(scores.shape)}, expected [h, w, {named}], a name each")
        else:
            ids = [number if name else -1 for number, name in enumerate(self._listed)]
        return np.array(ids, np.int32)[best_class(np.moveaxis(np.float32(scores), 2, 0), size)]

    def _from_arrays(self, returned, size):
        """Returns Detections of a detector's arrays; empty lists are as good as empty arrays."""
        names = API_NAMES if any(name in returned for name in API_NAMES[:-1]) else NAMES
        if names[0] in returned and np.ndim(returned[names[0]]) == 3:
            returned = without_batch(returned, names)
        if all(name in returned and np.shape(returned[name]) == (0,) for name in names[:-1]):
            return regions(np.zeros(size, np.int32), {})
        rows = detector_output(returned, names, self._known)
        counted = np.isin(np.rint(rows[1]), list(self.names))
        return from_rows(*(array[counted] for array in rows), size)

    @property
    def _known(self):
        """The ids that objects may have, also those of classes that do not count."""
        return self.names if self._listed is None else range(len(self._listed))

    def _check(self, seen, size):
        """Raises UserError for Detections that do not fit the frame."""
        N = len(np.atleast_1d(seen.scores))
        boxes, scores, classes, origins = (
            numbers(f"Detections.{name}", getattr(seen, name), shape)
            for name, shape in (
                ("boxes", (N, 4)),
                ("scores", (N,)),
                ("classes", (N,)),
                ("origins", (N, 2)),
            )
        )
        check_boxes("Detections.boxes", boxes)
        check_classes("Detections.classes", classes, scores, self.names)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise UserError(f"Detections.scores has {scores.tolist()}, expected 0…1")
        if len(seen.masks) != N:
            raise UserError(f"Detections.masks has {len(seen.masks)} masks, expected {N}")
        for mask, origin in zip(seen.masks, origins, strict=True):
            mask = np.asarray(mask)
            if mask.dtype != bool or mask.ndim != 2:
                raise UserError(
                    f"Detections.masks has {mask.dtype} {list(mask.shape)}, expected bool [h, w]"
                )
            if (origin < 0).any() or (origin + mask.shape > size).any():
                raise UserError(
                    f"Detections.masks has {list(mask.shape)} at {origin.tolist()}, which is not "
                    f"inside the frame, {list(size)}"
                )


def _listed(classes):
    """Returns names by class id as a list; UserError unless they are that."""
    if isinstance(classes, Mapping):
        if not all(isinstance(n, int) and 0 <= n < class_names.MAX_NAMES for n in classes):
            raise UserError(f"classes {list(classes)[:9]}, expected ids from 0 as keys")
        classes = [classes.get(number, "") for number in range(max(classes, default=-1) + 1)]
    for name in classes:
        if not isinstance(name, str):
            raise UserError(f"classes has {name!r}, expected names")
    return classes


def _takes_index(function):
    """Returns whether a function takes frame and index, and not the frame alone."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a function in C
        return False
    for takes_index, arguments in ((False, [None]), (True, [None, None])):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return takes_index
    raise TypeError(f"a teacher's function takes a frame, or frame and index; not {signature}")

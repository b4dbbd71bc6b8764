"""The adapter of semantic segmentation networks: a class for every pixel."""

import cv2
import numpy as np
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher import checks, class_names, detections
from teacher.base import Teacher

# Regions below this share of the frame get no box of their own, and so no greater loss weight.
MIN_REGION = 1e-4
VOID = (255, -1)  # ids of pixels without a class
VOID_ALONE = (
    "the teacher's class maps have frames of the ids 0 and 255 alone, of which 255 does not count: "
    "if it is a class, give 1 for it"
)
DEEPLAB = "SemanticPredictions"  # output of DeepLab's exports
# Outputs of rank 3 with a shorter side, or a longer one beside it, are rows of objects.
MIN_SIDE, MAX_ASPECT = 8, 5
# Mean and deviation of ImageNet's pixels, 0…1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Semantic(Teacher):
    """Runs a DeepLab, or a Keras model that ends in a softmax, or the like.

    One input [1, H, W, 3] RGB, uint8 or float, to whose size the frame is resized where it is
    fixed. The output, of any name: class ids [1, h, w] or [1, h, w, 1], of any type, or scores of
    any range [1, h, w, C] or [1, C, h, w], of which the greatest counts. Where h × w is not the
    frame's size, ids are resized to the nearest, scores bilinearly.

    An object is a connected region of a class, with score 1. Regions of less than MIN_REGION of the
    frame belong to the largest of their class, without counting for its box.

    Args:
      signature: a Signature that fits.
      options: TeacherOptions.

    Raises:
      UserError: the names are not those of the classes, or an option does not apply.
        TeacherError: the output on a frame does not fit.
    """

    FORM = "semantic: uint8 or float [1, H, W, 3] → ids [1, H, W] or scores [1, H, W, classes]"

    def __init__(self, signature, options):
        self._signature, self._options = signature, options
        self._list = class_names.read(options.classes)
        self.names = class_names.by_id(self._list)
        self.batches = signature.batches
        self.problems = []
        self._output = self._choose_output()
        self._range = self._choose_range()
        shape = (1, *signature.outputs[self._output].shape[1:])
        if len(shape) == 4 and None not in shape:  # checked early, before the first frame
            axis = self._class_axis(shape, signature.image_size)
            if shape[axis] > 1:
                self._ids_of(shape[axis])
        self._function = tf.function(
            self._graph, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)]
        )

    @staticmethod
    def fits(signature):
        """Returns whether a Signature is of this form."""
        image = signature.image
        takes = image is not None and (image.dtype == tf.uint8 or image.dtype.is_floating)
        return takes and bool(_maps(signature))

    @property
    def _counts(self):
        """The numbers of classes that the names may be of."""
        return (80, 81, 91) if self._list is None else (len(self._list),)

    def _choose_output(self):
        """Returns the name of the output with the classes; notes the choice among several."""
        maps = _maps(self._signature)
        outputs = self._signature.outputs
        counts = self._counts

        def likeness(name):
            shape = outputs[name].shape
            named = shape.rank == 4 and bool({shape[1], shape[3]} & set(counts))
            return outputs[name].dtype.is_integer, named, shape[1:].num_elements() or 0

        chosen = DEEPLAB if DEEPLAB in maps else max(maps, key=likeness)
        if len(maps) > 1 and chosen != DEEPLAB:
            self._note(f"of the teacher's outputs {', '.join(maps)} {chosen!r} is taken for labels")
        return chosen

    def _choose_range(self):
        """Returns the range of pixel values; notes one that is only assumed."""
        given = self._options.input
        if self._signature.image.dtype == tf.uint8:
            if given not in (None, "0..255"):
                raise UserError(
                    f"--teacher_input={given}: this teacher takes uint8 images; leave it out"
                )
            return "0..255"
        if given is None:
            self._note(
                "the teacher takes float images, and its pixel values are assumed to be 0..1: give "
                "--teacher_input=0..1 if they are, or else 0..255, -1..1 or imagenet"
            )
        return given or "0..1"

    def _note(self, problem):
        if problem not in self.problems:
            self.problems.append(problem)

    def __call__(self, frame, index):
        """Returns the regions on a frame, uint8 RGB [H, W, 3]."""
        return self.many([frame], [index])[0]

    def many(self, frames, indices):
        """Returns the regions on several frames; see `Teacher`."""
        H, W = frames[0].shape[:2]
        for have, want in zip((H, W), self._signature.image_size, strict=True):
            if want is not None and have != want:
                self._note("the teacher sees the frames resized to its input's size")
        with checks.failures_named(indices[0]):
            output = self._function(tf.constant(np.stack(frames))).numpy()
            if len(output) != len(frames) or output.ndim not in (3, 4):
                shape = f"[{len(frames)}, …]"
                raise UserError(f"{self._output} has shape {list(output.shape)}, expected {shape}")
        found = []
        for place, index in enumerate(indices):
            with checks.failures_named(index):
                ids = self._ids_in(output[place : place + 1], (H, W))
            found.append(regions(ids, self.names))
        return found

    def _ids_in(self, output, size):
        """Returns the id of each pixel, int32 [H, W], in the output [1, …] for one image.

        UserError if the output is odd.
        """
        H, W = size
        if output.ndim == 4:
            axis = self._class_axis(output.shape, (H, W))
            scores = np.moveaxis(output[0], axis - 1, 0)
            output = scores if len(scores) == 1 else None
        ids = self._from_scores(scores, (H, W)) if output is None else self._from_ids(output[0])
        if ids.shape != (H, W):
            ids = cv2.resize(ids, (W, H), interpolation=cv2.INTER_NEAREST_EXACT)
        return ids

    def _graph(self, frames):
        """Returns the output for frames, uint8 [N, H, W, 3]."""
        spec, image = self._signature.image, frames
        fixed = self._signature.image_size
        if any(fixed):
            shape = tf.shape(frames)[1:3]
            size = [shape[i] if side is None else side for i, side in enumerate(fixed)]
            image = tf.image.resize(image, size)
        image = tf.ensure_shape(image, (None if self.batches else 1, *fixed, 3))
        image = tf.cast(image, tf.float32)
        if spec.dtype == tf.uint8:
            image = tf.round(image)
        elif self._range == "0..1":
            image /= 255
        elif self._range == "-1..1":
            image = image / 127.5 - 1
        elif self._range == "imagenet":
            image = (image / 255 - MEAN) / DEVIATION
        output = self._signature(tf.cast(image, spec.dtype))[self._output]
        return tf.cast(output, tf.float32) if output.dtype.is_floating else output

    def _class_axis(self, shape, frame_size):
        """Returns the axis of the classes in a shape of rank 4: 3, or 1; notes a doubtful choice.

        It is the one of as many classes as there are names, or else the one that leaves the frame's
        aspect, or else the last.
        """
        named = [axis for axis in (3, 1) if shape[axis] in self._counts]
        if len(named) == 1:
            return named[0]
        if shape[3] == 1:
            return 3
        if None not in frame_size:
            H, W = frame_size
            sides = {3: shape[1:3], 1: shape[2:4]}
            errors = {axis: abs(h * W - w * H) / (h * W) for axis, (h, w) in sides.items()}
            if errors[1] < 0.1 < errors[3]:
                return 1
            if errors[3] < 0.1 < errors[1]:
                return 3
        self._note(f"the teacher's output {list(shape)} is read as [1, height, width, classes]")
        return 3

    def _ids_of(self, count):
        """Returns the id of each of `count` classes; UserError if the names do not fit."""
        try:
            ids, _ = class_names.of_classes(self._list, count, self._options.classes)
        except UserError as error:
            raise UserError(f"teacher {self._signature.directory!r}: {error}") from None
        return np.array(ids, np.int32)

    def _from_scores(self, scores, size):
        """Returns ids, int32 of this size, from scores float32 [C, h, w]."""
        if not np.isfinite(scores).all():
            raise UserError(f"{self._output} has scores that are NaN or infinite")
        return self._ids_of(len(scores))[best_class(scores, size)]

    def _from_ids(self, ids):
        """Returns the output's ids as int32 [h, w]; UserError if they are not in the list."""
        odd = ids[~np.isfinite(ids) | (ids != np.rint(ids))]
        if len(odd):
            raise UserError(
                f"{self._output} has {odd[0]:g}, expected class ids, whole numbers: export ids, or "
                "a score for each class"
            )
        last = max(self.names) if self._list is None else len(self._list) - 1
        wrong = [n for n in np.unique(ids).tolist() if n not in VOID and not 0 <= n <= last]
        if wrong:
            raise UserError(
                f"{self._output} has the id {wrong[-1]:g}, expected 0…{last} of "
                f"--teacher_classes={self._options.classes}: give the list of its classes"
            )
        if void_alone(ids):
            self._note(VOID_ALONE)
        if self._list is None:
            self._note(
                "the teacher's ids are taken for COCO's, 1 person … 90 toothbrush: give "
                "--teacher_classes if they are others"
            )
        return ids.astype(np.int32)


def _maps(signature):
    """Returns the names of the outputs that may be ids or scores of pixels, in order.

    There are none of a detector, one of whose outputs has a row for each object.
    """
    outputs = {name: signature.outputs[name] for name in sorted(signature.outputs)}
    if any(map(_has_rows, outputs.values())):
        return []
    return [
        name
        for name, spec in outputs.items()
        if spec.shape.rank in (3, 4)
        and (spec.dtype.is_integer or spec.dtype.is_floating)
        and spec.shape[0] in (1, None)
    ]


def _has_rows(spec):
    """Returns whether an output [1, h, w] is rather boxes, or predictions of anchors."""
    if spec.shape.rank != 3 or not spec.dtype.is_floating:
        return False
    sides = [side for side in spec.shape[1:] if side is not None]
    return bool(sides) and (min(sides) < MIN_SIDE or max(sides) > MAX_ASPECT * min(sides))


def void_alone(ids):
    """Returns whether class ids look like a mask of 0 and 255."""
    found = set(np.unique(ids).tolist())
    return 255 in found and found <= {0, 255}


def best_class(scores, size):
    """Returns the class with the greatest score of each pixel, int32 [H, W].

    The scores, float32 [C, h, w], are resized to `size` one class at a time: all of them at full
    size may be gigabytes.
    """
    if scores.shape[1:] == tuple(size):
        return scores.argmax(0).astype(np.int32)
    H, W = size
    best, number = np.full(size, -np.inf, np.float32), np.zeros(size, np.int32)
    for i, score in enumerate(map(np.ascontiguousarray, scores)):
        score = cv2.resize(score, (W, H), interpolation=cv2.INTER_LINEAR)
        better = score > best
        best[better], number[better] = score[better], i
    return number


def regions(ids, names):
    """Returns Detections: the connected regions of the classes in ids, int32 [H, W].

    Pixels are connected to all eight neighbors. See `Semantic` for small regions.
    """
    found = []
    for number in np.unique(ids).tolist():
        if number in names:
            found += [(number, *region) for region in _regions_of(ids == number)]
    found.sort(key=lambda region: -region[2].sum())
    boxes = np.array([box for _, box, *_ in found]).reshape(-1, 4) / (2 * ids.shape)
    return detections.Detections(
        boxes.astype(np.float32),
        np.array([number for number, *_ in found], np.int32),
        np.ones(len(found), np.float32),
        tuple(mask for *_, mask, _ in found),
        np.array([origin for *_, origin in found], np.int32).reshape(-1, 2),
    )


def _regions_of(mask):
    """Returns (box in pixels, boolean mask, (y, x) of its first pixel) of each region of a mask."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    stats = stats[1:]  # 0 is outside
    areas = stats[:, cv2.CC_STAT_AREA]
    largest = int(areas.argmax())
    small = areas < MIN_REGION * mask.size
    small[largest] = False
    found = []
    for i in np.flatnonzero(~small):
        x, y, w, h, _ = stats[i].tolist()
        box = (y, x, y + h, x + w)
        if i == largest and small.any():
            belongs = mask & ~np.append(False, ~small)[labels]
            belongs |= labels == i + 1
            rows, columns = np.flatnonzero(belongs.any(1)), np.flatnonzero(belongs.any(0))
            y, x, h, w = rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1
            part = belongs[y : y + h, x : x + w]
        else:
            part = labels[y : y + h, x : x + w] == i + 1
        found.append((box, part.copy(), (int(y), int(x))))
    return found

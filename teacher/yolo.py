"""The adapter of YOLO segmentation networks, as Ultralytics exports them to a SavedModel."""

import dataclasses

import numpy as np
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher import checks, class_names, detections
from teacher.base import Teacher

# Ultralytics' settings of a prediction, but for the score: of labels it is chosen by the run.
MAX_OBJECTS = 300
NMS_IOU = 0.7
PADDING = 114 / 255
LONG_SIDE, STRIDE = 640, 32  # of the input where its size is free
MASK_SIDE = 112  # samples across a box
PIXELS_FROM = 4.0  # greatest coordinate from which boxes are in pixels and not normalized
BOX, WITH_NMS = 4, 6  # numbers of an object before its class scores, or its mask coefficients
USUAL_PROTOTYPES = 32
OBJECTNESS = (
    "if it is a YOLOv5 or another with a score of objectness before those of the classes, it "
    "cannot be a teacher: take YOLOv8 or later"
)


class Yolo(Teacher):
    """Runs a YOLOv8-seg, YOLO11-seg or the like: predictions and mask prototypes.

    One float input [1, H, W, 3] RGB in 0…1, of fixed or free size; the frame is letterboxed into
    it. Of C classes, M prototypes and N anchors, the outputs, of any names, are float predictions
    [1, 4 + C + M, N] or [1, N, 4 + C + M]: boxes (x, y, w, h), normalized or in pixels of the
    input, class scores 0…1, mask coefficients; and prototypes [1, h, w, M] or [1, M, h, w].
    Exports with NMS inside have [1, N, 6 + M]: boxes (x0, y0, x1, y1), score, class, coefficients.

    Args:
      signature: a Signature that fits.
      options: TeacherOptions.

    Raises:
      UserError: the names are not those of the classes, or an option does not apply.
        TeacherError: an output on a frame does not fit.
    """

    FORM = (
        "YOLO-seg: float [1, H, W, 3] → predictions [1, 4 + classes + 32, N], prototypes "
        "[1, h, w, 32]"
    )

    def __init__(self, signature, options):
        if options.input not in (None, "0..1"):
            raise UserError(
                f"--teacher_input={options.input}: a YOLO-seg teacher takes 0..1; leave it out"
            )
        self._signature = signature
        names = class_names.read(options.classes)
        self._layout = _layout(signature, 80 if names is None else len(names))
        try:
            self._ids, self.names = self._layout.name_classes(names, options.classes)
        except UserError as error:
            raise UserError(f"teacher {signature.directory!r}: {error}") from None
        self.batches = signature.batches
        self._functions = {}  # number of frames → the function that detects on as many

    @staticmethod
    def fits(signature):
        """Returns whether a Signature is of this form."""
        return _layout(signature) is not None

    def __call__(self, frame, index):
        """Returns the objects on a frame, uint8 RGB [H, W, 3]."""
        return self.many([frame], [index])[0]

    def many(self, frames, indices):
        """Returns the objects on several frames; see `Teacher`."""
        count = len(frames)
        if count not in self._functions:
            spec = tf.TensorSpec((count, None, None, 3), tf.uint8)
            self._functions[count] = tf.function(self._graph, input_signature=[spec])
        with checks.failures_named(indices[0]):
            outputs = self._functions[count](tf.constant(np.stack(frames)))
        found = []
        for output, frame, index in zip(outputs, frames, indices, strict=True):
            with checks.failures_named(index):
                own = {name: x.numpy() for name, x in output.items()}
                found.append(self._detections(own, frame.shape[:2]))
        return found

    def _detections(self, found, size):
        """Returns the Detections in `_decode`'s output; size: (H, W) of the frame."""
        ids = self._ids[self._check(found)]
        boxes, scores, masks = found["boxes"], found["scores"], found["masks"]
        rows = np.flatnonzero((ids >= 0) & (boxes[:, 2:] > boxes[:, :2]).all(1))
        pasted = [detections.paste(masks[i], boxes[i], size) for i in rows]
        return detections.Detections(
            boxes[rows],
            ids[rows],
            scores[rows],
            tuple(mask for mask, _ in pasted),
            np.array([origin for _, origin in pasted], np.int32).reshape(-1, 2),
        )

    def _check(self, found):
        """Returns the class of each object, int; UserError if the outputs do not fit."""
        name, count = self._layout.predictions, len(self._ids)
        if not found["finite"]:
            raise UserError(f"{name} or {self._layout.prototypes} has NaN or infinite numbers")
        low, high = found["range"]
        if low < -checks.SCORE_SLACK or high > 1 + checks.SCORE_SLACK:
            raise UserError(f"{name} has scores {low:g}…{high:g}, expected 0…1, after a sigmoid")
        checks.check_boxes(name, found["boxes"])
        checks.check_classes(name, found["classes"], found["scores"], range(count))
        return np.rint(found["classes"]).astype(int)

    def _graph(self, frames):
        """Detects on frames, uint8 [N, H, W, 3]; returns what `_decode` does, for each."""
        images, size, origin, extent = self._letterboxed(frames)
        outputs = self._signature(images)
        named = self._layout.predictions, self._layout.prototypes
        return [
            self._decode(*(outputs[name][place] for name in named), size, origin, extent)
            for place in range(frames.shape[0])
        ]

    def _decode(self, rows, prototypes, size, origin, extent):
        """Reads the network's output for one frame, letterboxed as it is; see `_letterboxed`.

        Returns:
          boxes [n, 4] as in Detections, within the frame, scores [n], classes [n], all float32,
          best score first; masks float32 [n, MASK_SIDE, MASK_SIDE], probabilities inside the boxes;
          whether the outputs are `finite`, and the `range` of scores, float32 [2].
        """
        layout = self._layout
        rows = tf.cast(rows, tf.float32)
        rows = tf.transpose(rows) if layout.channels_first else rows
        prototypes = tf.cast(prototypes, tf.float32)
        if layout.prototypes_first:
            prototypes = tf.transpose(prototypes, (1, 2, 0))
        boxes, scores, classes, coefficients = _decoded(rows, layout, size)
        if layout.classes is None:
            kept = tf.where(scores >= detections.MIN_SCORE)[:, 0]
            kept = tf.gather(kept, tf.argsort(tf.gather(scores, kept), direction="DESCENDING"))
        else:
            kept = _suppressed(boxes, scores, classes)
        # What lies outside the frame, such as in the gray around it, is no part of an object.
        first, last = tf.tile(origin / size, [2]), tf.tile((origin + extent) / size, [2])
        boxes = tf.clip_by_value(tf.gather(boxes, kept), first, last)
        return {
            "masks": _masks(prototypes, tf.gather(coefficients, kept), boxes),
            "boxes": (boxes - first) / (last - first),
            "scores": tf.gather(scores, kept),
            "classes": tf.gather(classes, kept),
            "finite": tf.reduce_all(tf.math.is_finite(rows))
            & tf.reduce_all(tf.math.is_finite(prototypes)),
            "range": tf.stack([tf.reduce_min(scores), tf.reduce_max(scores)]),
        }

    def _letterboxed(self, frames):
        """Returns the network's input, its size, and where the frames lie in it.

        Scaled to fit with its aspect, centered, the rest gray. Sizes and the origin are (y, x) in
        pixels of the input, float32 [2].
        """
        fixed = self._signature.image_size
        shape = tf.cast(tf.shape(frames)[1:3], tf.float32)
        free = tf.math.ceil(tf.round(shape * LONG_SIDE / tf.reduce_max(shape)) / STRIDE) * STRIDE
        size = tf.stack([free[i] if side is None else float(side) for i, side in enumerate(fixed)])
        extent = tf.round(shape * tf.reduce_min(size / shape))
        origin = tf.floor((size - extent) / 2)
        image = tf.image.resize(tf.cast(frames, tf.float32) / 255, tf.cast(extent, tf.int32))
        before = tf.cast(origin, tf.int32)
        after = tf.cast(size - extent, tf.int32) - before
        padding = [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]]
        image = tf.pad(image, padding, constant_values=PADDING)
        image = tf.ensure_shape(image, (frames.shape[0], *fixed, 3))
        return tf.cast(image, self._signature.image.dtype), size, origin, extent


@dataclasses.dataclass(frozen=True)
class _Layout:
    """The outputs of a network.

    Attributes:
      predictions, prototypes: the outputs' names.
      channels_first: the predictions are [1, numbers, N] and not [1, N, numbers].
      prototypes_first: the prototypes are [1, M, h, w] and not [1, h, w, M].
      classes: number of classes; None with NMS inside.
      count: number of prototypes.
    """

    predictions: str
    prototypes: str
    channels_first: bool
    prototypes_first: bool
    classes: int | None
    count: int

    def name_classes(self, names, spec):
        """Returns id of each class, int32, and id → name; UserError if the names do not fit."""
        count = self.classes
        if count is None:
            count = 80 if names is None else len(names)
        elif names is None and count != 80:
            raise UserError(
                f"its classes are {count}, not COCO's 80: "
                + (OBJECTNESS if count == 81 else "give --teacher_classes=FILE, a name a line")
            )
        if names is not None and count == len(names) + 1:
            raise UserError(
                f"its classes are {count}, and --teacher_classes={spec} names {len(names)}; "
                f"{OBJECTNESS}"
            )
        ids, by_id = class_names.of_classes(names, count, spec)
        return np.array(ids, np.int32), by_id


def _layout(signature, expected=None):
    """Returns the _Layout of a Signature, None if it is of another form.

    expected: the number of names, which decides where shapes can be read in two ways.
    """
    image, outputs = signature.image, signature.outputs
    if image is None or not image.dtype.is_floating:
        return None
    ranked = [[n for n, spec in outputs.items() if spec.shape.rank == rank] for rank in (3, 4)]
    if [len(names) for names in ranked] != [1, 1]:
        return None
    (predictions,), (prototypes,) = ranked
    if not all(outputs[name].dtype.is_floating for name in (predictions, prototypes)):
        return None
    sides, maps = outputs[predictions].shape[1:], outputs[prototypes].shape
    if sides in (maps[1:3], maps[2:4]):  # ids and scores of the same pixels
        return None
    found = []
    for prototypes_first, count in ((False, maps[3]), (True, maps[1])):
        for channels_first, numbers in ((True, sides[0]), (False, sides[1])):
            if count is None or numbers is None:
                continue
            classes = numbers - BOX - count
            usual = count == USUAL_PROTOTYPES
            others = sides[1] if channels_first else sides[0]
            long = others is None or others > numbers
            layout = _Layout(
                predictions, prototypes, channels_first, prototypes_first, classes, count
            )
            if numbers == WITH_NMS + count and not channels_first:
                inside = dataclasses.replace(layout, classes=None)
                found.append(((others == MAX_OBJECTS, False, usual, long), inside))
            if classes > 0:
                found.append(((False, classes == expected, usual, long), layout))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _decoded(rows, layout, size):
    """Reads predictions [N, numbers].

    Returns boxes [N, 4] (ymin, xmin, ymax, xmax), normalized to the input, scores [N], classes [N]
    and mask coefficients [N, M]; size: (height, width) of the input.
    """
    boxes = rows[:, :BOX]
    scale = tf.where(tf.reduce_max(boxes) > PIXELS_FROM, tf.tile(size[::-1], [2]), 1.0)
    boxes = boxes / scale
    if layout.classes is None:
        x0, y0, x1, y1 = tf.unstack(boxes, axis=1)
        boxes = tf.stack([y0, x0, y1, x1], axis=1)
        return boxes, rows[:, BOX], rows[:, BOX + 1], rows[:, WITH_NMS:]
    x, y, w, h = tf.unstack(boxes, axis=1)
    boxes = tf.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=1)
    scores = rows[:, BOX : BOX + layout.classes]
    classes = tf.cast(tf.argmax(scores, axis=1), tf.float32)
    return boxes, tf.reduce_max(scores, axis=1), classes, rows[:, BOX + layout.classes :]


def _suppressed(boxes, scores, classes):
    """Returns the rows that are left by non-maximum suppression in each class, best first."""
    apart = classes * (tf.reduce_max(boxes) - tf.reduce_min(boxes) + 1)
    return tf.image.non_max_suppression(
        boxes + apart[:, tf.newaxis], scores, MAX_OBJECTS, NMS_IOU, detections.MIN_SCORE
    )


def _masks(prototypes, coefficients, boxes):
    """Assembles masks: probabilities inside the boxes, float32 [n, MASK_SIDE, MASK_SIDE].

    Args:
      prototypes: [h, w, M].
      coefficients: [n, M].
      boxes: [n, 4], normalized to the input.
    """
    whole = tf.sigmoid(tf.einsum("hwm,nm->nhw", prototypes, coefficients))[..., tf.newaxis]
    # From corner to corner of box and prototypes, as the Object Detection API's models crop.
    return tf.image.crop_and_resize(
        whole, boxes, tf.range(tf.shape(boxes)[0]), (MASK_SIDE, MASK_SIDE)
    )[..., 0]

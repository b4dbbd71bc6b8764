"""Checks of a detector's output: what does not fit is refused, with what was found and expected."""

import contextlib

import numpy as np

from jitnet_tf.base.errors import UserError, reason_of
from teacher import coco
from teacher.base import TeacherError
from teacher.detections import BOX_MARGIN, MIN_SCORE

# Excess over 0…1 that rounding and interpolation may leave.
SCORE_SLACK = 0.01
MASK_SLACK = 0.05
# COCO has no category for ten of the ids up to 90. A detector trained with 90 classes never learns
# them; one that counts the 80 categories from 1 gives them to real objects.
SURE_SCORE = 0.5
PADDING = -1  # score of a row that is none, in some exports


@contextlib.contextmanager
def failures_named(index):
    """Turns any error of a teacher into a TeacherError that names the frame."""
    try:
        yield
    except UserError as error:
        raise TeacherError(str(error), index) from error
    except MemoryError as error:
        raise TeacherError("memory is short", index) from error
    except Exception as error:  # TensorFlow raises many kinds
        raise TeacherError(reason_of(error), index) from error


def numbers(name, value, shape):
    """Returns an output as a NumPy array of numbers; UserError unless it has the shape.

    Args:
      name: the output's, for the message.
      value: an array, a tensor, or nested lists of numbers.
      shape: a size for each axis, or a letter where any size does.
    """
    wanted = f"[{', '.join(map(str, shape))}]"
    try:
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    except ValueError:  # lists of different lengths
        array = np.empty((), object)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} is {_kind(value, array)}, expected numbers {wanted}")
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise UserError(f"{name} has shape {list(array.shape)}, expected {wanted}")
    return array


def of_image(outputs, place, count):
    """Returns the outputs for one of `count` images, whose first axis is then of length 1.

    Raises UserError for an output that is not one of each image.
    """
    if count == 1:
        return outputs
    found = {}
    for name, value in outputs.items():
        if np.shape(value)[:1] != (count,):
            raise UserError(f"{name} has shape {list(np.shape(value))}, expected [{count}, …]")
        found[name] = value[place : place + 1]
    return found


def without_batch(outputs, names):
    """Returns the outputs of these names as NumPy arrays, without their first axis, the batch.

    Raises UserError for another batch than one frame. A single number needs no such axis.
    """
    found = {}
    for name in filter(outputs.__contains__, names):
        value = outputs[name].numpy() if hasattr(outputs[name], "numpy") else outputs[name]
        shape = np.shape(value)
        if shape and shape[0] != 1:
            raise UserError(f"{name} has shape {list(shape)}, expected [1, …], one frame")
        found[name] = value[0] if shape else value
    return found


def number_of_detections(name, value, rows):
    """Returns num_detections as an integer; UserError unless it is one number from 0 to `rows`."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise UserError(
            f"{name} is {array.dtype.name} {list(array.shape)}, expected one number, [1]"
        )
    count = float(array.ravel()[0])
    if not (0 <= count <= rows and count.is_integer()):  # also where it is NaN
        raise UserError(f"{name} is {count:g}, expected a whole number from 0 to {rows}")
    return int(count)


def detector_output(outputs, names, categories=coco.NAMES):
    """Checks a detector's arrays for one frame, and returns them without padding.

    Rows with a score below MIN_SCORE are never used; of them only NaN is refused. Rows of zeros or
    of -1 are padding.

    Args:
      outputs: name → array, a row for each object: boxes [N, 4] (ymin, xmin, ymax, xmax) in 0…1,
        scores [N] in 0…1, classes [N], masks [N, h, w] in 0…1.
      names: the names of boxes, scores, classes, masks, and the number of detections, which
        `outputs` may lack.
      categories: the ids that objects may have.

    Returns:
      (boxes, classes, scores, masks), the rows with a usable score.

    Raises:
      UserError: an array is missing, or not as above.
    """
    *needed, count_name = names
    if missing := [name for name in needed if name not in outputs]:
        raise UserError(f"it lacks {', '.join(missing)}; it has {', '.join(outputs) or 'nothing'}")
    boxes = numbers(names[0], outputs[names[0]], ("N", 4))
    N = len(boxes)
    scores, classes = (numbers(name, outputs[name], (N,)) for name in names[1:3])
    masks = numbers(names[3], outputs[names[3]], (N, "h", "w"))
    count = N
    if count_name in outputs:
        count = number_of_detections(count_name, outputs[count_name], N)
    boxes, classes, scores, masks = (a[:count] for a in (boxes, classes, scores, masks))
    for name, array in zip(names, (boxes, scores, classes), strict=False):
        _check_finite(name, array)
    _check_range(names[1], scores[scores != PADDING], SCORE_SLACK, _score_hint)
    rows = np.flatnonzero(scores >= MIN_SCORE)
    boxes, classes, scores, masks = (a[rows] for a in (boxes, classes, scores, masks))
    check_boxes(names[0], boxes)
    check_classes(names[2], classes, scores, categories)
    check_masks(names[3], masks)
    return boxes, classes, np.minimum(scores, 1), masks


def check_boxes(name, boxes):
    """Raises UserError unless boxes [N, 4] are (ymin, xmin, ymax, xmax), about in 0…1."""
    _check_finite(name, boxes)
    _check_range(name, boxes, BOX_MARGIN, _box_hint)
    inverted = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(1))
    if len(inverted):
        found = ", ".join(f"{side:.3g}" for side in boxes[inverted[0]])
        raise UserError(
            f"{name} has ({found}), with a maximum below its minimum, expected "
            "(ymin, xmin, ymax, xmax): neither sizes nor another order"
        )


def check_classes(name, classes, scores, categories=coco.NAMES):
    """Raises UserError unless classes [N] are ids of categories; see SURE_SCORE for COCO's gaps."""
    first, last = min(categories), max(categories)
    _check_finite(name, classes)
    whole = np.rint(np.asarray(classes, np.float64))
    if (split := np.abs(classes - whole) > 1e-3).any():
        raise UserError(f"{name} has {classes[split][0]:g}, expected whole numbers, class ids")
    outside = (whole < first) | (whole > last)
    wrong = outside | ((scores >= SURE_SCORE) & ~np.isin(whole, list(categories)))
    if wrong.any():
        kind = "COCO's ids" if categories is coco.NAMES else "ids of the teacher's classes"
        gaps = last + 1 - first - len(categories)
        raise UserError(
            f"{name} has the id {whole[wrong][0]:.0f} (score {scores[wrong][0]:.2f}), expected "
            f"{kind}, which start at {first}, end at {last}"
            + (f" and leave {gaps} numbers out" if gaps else "")
            + "; --teacher_classes names others"
        )


def check_masks(name, masks):
    """Raises UserError unless masks [N, h, w] have pixels, with values in 0…1."""
    if len(masks) and not masks.size:
        raise UserError(f"{name} has masks of {masks.shape[1]}×{masks.shape[2]} pixels")
    _check_finite(name, masks)
    _check_range(name, masks, MASK_SLACK, _mask_hint)


def _check_finite(name, array):
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = np.argwhere(~np.isfinite(array))[0][0]
        raise UserError(f"{name} has NaN or infinity in row {row}, expected finite numbers")


def _check_range(name, array, slack, hint):
    """Raises UserError unless all values are in 0…1, give or take `slack`."""
    if array.dtype.kind == "b" or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    if low < -slack or high > 1 + slack:
        found = f"values from {low:.4g} to {high:.4g}"
        raise UserError(f"{name} has {found}, expected 0…1 ({hint(low, high)})")


def _score_hint(low, high):
    return "are these per cent?" if low >= 0 and high <= 100 else "are these logits?"


def _box_hint(low, high):
    return "are these pixels? Divide by the frame's height and width"


def _mask_hint(low, high):
    return "divide by 255" if low >= 0 and high == 255 else "are these logits? Apply a sigmoid"


def _kind(value, array):
    """Returns what a value is, for a message."""
    if array.dtype.kind in "SU" or (array.size and isinstance(array.ravel()[0], (str, bytes))):
        return f"text, such as {array.ravel()[0]!r}" if array.size else "text"
    if array.dtype.kind == "O":
        return f"a {type(value).__name__} of rows of different lengths, or of no numbers"
    return f"of type {array.dtype.name}"

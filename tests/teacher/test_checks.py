"""Outputs of detectors that do not fit are refused; padding and rounding are not."""

import pickle

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base.errors import UserError, reason_of
from teacher.base import TeacherError
from teacher.checks import detector_output, failures_named, numbers, without_batch
from teacher.detections import MIN_SCORE

NAMES = ("boxes", "scores", "classes", "masks", "count")
BOXES = np.float32([[0.1, 0.2, 0.5, 0.4], [0.3, 0.3, 1.02, 0.9], [-0.01, 0, 0.2, 0.2], [0] * 4])
GOOD = {
    "boxes": BOXES,
    "scores": np.float32([0.9, 0.6, 0.3, 0]),
    "classes": np.float32([1, 3, 90, 1]),
    "masks": np.random.default_rng(0).random((4, 7, 9)).astype(np.float32),
}


def changed(name, place, value):
    array = GOOD[name].copy()
    array[place] = value
    return {name: array}


def check(**changes):
    outputs = {**GOOD, **changes}
    return detector_output({k: v for k, v in outputs.items() if v is not None}, NAMES)


def test_good_rows_come_unchanged_without_padding():
    boxes, classes, scores, masks = check(more=np.zeros(3))
    for name, array in zip(
        ("boxes", "classes", "scores", "masks"), (boxes, classes, scores, masks), strict=True
    ):
        np.testing.assert_array_equal(array, GOOD[name][:3])


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"count": np.float32([2])}, 2),
        ({"count": np.int64(0)}, 0),
        ({"count": np.float32([1]), **changed("boxes", 2, np.nan)}, 1),  # beyond the count
        (changed("scores", slice(2, None), -1), 2),  # another padding
        (changed("scores", 2, MIN_SCORE / 2), 2),
        ({**changed("boxes", 3, 700), **changed("classes", 3, 0)}, 3),  # of no score
        (changed("scores", 0, 1.004), 3),  # a sum of bfloat16
        ({"classes": np.int64([1, 3, 90, 0])}, 3),
        ({"masks": GOOD["masks"] > 0.5}, 3),
        ({"masks": np.uint8(GOOD["masks"] > 0.5)}, 3),
        ({name: array.astype(np.float64) for name, array in GOOD.items()}, 3),
        ({name: tf.cast(array, tf.bfloat16) for name, array in GOOD.items()}, 3),
        ({name: array.tolist() for name, array in GOOD.items()}, 3),
        # COCO has no id 12, but nobody is sure of it.
        ({**changed("classes", 2, 12)}, 3),
        ({name: array[:0] for name, array in GOOD.items()}, 0),
    ],
)
def test_padding_rounding_and_types_are_no_faults(changes, left):
    boxes, classes, scores, masks = check(**changes)
    assert [len(array) for array in (boxes, classes, scores, masks)] == [left] * 4
    assert scores.max(initial=0) <= 1


FAULTS = {
    "pixels": (changed("boxes", 0, (48, 128, 240, 256)), "boxes", "256"),
    "thousandths": (changed("boxes", 1, (300, 300, 1000, 900)), "boxes", "1000"),
    "NaN": (changed("boxes", (1, 2), np.nan), "boxes", "row 1"),
    "NaN, no score": (changed("boxes", (3, 0), np.nan), "boxes", "row 3"),
    "inverted": (changed("boxes", 0, (0.5, 0.2, 0.1, 0.4)), "boxes", "0.5"),
    "sizes": (changed("boxes", 1, (0.3, 0.9, 0.7, 0.1)), "boxes", "ymin"),
    "five numbers": ({"boxes": np.ones((4, 5))}, "boxes", "[4, 5]"),
    "no rows": ({"boxes": np.ones(4)}, "boxes", "[4]"),
    "logits": (changed("scores", 0, 4.5), "scores", "4.5"),
    "negative": (changed("scores", 2, -3.5), "scores", "-3.5"),
    "percent": ({"scores": 100 * GOOD["scores"]}, "scores", "per cent"),
    "NaN score": (changed("scores", 2, np.nan), "scores", "row 2"),
    "infinite": (changed("scores", 2, np.inf), "scores", "row 2"),
    "per class": ({"scores": np.ones((4, 90)) / 90}, "scores", "[4, 90]"),
    "from 0": ({"classes": GOOD["classes"] - 1}, "classes", "id 0"),
    "above": (changed("classes", 1, 91), "classes", "id 91"),
    "gap": (changed("classes", 0, 12), "classes", "id 12"),
    "half": (changed("classes", 0, 1.5), "classes", "1.5"),
    "NaN class": (changed("classes", 0, np.nan), "classes", "row 0"),
    "words": ({"classes": np.array([b"person"] * 4)}, "classes", "person"),
    "texts": ({"classes": tf.constant(["person"] * 4)}, "classes", "person"),
    "complex": ({"classes": np.ones(4, complex)}, "classes", "complex128"),
    "0/255": ({"masks": np.uint8(255 * (GOOD["masks"] > 0.5))}, "masks", "255"),
    "mask logits": ({"masks": 8 * GOOD["masks"] - 4}, "masks", "logits"),
    "NaN mask": (changed("masks", (1, 3, 3), np.nan), "masks", "row 1"),
    "fewer masks": ({"masks": GOOD["masks"][:3]}, "masks", "[3, 7, 9]"),
    "channels": ({"masks": GOOD["masks"][..., None]}, "masks", "[4, 7, 9, 1]"),
    "no pixels": ({"masks": GOOD["masks"][:, :0]}, "masks", "0×9"),
    "ragged": ({"scores": [[1], [1, 2], [], [3]]}, "scores", "list"),
    "ragged tensor": ({"scores": tf.ragged.constant([[1.0], [], [], []])}, "scores", "Ragged"),
    "nothing": ({"scores": None}, "scores", "lacks"),
    "too many": ({"count": np.float32([5])}, "count", "5"),
    "below 0": ({"count": np.float32([-1])}, "count", "-1"),
    "NaN count": ({"count": np.float32([np.nan])}, "count", "nan"),
    "2.5": ({"count": np.float32([2.5])}, "count", "2.5"),
    "two counts": ({"count": np.float32([2, 2])}, "count", "[2]"),
}


@pytest.mark.parametrize(("changes", "name", "found"), FAULTS.values(), ids=FAULTS)
def test_faults_are_refused_with_what_was_found(changes, name, found):
    with pytest.raises(UserError) as error:
        check(**changes)
    assert name in str(error.value)
    assert found in str(error.value)


@pytest.mark.parametrize("value", [None, {}, "text", np.array([{}])])
def test_anything_else_is_no_array(value):
    with pytest.raises(UserError, match=r"scores .*expected .*\[3\]"):
        numbers("scores", value, (3,))


def test_a_batch_is_of_one_frame():
    outputs = {"boxes": BOXES[None], "count": np.float32(4), "more": np.ones((2, 3))}
    found = without_batch(outputs, NAMES)
    assert found.keys() == {"boxes", "count"}
    assert found["boxes"].shape == (4, 4)
    with pytest.raises(UserError, match=r"boxes has shape \[2, 4, 4\]"):
        without_batch({"boxes": np.zeros((2, 4, 4))}, NAMES)


@tf.function(input_signature=[tf.TensorSpec([None])])
def below_four(values):
    with tf.control_dependencies([tf.debugging.assert_less(values, 4.0, "too much")]):
        return tf.identity(values)


def test_failures_name_the_frame():
    failure = pytest.raises(TeacherError, match=r"frame 7.*InvalidArgument.*too much")
    with failure as error, failures_named(7):
        below_four(tf.fill([2], 9.0))
    assert "\n" not in str(error.value)
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.index) == (str(error.value), 7)
    for raised in (MemoryError(), UserError("odd"), ZeroDivisionError("by 0\nindeed")):
        with pytest.raises(TeacherError, match="frame 0: "), failures_named(0):
            raise raised


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "RuntimeError"),
        ("\n too\n much", "RuntimeError: too"),
        (
            "in user code:\n\n    File 'x'\n    f()\n\n    KeyError: no\n",
            "RuntimeError: KeyError: no",
        ),
        ("Graph execution error:\n\nDetected at node x\nno\n\t [[{{node x}}]]", "RuntimeError: no"),
    ],
)
def test_a_reason_is_a_line(message, reason):
    assert reason_of(RuntimeError(message)) == reason

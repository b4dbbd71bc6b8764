"""jitnet_tf.distillation.metrics against counting pixel by pixel and cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.metrics import StreamScore

NAMES = ("background", "person", "bike", "auto")


def class_maps(draw, num_classes, count=2):
    """Maps of a few classes each, the last class often among them."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    some = [0, num_classes - 1, *random.integers(0, num_classes, draw(st.integers(0, 3)))]
    return [random.choice(some, (height, width)).astype(np.uint8) for _ in range(count)]


@st.composite
def pairs(draw):
    num_classes = draw(st.sampled_from([2, 3, 9, 23, 81, 255]))
    return *class_maps(draw, num_classes), num_classes


def count(labels, prediction, num_classes):
    """Counts pair by pair, in Python's integers."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            counts[int(labels[y, x]), int(prediction[y, x])] += 1
    return counts


def iou_of_sets(labels, prediction, class_id):
    """Intersection over union of two sets of pixels; None where both are empty."""
    a = set(zip(*np.nonzero(labels == class_id), strict=True))
    b = set(zip(*np.nonzero(prediction == class_id), strict=True))
    return len(a & b) / len(a | b) if a | b else None


def mean_iou(labels, prediction, num_classes=4):
    labels, prediction = np.array(labels, np.uint8), np.array(prediction, np.uint8)
    return metrics.mean_iou(metrics.confusion(labels, prediction, num_classes))


@given(pairs())
def test_confusion_is_a_count(pair):
    labels, prediction, num_classes = pair
    counts = metrics.confusion(labels, prediction, num_classes)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, count(labels, prediction, num_classes))


@given(pairs(), st.integers(0, 2**32))
def test_ignored_pixels_are_not_counted(pair, seed):
    labels, prediction, num_classes = pair
    ignored = np.random.default_rng(seed).integers(0, 2, labels.shape).astype(bool)
    counts = metrics.confusion(labels, prediction, num_classes, ignored)
    kept = (each[~ignored][None] for each in (labels, prediction))
    np.testing.assert_array_equal(counts, count(*kept, num_classes))


def test_confusion_has_labels_in_rows():
    labels = np.array([[1, 1, 1], [0, 0, 2]], np.uint8)
    prediction = np.array([[1, 2, 2], [0, 1, 2]], np.uint8)
    np.testing.assert_array_equal(
        metrics.confusion(labels, prediction, 3), [[1, 1, 0], [0, 1, 2], [0, 0, 1]]
    )


def test_confusion_of_windows_and_transposed_maps():
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8) % 5
    prediction = np.ascontiguousarray(labels[::-1])
    window, other = labels[1:5, ::2].T, prediction[1:5, ::2].T
    np.testing.assert_array_equal(metrics.confusion(window, other, 5), count(window, other, 5))


def test_confusion_leaves_its_arguments_alone():
    labels = np.full((2, 2), 200, np.uint8)
    prediction = labels.copy()
    metrics.confusion(labels, prediction, 255)
    assert (labels == 200).all()
    assert (prediction == 200).all()


@given(pairs())
def test_iou_is_that_of_pixel_sets(pair):
    labels, prediction, num_classes = pair
    iou = metrics.class_iou(metrics.confusion(labels, prediction, num_classes))
    assert iou.shape == (num_classes,)
    for i in {0, 1, num_classes - 1, int(labels.max()), int(prediction.max())}:
        expected = iou_of_sets(labels, prediction, i)
        assert np.isnan(iou[i]) if expected is None else iou[i] == pytest.approx(expected)


@given(pairs())
def test_mean_iou_is_over_foreground_in_either_map(pair):
    labels, prediction, num_classes = pair
    ious = [iou_of_sets(labels, prediction, i) for i in range(1, num_classes)]
    present = [iou for iou in ious if iou is not None]
    expected = sum(present) / len(present) if present else 1.0
    score = metrics.mean_iou(metrics.confusion(labels, prediction, num_classes))
    assert type(score) is float
    assert score == pytest.approx(expected)


@given(pairs())
def test_mean_iou_is_symmetric_and_one_only_for_agreement(pair):
    labels, prediction, num_classes = pair
    score = metrics.mean_iou(metrics.confusion(labels, prediction, num_classes))
    assert score == pytest.approx(
        metrics.mean_iou(metrics.confusion(prediction, labels, num_classes))
    )
    assert (score == 1.0) == np.array_equal(labels, prediction)


def test_empty_pair_agrees():
    assert mean_iou([[0, 0]], [[0, 0]]) == 1.0


@pytest.mark.parametrize(
    ("labels", "prediction", "expected"),
    [
        ([[1, 1]], [[0, 0]], 0.0),  # missed entirely
        ([[0, 0]], [[1, 0]], 0.0),  # seen where there is nothing
        ([[1, 1]], [[2, 2]], 0.0),  # another class
        ([[1, 1, 0, 0]], [[1, 1, 2, 0]], 0.5),  # person 1, bike in the prediction only 0
        ([[1, 1, 2, 0]], [[1, 1, 0, 0]], 0.5),  # person 1, bike in the labels only 0
        ([[1, 1, 1, 0]], [[0, 1, 1, 1]], 0.5),  # 2 of 4
        ([[1, 1, 2, 2]], [[1, 2, 2, 2]], (1 / 2 + 2 / 3) / 2),
        ([[0] * 9 + [3]], [[0] * 8 + [3, 3]], 0.5),  # background's .89 is left out
    ],
)
def test_mean_iou_worked_out(labels, prediction, expected):
    assert mean_iou(labels, prediction) == pytest.approx(expected)


def add(score, labels, prediction, is_teacher_frame=False):
    labels, prediction = np.array(labels, np.uint8), np.array(prediction, np.uint8)
    score.add(metrics.confusion(labels, prediction, len(NAMES)), is_teacher_frame)


def test_stream_sums_pixels_before_dividing():
    score = StreamScore(NAMES)
    add(score, [[1, 1, 1, 1, 1, 1, 1, 1]], [[1, 1, 1, 1, 1, 1, 1, 1]])  # 8 of 8
    add(score, [[1, 1]], [[0, 0]])  # 0 of 2
    assert score.mean() == pytest.approx(8 / 10)  # not (1 + 0) / 2
    assert score.per_class() == {"person": pytest.approx(8 / 10)}


def test_stream_averages_classes_that_occur_in_the_reference():
    score = StreamScore(NAMES)
    add(score, [[1, 1, 3, 3]], [[1, 1, 3, 0]])
    add(score, [[0, 0, 0, 1]], [[2, 2, 0, 1]])  # no bike there: it lowers nobody's IoU
    assert score.per_class() == {"person": 1.0, "auto": pytest.approx(1 / 2)}
    assert score.mean() == pytest.approx(3 / 4)


def test_stream_of_one_class_mistaken_for_another():
    score = StreamScore(NAMES)
    add(score, [[1, 1, 1, 1]], [[1, 3, 3, 3]])
    add(score, [[3, 3, 3, 3]], [[3, 3, 3, 3]])
    # person: 1 of 4; auto: 4 of 7, the three false ones counted
    assert score.mean() == pytest.approx((1 / 4 + 4 / 7) / 2)


def test_evaluated_classes_only():
    score = StreamScore(NAMES, ("auto", "bike"))
    add(score, [[1, 1, 3, 3, 2]], [[0, 0, 3, 0, 0]])
    assert score.per_class() == {"bike": 0.0, "auto": 0.5}
    assert score.mean() == pytest.approx(1 / 4)


def test_student_frames_only():
    score = StreamScore(NAMES)
    add(score, [[1, 1, 1, 1]], [[1, 1, 1, 1]], is_teacher_frame=True)
    add(score, [[1, 1, 0, 0]], [[1, 0, 0, 0]])
    add(score, [[0, 1, 0, 0]], [[0, 1, 0, 0]])
    assert score.mean() == pytest.approx(6 / 7)
    assert score.mean_student_only() == pytest.approx(2 / 3)


def test_a_class_on_teacher_frames_only_is_not_held_against_the_student():
    score = StreamScore(NAMES)
    add(score, [[1, 2, 2]], [[1, 2, 2]], is_teacher_frame=True)
    add(score, [[1, 1, 0]], [[1, 1, 0]])  # a perfect student, and no bike in sight
    assert score.mean_student_only() == 1.0


def test_no_score_without_anything_to_score():
    score = StreamScore(NAMES)
    assert score.mean() is None
    assert score.mean_student_only() is None
    add(score, [[0, 0]], [[0, 0]])
    assert score.mean() is None
    add(score, [[1, 0]], [[1, 0]], is_teacher_frame=True)
    assert score.mean() == 1.0


def test_only_teacher_frames_leave_the_student_without_a_score():
    score = StreamScore(NAMES)
    add(score, [[1, 0]], [[1, 0]], is_teacher_frame=True)
    assert score.mean_student_only() is None


def test_adding_does_not_change_what_was_added():
    counts = np.full((4, 4), 3)
    score = StreamScore(NAMES)
    score.add(counts, False)
    score.add(counts, False)
    assert (counts == 3).all()
    assert (score.all_frames == 6).all()


def test_scores_do_not_share_counts():
    first, second = StreamScore(NAMES), StreamScore(NAMES)
    add(first, [[1, 0]], [[1, 0]])
    assert second.mean() is None
    assert not second.all_frames.any()
    assert first.all_frames is not first.student_frames


@given(st.data())
def test_a_perfect_student_scores_one(data):
    score = StreamScore(NAMES)
    for _ in range(data.draw(st.integers(1, 5))):
        (labels,) = class_maps(data.draw, len(NAMES), 1)
        add(score, labels, labels, data.draw(st.booleans()))
    assert score.mean() in (None, 1.0)
    assert score.mean_student_only() in (None, 1.0)

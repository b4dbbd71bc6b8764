"""Validation, against confusion counts worked out by hand for artificial segmenters."""

import numpy as np
import pytest
import tensorflow as tf
from tqdm import tqdm

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.metrics import confusion
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining import validation
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from teacher.images import UnreadableError
from tests.materials import write_images

GROUPS = class_groups("lvs")
C = len(GROUPS.names)
PERSON, AUTO, DOG = (GROUPS.names.index(name) for name in ("person", "auto", "dog"))


@pytest.fixture
def dataset(tmp_path):
    return CocoDataset(*write_images(tmp_path, 20), LabelMaker(GROUPS))


def evaluate(segment, dataset):
    with tqdm(total=len(dataset), disable=False, leave=False) as progress:
        counts = validation.evaluate(segment, dataset, C, progress)
        assert progress.n == len(dataset)
    assert (counts.dtype, counts.shape) == (np.int64, (C, C))
    return counts


def always(class_id):
    """A segmenter that predicts one class everywhere."""

    def segment(frame):
        assert frame.dtype == tf.uint8
        return tf.fill(frame.shape[:2], tf.constant(class_id, tf.uint8))

    return segment


def colors(frame):
    """A segmenter that recognizes the colors of `write_images`."""
    r, _, b = np.moveaxis(frame.numpy().astype(int), -1, 0)
    person, car = (r > 180) & (b < 110), (b > 180) & (r < 110)
    return tf.constant(np.where(car, AUTO, np.where(person, PERSON, 0)).astype(np.uint8))


def test_all_pixels_outside_crowds_are_counted(dataset):
    contents = [dataset.read(number)[1:] for number in range(20)]
    judged = sum(int((weights > 0).sum()) for _, weights in contents)
    crowds = sum(int((weights == 0).sum()) for _, weights in contents)
    assert crowds > 0
    for class_id in (0, PERSON, DOG):
        counts = evaluate(always(class_id), dataset)
        assert counts.sum() == judged
        expected = np.zeros((C, C), np.int64)
        for labels, weights in contents:
            expected[:, class_id] += np.bincount(labels[weights > 0], minlength=C)
        np.testing.assert_array_equal(counts, expected)
        assert counts[[PERSON, AUTO], class_id].all()


def test_counts_add_up_over_images(dataset):
    expected = np.zeros((C, C), np.int64)
    for number in range(20):
        frame, labels, weights = dataset.read(number)
        prediction = colors(tf.constant(frame)).numpy()
        for y, x in zip(*np.nonzero(weights), strict=True):
            expected[labels[y, x], prediction[y, x]] += 1
        if number == 2:
            break
    part = dataset.subset(range(3))
    counts = evaluate(colors, part)
    np.testing.assert_array_equal(counts, expected)
    assert not np.array_equal(counts, np.diag(np.diag(counts)))


def test_predictions_in_a_crowd_do_not_count(dataset):
    part = dataset.subset([0])
    _, labels, weights = part.read(0)

    def segment(inside):
        prediction = labels.copy()
        prediction[weights == 0] = inside
        return lambda frame: tf.constant(prediction)

    counts = [evaluate(segment(inside), part) for inside in (0, PERSON, DOG)]
    for one in counts:
        np.testing.assert_array_equal(one, confusion(labels[weights > 0], labels[weights > 0], C))
    score = validation.scores(counts[0], GROUPS.names)
    assert score == {"mean_iou": 1, "class_iou": {"person": 1, "auto": 1}}


def test_damaged_images_are_skipped(dataset):
    whole = evaluate(always(0), dataset)
    damaged = [dataset.read(number)[1:] for number in (3, 11)]
    for number in (3, 11):
        dataset.path(number).write_bytes(b"not an image")
    counts = evaluate(always(0), dataset)
    for labels, weights in damaged:
        whole[:, 0] -= np.bincount(labels[weights > 0], minlength=C)
    np.testing.assert_array_equal(counts, whole)
    assert len(dataset.unreadable) == 2


def test_too_many_damaged_images_are_an_error(dataset):
    for number in (3, 11, 12):
        dataset.path(number).write_bytes(b"not an image")
    with pytest.raises(UserError, match="3 of the 20 images of"):
        evaluate(always(0), dataset)
    with pytest.raises(UnreadableError):
        dataset.read(12)


def test_no_image_counts_nothing(dataset):
    assert not evaluate(always(0), dataset.subset([])).any()


# Scores


def test_scores_are_of_the_labeled_classes():
    counts = np.zeros((C, C), np.int64)
    counts[0] = [50, 10, 0, 0, 0, 6, 0, 0, 0]  # of the background, 6 pixels are taken for a dog
    counts[PERSON, [0, PERSON]] = 5, 25
    counts[AUTO, [PERSON, AUTO]] = 4, 12
    score = validation.scores(counts, GROUPS.names)
    person, auto = 25 / (25 + 5 + 10 + 4), 12 / 16
    assert score["class_iou"] == pytest.approx({"person": person, "auto": auto})
    assert score["mean_iou"] == pytest.approx((person + auto) / 2)


def test_scores_without_labeled_classes():
    counts = np.zeros((C, C), np.int64)
    counts[0, [0, DOG]] = 90, 10
    assert validation.scores(counts, GROUPS.names) == {"mean_iou": None, "class_iou": {}}


# The student


def test_the_segmenter_takes_the_greatest_logit_at_any_size():
    """There is one trace, with the normalization of a run, not of the training."""

    def model(frames, training):
        assert not training
        r, g, b = tf.unstack(tf.cast(frames, tf.float32), axis=-1)
        return tf.stack([tf.fill(tf.shape(r), 100.0), r, g, b], axis=-1)

    segment = validation.segmenter(model)
    for size in ((64, 96), (50, 75), (1, 1)):
        frame = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
        classes = segment(tf.constant(frame))
        assert (classes.dtype, tuple(classes.shape)) == (tf.uint8, size)
        expected = np.concatenate([np.full((*size, 1), 100), frame], axis=-1).argmax(-1)
        np.testing.assert_array_equal(classes.numpy(), expected)
    assert segment.experimental_get_tracing_count() == 1

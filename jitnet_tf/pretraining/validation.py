"""The accuracy of a student's segmentation of labeled images."""

import numpy as np
import tensorflow as tf

from jitnet_tf.distillation import metrics
from teacher.images import UnreadableError


def evaluate(segment, dataset, num_classes, progress):
    """Segments each image at its own size and counts the confusions.

    Args:
      segment: uint8 frame [H, W, 3] → class ids uint8 [H, W], a tensor; see `segmenter`.
      dataset: a LabeledDataset.
      num_classes: C.
      progress: a tqdm, advanced by one for each image.

    Returns:
      Confusion counts int64 [C, C], see `metrics.confusion`.

    Raises:
      UserError: too many images are unreadable.
    """
    counts = np.zeros((num_classes, num_classes), np.int64)
    for number in range(len(dataset)):
        progress.update()
        counts += judge(segment, dataset, number, num_classes)
    return counts


def judge(segment, dataset, number, num_classes):
    """Returns the confusion counts of one image; for arguments and errors see `evaluate`.

    Pixels of weight 0, such as crowds, do not count. The counts of an unreadable image are 0.
    """
    try:
        frame, labels, weights = dataset.read(number)
    except UnreadableError:
        dataset.check_unreadable()
        return np.zeros((num_classes, num_classes), np.int64)
    prediction = segment(tf.constant(frame)).numpy()
    judged = weights > 0
    return metrics.confusion(labels[judged], prediction[judged], num_classes)


def scores(counts, class_names):
    """Returns mean IoU and IoU by class of the labeled classes, as plain values."""
    score = metrics.StreamScore(class_names)
    return {"mean_iou": score.mean(counts), "class_iou": score.per_class(counts)}


def segmenter(model):
    """Compiles a model for frames uint8 [H, W, 3] of any size → class ids uint8 [H, W]."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def segment(frame):
        logits = model(frame[tf.newaxis], training=False)[0]
        return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)

    return segment

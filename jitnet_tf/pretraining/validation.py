"""How well a student segments labelled photographs."""

import numpy as np
import tensorflow as tf

from jitnet_tf.distillation import metrics
from teacher.images import UnreadableError


def evaluate(segment, labelled, num_classes, progress):
    """Segments each photograph at its own size.

    Args:
      segment: uint8 frame [H, W, 3] → class ids uint8 [H, W], a tensor; see `segmenter`.
      labelled: a Labelled.
      num_classes: C.
      progress: a tqdm, moved by one a photograph.

    Returns:
      Confusion counts int64 [C, C], see `metrics.confusion`.
    """
    counts = np.zeros((num_classes, num_classes), np.int64)
    for number in range(len(labelled)):
        progress.update()
        counts += judge(segment, labelled, number, num_classes)
    return counts


def judge(segment, labelled, number, num_classes):
    """Confusion counts of one photograph; the arguments are those of `evaluate`.

    Pixels of weight 0, in crowds say, do not count, and nothing does where it is damaged. Raises
    UserError where too many are, see `Labelled.check_lost`.
    """
    try:
        frame, labels, weights = labelled.read(number)
    except UnreadableError:
        labelled.check_lost()
        return np.zeros((num_classes, num_classes), np.int64)
    prediction = segment(tf.constant(frame)).numpy()
    judged = weights > 0
    return metrics.confusion(labels[judged], prediction[judged], num_classes)


def scores(counts, class_names):
    """Confusion counts as plain values: mean IoU and IoU by class, of the classes labelled."""
    score = metrics.StreamScore(class_names)
    return {"mean_iou": score.mean(counts), "class_iou": score.per_class(counts)}


def segmenter(model):
    """A compiled function: uint8 frame [H, W, 3] of any size → class ids uint8 [H, W]."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def segment(frame):
        logits = model(frame[tf.newaxis], training=False)[0]
        return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)

    return segment

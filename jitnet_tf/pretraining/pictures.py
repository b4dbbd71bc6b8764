"""A student's predictions on held-out images, for TensorBoard."""

import tensorflow as tf

from jitnet_tf.sinks.overlay import Overlay
from teacher.images import UnreadableError

COUNT = 6
MAX_WIDTH = 1080  # pixels of the three panels together


class Pictures:
    """A few held-out images, shown with the student's prediction and their labels.

    Args:
      class_names: background first.
      datasets: LabeledDatasets; the images are spread evenly over all of them.
    """

    def __init__(self, class_names, datasets):
        self._class_names = class_names
        everything = [(dataset, number) for dataset in datasets for number in range(len(dataset))]
        self._shown = everything[:: max(1, len(everything) // COUNT)][:COUNT]

    def write(self, segment):
        """Writes image, prediction and labels side by side to the default summary writer.

        segment: see `validation.segmenter`.
        """
        for place, (dataset, number) in enumerate(self._shown):
            try:
                frame, labels, _ = dataset.read(number)
            except UnreadableError:
                continue
            overlay = Overlay(self._class_names, frame.shape[:2], MAX_WIDTH)
            triptych = overlay.triptych(frame, segment(tf.constant(frame)).numpy(), labels)
            tf.summary.image(f"image, student, labels/{place}", triptych[None])

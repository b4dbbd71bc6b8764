"""What a student makes of photographs, for TensorBoard."""

import tensorflow as tf

from jitnet_tf.sinks.overlay import Overlay
from teacher.images import UnreadableError

COUNT = 6
MAX_WIDTH = 1080  # pixels of three pictures side by side


class Pictures:
    """Some of the held-out photographs.

    Args:
      class_names: background first.
      sets: list of Annotated; the photographs come evenly spread from all of them.
    """

    def __init__(self, class_names, sets):
        self._class_names = class_names
        numbers = [(annotated, number) for annotated in sets for number in range(len(annotated))]
        self._shown = numbers[:: max(1, len(numbers) // COUNT)][:COUNT]

    def write(self, segment):
        """Writes photograph, prediction and labels side by side to the default summary writer.

        segment: see `validation.segmenter`.
        """
        for place, (annotated, number) in enumerate(self._shown):
            try:
                frame, labels, _ = annotated.read(number)
            except UnreadableError:
                continue
            overlay = Overlay(self._class_names, frame.shape[:2], MAX_WIDTH)
            triptych = overlay.triptych(frame, segment(tf.constant(frame)).numpy(), labels)
            tf.summary.image(f"photograph, student, labels/{place}", triptych[None])

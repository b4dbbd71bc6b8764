"""The adapter of SavedModels with the signature of the Object Detection API's Mask R-CNN."""

import numpy as np
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher import checks, class_names, detections
from teacher.base import Teacher

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "detection_masks")
NAMES = (*OUTPUTS, "num_detections")


class MaskRcnn(Teacher):
    """Runs a SavedModel as exported by the TF1 and TF2 Object Detection API (and both zoos).

    One uint8 input [1, H, W, 3] RGB, of any name; outputs
    detection_boxes [1, N, 4] (ymin, xmin, ymax, xmax, normalized), detection_scores [1, N],
    detection_classes [1, N] (COCO ids 1…90) and detection_masks [1, N, h, w], cropped to the boxes
    or of the whole frame (see `detections.cover_frame`); num_detections [1] where present. Other
    outputs are ignored.

    Args:
      signature: a Signature that fits.
      options: TeacherOptions. The names of a list are those of the ids from 0.

    Raises:
      UserError: it is not such a signature. TeacherError: an output on a frame does not fit.
    """

    FORM = (
        "Mask R-CNN: uint8 [1, H, W, 3] → detection_boxes, detection_scores, detection_classes, "
        "detection_masks"
    )

    def __init__(self, signature, options):
        if options.input is not None:
            raise UserError(
                f"--teacher_input={options.input}: a Mask R-CNN takes uint8 images; leave it out"
            )
        self._signature = signature
        listed = class_names.read(options.classes)
        self.names = class_names.by_id(listed)
        self._ids = self.names if listed is None else range(len(listed))
        self._fixed_size = self._check()
        self.batches = signature.batches

    @staticmethod
    def fits(signature):
        """Returns whether a Signature is of this form, perhaps with mistakes."""
        return any(name in signature.outputs for name in OUTPUTS)

    def _check(self):
        """Returns the input's fixed (H, W), with None for a free side."""
        directory = self._signature.directory
        outputs = self._signature.outputs
        missing = [name for name in OUTPUTS if name not in outputs]
        if missing:
            raise UserError(
                f"teacher {directory!r} lacks the outputs {', '.join(missing)}; "
                "it takes a Mask R-CNN of the Object Detection API"
            )
        masks = outputs["detection_masks"].shape
        if masks.rank not in (None, 4):
            raise UserError(
                f"teacher {directory!r}: detection_masks has shape {masks}, not [1, N, h, w]"
            )
        inputs = self._signature.inputs
        frame = next(iter(inputs.values()), None)
        fits = len(inputs) == 1 and frame.shape.is_compatible_with((1, None, None, 3))
        if not fits or frame.dtype != tf.uint8:
            found = ", ".join(f"{spec.dtype.name} {spec.shape}" for spec in inputs.values())
            raise UserError(
                f"teacher {directory!r} takes [{found}], not one uint8 image [1, H, W, 3]; "
                "export it with input type image_tensor"
            )
        return tuple(frame.shape[1:3]) if frame.shape.rank == 4 else (None, None)

    def __call__(self, frame, index):
        """Returns the objects on a frame, uint8 RGB [H, W, 3]."""
        return self.many([frame], [index])[0]

    def many(self, frames, indices):
        """Returns the objects on several frames; see `Teacher`."""
        self._check_size(frames[0])
        with checks.failures_named(indices[0]):
            outputs = self._signature(tf.constant(np.stack(frames)))
        found = []
        for place, (frame, index) in enumerate(zip(frames, indices, strict=True)):
            with checks.failures_named(index):
                own = checks.of_image(outputs, place, len(frames))
                found.append(self._detections(own, frame.shape[:2]))
        return found

    def _check_size(self, frame):
        """Raises UserError for a frame of another size than the model takes."""
        for have, want in zip(frame.shape[:2], self._fixed_size, strict=True):
            if want is not None and have != want:
                h, w = self._fixed_size
                raise UserError(
                    f"the teacher only takes frames of {h}×{w} pixels, these are "
                    f"{frame.shape[0]}×{frame.shape[1]}; give --frame_size={h}x{w}, "
                    "or for images a teacher that takes any size"
                )

    def _detections(self, outputs, size):
        """Returns the Detections in the outputs for one image; size: (H, W) of the frame."""
        rows = checks.detector_output(checks.without_batch(outputs, NAMES), NAMES, self._ids)
        if self._ids is not self.names:  # classes without a name do not count
            counted = np.isin(np.rint(rows[1]), list(self.names))
            rows = [array[counted] for array in rows]
        return detections.from_rows(*rows, size)

"""Exports a Mask R-CNN with random weights, whose cost Table 1 compares with.

    python -m experiments.mask_rcnn --output=mask_rcnn_r50

It is the TensorFlow Model Garden's Mask R-CNN, ResNet-50-FPN, for 90 COCO classes: 1000 proposals,
100 detections, masks of 28×28, a box head of four convolutions and one dense layer (the paper's
teacher: Detectron's, X-152-32x8d-FPN). Its cost does not depend on weights: the numbers of
proposals and masks are fixed. The SavedModel has the Object Detection API's signature and serves
as `--teacher` in any environment; making it needs one of its own, Python 3.11 with
`pip install -r experiments/requirements_mask_rcnn.txt`.
"""

import os
import pathlib
import tempfile

from absl import flags

from jitnet_tf import video
from jitnet_tf.base import command_line, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from teacher import coco

FLAGS = flags.FLAGS

REQUIREMENTS = "experiments/requirements_mask_rcnn.txt"
CONFIG = "maskrcnn_resnetfpn_coco"
# Random weights give 91 classes a score of about 1/91 each, and no detection survives the least
# score, .05. A few classes made likelier give a hundred; masks made so are part of their boxes.
LIKELY_CLASSES = 5
LIKELY_LOGIT = 5.0
MASK_LOGIT = 2.0


def define_flags():
    """Defines the flags of the export of a random Mask R-CNN."""
    define_path("output", None, "Folder to write the SavedModel to.", required=True)
    flags.DEFINE_string(
        "frame_size",
        "720x1280",
        "HxW of its frames; it pads them to multiples of 64.",
    )
    flags.DEFINE_integer("seed", 0, "Seed of the random weights.", lower_bound=0)


def import_model_garden():
    """Imports the packages that build it. Raises UserError if they are missing."""
    try:
        from official.core import exp_factory
        from official.vision import configs  # noqa: F401  registers the configurations
        from official.vision.serving import detection
    except ImportError as error:
        raise UserError(
            f"Mask R-CNN is built by tf-models-official, which is not installed here ({error}): "
            f"pip install -r {REQUIREMENTS}, in a virtual environment of its own with Python 3.11"
        ) from None
    return exp_factory, detection


def normalized_boxes(boxes, image_info):
    """Converts boxes to units of the frame's height and width, and clips them to the frame.

    Args:
      boxes: float32 [B, N, 4], (ymin, xmin, ymax, xmax) in pixels of the frame as resized for the
        network.
      image_info: float32 [B, 4, 2]; its rows are (height, width) of the frame, (height, width) of
        the resized frame, the scale between these, and the offset of the crop in the resized one.

    Returns:
      float32 [B, N, 4], 0…1.
    """
    import tensorflow as tf

    frame, _, scale, offset = (tf.tile(image_info[:, i : i + 1], [1, 1, 2]) for i in range(4))
    return tf.clip_by_value((boxes + offset) / scale / frame, 0.0, 1.0)


def class_bias(head):
    """Returns the bias of a head's output layer, one number a class."""
    [bias] = [v for v in head.trainable_variables if v.shape == (head.get_config()["num_classes"],)]
    return bias


def build(frame_size, seed):
    """Returns the Model Garden's serving module for frames of (H, W), with random weights."""
    import numpy as np
    import tensorflow as tf

    exp_factory, detection = import_model_garden()
    tf.keras.utils.set_random_seed(seed)
    config = exp_factory.get_exp_config(CONFIG)
    # The default unrolls non-maximum suppression into a graph that takes half a minute to start.
    config.task.model.detection_generator.nms_version = "batched"
    config.task.model.roi_generator.use_batched_nms = True
    module = detection.DetectionModule(
        config, batch_size=1, input_image_size=list(frame_size), num_channels=3
    )
    module.serve(tf.zeros((1, *frame_size, 3), tf.uint8))  # makes the heads' weights
    likely = np.random.default_rng(seed).choice(list(coco.NAMES), LIKELY_CLASSES, replace=False)
    logits = np.zeros(config.task.model.num_classes, np.float32)
    logits[likely] = LIKELY_LOGIT
    class_bias(module.model.detection_head[0]).assign_add(logits)
    class_bias(module.model.mask_head).assign_add(np.full_like(logits, MASK_LOGIT))
    return module


def save(garden, frame_size, path):
    """Writes the SavedModel.

    Its module tracks only the variables: it loads ten times as fast as the Model Garden's.
    """
    import tensorflow as tf

    module = tf.Module()
    module.weights = garden.model.variables
    spec = tf.TensorSpec((1, *frame_size, 3), tf.uint8, "input_tensor")

    @tf.function(input_signature=[spec])
    def detect(input_tensor):
        found = garden.serve(input_tensor)
        return {
            "detection_boxes": normalized_boxes(found["detection_boxes"], found["image_info"]),
            "detection_scores": found["detection_scores"],
            "detection_classes": tf.cast(found["detection_classes"], tf.float32),
            "detection_masks": found["detection_masks"],
            "num_detections": tf.cast(found["num_detections"], tf.float32),
        }

    tf.saved_model.save(module, str(path), signatures={"serving_default": detect})


def main():
    """Exports the network to --output."""
    with locks.Lock(FLAGS.output, "output"):
        _export(pathlib.Path(FLAGS.output))


def _export(output):
    frame_size = video.parse_size(FLAGS.frame_size)
    if os.path.lexists(output):
        raise UserError(f"--output={output} exists: give another name")
    command_line.import_tensorflow()
    import_model_garden()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
            new = pathlib.Path(folder, "new")
            garden = build(frame_size, FLAGS.seed)
            save(garden, frame_size, new)
            os.rename(new, output)
    except OSError as error:
        raise UserError(f"--output={output} cannot be written ({error})") from None
    parameters = sum(variable.shape.num_elements() for variable in garden.model.trainable_variables)
    height, width = garden._padded_size
    print(
        f"{output}: Mask R-CNN ResNet-50-FPN, {parameters / 1e6:.1f} M parameters, takes "
        f"{frame_size[0]}×{frame_size[1]} frames, {height}×{width} inside; its weights are random: "
        "use it for its cost and format only"
    )


if __name__ == "__main__":
    define_flags()
    command_line.main(main)

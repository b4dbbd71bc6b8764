"""Small real files that several test modules work on."""

import av
import cv2
import numpy as np
import tensorflow as tf

SIZE = (48, 64)


def frames(count, size=SIZE, seed=0):
    """A scene that drifts, unlike that of any other seed."""
    scene = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    scene = cv2.resize(scene, (size[1] + count, size[0]), interpolation=cv2.INTER_NEAREST)
    return [np.ascontiguousarray(scene[:, i : i + size[1]]) for i in range(count)]


def write_video(path, pictures):
    """A lossless H.264 video of uint8 RGB pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_teacher(path):
    """A SavedModel with Mask R-CNN's signature that finds what is bright in two fixed boxes."""
    boxes = tf.constant([[[0.1, 0.05, 0.6, 0.5], [0.3, 0.4, 1.02, 0.9], [0, 0, 0, 0]]])

    def detect(input_tensor):
        grey = tf.reduce_mean(tf.cast(input_tensor, tf.float32), -1, keepdims=True) / 255
        crops = tf.image.crop_and_resize(grey, boxes[0], [0, 0, 0], [33, 33])[..., 0]
        scores = tf.stack([0.6 + 0.3 * tf.reduce_mean(grey), 0.55, 0.0])
        return {
            "detection_boxes": boxes,
            "detection_scores": scores[None],
            "detection_classes": tf.constant([[1.0, 3.0, 1.0]]),
            "detection_masks": crops[None],
            "num_detections": tf.constant([2.0]),
        }

    module = tf.Module()
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8, "input_tensor")
    module.detect = tf.function(detect, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.detect})
    return path

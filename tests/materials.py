"""Small real files that several test modules work on."""

import av
import cv2
import numpy as np
import tensorflow as tf

from experiments.streams import Stream
from teacher.instances import Instances
from teacher.recorded import Recorder

SIZE = (48, 64)
SQUARE = 28  # pixels, the side of `square_scene`'s


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


def texture(size, seed, darkest=0, brightest=255):
    """Smooth blobs of colour, uint8 RGB [*size, 3], in which any motion can be seen."""
    grain = 4
    blobs = (size[0] // grain + 2, size[1] // grain + 2, 3)
    blobs = np.random.default_rng(seed).integers(darkest, brightest, blobs, np.uint8)
    return cv2.resize(blobs, size[::-1], interpolation=cv2.INTER_CUBIC)


def square_scene(count, speed=(1, 1), size=(64, 96)):
    """A bright person, a square, that crosses a dark wall: (frames, labels).

    speed: (y, x), pixels a frame. frames: uint8 RGB [H, W, 3]; labels: uint8 [H, W], 1 on the
    square, whose first pixel is (4, 4) in the first frame.
    """
    wall, square = texture(size, 0, 60, 120), texture((SQUARE, SQUARE), 1, 150, 255)
    pictures, labels = [], []
    for i in range(count):
        y, x = 4 + speed[0] * i, 4 + speed[1] * i
        window = np.s_[y : y + SQUARE, x : x + SQUARE]
        picture, label = wall.copy(), np.zeros(size, np.uint8)
        picture[window], label[window] = square, 1
        pictures.append(picture)
        labels.append(label)
    return pictures, labels


def write_square_stream(folder, name, count, speed=(1, 1), seconds=0.5):
    """`square_scene` as a video and the recording of a teacher that is never wrong: a Stream."""
    pictures, labels = square_scene(count, speed)
    path = write_video(folder / f"{name}.mp4", pictures)
    header = {"teacher": "t", "video": name, "min_score": 0.05}
    height, width = labels[0].shape
    recording = folder / f"{name}.recording"
    recorder = Recorder(recording, {**header, "height": height, "width": width})
    for picture, label in zip(pictures, labels, strict=True):
        y, x = (int(axis.min()) for axis in np.nonzero(label))
        box = np.float32([[y / height, x / width, (y + SQUARE) / height, (x + SQUARE) / width]])
        mask = np.ones((SQUARE, SQUARE), bool)
        person = Instances(box, np.int32([1]), np.float32([0.9]), (mask,), np.int32([[y, x]]))
        recorder.append(picture, person, seconds)
    recorder.close()
    return Stream(name, "squares", ("person",), str(path), str(recording), None)

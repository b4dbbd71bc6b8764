"""Teachers whose model takes several frames at a time: each frame's objects are its own."""

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from teacher import TeacherOptions, open_teacher
from tests.teacher import test_yolo as yolo

SIZE = (48, 64)


def save(path, serve, dtype):
    spec = tf.TensorSpec((None, None, None, 3), dtype, "images")
    function = tf.function(serve, input_signature=[spec])
    tf.saved_model.save(tf.Module(), str(path), {"serving_default": function})
    return str(path)


def brightness(images):
    """Mean of each image, 0…1, float32 [N]."""
    return tf.reduce_mean(tf.cast(images, tf.float32), (1, 2, 3)) / 255


def mask_rcnn(path):
    def serve(images):
        light = brightness(images)
        rows = tf.ones_like(light)[:, tf.newaxis]
        boxes = rows[..., tf.newaxis] * tf.constant([0.1, 0.2, 0.6, 0.7])
        return {
            "detection_boxes": boxes,
            "detection_scores": light[:, tf.newaxis],
            "detection_classes": rows,
            "detection_masks": tf.ones((9, 9)) * rows[..., tf.newaxis, tf.newaxis],
        }

    return save(path, serve, tf.uint8)


def semantic(path):
    return save(path, lambda images: {"ids": tf.cast(images[..., 0] > 127, tf.int32)}, tf.uint8)


def yolo_network(path):
    rows = yolo.predictions([((32, 24, 16, 16), 0, 1.0, 0)]).T
    is_score = np.zeros(rows.shape, np.float32)
    is_score[4:84] = 1
    # The fixed input of the other tests: prototypes and boxes are laid out for it.
    spec = tf.TensorSpec((None, *yolo.INPUT, 3), tf.float32, "images")

    @tf.function(input_signature=[spec])
    def serve(images):
        light = 255 * brightness(images)[:, tf.newaxis, tf.newaxis]
        maps = yolo.prototypes() * tf.ones_like(light)[..., tf.newaxis]
        return {"output_0": rows * (1 - is_score + is_score * light), "output_1": maps}

    tf.saved_model.save(tf.Module(), str(path), {"serving_default": serve})
    return str(path)


MODELS = {"mask_rcnn": mask_rcnn, "semantic": semantic, "yolo": yolo_network}


@pytest.mark.parametrize("kind", MODELS)
def test_frames_at_once_give_what_each_gives_alone(tmp_path, kind):
    names = tmp_path / "names.txt"
    names.write_text("dark\nlight\n")
    options = TeacherOptions(classes=str(names)) if kind == "semantic" else None
    teacher = open_teacher(MODELS[kind](tmp_path / "model"), options)
    assert teacher.batches
    generator = np.random.default_rng(0)
    size = yolo.INPUT if kind == "yolo" else SIZE
    frames = [generator.integers(0, high, (*size, 3), np.uint8) for high in (120, 200, 256)]
    together = teacher.many(frames, [4, 5, 6])
    for frame, seen in zip(frames, together, strict=True):
        alone = teacher(frame, 0)
        np.testing.assert_allclose(seen.scores, alone.scores, rtol=1e-6)
        np.testing.assert_array_equal(seen.classes, alone.classes)
        np.testing.assert_allclose(seen.boxes, alone.boxes, rtol=1e-6)
        for one, other in zip(seen.masks, alone.masks, strict=True):
            np.testing.assert_array_equal(one, other)
    # The frames differ, and so does what is seen on them.
    described = [(seen.scores.tolist(), seen.classes.tolist()) for seen in together]
    assert described[0] != described[1] != described[2]


def test_a_model_that_sees_the_first_of_its_images_alone_is_refused(tmp_path):
    def serve(images):
        return {"ids": tf.cast(images[:1, ..., 0] > 127, tf.int32)}

    teacher = open_teacher(save(tmp_path / "model", serve, tf.uint8))
    frames = [np.zeros((*SIZE, 3), np.uint8)] * 2
    with pytest.raises(UserError, match=r"frame 4.*\[1, 48, 64\].*\[2, …\]"):
        teacher.many(frames, [4, 5])


def test_other_models_are_given_one_frame_at_a_time(tmp_path):
    teacher = open_teacher(yolo.save(tmp_path / "model", yolo.predictions().T))
    assert not teacher.batches

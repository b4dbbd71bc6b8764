"""Semantic SavedModels as teachers: ids or scores of pixels, and the regions made of them."""

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from teacher import TeacherOptions, open_teacher
from teacher.semantic import Semantic, best_class, regions

SIZE = (24, 32)
FREE = (1, None, None, 3)
NAMES = {1: "road", 3: "car", 4: "sky"}


def frame(size=SIZE):
    return np.full((*size, 3), 100, np.uint8)


def scene(size=SIZE, dtype=np.int64):
    """Ids with two cars, a sky, and a background."""
    ids = np.zeros(size, dtype)
    ids[:6] = 4
    ids[10:16, 2:10] = 3
    ids[12:20, 20:28] = 3
    return ids


def save(path, output, shape=FREE, dtype=tf.uint8, name="SemanticPredictions", **further):
    """Saves a module that returns `output`, an array or a function of the image, for any image."""

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, "ImageTensor")])
    def serve(image):
        outputs = {name: output, **further}
        return {k: v(image) if callable(v) else tf.constant(v) for k, v in outputs.items()}

    tf.saved_model.save(tf.Module(), str(path), {"serving_default": serve})
    return str(path)


def names_file(tmp_path, text):
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode("utf-8-sig"))
    return str(path)


def drawn(seen, size=SIZE):
    """The ids that detections cover, 0 elsewhere; no pixel twice."""
    ids, count = np.zeros(size, int), np.zeros(size, int)
    for number, mask, (y, x) in zip(seen.classes, seen.masks, seen.origins, strict=True):
        window = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
        ids[window] += number * mask
        count[window] += mask
    assert count.max() <= 1
    return ids


def test_regions_are_the_connected_parts_of_each_class():
    seen = regions(scene(), NAMES)
    np.testing.assert_array_equal(seen.classes, [4, 3, 3])  # the largest first
    np.testing.assert_array_equal(seen.scores, [1, 1, 1])
    pixels = seen.boxes * (*SIZE, *SIZE)
    np.testing.assert_allclose(pixels, [[0, 0, 6, 32], [12, 20, 20, 28], [10, 2, 16, 10]])
    np.testing.assert_array_equal(drawn(seen), scene())


def test_small_regions_count_for_labels_but_not_for_boxes():
    ids = np.zeros((200, 300), np.int32)
    ids[50:100, 50:100] = 3
    ids[0, 299] = ids[199, 0] = 3  # less than a 10,000th of the frame
    ids[150, 7] = 4  # alone of its class
    seen = regions(ids, NAMES)
    np.testing.assert_allclose(
        seen.boxes * (200, 300, 200, 300), [[50, 50, 100, 100], [150, 7, 151, 8]], rtol=1e-6
    )
    np.testing.assert_array_equal(drawn(seen, ids.shape), ids)


def test_classes_without_a_name_are_left_out():
    assert set(regions(scene(), {3: "car"}).classes) == {3}
    assert len(regions(scene(), {7: "boat"})) == 0
    assert regions(scene(), {7: "boat"}).boxes.shape == (0, 4)


def test_scores_are_resized_before_the_greatest_is_taken():
    # Class 1 is nowhere the greatest at the corners, but half way between them.
    scores = np.float32([[[1, 0]], [[0.9, 0.9]], [[0, 1]]])
    expected = tf.argmax(tf.image.resize(np.moveaxis(scores, 0, -1), (1, 8)), -1)
    np.testing.assert_array_equal(best_class(scores, (1, 8)), expected)
    assert set(best_class(scores, (1, 8)).ravel()) == {0, 1, 2}
    np.testing.assert_array_equal(best_class(scores, (1, 2)), [[0, 2]])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32, np.float16])
@pytest.mark.parametrize("channel", [False, True])
def test_ids(tmp_path, dtype, channel):
    output = scene(dtype=dtype)[None]
    output = output[..., None] if channel else output
    names = names_file(tmp_path, "# of a city\r\nbackground\r\nroad\r\n\r\ncar # or van\r\nsky\r\n")
    teacher = open_teacher(save(tmp_path / "m", output), TeacherOptions(names))
    assert teacher.names == NAMES
    np.testing.assert_array_equal(drawn(teacher(frame(), 0)), scene())
    assert teacher.problems == []


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("scale", [1, 2])
def test_scores(tmp_path, first, scale):
    ids = scene()[::scale, ::scale]
    scores = np.eye(5, dtype=np.float32)[ids][None] * 7 - 3  # logits
    output = np.moveaxis(scores, 3, 1) if first else scores
    teacher = open_teacher(
        save(tmp_path / "m", output), TeacherOptions(names_file(tmp_path, "\nroad\n\ncar\nsky"))
    )
    seen = drawn(teacher(frame(), 0))
    np.testing.assert_array_equal(seen, best_class(np.moveaxis(scores[0], 2, 0), SIZE))
    assert (seen == scene()).mean() > 0.95
    assert teacher.problems == []


def test_ids_are_resized_to_the_nearest(tmp_path):
    small = np.array([[0, 3], [4, 0]])
    teacher = open_teacher(
        save(tmp_path / "m", small[None]), TeacherOptions(names_file(tmp_path, "\n\n\ncar\nsky"))
    )
    np.testing.assert_array_equal(
        drawn(teacher(frame((4, 6)), 0), (4, 6)), small.repeat(2, 0).repeat(3, 1)
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0..255", 100), ("0..1", 100 / 255), ("-1..1", 100 / 127.5 - 1), (None, 100 / 255)],
)
def test_the_range_of_a_float_input(tmp_path, given, expected):
    def serve(image):
        return tf.cast(tf.abs(image[..., 0] - expected) < 1e-6, tf.int32)

    path = save(tmp_path / "m", serve, dtype=tf.float32)
    teacher = open_teacher(path, TeacherOptions("voc", input=given))
    assert (drawn(teacher(frame(), 0)) == 1).all()
    assert [problem for problem in teacher.problems if "--teacher_input" in problem] == (
        [] if given else teacher.problems
    )


def test_imagenets_normalization(tmp_path):
    path = save(
        tmp_path / "m", lambda x: tf.cast(tf.round(x[..., 0] * 10 + 20), tf.int32), dtype=tf.float32
    )
    teacher = open_teacher(path, TeacherOptions("ade20k", input="imagenet"))
    wanted = round((100 / 255 - 0.485) / 0.229 * 10 + 20)
    assert teacher(frame(), 0).classes.tolist() == [wanted]


def test_a_fixed_input_gets_the_frame_resized(tmp_path):
    def serve(image):
        return tf.cast(image[..., 0] > 50, tf.int32) * 15

    teacher = open_teacher(save(tmp_path / "m", serve, (1, 48, 48, 3)), TeacherOptions("voc"))
    picture = frame()
    picture[:, :16] = 0
    seen = teacher(picture, 0)
    np.testing.assert_array_equal(seen.classes, [15])
    np.testing.assert_allclose(seen.boxes, [[0, 0.5, 1, 1]])
    assert any("resized" in problem for problem in teacher.problems)


def test_a_keras_model_with_softmax(tmp_path):
    image = tf.keras.Input((None, None, 3))
    scores = tf.keras.layers.Conv2D(21, 1, activation="softmax")(image)
    model = tf.keras.Model(image, scores)
    kernel = np.zeros((1, 1, 3, 21), np.float32)
    kernel[0, 0, 0, 15], kernel[0, 0, 1, 7] = 9, 9  # red is a person, green a car
    model.layers[-1].set_weights([kernel, np.zeros(21, np.float32)])
    model.export(str(tmp_path / "m"))
    teacher = open_teacher(str(tmp_path / "m"), TeacherOptions("voc", input="0..1"))
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:, :8, 0], picture[:, 20:, 1] = 255, 255
    seen = teacher(picture, 0)
    groups = class_groups("lvs")
    labels = LabelMaker(groups, categories=teacher.names).labels(seen, SIZE)
    expected = np.zeros(SIZE, int)
    expected[:, :8], expected[:, 20:] = groups.names.index("person"), groups.names.index("auto")
    np.testing.assert_array_equal(labels, expected)


def test_deeplabs_output_is_taken_among_others(tmp_path):
    raw = np.eye(21, dtype=np.float32)[scene()][None]
    path = save(tmp_path / "m", scene()[None], RawPredictions=raw, Another=raw[..., 0])
    assert open_teacher(path, TeacherOptions("voc"))(frame(), 0).classes.tolist() == [4, 3, 3]


def test_the_output_with_a_score_for_each_name_is_taken_among_others(tmp_path):
    raw = np.eye(21, dtype=np.float32)[scene()][None]
    path = save(
        tmp_path / "m",
        raw[..., :1],
        name="depth",
        edges=raw[..., :1],
        main=raw,
        aux=raw[:, ::4, ::4],
    )
    teacher = open_teacher(path, TeacherOptions("voc"))
    assert teacher(frame(), 0).classes.tolist() == [4, 3, 3]
    assert any("'main' is taken" in problem for problem in teacher.problems)


@pytest.mark.parametrize(
    "shapes",
    [[(84, 500)], [(20, 4), (20, 28, 28)], [(84, 500), (24, 40, 32)]],
    ids=["detector", "boxes", "predictions"],
)
def test_outputs_with_a_row_for_each_object_are_no_class_maps(tmp_path, shapes):
    first, *others = (np.zeros((1, *shape), np.float32) for shape in shapes)
    path = save(
        tmp_path / "m", first, name="first", **{f"output_{i}": one for i, one in enumerate(others)}
    )
    with pytest.raises(UserError, match=r"no known form.*\[1, (84|20), "):
        open_teacher(path)


def test_a_mask_of_0_and_255_is_told(tmp_path):
    ids = np.where(scene() == 4, 255, 0)
    teacher = open_teacher(save(tmp_path / "m", ids[None]), TeacherOptions("voc"))
    assert not len(teacher(frame(), 0))
    assert any("255" in problem for problem in teacher.problems)


@pytest.mark.parametrize(
    ("output", "classes", "message"),
    [
        (np.eye(21, dtype=np.float32)[scene()][None], "coco", r"21 classes.*--teacher_classes=voc"),
        (np.eye(21, dtype=np.float32)[scene()][None], "cityscapes", r"21 classes.*names 19"),
        (np.full((1, *SIZE), 150, np.int32), "ade20k", "id 150, expected 0…149"),
        (np.full((1, *SIZE), -2, np.int32), "voc", "id -2"),
        (np.full((1, *SIZE), 0.3, np.float32), "voc", r"0\.3, expected class ids"),
        (np.full((1, *SIZE), np.nan, np.float32), "voc", "nan, expected class ids"),
        (np.full((1, *SIZE, 21), np.nan, np.float32), "voc", "NaN"),
    ],
    ids=["count", "list", "id", "negative", "fraction", "nan", "nan scores"],
)
def test_output_that_does_not_fit_is_refused(tmp_path, output, classes, message):
    path = save(tmp_path / "m", output)
    with pytest.raises(UserError, match=message):
        open_teacher(path, TeacherOptions(classes))(frame(), 0)


def test_ids_of_no_list_are_taken_for_cocos_with_a_note(tmp_path):
    teacher = open_teacher(save(tmp_path / "m", scene()[None]))
    assert teacher(frame(), 0).classes.tolist() == [4, 3, 3]
    assert teacher.names[3] == "car"
    assert any("COCO" in problem for problem in teacher.problems)


def test_void_pixels_are_of_no_class(tmp_path):
    ids = np.where(scene() == 4, 255, scene())
    seen = open_teacher(save(tmp_path / "m", ids[None]), TeacherOptions("voc"))(frame(), 0)
    assert seen.classes.tolist() == [3, 3]


def test_a_range_for_integer_input_is_refused(tmp_path):
    path = save(tmp_path / "m", scene()[None])
    with pytest.raises(UserError, match=r"--teacher_input=0\.\.1"):
        open_teacher(path, TeacherOptions("voc", input="0..1"))


def test_every_semantic_form_is_told_from_others(tmp_path):
    assert isinstance(open_teacher(save(tmp_path / "m", scene()[None])), Semantic)

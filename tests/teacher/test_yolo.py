"""YOLO segmentation networks as teachers: boxes, suppression and masks of a tiny SavedModel."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation import metrics
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.video import open_source
from teacher import TeacherOptions, coco, open_teacher

INPUT = (64, 96)  # of the network, in pixels
M = 32
PROTOTYPES = (16, 24)
# Objects on the input: (x, y, w, h) in pixels, class, score, prototype of the mask.
OBJECTS = [
    ((24, 16, 32, 16), 0, 0.9, 0),  # a person whose mask is the whole box
    ((25, 16, 32, 16), 0, 0.8, 0),  # the same again
    ((24, 16, 32, 16), 2, 0.7, 0),  # a car in the same place
    ((64, 40, 48, 32), 16, 0.6, 1),  # a dog in the left half of its box
    ((80, 8, 16, 16), 0, 0.04, 0),  # noise
]


def prototypes():
    """Prototype 0 is positive everywhere, 1 left of the middle of the dog's box."""
    values = np.zeros((*PROTOTYPES, M), np.float32)
    values[..., 0] = 20
    values[:, :16, 1], values[:, 16:, 1] = 20, -20
    return values


def predictions(objects=OBJECTS, classes=80, anchors=200, scale=1):
    """The rows of the objects among empty ones, float32 [anchors, 4 + classes + M]."""
    rows = np.zeros((anchors, 4 + classes + M), np.float32)
    rows[:, 2:4] = 1 / np.array(scale)[..., :2] if np.ndim(scale) else 1
    for i, (box, number, score, prototype) in enumerate(objects):
        row = rows[7 * i + 3]
        row[:4] = np.divide(box, scale)
        row[4 + number] = score
        row[4 + classes + prototype] = 1
    return rows


def after_nms(objects=OBJECTS):
    """As an export with NMS inside returns them: float32 [300, 6 + M]."""
    rows = np.zeros((300, 6 + M), np.float32)
    for i, ((x, y, w, h), number, score, prototype) in enumerate(objects):
        rows[i, :6] = (x - w / 2, y - h / 2, x + w / 2, y + h / 2, score, number)
        rows[i, 6 + prototype] = 1
    return rows


def save(path, rows, maps=None, shape=(1, *INPUT, 3), dtype=tf.float32, name="serving_default"):
    maps = prototypes() if maps is None else maps

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, "images")])
    def serve(images):
        zero = 0 * tf.reduce_sum(images)
        return {"output_0": rows[None] + zero, "output_1": maps[None] + zero}

    tf.saved_model.save(tf.Module(), str(path), {name: serve})
    return str(path)


def frame(size=INPUT):
    return np.full((*size, 3), 100, np.uint8)


def check_objects(seen, scale=1, offset=(0, 0), size=INPUT):
    """Asserts the three objects that are left, on a frame of which the input is a scaled copy."""
    assert seen.classes.tolist() == [coco.IDS["person"], coco.IDS["car"], coco.IDS["dog"]]
    np.testing.assert_allclose(seen.scores, [0.9, 0.7, 0.6])
    boxes = np.array([[8, 8, 24, 40], [8, 8, 24, 40], [24, 40, 56, 88]])
    pixels = (boxes - np.tile(offset, 2)) * scale
    np.testing.assert_allclose(seen.boxes * np.tile(size, 2), pixels, rtol=1e-5)
    np.testing.assert_array_equal(seen.origins, pixels[:, :2])
    for mask, (y0, x0, y1, x1) in zip(seen.masks, pixels, strict=True):
        assert mask.shape == (y1 - y0, x1 - x0)
    assert seen.masks[0].all()
    assert seen.masks[1].all()
    # Of the dog's 48 columns 24 are left of the middle, to half a pixel of the prototypes.
    np.testing.assert_allclose(seen.masks[2].sum(1), 24 * scale, atol=2 * scale)
    assert seen.masks[2][:, : 20 * scale].all()


LAYOUTS = {
    "pixels": lambda: (predictions().T, None),
    "normalized": lambda: (predictions(scale=(96, 64, 96, 64)).T, None),
    "transposed": lambda: (predictions(), None),
    "few anchors": lambda: (predictions(anchors=40).T, None),
    "prototypes first": lambda: (predictions().T, prototypes().transpose(2, 0, 1)),
    "nms inside": lambda: (after_nms([OBJECTS[i] for i in (0, 2, 3, 4)]), None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_detections(tmp_path, layout):
    rows, maps = LAYOUTS[layout]()
    teacher = open_teacher(save(tmp_path / "m", rows, maps))
    check_objects(teacher(frame(), 0))


def test_frames_of_another_size_are_scaled(tmp_path):
    teacher = open_teacher(save(tmp_path / "m", predictions().T))
    check_objects(teacher(frame((128, 192)), 0), scale=2, size=(128, 192))


def test_frames_of_another_aspect_are_letterboxed(tmp_path):
    def serve(images):
        # The frame is white, the rest gray: a box around what is white.
        white = tf.reduce_min(images[0], -1) > 0.9
        rows = tf.cast(tf.where(tf.reduce_any(white, 1))[:, 0], tf.float32)
        columns = tf.cast(tf.where(tf.reduce_any(white, 0))[:, 0], tf.float32)
        top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        tf.debugging.assert_near(tf.reduce_min(images), 114 / 255)
        box = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        row = tf.concat([box, [1.0], tf.zeros(79), [1.0], tf.zeros(31)], 0)
        return {"a": tf.tile(row[None, :, None], (1, 1, 200)), "b": prototypes()[None]}

    serve = tf.function(serve, input_signature=[tf.TensorSpec((1, *INPUT, 3), tf.float32)])
    tf.saved_model.save(tf.Module(), str(tmp_path / "m"), {"serving_default": serve})
    teacher = open_teacher(str(tmp_path / "m"))
    for size in ((30, 90), (90, 30), (64, 97)):
        seen = teacher(np.full((*size, 3), 255, np.uint8), 0)
        assert len(seen) == 1
        np.testing.assert_allclose(seen.boxes, [[0, 0, 1, 1]], atol=1e-6)
        assert seen.masks[0].shape == size


def test_a_free_input_is_640_pixels_long(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)])
    def serve(images):
        size = tf.shape(images)[1:3]
        tf.debugging.assert_equal(size, [384, 640])
        return {"a": predictions().T[None], "b": prototypes()[None], "size": size}

    tf.saved_model.save(tf.Module(), str(tmp_path / "m"), {"serving_default": serve})
    assert len(open_teacher(str(tmp_path / "m"))(frame((360, 640)), 0)) == 3


def test_suppression_is_by_class(tmp_path):
    boxes = [
        ((20 + 2 * i, 16, 32, 16), number, 0.9 - i / 10, 0) for i in (0, 1) for number in (0, 1)
    ]
    seen = open_teacher(save(tmp_path / "m", predictions(boxes).T))(frame(), 0)
    assert sorted(seen.classes) == [1, 2]  # the shifted ones overlap by more than .7


def test_nothing_is_found(tmp_path):
    seen = open_teacher(save(tmp_path / "m", predictions([]).T))(frame(), 0)
    assert len(seen) == 0
    assert seen.boxes.shape == (0, 4)


def test_names_of_other_classes(tmp_path):
    (tmp_path / "names.txt").write_text("helmet\n\nvest\n")
    objects = [(OBJECTS[0][0], 2, 0.9, 0), (OBJECTS[3][0], 1, 0.8, 0)]
    path = save(tmp_path / "m", predictions(objects, classes=3).T)
    teacher = open_teacher(path, TeacherOptions(str(tmp_path / "names.txt")))
    assert teacher.names == {0: "helmet", 2: "vest"}
    assert teacher(frame(), 0).classes.tolist() == [2]  # of a class that does not count
    with pytest.raises(UserError, match=r"are 3, not.*teacher_classes=FILE"):
        open_teacher(path)
    (tmp_path / "names.txt").write_text("helmet\nvest\n")
    with pytest.raises(UserError, match=r"are 3,.*names 2.*YOLOv5"):
        open_teacher(path, TeacherOptions(str(tmp_path / "names.txt")))


def test_two_classes_are_told_from_nms_inside(tmp_path):
    (tmp_path / "names.txt").write_text("helmet\nvest\n")
    rows = predictions(OBJECTS[:1], classes=2)
    path = save(tmp_path / "m", rows)
    seen = open_teacher(path, TeacherOptions(str(tmp_path / "names.txt")))(frame(), 0)
    assert seen.classes.tolist() == [0]
    np.testing.assert_allclose(seen.boxes * (64, 96, 64, 96), [[8, 8, 24, 40]])


def test_a_signature_is_chosen(tmp_path):
    path = save(tmp_path / "m", predictions().T, name="raw")
    check_objects(open_teacher(path)(frame(), 0))
    check_objects(open_teacher(path, TeacherOptions(signature="raw"))(frame(), 0))
    with pytest.raises(UserError, match=r"'detect' \(it has: raw\)"):
        open_teacher(path, TeacherOptions(signature="detect"))


def test_another_range_is_refused(tmp_path):
    path = save(tmp_path / "m", predictions().T)
    open_teacher(path, TeacherOptions(input="0..1"))
    with pytest.raises(UserError, match=r"--teacher_input=0\.\.255"):
        open_teacher(path, TeacherOptions(input="0..255"))


def changed(**values):
    """Predictions of which some numbers of the first object are others."""
    rows = predictions()
    for name, value in values.items():
        rows[3, {"y": 1, "score": 4, "coefficient": 84}[name]] = value
    return rows.T


@pytest.mark.parametrize(
    ("rows", "maps", "message"),
    [
        (changed(score=7), None, "output_0 has scores 0…7, expected 0…1"),
        (changed(score=np.nan), None, "NaN"),
        (changed(coefficient=np.inf), None, "NaN or infinite"),
        (predictions().T, np.full_like(prototypes(), np.nan), "output_1 has NaN"),
        (after_nms([(OBJECTS[0][0], 80, 0.9, 0)]), None, r"output_0 has the id 80.*end at 79"),
        (after_nms([(OBJECTS[0][0], 2.5, 0.9, 0)]), None, r"output_0 has 2\.5"),
    ],
    ids=["score", "nan", "coefficient", "prototypes", "class", "fraction"],
)
def test_output_that_does_not_fit_is_refused(tmp_path, rows, maps, message):
    teacher = open_teacher(save(tmp_path / "m", rows, maps))
    with pytest.raises(UserError, match=message) as error:
        teacher(frame(), 7)
    assert "frame 7" in str(error.value)


def test_objects_end_with_the_frame(tmp_path):
    objects = [((0, 32, 32, 32), 0, 0.9, 0), ((-30, 32, 20, 20), 0, 0.9, 0)]
    seen = open_teacher(save(tmp_path / "m", predictions(objects).T))(frame(), 0)
    np.testing.assert_allclose(seen.boxes * (64, 96, 64, 96), [[16, 0, 48, 16]])
    assert seen.masks[0].shape == (32, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("video", "classes"),
    [("traffic-intersection.mp4", ["auto"]), ("animals-dog-person.mp4", ["person", "dog"])],
)
def test_raw_outputs_of_a_real_network_give_its_own_labels(shared, video, classes):
    """Its serving_default is the same network, decoded by its exporter."""
    path = str(shared("teachers/yolo11n_seg_384x640"))
    decoded, raw = open_teacher(path), open_teacher(path, TeacherOptions(signature="raw"))
    maker = LabelMaker(class_groups("lvs"))
    confusion = 0
    with open_source(str(shared(f"videos/{video}"))) as source:
        for i, picture in enumerate(itertools.islice(source, 0, 100, 25)):
            one, other = (
                maker.labels(teacher(picture, i), picture.shape[:2]) for teacher in (decoded, raw)
            )
            confusion = confusion + metrics.confusion(one, other, len(maker.groups.names))
    for name in classes:
        row = maker.groups.names.index(name)
        both = confusion[row, row]
        assert both >= 0.97 * (confusion[row].sum() + confusion[:, row].sum() - both) > 0

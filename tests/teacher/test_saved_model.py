"""Teachers from SavedModels with the signatures of the Object Detection API."""

import pathlib

import cv2
import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from teacher import MIN_SCORE, TeacherOptions, open_teacher
from teacher.detections import paste
from teacher.saved_model import open_saved_model

SIZE = (48, 64)
# Four objects, then two rows of padding that look better than any of them.
BOXES = np.float32(
    [
        [0.0, 0.0, 0.5, 0.5],
        [0.25, 0.5, 0.75, 1.0],
        [0.5, 0.0, 1.05, 0.25],
        [0.0, 0.75, 0.25, 1.0],
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 1.0, 1.0],
    ]
)
CLASSES = np.float32([1, 90, 3, 18, 1, 1])
SCORES = np.float32([0.6, 0.9, 0.3, 0.04, 1.0, 0.99])
COUNT = 4
MASKS = np.random.default_rng(0).random((6, 33, 33)).astype(np.float32)
OUTPUTS = {
    "detection_boxes": BOXES,
    "detection_classes": CLASSES,
    "detection_scores": SCORES,
    "detection_masks": MASKS,
    "num_detections": np.float32(COUNT),
    # One of many further outputs of the TF2 zoo's models.
    "raw_detection_scores": np.zeros((300, 91), np.float32),
    "anchors": np.zeros((51150, 4), np.float32),
    "detection_multiclass_scores": np.zeros((6, 91), np.float32),
}
FREE = (1, None, None, 3)


def frame(size=SIZE):
    """A gray frame; the models here ignore its content."""
    return np.full((*size, 3), 100, np.uint8)


def save(
    path,
    *,
    shape=FREE,
    dtype=tf.uint8,
    name="input_tensor",
    outputs=OUTPUTS,
    signature=None,
):
    """Saves a model in TF2's format that returns these outputs for any image."""
    module = tf.Module()
    module.scale = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name)])
    def serve(image):
        del image
        return {
            key: module.scale * tf.constant(value)[tf.newaxis] for key, value in outputs.items()
        }

    tf.saved_model.save(module, str(path), {signature or "serving_default": serve})
    return str(path)


def save_color_reader(path):
    """Saves a model whose only object encodes the colors of the first and the last pixel."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec(FREE, tf.uint8, "input_tensor")])
    def serve(image):
        first, last = tf.cast(image[0, 0, 0], tf.float32), tf.cast(image[0, -1, -1], tf.float32)
        return {
            "detection_boxes": tf.reshape(tf.concat([[0.0], last / 255], 0), (1, 1, 4)),
            "detection_classes": tf.reshape(first[0], (1, 1)),
            "detection_scores": tf.reshape(first[1] / 255, (1, 1)),
            "detection_masks": tf.ones((1, 1, 15, 15)),
        }

    tf.saved_model.save(module, str(path), {"serving_default": serve})
    return str(path)


def save_tf1(path):
    """Saves the same outputs like the TF1 zoo's exporter: placeholders, sessions, tags."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.uint8, (None, None, None, 3), "image_tensor")
        scale = v1.get_variable("scale", initializer=1.0, use_resource=False)
        batch = tf.shape(image)[0]
        outputs = {}
        for name, value in OUTPUTS.items():
            value = tf.tile(value[np.newaxis], [batch, *[1] * value.ndim])
            outputs[name] = tf.identity(scale * value, name)
        session.run(v1.global_variables_initializer())
        definition = v1.saved_model.build_signature_def(
            {"inputs": v1.saved_model.build_tensor_info(image)},
            {name: v1.saved_model.build_tensor_info(value) for name, value in outputs.items()},
            v1.saved_model.signature_constants.PREDICT_METHOD_NAME,
        )
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition})
        builder.save()
    return str(path)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folders of both kinds of model."""
    folder = tmp_path_factory.mktemp("models")
    return {"TF1": save_tf1(folder / "tf1"), "TF2": save(folder / "tf2")}


@pytest.mark.parametrize("style", ["TF1", "TF2"])
def test_detections(models, style):
    seen = open_saved_model(models[style])(frame(), 0)
    # Padding and scores below MIN_SCORE are left out; the best score comes first.
    assert MIN_SCORE == 0.05
    np.testing.assert_array_equal(seen.classes, [90, 1, 3])
    np.testing.assert_array_equal(seen.scores, SCORES[[1, 0, 2]])
    np.testing.assert_array_equal(seen.boxes, BOXES[[1, 0, 2]])
    np.testing.assert_array_equal(seen.origins, [[12, 32], [0, 0], [24, 0]])
    for row, mask in zip((1, 0, 2), seen.masks, strict=True):
        np.testing.assert_array_equal(mask, paste(MASKS[row], BOXES[row], SIZE)[0])
        assert 0 < mask.mean() < 1
    assert [mask.shape for mask in seen.masks] == [(24, 32), (24, 32), (24, 16)]


def test_masks_follow_the_frames_size(models):
    teacher = open_saved_model(models["TF2"])
    assert teacher(frame((33, 101)), 0).masks[1].shape == (16, 50)  # half of each, to even
    assert teacher(frame(), 1).masks[1].shape == (24, 32)


def test_the_model_gets_the_frame_unchanged(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[0, 0] = (88, 204, 0)  # class, and score × 255
    picture[-1, -1] = (51, 102, 153)  # left, bottom and right edge × 255
    seen = open_saved_model(save_color_reader(tmp_path))(picture, 0)
    np.testing.assert_array_equal(seen.classes, [88])
    np.testing.assert_allclose(seen.scores, [0.8], rtol=1e-6)
    np.testing.assert_allclose(seen.boxes, [[0, 0.2, 0.4, 0.6]], rtol=1e-6)
    assert seen.masks[0].shape == (16, 24)
    assert tuple(seen.origins[0]) == (0, 12)


def test_all_rows_count_without_num_detections(tmp_path):
    outputs = {name: value for name, value in OUTPUTS.items() if name != "num_detections"}
    seen = open_saved_model(save(tmp_path, outputs=outputs))(frame(), 0)
    np.testing.assert_array_equal(seen.classes, [1, 1, 90, 1, 3])


def test_no_detections(tmp_path):
    outputs = {**OUTPUTS, "num_detections": np.float32(0)}
    assert len(open_saved_model(save(tmp_path, outputs=outputs))(frame(), 0)) == 0


def test_folders_as_unpacked_from_the_zoo(tmp_path):
    save(tmp_path / "saved_model")
    assert len(open_saved_model(tmp_path)(frame(), 0)) == 3
    assert len(open_teacher(str(tmp_path))(frame(), 0)) == 3


@pytest.mark.parametrize("shape", [(1, *SIZE, 3), (None, *SIZE, 3)])
def test_fixed_size(tmp_path, shape):
    teacher = open_saved_model(save(tmp_path, shape=shape))
    assert len(teacher(frame(), 0)) == 3
    with pytest.raises(UserError, match=r"48×65.*--frame_size=48x64"):
        teacher(frame((48, 65)), 0)


def test_free_batch_size(tmp_path):
    assert len(open_saved_model(save(tmp_path, shape=(None,) * 3 + (3,)))(frame(), 0)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": tf.float32}, r"takes \[float32 \(1, None, None, 3\)\]"),
        ({"dtype": tf.string, "shape": (None,)}, r"takes \[string \(None,\)\]"),
        ({"shape": (None, None, 3)}, r"takes \[uint8 \(None, None, 3\)\]"),
        ({"shape": (2, None, None, 3)}, r"takes \[uint8 \(2, None, None, 3\)\]"),
        ({"shape": (1, None, None, 1)}, r"takes \[uint8 \(1, None, None, 1\)\]"),
    ],
)
def test_unusable_signatures_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message) as error:
        open_saved_model(save(tmp_path, **options))
    assert str(tmp_path) in str(error.value)


def test_models_without_signatures_are_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(UserError, match=r"no signature 'serving_default' \(it has: none\)"):
        open_saved_model(tmp_path)


def test_two_inputs_are_refused(tmp_path):
    spec = tf.TensorSpec(FREE, tf.uint8)

    @tf.function(input_signature=[spec, spec])
    def serve(image, other):
        del image, other
        return {name: tf.constant(value)[tf.newaxis] for name, value in OUTPUTS.items()}

    tf.saved_model.save(tf.Module(), str(tmp_path), {"serving_default": serve})
    with pytest.raises(UserError, match="not one uint8 image"):
        open_saved_model(tmp_path)


@pytest.mark.parametrize(
    "missing",
    [
        ["detection_masks"],  # a Faster R-CNN
        ["detection_boxes"],
        ["detection_scores", "detection_classes"],
    ],
)
def test_missing_outputs_are_named(tmp_path, missing):
    outputs = {name: value for name, value in OUTPUTS.items() if name not in missing}
    with pytest.raises(UserError) as error:
        open_saved_model(save(tmp_path, outputs=outputs))
    assert f"{', '.join(missing)};" in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_masks_of_the_wrong_rank_are_refused(tmp_path):
    outputs = {**OUTPUTS, "detection_masks": MASKS[0]}
    with pytest.raises(UserError, match=r"detection_masks has shape \(1, 33, 33\)"):
        open_saved_model(save(tmp_path, outputs=outputs))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "frozen_inference_graph.pb").write_bytes(b"graph")
    with pytest.raises(UserError, match=r"saved_model\.pb"):
        open_saved_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a graph at all", bytes(1000)])
def test_invalid_saved_models_are_refused(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(UserError) as error:
        open_saved_model(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index"])
def test_incomplete_copies_are_refused(tmp_path, models, part):
    whole = pathlib.Path(models["TF2"])
    for path in filter(pathlib.Path.is_file, whole.rglob("*")):
        target = tmp_path / path.relative_to(whole)
        target.parent.mkdir(exist_ok=True)
        content = path.read_bytes()
        target.write_bytes(content[: len(content) // 2] if target.match(part) else content)
    with pytest.raises(UserError, match="cannot be loaded as a SavedModel") as error:
        open_saved_model(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["no/such/folder", "", __file__])
def test_a_missing_folder_is_refused(spec):
    with pytest.raises(UserError, match="is not a folder"):
        open_teacher(spec)


@pytest.fixture(scope="module")
def street(shared):
    """A frame with cars on it, RGB."""
    video = cv2.VideoCapture(str(shared("videos/traffic-intersection.mp4")))
    read, picture = video.read()
    video.release()
    assert read
    return np.ascontiguousarray(picture[..., ::-1])


@pytest.mark.parametrize("name", ["yolo11n_seg_384x640", "yolo11n_seg_736x1280"])
def test_a_real_teacher_finds_the_autos(shared, street, name):
    H, W = street.shape[:2]
    seen = open_teacher(str(shared(f"teachers/{name}")))(street, 0)
    assert 0 < len(seen) <= 100
    assert (np.diff(seen.scores) <= 0).all()
    groups = class_groups("lvs")
    auto = groups.names.index("auto")
    sure = seen.above(0.5)
    autos = np.flatnonzero(groups.class_ids()[sure.classes] == auto)
    assert len(autos) >= 3
    for i in autos:
        mask, origin = sure.masks[i], sure.origins[i]
        box = sure.boxes[i] * (H, W, H, W)
        assert 0.3 < mask.mean() <= 1  # a car fills most of its box
        np.testing.assert_allclose(origin, np.maximum(box[:2], 0), atol=1)
        np.testing.assert_allclose(origin + mask.shape, np.minimum(box[2:], (H, W)), atol=1)
    labels = LabelMaker(groups).labels(seen, (H, W))
    assert 0.005 < (labels == auto).mean() < 0.5


def test_classes_of_another_list(tmp_path):
    (tmp_path / "names.txt").write_text("zero\none\n\nthree\n")
    outputs = {**OUTPUTS, "detection_classes": np.float32([0, 1, 2, 3, 0, 0])}
    path = save(tmp_path / "m", outputs=outputs)
    teacher = open_teacher(path, TeacherOptions(str(tmp_path / "names.txt")))
    assert teacher.names == {0: "zero", 1: "one", 3: "three"}
    assert teacher(frame(), 0).classes.tolist() == [1, 0]  # 2 has no name, 3 no score
    (tmp_path / "names.txt").write_text("zero\n")
    with pytest.raises(UserError, match=r"the id 1 .*end at 0;"):
        open_teacher(path, TeacherOptions(str(tmp_path / "names.txt")))(frame(), 0)


def test_no_known_form_is_told_with_inputs_and_outputs(tmp_path):
    path = save(tmp_path, outputs={"logits": np.zeros(1000, np.float32)})
    with pytest.raises(UserError) as error:
        open_teacher(path)
    for part in ("input_tensor uint8 [1, ?, ?, 3]", "logits float32 [1, 1000]"):
        assert part in str(error.value)
    for form in ("Mask R-CNN:", "YOLO-seg:", "semantic:"):
        assert form in str(error.value)

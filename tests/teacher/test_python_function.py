"""Functions as teachers: what they may return, and what is said of anything else."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import jitnet_tf
from jitnet_tf.base.errors import UserError
from teacher.base import TeacherError
from teacher.detections import from_box_masks
from teacher.encoding import encode
from tests.materials import square_scene, write_video

SIZE = (48, 64)
FRAME = np.zeros((*SIZE, 3), np.uint8)
IDS = np.zeros(SIZE, np.int64)
IDS[10:30, 20:50] = 2
VOC_LIKE = ["background", "dog", "person"]
ARRAYS = {
    "boxes": [[0.1, 0.2, 0.6, 0.5], [0, 0, 0, 0]],
    "scores": [0.8, 0],
    "classes": [1, 0],
    "masks": np.ones((2, 5, 5)),
}
CORNERS = [[0.1, 0.2, 0.6, 0.5], [0.5, 0.5, 0.9, 0.9]]
SEEN = from_box_masks(CORNERS, [1, 1], [0.8, 0.7], ARRAYS["masks"], SIZE)


def detect(returned, classes="coco"):
    return jitnet_tf.CallableTeacher(lambda frame: returned, classes)(FRAME, 3)


def scores_of(ids, count):
    return np.eye(count, dtype=np.float32)[ids]


@pytest.mark.parametrize(
    "returned",
    [
        IDS,
        IDS.tolist(),
        np.float32(IDS),
        IDS[None, :, :, None],
        tf.constant(IDS)[None],
        scores_of(IDS, 3),
        tf.constant(scores_of(IDS, 3))[None],
        5 * scores_of(IDS, 3) - 9,  # logits
        IDS[::2, ::2],
        np.where(IDS, IDS, 255),
    ],
)
def test_class_maps(returned):
    teacher = jitnet_tf.CallableTeacher(lambda frame: returned, VOC_LIKE)
    assert teacher.names == {1: "dog", 2: "person"}
    seen = teacher(FRAME, 0)
    np.testing.assert_array_equal(seen.classes, [2])
    np.testing.assert_allclose(seen.boxes, [[10 / 48, 20 / 64, 30 / 48, 50 / 64]])
    assert seen.masks[0].all()
    assert seen.masks[0].shape == (20, 30)


def test_names_by_id_may_leave_ids_out():
    teacher = jitnet_tf.CallableTeacher(lambda frame: IDS, {2: "person", 0: "background"})
    assert teacher.names == {2: "person"}
    assert teacher(FRAME, 0).classes.tolist() == [2]


@pytest.mark.parametrize(
    ("classes", "said"), [({"dog": 1}, "dog"), ({1: 2}, "2"), ([3], "3"), ({}, "no name")]
)
def test_classes_that_are_no_names_by_id_are_refused(classes, said):
    with pytest.raises(UserError, match=said):
        jitnet_tf.CallableTeacher(lambda frame: IDS, classes)


def test_a_frame_without_objects_may_be_empty_lists():
    seen = detect({name: [] for name in ARRAYS})
    assert (len(seen), seen.boxes.shape) == (0, (0, 4))
    with pytest.raises(TeacherError, match="boxes"):
        detect({**ARRAYS, "boxes": []})


def test_a_mask_of_0_and_255_is_told():
    teacher = jitnet_tf.CallableTeacher(lambda frame: np.where(IDS, 255, 0), VOC_LIKE)
    assert not len(teacher(FRAME, 0))
    assert not len(teacher(FRAME, 1))
    [problem] = teacher.problems
    assert "255" in problem


@pytest.mark.parametrize(
    "returned",
    [
        ARRAYS,
        {f"detection_{name}": np.asarray(array)[None] for name, array in ARRAYS.items()},
        {name: tf.constant(array) for name, array in ARRAYS.items()},
        {**ARRAYS, "num_detections": 1, "more": None},
        SEEN.above(0.75),
    ],
)
def test_detections(returned):
    assert encode(detect(returned)) == encode(SEEN.above(0.75))


def test_the_function_gets_a_frame_of_its_own_and_the_index_if_it_takes_it():
    asked = []

    def spoil(frame, index):
        asked.append((index, frame.copy()))
        frame += 1
        return IDS

    frame = FRAME.copy()
    jitnet_tf.CallableTeacher(spoil, VOC_LIKE)(frame, 7)
    assert not frame.any()
    assert asked[0][0] == 7
    with pytest.raises(TypeError, match="a, b, c"):
        jitnet_tf.CallableTeacher(lambda a, b, c: IDS)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (None, "None"),
        ("person", "'person'"),
        (3, "3"),
        ([[1], [1, 2]], "list"),
        (np.zeros(5), r"ndarray \[5\]"),
        (np.zeros((1, 2, 3, 4, 5)), r"\[1, 2, 3, 4, 5\]"),
        (np.zeros((2, *SIZE, 3)), r"\[2, 48, 64, 3\]"),
        (IDS + 1, "3.*0 to 2"),
        (IDS * 0.7, "1.4"),
        (IDS * np.nan, "NaN"),
        (scores_of(IDS, 4), r"\[48, 64, 4\].*\[h, w, 3\]"),
        (scores_of(IDS, 3) * np.nan, "NaN"),
        (np.full(SIZE, "dog"), "text"),
        ({}, "boxes"),
        ({**ARRAYS, "boxes": [[10, 20, 40, 30], [0] * 4]}, "boxes.*40"),
        ({**ARRAYS, "classes": [3, 0]}, "classes.*3"),
        ({**ARRAYS, "masks": [None, None]}, "masks"),
        (dataclasses.replace(SEEN, boxes=SEEN.boxes * 50), "boxes.*45"),
        (dataclasses.replace(SEEN, boxes=SEEN.boxes[:1]), r"boxes.*\[1, 4\]"),
        (dataclasses.replace(SEEN, scores=SEEN.scores * 100), "scores"),
        (dataclasses.replace(SEEN, classes=SEEN.classes + 7), "classes.*8"),
        (dataclasses.replace(SEEN, masks=SEEN.masks[:1]), "1 masks.*2"),
        (dataclasses.replace(SEEN, masks=[m * 0.5 for m in SEEN.masks]), "float64"),
        (dataclasses.replace(SEEN, origins=SEEN.origins + 40), "inside the frame"),
    ],
)
def test_anything_else_is_refused_with_what_was_returned(returned, found):
    with pytest.raises(TeacherError, match=rf"(?s)frame 3.*{found}"):
        detect(returned, VOC_LIKE)


def test_errors_of_the_function_stay_what_they_are():
    with pytest.raises(ZeroDivisionError):
        jitnet_tf.CallableTeacher(lambda frame: 1 / 0)(FRAME, 5)


def test_names_are_of_a_list_or_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("background\ndog\nperson\n")
    assert jitnet_tf.CallableTeacher(id, str(tmp_path / "names.txt")).names[2] == "person"
    assert jitnet_tf.CallableTeacher(id, "voc").names[12] == "dog"
    for wrong in ("nowhere", ["", "background"]):
        with pytest.raises(UserError):
            jitnet_tf.CallableTeacher(id, wrong)


def brightness(frame):
    """A network's place: the bright square is the person."""
    return np.uint8(frame.mean(2) > 140)


@pytest.fixture
def config(tmp_path):
    write_video(tmp_path / "square.mp4", square_scene(6)[0])
    return jitnet_tf.RunConfig(
        video=str(tmp_path / "square.mp4"),
        logdir=str(tmp_path / "run"),
        output="none",
        init="random",
        max_updates=1,
        min_stride=2,
        student=jitnet_tf.StudentConfig(width=0.25),
    )


@pytest.mark.slow
def test_a_run_takes_a_function_and_resumes_with_it(config):
    teacher = jitnet_tf.CallableTeacher(brightness, ["background", "person"])
    with jitnet_tf.Run(config, teacher=teacher) as run:
        for _ in range(3):
            run.advance()
        assert run.finish()["labeled_teacher_frames"] > 0
    with pytest.raises(UserError, match="the teacher is missing"):
        jitnet_tf.Run(config, resume=True)
    other = jitnet_tf.CallableTeacher(brightness, ["background", "dog"])
    with pytest.raises(UserError, match="is not the teacher"):
        jitnet_tf.Run(config, teacher=other, resume=True)
    with jitnet_tf.Run(config, teacher=teacher, resume=True) as run:
        assert run.execute()["frames"] == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": "recorded:x"}, "only one"),
        ({"teacher_mode": "async"}, "async"),
        ({"teacher_classes": "voc"}, "teacher_classes"),
    ],
)
def test_options_that_a_function_does_not_take_are_refused(config, changes, said):
    config = dataclasses.replace(config, **changes)
    with pytest.raises(UserError, match=said):
        jitnet_tf.Run(config, teacher=brightness)

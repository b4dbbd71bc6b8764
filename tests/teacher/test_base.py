"""The protocol of teachers."""

import pytest

from teacher import Detections, Teacher, open_teacher
from teacher.lvs import Predictions
from teacher.mask_rcnn import MaskRcnn
from teacher.process import ProcessTeacher
from teacher.recorded import Recording
from tests.materials import square_scene, write_square_stream


def test_a_teacher_needs_only_its_call():
    class Blank(Teacher):
        def __call__(self, frame, index):
            return index

    teacher = Blank()
    assert teacher(None, 3) == 3
    assert (teacher.precomputed, teacher.mean_seconds, teacher.seconds(3)) == (False, None, None)
    assert list(teacher.problems) == []
    teacher.close()


@pytest.mark.parametrize(
    ("kind", "precomputed"),
    [(MaskRcnn, False), (Recording, True), (Predictions, True), (ProcessTeacher, False)],
)
def test_every_teacher_derives_from_the_protocol(kind, precomputed):
    assert Teacher in kind.__mro__
    assert kind.precomputed == precomputed


def test_open_teacher_returns_one(tmp_path):
    stream = write_square_stream(tmp_path, "square", 2)
    teacher = open_teacher(f"recorded:{stream.recording}")
    pictures, _ = square_scene(2)
    assert isinstance(teacher(pictures[1], 1), Detections)
    assert (teacher.precomputed, teacher.seconds(1)) == (True, teacher.mean_seconds)
    teacher.close()

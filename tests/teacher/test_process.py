"""A teacher in a real process: detections, errors, exit."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from jitnet_tf.base.background import LOWEST_PRIORITY
from jitnet_tf.base.errors import UserError
from teacher import Teacher, process
from teacher.encoding import encode
from teacher.process import ProcessTeacher
from teacher.recorded import Recording
from teacher.saved_model import open_saved_model
from tests.materials import SIZE, square_scene, write_square_stream

COUNT = 6
POLL_SECONDS = 60


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_square_stream(tmp_path_factory.mktemp("stream"), "square", COUNT).recording


@pytest.fixture
def teacher(recording):
    with ProcessTeacher(f"recorded:{recording}") as opened:
        yield opened


def only_child():
    [process] = multiprocessing.active_children()
    return process.pid


def is_gone(pid):
    """Returns whether a process has ended, or is a zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid):
    end = time.monotonic() + POLL_SECONDS
    while not is_gone(pid):
        assert time.monotonic() < end, f"{pid} is still there"
        time.sleep(0.02)


def test_detections_equal_the_teachers(teacher, recording):
    pictures, _ = square_scene(COUNT)
    with Recording(recording) as replayed:
        for index, picture in enumerate(pictures):
            detections, seconds = teacher.ask(picture, index).result()
            expected = encode(replayed(picture, index))
            assert encode(detections) == encode(teacher(picture, index)) == expected
            assert seconds > 0


def test_a_precomputed_teacher_is_also_local(teacher, recording):
    assert isinstance(teacher.local, Recording)
    assert teacher.local.path == recording
    assert (teacher.precomputed, teacher.mean_seconds) == (True, 0.5)
    assert [teacher.seconds(index) for index in (0, COUNT - 1)] == [0.5, 0.5]


def test_the_process_has_the_lowest_priority_and_ignores_ctrl_c(teacher):
    pid = only_child()
    assert os.getpriority(os.PRIO_PROCESS, pid) == LOWEST_PRIORITY
    assert os.getpriority(os.PRIO_PROCESS, 0) < LOWEST_PRIORITY or os.nice(0) == LOWEST_PRIORITY
    os.kill(pid, signal.SIGINT)
    frame = square_scene(1)[0][0]
    assert len(teacher(frame, 0)) == 1
    assert only_child() == pid
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_errors_equal_the_teachers(teacher, recording):
    frame = square_scene(1)[0][0]
    with Recording(recording) as replayed:
        for wrong in ((frame[:32], 0), (frame, COUNT), (frame[::-1], 0)):
            with pytest.raises(UserError) as here:
                replayed(*wrong)
            with pytest.raises(UserError) as there:
                teacher(*wrong)
            assert type(there.value) is UserError
            assert str(there.value) == str(here.value)
            with pytest.raises(UserError):
                teacher.ask(*wrong).result()
    assert len(teacher(frame, 0)) == 1  # it still answers


@pytest.mark.slow
def test_a_teacher_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    for spec, message in (
        ("recorded:nowhere", "recording 'nowhere'"),
        ("nowhere", "'nowhere'"),
        ("zoo:nothing", "'nothing'"),
        (str(tmp_path / "empty"), "saved_model.pb"),  # an error of the child
    ):
        with pytest.raises(UserError, match=message):
            ProcessTeacher(spec)
        assert not multiprocessing.active_children()


def test_a_child_that_dies_idle_is_an_error(teacher):
    pid = only_child()
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    frame = square_scene(1)[0][0]
    for _ in range(2):
        with pytest.raises(UserError, match="--teacher_mode=sync"):
            teacher(frame, 0)


def test_a_child_that_dies_during_inference_is_an_error(teacher):
    pid = only_child()
    os.kill(pid, signal.SIGSTOP)
    answer = teacher.ask(square_scene(1)[0][0], 0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UserError, match="has died"):
        answer.result()


class StrangeError(Exception):
    """Cannot be pickled: it takes two arguments, and keeps a function."""

    def __init__(self, text, function):
        super().__init__(text)
        self.function = function


class Noting(Teacher):
    """Notes each frame, and fails on frame 3."""

    def __init__(self):
        self.problems = []

    def __call__(self, frame, index):
        if index == 3:
            raise StrangeError("out of luck", lambda: None)
        self.problems.append(f"frame {index} is odd")
        return index


def replace_teacher():
    """Replaces the teacher of the child, in which it runs."""
    process._child["teacher"] = Noting()
    return None, []


def test_problems_and_strange_errors_come_from_the_child(teacher):
    frame = np.zeros((*SIZE, 3), np.uint8)
    teacher._submit(replace_teacher).result()
    assert list(teacher.problems) == []
    assert [teacher(frame, index) for index in (0, 2)] == [0, 2]
    assert list(teacher.problems) == ["frame 0 is odd", "frame 2 is odd"]
    with pytest.raises(UserError, match=r"frame 3.*out of luck"):
        teacher(frame, 3)
    assert teacher(frame, 4) == 4  # it still answers


def test_the_process_ends_with_close(recording):
    with ProcessTeacher(f"recorded:{recording}"):
        pid = only_child()
        assert not is_gone(pid)
    assert is_gone(pid)


def write_endless_model(path):
    """A SavedModel that never ends on a frame whose first value is 255."""

    def detect(image):
        count = tf.where(image[0, 0, 0, 0] == 255, tf.int64.max, 0)
        rounds = tf.while_loop(lambda i: i < count, lambda i: [i + 1], [tf.constant(0, tf.int64)])
        score = tf.cast(rounds[0], tf.float32) + 0.9
        return {
            "detection_boxes": tf.constant([[[0.1, 0.1, 0.6, 0.5]]]),
            "detection_scores": tf.reshape(score, (1, 1)),
            "detection_classes": tf.constant([[1.0]]),
            "detection_masks": tf.ones((1, 1, 7, 7)),
        }

    module = tf.Module()
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8, "image")
    module.detect = tf.function(detect, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.detect})
    return path


@pytest.mark.slow
def test_close_does_not_wait_for_a_running_model(tmp_path, capfd):
    path = write_endless_model(tmp_path / "endless")
    with ProcessTeacher(str(path)) as teacher:
        assert (teacher.local, teacher.precomputed) == (None, False)
        assert (teacher.seconds(0), teacher.mean_seconds) == (None, None)
        frame = np.zeros((*SIZE, 3), np.uint8)
        here = encode(open_saved_model(path)(frame, 0))
        assert encode(teacher(frame, 0)) == here
        pid = only_child()
        answer = teacher.ask(frame + 255, 1)
        time.sleep(0.3)  # so that it is at work
        assert not answer.done()
    assert is_gone(pid)
    with pytest.raises((UserError, concurrent.futures.CancelledError)):
        answer.result()
    assert capfd.readouterr().err == ""  # no startup messages of TensorFlow


PARENT = """
import multiprocessing, sys, time
from teacher.process import ProcessTeacher

if __name__ == "__main__":
    teacher = ProcessTeacher(sys.argv[1])
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


def test_the_process_ends_with_a_killed_parent(tmp_path, recording):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = pathlib.Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script), f"recorded:{recording}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
    finally:
        parent.kill()
        parent.communicate()
    wait_until_gone(pid)

"""A teacher in its own process with low priority, so that the student runs meanwhile."""

import concurrent.futures
import os
import time
from concurrent.futures.process import BrokenProcessPool

from jitnet_tf.base import command_line
from jitnet_tf.base.background import BackgroundProcess
from jitnet_tf.base.errors import UserError, reason_of
from teacher import PRECOMPUTED, Teacher, open_teacher, saved_model_folder
from teacher.base import TeacherError

_child = {}  # "teacher" → the teacher; used in its process only


def share_gpus():
    """Lets TensorFlow allocate GPU memory as needed, here and in processes started from now on.

    By default the first process takes all of it. Call this before TensorFlow finds the GPUs.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def open_to_serve(spec, options):
    """Opens a teacher for other processes, to which not all errors can be sent.

    Imports TensorFlow, quietly, if the teacher needs it. Arguments as for `open_teacher`.

    Raises:
      UserError: whatever went wrong.
    """
    if not spec.startswith(PRECOMPUTED):
        command_line.import_tensorflow()
    try:
        return open_teacher(spec, options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the teacher cannot be opened: {reason_of(error)}") from None


def timed_answer(teacher, frame, index):
    """Returns (Detections, seconds that they took), for other processes; see `open_to_serve`.

    Raises:
      UserError: the teacher's, or a TeacherError for any other error.
    """
    start = time.perf_counter()
    try:
        detections = teacher(frame, index)
    except UserError:
        raise
    except Exception as error:
        raise TeacherError(reason_of(error), index) from None
    return detections, time.perf_counter() - start


def _open(spec, options):
    _child["teacher"] = open_to_serve(spec, options)
    return dict(_child["teacher"].names), list(_child["teacher"].problems)


def _answer(frame, index):
    answer = timed_answer(_child["teacher"], frame, index)
    return answer, list(_child["teacher"].problems)


def _died():
    return UserError(
        "the teacher's process has died; if memory is short, give a smaller --frame_size or "
        "--teacher_mode=sync"
    )


class ProcessTeacher(Teacher):
    """Runs any teacher in another process, which ends with `close` or with this process.

    Args:
      spec: as for `open_teacher`.
      options: as for `open_teacher`.

    Attributes:
      local: the same teacher in this process if it is precomputed, such as a Recording, to read
        and to check it; else None.
      names, problems: those of the teacher in the other process; see `Teacher`.

    Raises:
      UserError: as `open_teacher`. `__call__` and the result of `ask` raise the teacher's errors,
        and UserError if its process has died.
    """

    def __init__(self, spec, options=None):
        self.local = open_teacher(spec, options) if spec.startswith(PRECOMPUTED) else None
        if self.local:
            self.precomputed, self.mean_seconds = True, self.local.mean_seconds
        else:
            spec = saved_model_folder(spec)  # here, where a download can be interrupted
        share_gpus()
        self._process = BackgroundProcess()
        try:
            self.names = self._submit(_open, spec, options).result()
        except BaseException:
            self.close()
            raise

    def __call__(self, frame, index):
        """Returns the objects on a frame, uint8 RGB [H, W, 3]; waits for them."""
        return self.ask(frame, index).result()[0]

    def ask(self, frame, index):
        """Asks for the objects on a frame without waiting.

        Args:
          frame: uint8 RGB [H, W, 3]; do not change it before the answer.
          index: the frame's number in the stream, from 0.

        Returns:
          A concurrent.futures.Future of (Detections, seconds that the teacher took).
        """
        return self._submit(_answer, frame, index)

    def seconds(self, index):
        """Returns the model's seconds on a precomputed frame; None if unknown."""
        return self.local.seconds(index) if self.local else None

    def close(self):
        """Ends the process without waiting for answers."""
        if self.local:
            self.local.close()
        self._process.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _submit(self, function, *arguments):
        """Returns a Future of a call in the teacher's process."""
        answer = concurrent.futures.Future()
        try:
            asked = self._process.submit(function, *arguments)
        except BrokenProcessPool:
            answer.set_exception(_died())
        else:
            asked.add_done_callback(lambda asked: self._pass_on(asked, answer))
        return answer

    def _pass_on(self, asked, answer):
        """Passes the outcome of one Future on to another, and keeps the teacher's problems."""
        if asked.cancelled():
            answer.cancel()
        elif error := asked.exception():
            answer.set_exception(_died() if isinstance(error, BrokenProcessPool) else error)
        else:
            result, self.problems = asked.result()
            answer.set_result(result)

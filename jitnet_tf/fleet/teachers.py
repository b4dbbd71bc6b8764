"""The pool of teachers: a Ray actor each, and the dispatcher that all streams ask."""

import asyncio
import contextlib
import os
import time

import ray
from ray.exceptions import ObjectLostError, RayError

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.dispatch import Dispatch, GivenUpError
from jitnet_tf.fleet.remote import Latest, as_own_error
from jitnet_tf.fleet.scheduling import ByNeed
from jitnet_tf.fleet.stream_process import set_up_tensorflow
from jitnet_tf.fleet.streams import teacher_of
from teacher import PRECOMPUTED
from teacher.base import TeacherError
from teacher.process import open_to_serve, timed_answer

MOST_REQUESTS = 100_000  # at a time


class TeacherActor:
    """A teacher of the pool.

    Args:
      spec: as for `open_teacher`; see `streams.teacher_of`.
      options: TeacherOptions.
      on_gpu: whether it may use the GPUs that Ray shows it.
    """

    def __init__(self, spec, options, on_gpu):
        set_up_tensorflow(on_gpu)
        self._spec = spec
        self._options = options
        self._opened = {}  # a spec → its teacher

    def describe(self, stream):
        """Returns ((names of the classes by id, problems), None), or (None, UserError)."""
        try:
            teacher = self._teacher(stream)
        except UserError as error:
            return None, error
        return (dict(teacher.names), list(teacher.problems)), None

    def answer(self, questions):
        """Returns a pair for each Question: ((Detections, seconds), problems), or an error.

        The frames are fetched first: what that takes is not the teacher's time.
        """
        frames = [_fetched(question.frame) for question in questions]
        if len(questions) > 1 and (answers := self._together(questions, frames)):
            return answers
        return [
            (None, TeacherError("the frame was lost on its way", question.index))
            if frame is None
            else self._answer(question, frame)
            for question, frame in zip(questions, frames, strict=True)
        ]

    def _together(self, questions, frames):
        """Returns the answers of a model that takes all frames at once; None if it does not."""
        if self._spec.startswith(PRECOMPUTED) or any(frame is None for frame in frames):
            return None
        teacher = self._teacher("")
        if not teacher.batches or len({frame.shape for frame in frames}) > 1:
            return None
        start = time.perf_counter()
        try:
            found = teacher.many(frames, [question.index for question in questions])
        except UserError:  # each by itself tells which
            return None
        seconds = (time.perf_counter() - start) / len(frames)
        return [(((detections, seconds), list(teacher.problems)), None) for detections in found]

    def _answer(self, question, frame):
        if not self._spec.startswith(PRECOMPUTED):
            self._teacher(question.stream)  # what it raises is no fault of the frame
        try:
            teacher = self._teacher(question.stream)
            answer = timed_answer(teacher, frame, question.index)
        except UserError as error:
            return None, error
        return (answer, list(teacher.problems)), None

    def _teacher(self, stream):
        spec = teacher_of(self._spec, stream)
        if spec not in self._opened:
            self._opened[spec] = open_to_serve(spec, self._options)
        return self._opened[spec]

    def ready(self, most):
        """Returns how many of `most` frames it takes at a time, once it can be asked.

        UserError if it cannot be opened.
        """
        if self._spec.startswith(PRECOMPUTED):
            return 1
        return most if self._teacher("").batches else 1


def _fetched(frame):
    """Returns a Question's frame, uint8 RGB [H, W, 3]; None if it is lost with its stream."""
    try:
        return ray.get(frame[0])
    except ObjectLostError:
        return None


class _Remote:
    """A TeacherActor as an AsyncTeacher. most: frames at a time, if its model takes several."""

    def __init__(self, actor, most):
        self._actor = actor
        self._most = most

    async def answer(self, questions):
        return await _told(self._actor.answer.remote(questions))

    async def describe(self, stream):
        return await self._actor.describe.remote(stream)

    async def ready(self):
        return await _told(self._actor.ready.remote(self._most))


async def _told(reference):
    """Returns the value of an object; see `as_own_error` for what it raises."""
    try:
        return await reference
    except RayError as error:
        raise as_own_error(error) from None


class Dispatcher:
    """The actor that streams ask. Its methods are coroutines.

    Args:
      teachers: names of the TeacherActors; handles would not outlive a restart.
      most: frames that a teacher is given at a time, if its model takes several.
    """

    def __init__(self, teachers, most):
        self._teachers = [_Remote(ray.get_actor(name), most) for name in teachers]
        self._dispatch = self._serving = None

    def _start(self):
        # Only in the actor's loop, which does not run yet when it is made.
        if self._dispatch is None:
            self._dispatch = Dispatch(self._teachers, ByNeed())
            self._serving = asyncio.ensure_future(self._dispatch.serve())
            # It never ends. Should it, a new process has all requests asked again.
            self._serving.add_done_callback(lambda _: os._exit(1))
        return self._dispatch

    async def ask(self, question):
        """Returns what a teacher answers to a Question; see `TeacherActor.answer`."""
        try:
            return await self._start().ask(question)
        except GivenUpError as error:
            return None, TeacherError(str(error), question.index)

    async def describe(self, stream):
        """Returns what a teacher says of itself; see `TeacherActor.describe`."""
        dispatch = self._start()
        while True:
            for teacher, figures in zip(self._teachers, dispatch.figures, strict=True):
                if figures.batch:  # others may never start
                    with contextlib.suppress(RayError):
                        return await teacher.describe(stream)
            await asyncio.sleep(0.5)

    async def forget(self, stream):
        """Forgets a stream that has ended."""
        self._start().forget(stream)

    async def figures(self):
        """Returns (Figures of each teacher, waiting requests, seconds waited, longest wait)."""
        dispatch = self._start()
        return dispatch.figures, len(dispatch), dispatch.waited, dispatch.longest_wait


class Pool:
    """Teachers and their dispatcher, started in a Ray cluster.

    Args:
      spec, options: see `TeacherActor`.
      number: of teachers.
      gpus: of each; may be a part of one.
      batch: see `Dispatcher`.

    Attributes:
      dispatcher: handle of the Dispatcher.
    """

    def __init__(self, spec, options, number, gpus, batch):
        actor = ray.remote(max_restarts=-1, num_cpus=0, num_gpus=gpus)(TeacherActor)
        spread = {"scheduling_strategy": "SPREAD"}
        names = [f"teacher {place}" for place in range(number)]
        about = spec, options, gpus > 0
        self._teachers = [actor.options(name=n, **spread).remote(*about) for n in names]
        dispatcher = ray.remote(
            max_restarts=-1, max_task_retries=-1, num_cpus=0, max_concurrency=MOST_REQUESTS
        )(Dispatcher)
        self.dispatcher = dispatcher.remote(names, batch)
        self._latest = Latest(self.dispatcher.figures)

    def figures(self):
        """Returns the latest figures that are known; see `Dispatcher.figures`. Does not wait.

        UserError if there will never be any, as where the package is not installed.
        """
        found = self._latest.value()
        if found is None and self._latest.problem:
            raise UserError(f"the teachers cannot be started ({self._latest.problem})")
        return found

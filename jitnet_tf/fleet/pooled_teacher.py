"""The teacher of a stream in a fleet: it asks the pool."""

import concurrent.futures
import time

import ray

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.dispatch import Question
from jitnet_tf.fleet.scheduling import Decay
from teacher import PRECOMPUTED, Teacher, open_teacher


class StoppedError(UserError):
    """The stream was asked to stop while it waited for an answer."""


class PooledTeacher(Teacher):
    """Asks the teachers of a pool, as an asynchronous teacher.

    Args:
      stream: the stream's name.
      spec: as for `open_teacher`, of this stream.
      dispatcher: handle of the Dispatcher.
      stopping: a threading.Event, on which waiting for an answer ends.
      budget: greatest share of the stream's frames that may be teacher frames, 0…1.

    Attributes:
      local: the same teacher in this process if it is precomputed, such as a Recording, to check
        it; else None.
      names, problems: those of the pool's teachers; see `Teacher`.

    Raises:
      UserError: the pool has no such teacher. `__call__` and the result of `ask` raise the
        teacher's errors.
    """

    def __init__(self, stream, spec, dispatcher, stopping, budget):
        self._stream = stream
        self._budget = budget
        self._dispatcher = dispatcher
        self._stopping = stopping
        self.local = open_teacher(spec) if spec.startswith(PRECOMPUTED) else None
        if self.local:
            self.precomputed, self.mean_seconds = True, self.local.mean_seconds
        try:
            described = _value(self._wait(dispatcher.describe.remote(stream).future()))
            self.names, self.problems = described
        except BaseException:
            self.close()
            raise
        self._decay = Decay()
        self._asked = {}  # index → when

    def __call__(self, frame, index):
        """Returns the objects on a frame, uint8 RGB [H, W, 3]; waits for them."""
        return self._wait(self.ask(frame, index))[0]

    def _wait(self, answer):
        """Returns the result of a Future. StoppedError if the stream is to stop before."""
        while not self._stopping.is_set():
            try:
                return answer.result(timeout=1)
            except concurrent.futures.TimeoutError:
                if answer.done():
                    raise
        raise StoppedError("stopped before a teacher has answered")

    def ask(self, frame, index):
        """Asks for the objects on a frame without waiting; see `ProcessTeacher`."""
        # The step that ends the training on one frame may ask for the next.
        self._asked = {**dict(list(self._asked.items())[-1:]), index: time.monotonic()}
        # In a list the pool passes it on, and only the teacher that answers gets the pixels.
        kept = [ray.put(frame)]
        question = Question(self._stream, kept, index, self._decay.value, self._budget)
        asked = self._dispatcher.ask.remote(question)
        answer = concurrent.futures.Future()

        def pass_on(done):
            kept.clear()
            if done.cancelled():
                answer.cancel()
            elif error := done.exception():
                answer.set_exception(error)
            else:
                try:
                    found, self.problems = _value(done.result())
                    answer.set_result(found)
                except UserError as error:
                    answer.set_exception(error)

        asked.future().add_done_callback(pass_on)
        return answer

    def learned(self, index, shown, after):
        """Takes the accuracies of a teacher frame: of what was shown, and after learning.

        From them the pool knows which stream needs labels most; see `Decay`.
        """
        if (made := self._asked.pop(index, None)) is not None:
            self._decay.add(made, shown, after)

    def seconds(self, index):
        """Returns the model's seconds on a precomputed frame; None if unknown."""
        return self.local.seconds(index) if self.local else None

    def close(self):
        """Releases files."""
        if self.local:
            self.local.close()


def _value(outcome):
    """Returns the value of a pair (value, error), or raises the error."""
    value, error = outcome
    if error is not None:
        raise error
    return value

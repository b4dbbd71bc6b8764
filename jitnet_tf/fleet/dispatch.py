"""Hands the requests of streams to the teachers of a pool, and the answers back.

Pure asyncio: of frames and answers it knows nothing, and a teacher is an object with two coroutines
(`AsyncTeacher`).
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet.scheduling import Request, Scheduler

MOST_TRIES = 5  # of a frame on which teachers die
RETRY, LONGEST_RETRY = 1.0, 60.0  # seconds of the pauses while a teacher does not come back


@dataclasses.dataclass(frozen=True)
class Question:
    """A frame that a stream wants the labels of.

    Attributes:
      stream: its name.
      frame: as the teachers take it.
      index: the frame's number in the stream, from 0.
      decay, budget: see `Request`.
    """

    stream: str
    frame: Any
    index: int
    decay: float | None
    budget: float


class GivenUpError(Exception):
    """Teachers have died of a frame, one after the other."""


class AsyncTeacher(Protocol):
    """A teacher in another process."""

    async def answer(self, questions: Sequence[Question]) -> Sequence[Any]:
        """Returns an answer to each. Any error: none of them is answered."""

    async def ready(self) -> int:
        """Returns most frames that it takes at a time, once it can be asked.

        UserError: it cannot be opened. Any other error: not now.
        """


@dataclasses.dataclass
class Figures:
    """Counts of a teacher of the pool.

    Attributes:
      answered: frames.
      busy: seconds from request to answer.
      deaths: how often it has died while it was asked.
      batch: most frames that it takes at a time; 0: it cannot be asked now.
      problem: why it could not be asked when that was last tried; "" if it can, or was not tried.
      refused: whether the problem is the user's, such as a model that cannot be loaded; else a
        process has died.
    """

    answered: int = 0
    busy: float = 0.0
    deaths: int = 0
    batch: int = 0
    problem: str = ""
    refused: bool = False


@dataclasses.dataclass
class _Waiting:
    question: Question
    answer: asyncio.Future
    made: float
    tries: int = 0


class Dispatch:
    """The requests that wait, and the teachers that answer them.

    Args:
      teachers: AsyncTeachers.
      scheduler: a Scheduler, which chooses whom to answer next.
      clock: returns seconds.

    Attributes:
      figures: Figures of each teacher.
      waited, longest_wait: seconds that the answered requests have waited for a teacher, in all and
        at most.
    """

    def __init__(
        self,
        teachers: Sequence[AsyncTeacher],
        scheduler: Scheduler,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._teachers = teachers
        self._scheduler = scheduler
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._labeled: dict[str, float] = {}  # when the frame of the latest labels was asked for
        self._news = asyncio.Condition()
        self.figures = [Figures() for _ in teachers]
        self.waited = self.longest_wait = 0.0

    def __len__(self):
        """Returns the number of requests that wait."""
        return len(self._waiting)

    async def ask(self, question: Question) -> Any:
        """Returns the answer to a question, once a teacher has given it.

        An earlier question of the stream that is still waiting is withdrawn: its process has died.

        Raises:
          GivenUpError: see there.
        """
        answer = asyncio.get_running_loop().create_future()
        await self._add(_Waiting(question, answer, self._clock()))
        return await answer

    def forget(self, stream: str) -> None:
        """Forgets a stream that has ended, and its question."""
        self._withdraw(stream)
        self._labeled.pop(stream, None)

    def _withdraw(self, stream):
        self._scheduler.remove(stream)
        if waiting := self._waiting.pop(stream, None):
            waiting.answer.cancel()

    async def _add(self, waiting):
        question = waiting.question
        self._withdraw(question.stream)
        self._waiting[question.stream] = waiting
        labeled = self._labeled.get(question.stream)
        self._scheduler.add(
            Request(question.stream, waiting.made, labeled, question.decay, question.budget)
        )
        async with self._news:
            self._news.notify()

    async def serve(self) -> None:
        """Answers questions until it is cancelled."""
        await asyncio.gather(*map(self._serve, self._teachers, self.figures))

    async def _serve(self, teacher, figures):
        await self._until_ready(teacher, figures)
        while True:
            batch = await self._take(figures.batch)
            # Only of a teacher that was there is it certain that it has died of a frame.
            if batch[0].tries and not await self._is_ready(teacher, figures):
                await self._put_back(batch)
                await self._until_ready(teacher, figures)
                continue
            start = self._clock()
            try:
                answers = await teacher.answer([waiting.question for waiting in batch])
            except Exception as error:  # whatever it is, the teacher has not answered
                figures.deaths += 1
                for waiting in batch:
                    waiting.tries += 1
                await self._put_back(batch, error)
                await self._until_ready(teacher, figures)
                continue
            figures.busy += self._clock() - start
            figures.answered += len(batch)
            for waiting, answer in zip(batch, answers, strict=True):
                self.waited += start - waiting.made
                self.longest_wait = max(self.longest_wait, start - waiting.made)
                if not waiting.answer.done():  # somebody waits for it
                    self._labeled[waiting.question.stream] = waiting.made
                    waiting.answer.set_result(answer)

    async def _take(self, most):
        """Takes out the requests to answer next, of which there is one at least."""
        async with self._news:
            await self._news.wait_for(lambda: self._waiting)
        batch = []
        # A frame that a teacher may have died of is asked for alone.
        while len(batch) < most and not (batch and batch[0].tries):
            request = self._scheduler.next(self._clock())
            if request is None:
                break
            waiting = self._waiting[request.stream]
            if batch and waiting.tries:
                self._scheduler.add(request)
                break
            batch.append(self._waiting.pop(request.stream))
        return batch

    async def _put_back(self, batch, error=None):
        """Asks questions that were not answered again, as old as they are."""
        for waiting in batch:
            if waiting.question.stream in self._waiting:
                waiting.answer.cancel()  # the stream has asked anew
            elif waiting.answer.done():
                continue
            elif waiting.tries == MOST_TRIES and error:
                waiting.answer.set_exception(GivenUpError(str(error)))
            else:
                await self._add(waiting)

    async def _is_ready(self, teacher, figures):
        """Returns whether a teacher can be asked; notes why not."""
        try:
            figures.batch = await teacher.ready()
        except Exception as error:
            figures.batch, figures.problem = 0, str(error)
            figures.refused = isinstance(error, UserError)
            return False
        figures.problem, figures.refused = "", False
        return True

    async def _until_ready(self, teacher, figures):
        """Waits until a teacher can be asked."""
        figures.batch, pause = 0, RETRY
        while not await self._is_ready(teacher, figures):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY)

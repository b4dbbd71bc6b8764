"""The dispatch of requests to teachers: order, batches, deaths."""

import asyncio

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet import dispatch
from jitnet_tf.fleet.dispatch import Dispatch, GivenUpError, Question
from jitnet_tf.fleet.scheduling import FirstCome


class Teacher:
    """Answers "stream index" when it is told to, or dies."""

    def __init__(self, batch):
        self.asked = []  # the streams of each call
        self.absences = []  # what `ready` raises, one after the other
        self._batch, self._outcome = batch, None

    async def answer(self, questions):
        self.asked.append([question.stream for question in questions])
        self._outcome = asyncio.get_running_loop().create_future()
        await self._outcome
        return [f"{question.stream} {question.index}" for question in questions]

    async def ready(self):
        if self.absences:
            raise self.absences.pop(0)
        return self._batch

    def finish(self):
        self._outcome.set_result(None)

    def die(self):
        self._outcome.set_exception(RuntimeError("killed"))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def served(trace, teachers=1, batch=1):
    """Runs a coroutine function of (dispatch, teachers, clock) while the dispatch serves."""

    async def run():
        pool, clock = [Teacher(batch) for _ in range(teachers)], Clock()
        served = Dispatch(pool, FirstCome(), clock)
        serving = asyncio.ensure_future(served.serve())
        try:
            await trace(served, pool, clock)
        finally:
            serving.cancel()

    asyncio.run(run())


def ask(served, stream, index=0):
    return asyncio.ensure_future(served.ask(Question(stream, None, index, None, 1.0)))


def test_requests_wait_for_a_teacher_and_are_counted():
    async def trace(served, pool, clock):
        one, two = ask(served, "a", 3), ask(served, "b", 5)
        await settle()
        assert pool[0].asked == [["a"]]
        assert len(served) == 1
        clock.now = 2.0
        pool[0].finish()
        await settle()
        assert await one == "a 3"
        assert pool[0].asked == [["a"], ["b"]]
        clock.now = 3.0
        pool[0].finish()
        assert await two == "b 5"
        figures = served.figures[0]
        assert (figures.answered, figures.busy, figures.deaths) == (2, 3.0, 0)
        assert (served.waited, served.longest_wait) == (2.0, 2.0)

    served(trace)


def test_teachers_work_side_by_side():
    async def trace(served, pool, clock):
        answers = [ask(served, name) for name in "abc"]
        await settle()
        assert [teacher.asked for teacher in pool] == [[["a"]], [["b"]]]
        pool[1].finish()
        await settle()
        assert pool[1].asked == [["b"], ["c"]]
        pool[1].finish()
        pool[0].finish()
        assert await asyncio.gather(*answers) == ["a 0", "b 0", "c 0"]

    served(trace, teachers=2)


def test_what_waits_is_asked_together_up_to_the_batch():
    async def trace(served, pool, clock):
        first = ask(served, "a")
        await settle()
        answers = [first, *(ask(served, name) for name in "bcd")]
        await settle()
        pool[0].finish()
        await settle()
        pool[0].finish()
        await settle()
        assert pool[0].asked == [["a"], ["b", "c"], ["d"]]
        pool[0].finish()
        assert await asyncio.gather(*answers) == ["a 0", "b 0", "c 0", "d 0"]

    served(trace, batch=2)


def test_the_questions_of_a_dead_teacher_are_asked_again():
    async def trace(served, pool, clock):
        answers = [ask(served, name) for name in "abc"]
        await settle()
        clock.now = 4.0
        pool[0].die()  # of a
        await settle()
        pool[1].finish()  # b
        await settle()
        # The oldest comes first; where the dead one is back, it takes the next.
        assert sorted(pool[0].asked[1:] + pool[1].asked[1:]) == [["a"], ["c"]]
        for teacher in pool:
            teacher.finish()
        assert await asyncio.gather(*answers) == ["a 0", "b 0", "c 0"]
        assert [figures.deaths for figures in served.figures] == [1, 0]
        assert sum(figures.answered for figures in served.figures) == 3

    served(trace, teachers=2)


def test_a_frame_that_kills_its_teachers_is_given_up_and_asked_alone():
    async def trace(served, pool, clock):
        first = ask(served, "first")
        await settle()
        deadly, other = ask(served, "deadly"), ask(served, "other")
        pool[0].finish()
        await first
        await settle()
        assert pool[0].asked[-1] == ["deadly", "other"]
        while not deadly.done():
            pool[0].die() if "deadly" in pool[0].asked[-1] else pool[0].finish()
            await settle()
        with pytest.raises(GivenUpError, match="killed"):
            await deadly
        if not other.done():
            pool[0].finish()
        assert await other == "other 0"
        of_deadly = [asked for asked in pool[0].asked if "deadly" in asked]
        assert of_deadly == [["deadly", "other"], *[["deadly"]] * (dispatch.MOST_TRIES - 1)]

    served(trace, batch=2)


def test_a_new_question_of_a_stream_replaces_its_old_one():
    async def trace(served, pool, clock):
        busy = ask(served, "busy")
        await settle()
        old = ask(served, "a", 1)
        await settle()
        new = ask(served, "a", 2)
        await settle()
        assert old.cancelled()
        assert len(served) == 1
        pool[0].finish()
        await settle()
        pool[0].finish()
        assert (await busy, await new) == ("busy 0", "a 2")

    served(trace)


def test_a_question_of_a_dead_teacher_is_dropped_where_the_stream_has_asked_anew():
    async def trace(served, pool, clock):
        old = ask(served, "a", 1)
        await settle()
        new = ask(served, "a", 2)  # its process has died, too
        await settle()
        pool[0].die()
        await settle()
        pool[0].finish()
        assert await new == "a 2"
        assert pool[0].asked == [["a"], ["a"]]
        assert old.cancelled()

    served(trace)


def test_a_forgotten_stream_is_not_answered():
    async def trace(served, pool, clock):
        busy, gone = ask(served, "busy"), ask(served, "gone")
        await settle()
        served.forget("gone")
        pool[0].finish()
        await settle()
        assert gone.cancelled()
        assert pool[0].asked == [["busy"]]
        assert await busy == "busy 0"

    served(trace)


def test_a_teacher_that_does_not_come_back_is_tried_again_and_told(monkeypatch):
    pauses = []
    sleep = asyncio.sleep

    async def paused(seconds):
        pauses.append(seconds) if seconds else None
        await sleep(0)

    async def trace(served, pool, clock):
        answer = ask(served, "a")
        await settle()
        pool[0].absences = [RuntimeError(f"no model {i}") for i in range(8)]
        pool[0].die()
        for _ in range(6):
            await sleep(0)
        assert served.figures[0].problem.startswith("no model")
        await settle()
        assert served.figures[0].problem == ""
        pool[0].finish()
        assert await answer == "a 0"
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]

    monkeypatch.setattr(dispatch.asyncio, "sleep", paused)
    served(trace)


def test_nothing_is_asked_of_a_teacher_before_it_is_ready():
    async def trace(served, pool, clock):
        pool[0].absences = [RuntimeError("no GPU")]
        answers = [ask(served, name) for name in "ab"]
        await settle()
        assert pool[0].asked == []
        assert (served.figures[0].batch, served.figures[0].problem) == (0, "no GPU")
        assert pool[1].asked == [["a"]]
        for _ in answers:
            pool[1].finish()
            await settle()
        assert pool[1].asked == [["a"], ["b"]]
        assert await asyncio.gather(*answers) == ["a 0", "b 0"]

    served(trace, teachers=2)


@pytest.mark.parametrize(
    ("error", "refused"), [(UserError("no model"), True), (RuntimeError("killed"), False)]
)
def test_only_a_mistake_of_the_users_is_a_refusal(error, refused):
    async def trace(served, pool, clock):
        pool[0].absences = [error]
        await settle()
        assert (served.figures[0].problem, served.figures[0].refused) == (str(error), refused)

    served(trace)


def test_a_teacher_that_was_dead_before_is_no_fault_of_the_frame():
    """However often: only teachers that were there before they were asked count."""

    async def trace(served, pool, clock):
        answer = ask(served, "a")
        await settle()
        pool[0].die()
        await settle()
        for _ in range(2 * dispatch.MOST_TRIES):
            # Asked again, it was there; it dies between this and the next time.
            pool[0].absences = [RuntimeError("gone")] * 3
            pool[0].die() if served.figures[0].deaths < 2 else pool[0].finish()
            await settle()
            if answer.done():
                break
        assert await answer == "a 0"

    sleep = asyncio.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch.asyncio, "sleep", lambda seconds: sleep(0))
        served(trace)


def test_an_answer_after_the_end_of_its_stream_is_no_label():
    """A stream that comes again begins without labels, and so first."""

    async def trace(served, pool, clock):
        asked = ask(served, "a")
        await settle()
        asked.cancel()
        served.forget("a")
        pool[0].finish()
        await settle()
        assert served._labeled == {}

    served(trace)


def test_a_question_that_was_tried_is_not_put_behind_another_in_a_batch():
    async def trace(served, pool, clock):
        first = ask(served, "a")
        await settle()
        clock.now = 1.0
        others = [ask(served, "b")]
        await settle()
        pool[0].die()
        await settle()
        # a is older and goes first, alone; then b.
        assert pool[0].asked == [["a"], ["a"]]
        pool[0].finish()
        await settle()
        pool[0].finish()
        assert await asyncio.gather(first, *others) == ["a 0", "b 0"]

    served(trace, batch=2)

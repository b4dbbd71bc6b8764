"""Online distillation with a teacher that answers while frames go on."""

import concurrent.futures
import dataclasses

import numpy as np

from jitnet_tf.distillation.distiller import Distiller, FrameResult, Lesson, Stopwatch


@dataclasses.dataclass(frozen=True)
class Request:
    """What the teacher was asked: the stream's `index`-th frame, uint8 RGB [H, W, 3].

    answer: a Future of (Detections, seconds that the teacher took).
    """

    frame: np.ndarray
    index: int
    answer: concurrent.futures.Future


@dataclasses.dataclass(frozen=True)
class Answered:
    """A lesson under way, how many frames late it began, and the seconds that the teacher took."""

    lesson: Lesson
    staleness: int
    teacher_seconds: float


class AsynchronousDistiller(Distiller):
    """Algorithm 1 without waiting for the teacher, nor for more than one update, between frames.

    One request is in flight at most. Its frame is kept, and what the student then learns it learns
    on that frame, one round of lines 7–13 after each of the frames that go on meanwhile. Strides
    count from one request to the next.

    Args:
      student, label_maker, schedule: as for Distiller.
      teacher: has ask(frame, index) → Future of (Detections, seconds); see `ProcessTeacher`.
      max_staleness: frames after which an answer is waited for, at least 1.
    """

    def __init__(self, student, teacher, label_maker, schedule, max_staleness):
        super().__init__(student, teacher, label_maker, schedule)
        self.max_staleness = max_staleness
        self._request = None
        self._answered = None
        self._last_request = None  # its frame's index

    def step(self, frame):
        """Segments the next frame, then teaches the student what has come of an earlier one.

        frame: uint8 RGB [H, W, 3]. Returns a FrameResult. Its prediction is from before any update
        of this step; a lesson is reported with the frame on which it ends.

        Raises:
          UserError: the teacher failed. The frame can be taken again.
          DivergedError: see there.
        """
        t, watch, schedule = self.index, Stopwatch(), self.schedule
        result = FrameResult(t, frame, None, schedule.stride, seconds=watch.seconds)
        with watch("infer"):
            result.prediction = self.student.infer(frame)
        result.latency = watch.seconds["infer"]
        if self._request:
            self._receive(watch)
        if self._answered:
            self._teach(result, watch)
        if not self._request and not self._answered and self._teacher_due():
            self._request = Request(frame, t, self.teacher.ask(frame, t))
            self._last_request = t
        result.stride = schedule.stride
        self.index += 1
        return result

    def _teacher_due(self):
        """Line 3, counted from the latest request: t mod δ would skip what came too late."""
        if self._last_request is None:
            return True
        return self.index - self._last_request >= self.schedule.stride

    def _receive(self, watch):
        """Begins the lesson on the frame in flight once the teacher has answered."""
        request = self._request
        staleness = self.index - request.index
        if staleness >= self.max_staleness:
            with watch("wait"):
                concurrent.futures.wait([request.answer])
        if request.answer.done():
            detections, seconds = request.answer.result()  # or what the teacher raised
            lesson = self._lesson_on(request.frame, request.index, detections, watch)
            self._answered = Answered(lesson, staleness, seconds)
            self._request = None

    def _teach(self, result, watch):
        """One round of the lesson under way; tells the result of it if that was the last."""
        lesson = self._answered.lesson
        if lesson.round(self.student, self.schedule, watch, "rehearse"):
            return
        self.schedule.adapt_stride(lesson.accuracy_after)  # lines 14–17
        lesson.report(result)
        result.staleness = self._answered.staleness
        # Only now, so that every second of the teacher's belongs to a lesson that is counted.
        result.seconds["teacher"] = self._answered.teacher_seconds
        self._answered = None

    def progress(self):
        """Where the stream stands; "since_request" is None where the teacher is due at once.

        So it is while a request is in flight or a lesson under way: these are no part of a
        checkpoint, and the teacher is asked again. What the student has learned already it keeps.
        """
        idle = not self._request and not self._answered and self._last_request is not None
        since = self.index - self._last_request if idle else None
        return {**super().progress(), "since_request": since}

    def set_state(self, arrays, progress):
        """Goes on where a checkpoint was taken; see `progress`."""
        super().set_state(arrays, progress)
        since = progress["since_request"]
        self._last_request = None if since is None else self.index - since
        self._request = self._answered = None

"""Online distillation: Algorithm 1 of the paper, one frame at a time."""

import concurrent.futures
import dataclasses

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.state import prefixed, with_prefix
from jitnet_tf.distillation.ahead import Ahead, Answer
from jitnet_tf.distillation.outputs.student import StudentOutput
from jitnet_tf.distillation.policies.base import Example
from jitnet_tf.distillation.policies.teacher_frame import TeacherFramePolicy
from jitnet_tf.distillation.result import FrameResult
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch
from jitnet_tf.distillation.training import Request, Training


class Distiller(Segmenter):
    """Student, teacher, schedule and update policy of one stream.

    A synchronous teacher is waited for: `step` is Algorithm 1. An asynchronous one answers while
    frames go on: one request is in flight at most, its frame is kept, and the student learns on it
    by one attempt after each of the following frames. Strides then count from request to request.

    Args:
      student: see `StudentProtocol`.
      teacher: see `teacher.Teacher`; an asynchronous one has `ask`, see `ProcessTeacher`.
      label_maker: a `labels.LabelMaker`.
      schedule: a `Schedule`.
      policy: see `UpdatePolicy`; default: the paper's.
      output: see `Output`; default: the student's prediction.
      triggers: see `Trigger`; they need a schedule with a budget.
      shows_teacher: show the teacher's labels on its own frames, not the student's prediction; a
        synchronous teacher's alone.
      looks_ahead: ask for the next teacher frame on the first frame after the latest, so that the
        output has the labels on both sides of those between; for a synchronous teacher, and frames
        that `attach` has in sight.
      asynchronous: do not wait for the teacher.
      max_staleness: frames after which an asynchronous answer is waited for, at least 1.
    """

    def __init__(
        self,
        student,
        teacher,
        label_maker,
        schedule,
        policy=None,
        output=None,
        triggers=(),
        *,
        shows_teacher=False,
        looks_ahead=False,
        asynchronous=False,
        max_staleness=64,
    ):
        self.student = student
        self.teacher = teacher
        self.label_maker = label_maker
        self.schedule = schedule
        self.policy = policy or TeacherFramePolicy()
        self.output = output or StudentOutput(student)
        self.triggers = tuple(triggers)
        # Since the latest teacher frame a trigger has fired, or the stream was gone.
        self._hurried = False
        self.shows_teacher = shows_teacher
        self.looks_ahead = looks_ahead
        self.asynchronous = asynchronous
        self.max_staleness = max_staleness
        self.index = 0
        if asynchronous:  # the paper's t mod δ would skip what comes too late
            schedule.from_teacher_frame = True
        # Of an asynchronous teacher: the question in flight and the training under way.
        self._request = self._training = None
        # The frames in sight, the Answer for the next teacher frame, and whether the output has it.
        self._ahead = self._coming = None
        self._is_shown = False

    def attach(self, frames):
        """Returns the frames, of which those up to the next teacher frame are kept in sight."""
        if self.looks_ahead:
            frames = self._ahead = Ahead(frames, self.schedule.max_stride)
        return frames

    def after_gap(self):
        """Asks the teacher on the next frame, as far as a budget allows. The student stays."""
        self.output.forget(self.index)
        self._hurried = True
        self.schedule.last = None  # nor does the least stride hold it up

    def step(self, frame):
        """Segments the next frame and trains the student where the schedule says so.

        frame: uint8 RGB [H, W, 3]. On a synchronous teacher's frame the prediction is the student's
        after the updates, on every other frame its prediction before any update of this step.

        Raises:
          UserError: the teacher failed. The frame can be taken again.
          DivergedError: see there.
        """
        triggers, output = self._triggers_state(), self.output.get_state()
        try:
            step = self._step_asynchronously if self.asynchronous else self._step_synchronously
            return step(frame)
        except UserError:  # they have seen a frame that may be taken again
            self.output.set_state(output)
            self._is_shown = False
            self._restore_triggers(triggers)
            raise

    def _step_synchronously(self, frame):
        """Runs lines 3–20 of Algorithm 1."""
        watch, ended = Stopwatch(), None
        self._look_for_triggers(frame)
        if self._teacher_due():  # line 3
            asked = self.output.ask(frame, self.index, watch, is_segmented=False)
            answer = self._take_coming(frame, watch) or self._ask(frame, self.index, watch)
            self._asked()
            training = self._start_training(answer, asked, watch)
            watch.start()
            for step in training.steps:  # lines 5–13
                watch.lap(_stage(step))
                training.add(step)
            ended = training.result()
            prediction = ended.labels if self.shows_teacher else ended.prediction
            self.schedule.adapt(ended)  # lines 14–17
        else:
            self._look_ahead(frame, watch)
            prediction = self.output.segment(frame, self.index, watch)  # line 19
        return self._result(frame, prediction, watch, sum(watch.seconds.values()), ended)

    def _ask(self, frame, index, watch):
        """Returns the synchronous teacher's Answer."""
        with watch("teacher"):
            detections = self.teacher(frame, index)  # line 4
        return self._label(frame, index, detections, watch)

    def _label(self, frame, index, detections, watch):
        with watch("labels"):
            labels = self.label_maker.labels(detections, frame.shape[:2])
            weights = self.label_maker.weights(detections, frame.shape[:2])
            categories = self.label_maker.names_found(detections)
        return Answer(Example(index, frame, labels, weights), categories)

    def _look_ahead(self, frame, watch):
        """Asks for the next teacher frame, if it is in sight, and shows it to the output."""
        if not self._ahead:
            return
        if self._coming and self._coming.example.index > self.index + len(self._ahead):
            self._coming = None  # a resumed stream may end earlier
        if not self._coming:
            distance = self._ahead.next_teacher_frame(self.schedule, self.index)
            if not distance:
                return
            spent = Stopwatch()
            answer = self._ask(self._ahead.peek(distance), self.index + distance, spent)
            self._coming = dataclasses.replace(answer, seconds=spent.seconds)
        if not self._is_shown:
            example = self._coming.example
            distances = range(1, example.index - self.index + 1)
            frames = [frame, *map(self._ahead.peek, distances)]
            self.output.look_ahead(frames, example.labels, self.index, watch)
            self._is_shown = True

    def _take_coming(self, frame, watch):
        """Returns the Answer if this frame was asked for ahead; else None."""
        answer, self._coming, self._is_shown = self._coming, None, False
        if answer is None:
            return None
        for stage, seconds in answer.seconds.items():
            watch.seconds[stage] += seconds
        example = dataclasses.replace(answer.example, frame=frame)
        return dataclasses.replace(answer, example=example)

    def _look_for_triggers(self, frame):
        for trigger in self.triggers:
            self._hurried |= trigger.fires(frame, self.output.disagreement)

    def _teacher_due(self):
        """Returns whether the schedule or, if it can be afforded, a trigger asks the teacher.

        Before a frame that was asked for ahead, nothing does: its labels know what is new, too.
        """
        if self._coming:
            return self.index == self._coming.example.index
        due = self.schedule.teacher_due(self.index)
        return due or (self._hurried and self.schedule.affordable(self.index))

    def _asked(self):
        """Notes that the teacher is asked for this frame."""
        self.schedule.ask(self.index)
        self._hurried = False
        for trigger in self.triggers:
            trigger.asked()

    def _result(self, frame, prediction, watch, latency, ended):
        """Returns the frame's result and advances to the next frame."""
        stride = self.schedule.stride
        result = FrameResult(self.index, frame, prediction, stride, watch.seconds, latency, ended)
        result.ahead = self._coming.example.index if self._is_shown else None
        self.index += 1  # line 20: the student keeps its weights
        return result

    def _step_asynchronously(self, frame):
        """Segments the frame, then makes at most one attempt on an earlier one."""
        watch, ended = Stopwatch(), None
        self._look_for_triggers(frame)
        prediction = self.output.segment(frame, self.index, watch)
        latency = sum(watch.seconds.values())
        if self._request:
            self._receive(watch)
        if self._training and not self._train(watch):
            ended = self._training.result()
            self.schedule.adapt(ended)  # lines 14–17
            # Only now: every second of the teacher's belongs to a teacher frame that is counted.
            watch.seconds["teacher"] += self._training.teacher_seconds
            self._training = None
        if not self._request and not self._training and self._teacher_due():
            asked = self.output.ask(frame, self.index, watch, is_segmented=True)
            answer = self.teacher.ask(frame, self.index)
            self._asked()
            self._request = Request(frame, self.index, answer, asked)
        return self._result(frame, prediction, watch, latency, ended)

    def _train(self, watch):
        """Makes the next step of the training under way; returns whether more follow."""
        steps = self._training.steps
        watch.start()
        step = next(steps, None)
        if step is None:
            self._training.result()  # raises
        watch.lap(_stage(step))
        self._training.add(step)
        if not step.updated:
            for further in steps:  # a policy may have work after its last attempt, but no step
                self._training.add(further)
        return step.updated

    def _start_training(self, answer, asked, watch):
        """Returns the Training on a frame that the teacher has answered for."""
        example = answer.example
        shown = self.output.learn(asked, example.frame, example.labels, watch)
        steps = self.policy.train(self.student, example, self.schedule)
        return Training(example, steps, shown, answer.categories)

    def _receive(self, watch):
        """Starts the training on the frame in flight once the teacher has answered."""
        request = self._request
        staleness = self.index - request.index
        if staleness >= self.max_staleness:
            with watch("wait"):
                concurrent.futures.wait([request.answer])
        if request.answer.done():
            detections, seconds = request.answer.result()  # or the teacher's error
            answer = self._label(request.frame, request.index, detections, watch)
            self._training = self._start_training(answer, request.asked, watch)
            self._training.staleness, self._training.teacher_seconds = staleness, seconds
            self._request = None

    def warm_up(self, frame):
        """Runs the student's steps once; see `Segmenter`."""
        self.student.warm_up(frame)
        self.policy.warm_up(self.student, frame)
        self.output.warm_up(frame)

    def get_state(self):
        """Returns the state of the stream: of all parts, and where it stands.

        A request in flight and a training under way are not saved: what the student has learned it
        keeps, and the teacher is asked again at once, or as soon as a budget allows.
        """
        last = None if self._request or self._training else self.schedule.last
        since = -1 if last is None else self.index - last
        place = {"index": self.index, "stride": self.schedule.stride, "since_request": since}
        return {
            **{name: np.array(value) for name, value in place.items()},
            **prefixed("student/", self.student.get_state()),
            **prefixed("policy/", self.policy.get_state()),
            **prefixed("schedule/", self.schedule.get_state()),
            **prefixed("output/", self.output.get_state()),
            **self._triggers_state(),
            **(prefixed("ahead/", self._coming.get_state()) if self._coming else {}),
        }

    def _triggers_state(self):
        state = {"hurried": np.array(self._hurried)}
        for i, trigger in enumerate(self.triggers):
            state.update(prefixed(f"triggers/{i}/", trigger.get_state()))
        return state

    def _restore_triggers(self, state):
        # Older versions have "triggers/fired", and nothing without triggers.
        self._hurried = bool(state.get("hurried", state.get("triggers/fired", False)))
        for i, trigger in enumerate(self.triggers):
            trigger.set_state(with_prefix(f"triggers/{i}/", state))

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""
        self.student.set_state(with_prefix("student/", state))
        self.policy.set_state(with_prefix("policy/", state))
        self.schedule.set_state(with_prefix("schedule/", state))
        self.output.set_state(with_prefix("output/", state))
        self._restore_triggers(state)
        self.index, self.schedule.stride = int(state["index"]), int(state["stride"])
        if self.schedule.stride < 1:
            raise ValueError(f"a stride of {self.schedule.stride}")
        since = int(state["since_request"])
        self.schedule.last = None if since < 0 else self.index - since
        self._request = self._training = self._coming = None
        self._is_shown = False
        if ahead := with_prefix("ahead/", state):
            self._coming = Answer.of_state(ahead, len(self.label_maker.groups.names))
            if self._coming.example.index < self.index:
                raise ValueError(f"frame {self._coming.example.index} is not ahead")


def _stage(step):
    return "update" if step.updated else "trial"

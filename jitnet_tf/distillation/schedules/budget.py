"""A schedule that holds the teacher's share of frames at a budget."""

import collections
import dataclasses
import math

import numpy as np

from jitnet_tf.distillation.schedules.paper import Schedule

WINDOW = 40  # mean strides over which the share is held
# A stride differs from the mean one by this factor at most.
WIDEST = 2.0
MEMORY = 0.8  # what the mean error keeps from one teacher frame to the next
EMPTY_FACTOR = 1.5  # of the stride after a frame without evidence, which saves for later
CREDIT_WEIGHT = 0.5  # part by which each teacher frame in credit quickens the rate
LEAST_ERROR = 0.02


@dataclasses.dataclass
class BudgetSchedule(Schedule):
    """Spends a budget of teacher frames where what was shown was worst.

    The stride after a teacher frame is the mean stride 1 / budget, longer or shorter by
    √(mean error ÷ latest error): if errors grow evenly after a label, this split of the teacher
    frames has the least error. As errors count relative to the stream's own mean, a stream on which
    nothing helps asks evenly and no more often. An empty frame is no evidence: the stride grows.
    The teacher frames saved so shorten later strides.

    Strides count from the latest teacher frame. At no frame is the teacher's share of the last
    `window` frames, or of all if they are fewer, above the budget by more than one frame.

    Attributes:
      budget: the teacher's share of the frames, above 0 and below 1.
    """

    budget: float = 0.05

    def __post_init__(self):
        self.from_teacher_frame = True
        super().__post_init__()
        self._mean_error = None  # before any evidence
        self._asked = collections.deque()
        self.stride = self._bounded(1 / self.budget)

    @property
    def window(self):
        """The number of frames over which the budget is held."""
        return math.ceil(WINDOW / self.budget)

    def teacher_due(self, t):
        """Returns whether the stride is over and the budget allows a teacher frame."""
        return super().teacher_due(t) and self.affordable(t)

    def affordable(self, t):
        """Returns whether a teacher frame at t stays within the budget, the first being free.

        Not before the least stride is over: triggers may ask on every frame.
        """
        return super().affordable(t) and self._credit(t) >= 0

    def _credit(self, t):
        """Returns how many more teacher frames than those asked the budget has up to frame t."""
        asked = sum(index > t - self.window for index in self._asked)
        return self.budget * min(t, self.window) - asked

    def ask(self, t):
        """Notes that the teacher is asked for frame t."""
        super().ask(t)
        self._asked.append(t)
        while self._asked[0] <= t - self.window:
            self._asked.popleft()

    def adapt(self, teacher_frame):
        """Sets the next stride by the accuracy of what was shown on a `TeacherFrame`."""
        accuracy = teacher_frame.accuracy_shown
        factor = EMPTY_FACTOR
        if accuracy is not None:
            error = max(1 - accuracy, LEAST_ERROR)
            mean = error if self._mean_error is None else self._mean_error
            self._mean_error = MEMORY * mean + (1 - MEMORY) * error
            factor = math.sqrt(self._mean_error / error)
        factor = min(max(factor, 1 / WIDEST), WIDEST)
        # The first frame, and one on the dot of its stride, have a credit of about -1.
        credit = max(self._credit(self._asked[-1]) + 1, 0.0)
        self.stride = self._bounded(factor / (1 + CREDIT_WEIGHT * credit) / self.budget)

    def _bounded(self, stride):
        return int(min(max(round(stride), self.min_stride), self.max_stride))

    def get_state(self):
        """Returns mean error and the window's teacher frames."""
        return {
            "mean_error": np.array(-1.0 if self._mean_error is None else self._mean_error),
            "asked": np.array(self._asked, np.int64),
        }

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""
        mean, asked = float(state["mean_error"]), np.asarray(state["asked"])
        if not (mean == -1 or LEAST_ERROR <= mean <= 1):
            raise ValueError(f"a mean error of {mean}")
        if asked.ndim != 1 or asked.dtype.kind != "i" or (np.diff(asked) <= 0).any():
            raise ValueError("teacher frames that are not in order")
        if (asked < 0).any():
            raise ValueError("teacher frames before the first frame")
        self._mean_error = None if mean < 0 else mean
        self._asked = collections.deque(asked.tolist())

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
UNKNOWN_ERROR = 0.3  # before any evidence
LEAST_ERROR = 0.02


@dataclasses.dataclass
class BudgetSchedule(Schedule):
    """Spends a budget of teacher frames where what was shown was worst.

    The stride after a teacher frame is the mean stride 1 / budget, longer or shorter by
    √(mean error ÷ latest error): if errors grow evenly after a label, this split of the teacher
    frames has the least error. As errors count relative to the stream's own mean, a stream on which
    nothing helps asks evenly and no more often. An empty frame is no evidence.

    Strides count from the latest teacher frame. At no frame is the teacher's share of the last
    `window` frames, or of all if they are fewer, above the budget by more than one frame.

    Attributes:
      budget: the teacher's share of the frames, above 0 and below 1.
    """

    budget: float = 0.05

    def __post_init__(self):
        self.from_teacher_frame = True
        super().__post_init__()
        self._mean_error = UNKNOWN_ERROR
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
        """Returns whether a teacher frame at t stays within the budget, the first being free."""
        first = t - self.window
        in_window = sum(index > first for index in self._asked)
        return in_window <= self.budget * min(t, self.window)

    def ask(self, t):
        """Notes that the teacher is asked for frame t."""
        super().ask(t)
        self._asked.append(t)
        while self._asked[0] <= t - self.window:
            self._asked.popleft()

    def adapt(self, teacher_frame):
        """Sets the next stride by the accuracy of what was shown on a `TeacherFrame`."""
        accuracy = teacher_frame.accuracy_shown
        factor = 1.0
        if accuracy is not None:
            error = max(1 - accuracy, LEAST_ERROR)
            self._mean_error = MEMORY * self._mean_error + (1 - MEMORY) * error
            factor = math.sqrt(self._mean_error / error)
        self.stride = self._bounded(min(max(factor, 1 / WIDEST), WIDEST) / self.budget)

    def _bounded(self, stride):
        return int(min(max(round(stride), self.min_stride), self.max_stride))

    def get_state(self):
        """Returns mean error and the window's teacher frames."""
        return {
            "mean_error": np.array(self._mean_error),
            "asked": np.array(self._asked, np.int64),
        }

    def set_state(self, state):
        """Restores `get_state`'s arrays."""
        self._mean_error = float(state["mean_error"])
        self._asked = collections.deque(int(index) for index in state["asked"])

"""Replay: every other update is on an earlier teacher frame."""

import numpy as np

from jitnet_tf.distillation.policies.base import Update, UpdatePolicy
from jitnet_tf.distillation.policies.memory import ExampleMemory


class ReplayPolicy(UpdatePolicy):
    """The paper's updates, every other one on an earlier teacher frame, drawn at random.

    An update on one frame alone fits that frame and unlearns others. Replays take the place of
    updates on the newest frame, so that the cost stays: together they are u_max at most. Batches
    would be no cheaper: normalization is by frame. (EastGit0 and AMS draw uniformly, too.)

    Args:
      frame_size: (H, W).
      num_classes: C.
      capacity: teacher frames remembered, the latest.
      seed: of the draws, which depend on nothing but it, the frame and the update's number.
    """

    def __init__(self, frame_size, num_classes, capacity=16, seed=0):
        self._memory = ExampleMemory(capacity, frame_size, num_classes)
        self._seed = seed

    @classmethod
    def of(cls, config, frame_size, num_classes):
        """Makes the policy of a RunConfig."""
        return cls(frame_size, num_classes, config.replay_memory, config.seed)

    def train(self, student, example, schedule):
        """Runs lines 5–13 of Algorithm 1 with replays between."""
        updates = 0
        while True:
            trial = student.attempt(
                example.frame, example.labels, example.weights, schedule.update_threshold(updates)
            )
            yield trial
            if not trial.updated:
                break
            updates += 1
            if len(self._memory) and updates < schedule.max_updates:
                earlier = self._draw(example.index, updates)
                yield Update(student.update(earlier.frame, earlier.labels, earlier.weights))
                updates += 1
        self._memory.add(example)

    def _draw(self, index, update):
        generator = np.random.default_rng((self._seed, index, update))
        return self._memory[int(generator.integers(len(self._memory)))]

    def warm_up(self, student, frame):
        """Runs an update and restores the student: else it is traced amid the stream."""
        state = student.get_state()
        labels, weights = np.zeros(frame.shape[:2], np.uint8), np.ones(frame.shape[:2], np.float32)
        student.update(frame, labels, weights)
        student.set_state(state)

    def get_state(self):
        """Returns the remembered examples, compressed."""
        return self._memory.get_state()

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they are damaged."""
        self._memory.set_state(state)

"""The paper's update policy."""

from jitnet_tf.distillation.policies.base import UpdatePolicy


class TeacherFramePolicy(UpdatePolicy):
    """Up to u_max updates on the latest teacher frame alone."""

    def train(self, student, example, schedule):
        """Runs lines 5–13 of Algorithm 1."""
        for u in range(schedule.max_updates + 1):  # lines 5, 6 and 13
            trial = student.attempt(  # lines 7, 8 and 10
                example.frame, example.labels, example.weights, schedule.update_threshold(u)
            )
            yield trial
            if not trial.updated:  # line 12
                return

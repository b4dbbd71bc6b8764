"""A student and a teacher that answer by script and log what they are asked."""

import concurrent.futures

import numpy as np

from jitnet_tf.distillation import metrics
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.student.base import Trial
from teacher.detections import from_box_masks

SIZE = (10, 20)
# Ten pixels of person. A prediction of k of them has IoU k / 10 with the labels.
PERSON = from_box_masks([[0.2, 0.25, 0.3, 0.75]], [1], [0.9], np.ones((1, 4, 4)), SIZE)
NOBODY = PERSON.above(1.0)
MAKER = LabelMaker(class_groups("lvs"))
CLASSES = len(MAKER.groups.names)
TEACHER_SECONDS = 0.25


def frame(t):
    """The stream's t-th frame."""
    return np.full((*SIZE, 3), t, np.uint8)


def prediction(k):
    """The map of a student that finds k of the ten pixels."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2, 5 : 5 + k] = 1
    return labels


class ScriptedStudent:
    """Finds as many of the ten pixels as its script says.

    script: tenths of IoU, one an attempt, and one an inference too unless `infers` says those.
    losses: one an update. seen: the teacher's detections.

    Attributes:
      log: I an inference, A an attempt, U its update, R an update without an attempt, T a
        question to the teacher, each with the frame's index.
      updated_with: (frame, labels, weights) of each update.
      requests: questions to the asynchronous teacher, index → Future.
    """

    def __init__(self, script, infers=None, losses=None, seen=PERSON):
        self.script = iter(script)
        self.infers = infers or (lambda: next(self.script))
        self.losses = losses
        self.seen = seen
        self.log = []
        self.updated_with = []
        self.teacher_saw = []
        self.requests = {}
        self.on_infer = lambda t: None

    def infer(self, frame):
        self.log.append(f"I{frame[0, 0, 0]}")
        self.on_infer(int(frame[0, 0, 0]))
        return prediction(self.infers())

    def attempt(self, frame, labels, weights, threshold):
        self.log.append(f"A{frame[0, 0, 0]}")
        found = prediction(next(self.script))
        counts = metrics.confusion(labels, found, CLASSES)
        if metrics.mean_iou(counts) >= threshold:
            return Trial(found, counts)
        self.log.append(f"U{frame[0, 0, 0]}")
        self.updated_with.append((frame, labels, weights))
        loss = next(self.losses) if self.losses else 1 / len(self.updated_with)
        return Trial(found, counts, loss)

    def update(self, frame, labels, weights):
        self.log.append(f"R{frame[0, 0, 0]}")
        self.updated_with.append((frame, labels, weights))
        return next(self.losses) if self.losses else 1 / len(self.updated_with)

    def infer_with_logits(self, frame):
        found = self.infer(frame)
        return found, np.eye(CLASSES, dtype=np.float32)[found[::2, ::2]]

    def get_state(self):
        return {"updates": np.array(len(self.updated_with))}

    def set_state(self, state):
        self.updated_with = [None] * int(state["updates"])

    def teacher(self, frame, index):
        """The synchronous teacher."""
        self.log.append(f"T{index}")
        self.teacher_saw.append(frame)
        return self.seen

    def ask(self, frame, index):
        """The asynchronous teacher."""
        assert all(request.done() for request in self.requests.values()), "two at once"
        assert frame[0, 0, 0] == index
        self.log.append(f"T{index}")
        self.requests[index] = concurrent.futures.Future()
        return self.requests[index]

    def answer(self, index):
        self.requests[index].set_result((self.seen, TEACHER_SECONDS))


def assert_same_state(one, other):
    """Compares two results of get_state."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)

"""The fused output: per pixel, the student's class or the latest teacher label's, warped by flow.

The paper proposes to combine both (§5.4). Flow is best on what is small or rigid and soon after a
teacher frame, the student on what deforms, appears or is far from its last label; a gate learns
which one to trust (`gate.Gate`).
"""

import dataclasses

import cv2
import numpy as np

from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.outputs import flow
from jitnet_tf.distillation.outputs.gate import FEATURES, Gate
from jitnet_tf.distillation.outputs.moved import FromBothSides, Moved
from jitnet_tf.distillation.outputs.student import Output

FLOW_WIDTH = 640  # pixels; flow of wider frames is estimated at this width
AGREEMENT_BOX = 15  # pixels of half the frame's size
SMOOTHING_BOX = 7  # of the log-odds, so that whole patches are decided alike
MOST_SAMPLES = 2000  # pixels of a teacher frame that the gate learns from


@dataclasses.dataclass(frozen=True)
class Key:
    """A frame with its class map: the latest labeled frame, or the last one.

    Attributes:
      index: its place in the stream.
      gray: uint8 [h, w], at the size of the flow.
      labels: uint8 [H, W].
    """

    index: int
    gray: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything kept of a frame that the teacher is asked for.

    Attributes:
      index, gray: see `Key`.
      shown: the class map, uint8 [H, W].
      disputed: rows and columns, of half the frame's size, where student and warped label differ.
      classes: the student's and the warped class there, each uint8 [N].
      features: float32 [N, F], for the gate.
    """

    index: int
    gray: np.ndarray
    shown: np.ndarray
    disputed: tuple[np.ndarray, np.ndarray]
    classes: tuple[np.ndarray, np.ndarray]
    features: np.ndarray


class FusedOutput(Output):
    """Decides each pixel between the student and the warped label.

    Args:
      student: a `student.Student`.
      frame_size: (H, W).
      num_classes: C.
      infer_every: run the student on every so many-th frame; on those between, show the last map,
        moved by the flow from one frame to the next. Flow is a tenth of the student's time.
      seed: of the pixels that the gate learns from.
      ignored: the region to ignore, bool [H, W], where the student's class and all labels are
        background. Nothing is moved into it, so that nothing is disputed there.
    """

    def __init__(self, student, frame_size, num_classes, infer_every=1, seed=0, ignored=None):
        self._student = student
        self._size = tuple(frame_size)
        self._num_classes = num_classes
        self._infer_every = infer_every
        self._seed = seed
        self._ignored = ignored
        scale = min(1.0, FLOW_WIDTH / frame_size[1])
        self._flow_size = tuple(max(round(side * scale), 1) for side in frame_size)
        self._has_flow = flow.estimates(self._flow_size)  # else the student is alone
        self._estimator = flow.DIS("ultrafast")
        self._gate = Gate()
        self._key = self._flow = None
        self._later, self._flows = None, {}  # the key ahead, and flow to it from frames before it
        # The last frame, and the last one that the student has seen.
        self._last = self._evidence = None
        self._start = 0  # the first frame after the latest gap

    def forget(self, index):
        """Forgets key and last frame: flow does not reach across a gap. The gate stays."""
        self._key = self._flow = self._last = self._evidence = self.disagreement = None
        self._later, self._flows = None, {}
        self._start = index

    def segment(self, frame, index, watch):
        """Segments the next frame; see `Output`."""
        seen = self._evidence
        if seen and self._has_flow and index - seen.index < self._infer_every:
            return self._carry(frame, index, watch)
        return self._fuse(frame, index, watch)

    def ask(self, frame, index, watch, *, is_segmented):
        """Returns the Evidence of the frame."""
        if not is_segmented or self._evidence.index != index:
            self._fuse(frame, index, watch)
        return self._evidence

    def learn(self, asked, frame, labels, watch):
        """Lets the gate learn who was right, and takes the frame as the new key."""
        with watch("fuse"):
            self._learn(asked, labels)
            shown = metrics.confusion(labels, asked.shown, self._num_classes, self._ignored)
            if asked.index < self._start:  # of an asynchronous teacher, from before a gap
                return shown
            self._key, self._flow = Key(asked.index, asked.gray, labels), None
            self._later, self._flows = None, {}
            self.disagreement = None  # it was of the key before
            if self._last.index == asked.index:  # not of an asynchronous teacher
                self._last = self._key
            return shown

    def look_ahead(self, frames, labels, index, watch):
        """Estimates the flow to a key ahead, from every frame before it that the student will see.

        From the key back, so that each is a good start for the next; see `Output`. Flow in half
        precision takes a third of the memory of the frames.
        """
        if not self._has_flow:
            return
        with watch("flow"):
            self._later = Key(index + len(frames) - 1, self._gray(frames[-1]), labels)
            to_key, self._flows = None, {}
            for place in range(len(frames) - 2, -1, -1):
                if (index + place - self._evidence.index) % self._infer_every == 0:
                    gray = self._gray(frames[place])
                    to_key = self._estimator.of_gray(gray, self._later.gray, to_key)
                    self._flows[index + place] = to_key.astype(np.float16)

    def _fuse(self, frame, index, watch):
        with watch("infer"):
            prediction, logits = self._student.infer_with_logits(frame)
        with watch("flow"):
            gray = self._gray(frame)
            moved = self._move(index, gray)
        with watch("fuse"):
            self._evidence = self._decide(index, gray, prediction, logits, moved)
            self._last = Key(index, gray, self._evidence.shown)
            self.disagreement = _disagreement(self._evidence) if self._key else None
        return self._evidence.shown

    def _carry(self, frame, index, watch):
        """Moves the last map to the frame, and the flow to the key frame along with it."""
        with watch("flow"):
            gray = self._gray(frame)
            step = self._estimator.of_gray(gray, self._last.gray)
            shown = flow.warp(self._last.labels, flow.resize_flow(step, self._size))
            self._blank(shown)
            if self._flow is not None:
                self._flow = flow.chain(step, self._flow)
            elif self._key and self._key.index == self._last.index:
                self._flow = step
            self._last = Key(index, gray, shown)
            self.disagreement = None  # the student has not seen this frame
        return shown

    def _gray(self, frame):
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if self._flow_size == self._size:
            return gray
        h, w = self._flow_size
        return cv2.resize(gray, (w, h), interpolation=cv2.INTER_AREA)

    def _move(self, index, gray):
        """Returns the key's labels moved to the frame, from both sides if there is a key ahead."""
        if not self._key or not self._has_flow:
            return None
        # The last frame's flow is a good start; without it DIS misses what has moved far.
        self._flow = self._estimator.of_gray(gray, self._key.gray, self._flow)
        moved = Moved(self._key, index - self._key.index, gray, self._flow, self._size)
        if index not in self._flows:
            return moved
        to_later = self._flows.pop(index).astype(np.float32)
        age = self._later.index - index
        return FromBothSides(moved, Moved(self._later, age, gray, to_later, self._size))

    def _decide(self, index, gray, prediction, logits, moved):
        if moved is None:
            return Evidence(index, gray, prediction, _NOWHERE, _NO_CLASSES, _NONE)
        warped = self._blank(moved.labels)
        # Decided at half size, where the student's logits are.
        student_half, warped_half = prediction[::2, ::2], warped[::2, ::2]
        differ = student_half != warped_half
        rows, columns = np.nonzero(differ)
        if not len(rows):
            return Evidence(index, gray, prediction, _NOWHERE, _NO_CLASSES, _NONE)
        classes = student_half[rows, columns], warped_half[rows, columns]
        features = self._features(moved, logits, differ, (rows, columns), classes)
        log_odds = np.zeros(differ.shape, np.float32)
        log_odds[rows, columns] = self._gate.log_odds(features)
        # A sum over the neighborhood has the sign of its mean; where nothing differs it is 0.
        total = cv2.boxFilter(log_odds, -1, (SMOOTHING_BOX, SMOOTHING_BOX), normalize=False)
        H, W = self._size
        takes_warped = cv2.resize(
            (total > 0).view(np.uint8), (W, H), interpolation=cv2.INTER_NEAREST
        )
        shown = cv2.copyTo(warped, takes_warped, prediction.copy())
        return Evidence(index, gray, shown, (rows, columns), classes, features)

    def _blank(self, class_map):
        """Makes the ignored region of a class map background, in place; returns the map."""
        if self._ignored is not None:
            class_map[self._ignored] = 0
        return class_map

    def _features(self, moved, logits, differ, pixels, classes):
        """Returns float32 [N, F] of pixels (rows, columns) of half size."""
        rows, columns = pixels
        age, residual, inside = moved.at(rows, columns)
        agreement = cv2.blur((~differ).astype(np.float32), (AGREEMENT_BOX, AGREEMENT_BOX))
        student, warped = classes
        at = logits[rows, columns]
        each = np.arange(len(rows))
        margin = at[each, student] - at[each, warped]
        features = np.empty((len(rows), len(FEATURES)), np.float32)
        features[:, 0] = 1
        features[:, 1] = age / 16
        features[:, 2] = residual / 20
        features[:, 3] = np.minimum(margin, 8) / 4
        features[:, 4] = warped > 0
        features[:, 5] = student > 0
        features[:, 6] = agreement[rows, columns]
        features[:, 7] = inside
        return features

    def _learn(self, evidence, labels):
        student, warped = evidence.classes
        right = labels[::2, ::2][evidence.disputed]
        decided = np.flatnonzero((right == student) | (right == warped))
        if len(decided) > MOST_SAMPLES:
            generator = np.random.default_rng((self._seed, evidence.index))
            decided = generator.choice(decided, MOST_SAMPLES, replace=False)
        self._gate.learn(evidence.features[decided], right[decided] == warped[decided])

    def warm_up(self, frame):
        """Runs the student once."""
        self._student.infer_with_logits(frame)

    def get_state(self):
        """Returns the gate's state, key frame, last frame and flow, for a checkpoint."""
        state = {f"gate/{name}": array for name, array in self._gate.get_state().items()}
        state["start"] = np.array(self._start)
        state["seen"] = np.array(self._evidence.index if self._evidence else -1)
        if self.disagreement is not None:
            state["disagreement"] = np.array(self.disagreement)
        for name, key in (("key", self._key), ("last", self._last)):
            if key:
                state[f"{name}/index"] = np.array(key.index)
                state[f"{name}/gray"], state[f"{name}/labels"] = key.gray, key.labels
        if self._flow is not None:
            state["flow"] = self._flow
        return state

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""
        self._gate.set_state({name: state[f"gate/{name}"] for name in ("mean", "precision")})
        self._key, self._last = (self._key_of(state, name) for name in ("key", "last"))
        self._later, self._flows = None, {}  # given again by `look_ahead`
        self._flow = state.get("flow")
        if self._flow is not None:
            found = self._flow.dtype, self._flow.shape
            if found != (np.float32, (*self._flow_size, 2)) or not np.isfinite(self._flow).all():
                raise ValueError(f"a flow of {found}, not of {self._flow_size}, or not finite")
            if self._key is None:
                raise ValueError("a flow to no key frame")
        share = state.get("disagreement")
        self.disagreement = None if share is None else float(share)
        if share is not None and not 0 <= self.disagreement <= 1:  # NaN, too
            raise ValueError(f"a disagreement of {self.disagreement}")
        self._start = int(state.get("start", 0))  # older versions know no gaps
        if self._key and self._key.index < self._start:
            raise ValueError("the key frame lies before a gap")
        seen, key, last = int(state["seen"]), self._key, self._last
        if key and (last is None or key.index > last.index):
            raise ValueError("the key frame is later than the last one")
        self._evidence = None
        if seen >= 0:
            if last is None or seen > last.index:
                raise ValueError("the student has seen a frame that is missing")
            self._evidence = Evidence(seen, last.gray, last.labels, _NOWHERE, _NO_CLASSES, _NONE)

    def _key_of(self, state, name):
        if f"{name}/index" not in state:
            return None
        gray, labels = state[f"{name}/gray"], state[f"{name}/labels"]
        for array, size in ((gray, self._flow_size), (labels, self._size)):
            if array.dtype != np.uint8 or array.shape != size:
                raise ValueError(f"{name} has {array.dtype} {array.shape}, not {size}")
        if labels.max() >= self._num_classes:
            raise ValueError(f"{name} has other classes")
        return Key(int(state[f"{name}/index"]), gray, labels)


def _disagreement(evidence):
    """Returns the share of the foreground, of any of the two, that they disagree on; 0 of none."""
    agreed = np.count_nonzero(evidence.shown[::2, ::2])
    disputed = len(evidence.disputed[0])
    return disputed / max(disputed + agreed, 1)


_NOWHERE = (np.zeros(0, np.intp), np.zeros(0, np.intp))
_NONE = np.zeros((0, len(FEATURES)), np.float32)
_NO_CLASSES = (np.zeros(0, np.uint8), np.zeros(0, np.uint8))

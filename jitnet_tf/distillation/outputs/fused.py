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
from jitnet_tf.distillation.outputs.student import Output

FLOW_WIDTH = 640  # pixels; flow of wider frames is estimated at this width
RESIDUAL_BOX = 7  # pixels of half the frame's size
AGREEMENT_BOX = 15
SMOOTHING_BOX = 7  # of the log-odds, so that whole patches are decided alike
MOST_SAMPLES = 2000  # pixels of a teacher frame that the gate learns from


@dataclasses.dataclass(frozen=True)
class Key:
    """The latest labeled frame.

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
    """What is kept of a frame that the teacher is asked for.

    Attributes:
      gray: see `Key`.
      shown: the class map, uint8 [H, W].
      disputed: rows and columns, of half the frame's size, where student and warped label differ.
      classes: the student's and the warped class there, each uint8 [N].
      features: float32 [N, F], for the gate.
    """

    gray: np.ndarray
    shown: np.ndarray
    disputed: tuple[np.ndarray, np.ndarray]
    classes: tuple[np.ndarray, np.ndarray]
    features: np.ndarray


class FusedOutput(Output):
    """Decides each pixel between the student and the warped label.

    student: a `student.Student`. frame_size: (H, W). num_classes: C. seed: of the pixels that the
    gate learns from.
    """

    def __init__(self, student, frame_size, num_classes, seed=0):
        self._student = student
        self._size = tuple(frame_size)
        self._num_classes = num_classes
        self._seed = seed
        scale = min(1.0, FLOW_WIDTH / frame_size[1])
        self._flow_size = tuple(max(round(side * scale), 1) for side in frame_size)
        # DIS takes nothing smaller; then the student is alone.
        self._has_flow = min(self._flow_size) >= 16
        self._estimator = flow.DIS("ultrafast")
        self._gate = Gate()
        self._key = self._flow = self._evidence = None

    def segment(self, frame, index, watch):
        """Segments the next frame; see `Output`."""
        with watch("infer"):
            prediction, logits = self._student.infer_with_logits(frame)
        with watch("flow"):
            gray = self._gray(frame)
            moved = self._move(gray)
        with watch("fuse"):
            self._evidence = self._decide(index, gray, prediction, logits, moved)
        return self._evidence.shown

    def ask(self, frame, index, watch, *, is_segmented):
        """Segments the frame unless it is; what was or would have been shown is judged later."""
        if not is_segmented:
            self.segment(frame, index, watch)
        return index, self._evidence

    def learn(self, asked, frame, labels, watch):
        """Lets the gate learn who was right, and takes the frame as the new key."""
        index, evidence = asked
        with watch("fuse"):
            self._learn(index, evidence, labels)
            self._key, self._flow = Key(index, evidence.gray, labels), None
            return metrics.confusion(labels, evidence.shown, self._num_classes)

    def _gray(self, frame):
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if self._flow_size == self._size:
            return gray
        h, w = self._flow_size
        return cv2.resize(gray, (w, h), interpolation=cv2.INTER_AREA)

    def _move(self, gray):
        """Returns the flow to the key frame and the key's labels warped by it, or None."""
        if not self._key or not self._has_flow:
            return None
        # The last frame's flow is a good start; without it DIS misses what has moved far.
        self._flow = self._estimator.of_gray(gray, self._key.gray, self._flow)
        whole = flow.resize_flow(self._flow, self._size)
        return self._flow, flow.warp(self._key.labels, whole)

    def _decide(self, index, gray, prediction, logits, moved):
        nothing = np.zeros((0, len(FEATURES)), np.float32)
        if moved is None:
            return Evidence(gray, prediction, _NOWHERE, _NO_CLASSES, nothing)
        to_key, warped = moved
        # Decided at half size, where the student's logits are.
        student_half, warped_half = prediction[::2, ::2], warped[::2, ::2]
        differ = student_half != warped_half
        rows, columns = np.nonzero(differ)
        if not len(rows):
            return Evidence(gray, prediction, _NOWHERE, _NO_CLASSES, nothing)
        classes = student_half[rows, columns], warped_half[rows, columns]
        age = index - self._key.index
        features = self._features(age, gray, to_key, logits, differ, (rows, columns), classes)
        log_odds = np.zeros(differ.shape, np.float32)
        log_odds[rows, columns] = self._gate.log_odds(features)
        # A sum over the neighborhood has the sign of its mean; where nothing differs it is 0.
        total = cv2.boxFilter(log_odds, -1, (SMOOTHING_BOX, SMOOTHING_BOX), normalize=False)
        H, W = self._size
        takes_warped = cv2.resize(
            (total > 0).view(np.uint8), (W, H), interpolation=cv2.INTER_NEAREST
        )
        shown = np.where(takes_warped, warped, prediction)
        return Evidence(gray, shown, (rows, columns), classes, features)

    def _features(self, age, gray, to_key, logits, differ, pixels, classes):
        """Returns float32 [N, F] of pixels (rows, columns) of half size."""
        rows, columns = pixels
        h, w = differ.shape
        place = flow.targets(to_key)
        matched = cv2.remap(
            self._key.gray, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        residual = cv2.resize(cv2.absdiff(gray, matched), (w, h), interpolation=cv2.INTER_AREA)
        residual = cv2.blur(residual, (RESIDUAL_BOX, RESIDUAL_BOX))
        agreement = cv2.blur((~differ).astype(np.float32), (AGREEMENT_BOX, AGREEMENT_BOX))
        flow_h, flow_w = to_key.shape[:2]
        x, y = place[rows * flow_h // h, columns * flow_w // w].T
        student, warped = classes
        at = logits[rows, columns]
        each = np.arange(len(rows))
        margin = at[each, student] - at[each, warped]
        features = np.empty((len(rows), len(FEATURES)), np.float32)
        features[:, 0] = 1
        features[:, 1] = age / 16
        features[:, 2] = residual[rows, columns] / 20
        features[:, 3] = np.minimum(margin, 8) / 4
        features[:, 4] = warped > 0
        features[:, 5] = student > 0
        features[:, 6] = agreement[rows, columns]
        features[:, 7] = (x >= 0) & (x <= flow_w - 1) & (y >= 0) & (y <= flow_h - 1)
        return features

    def _learn(self, index, evidence, labels):
        student, warped = evidence.classes
        right = labels[::2, ::2][evidence.disputed]
        decided = np.flatnonzero((right == student) | (right == warped))
        if len(decided) > MOST_SAMPLES:
            generator = np.random.default_rng((self._seed, index))
            decided = generator.choice(decided, MOST_SAMPLES, replace=False)
        self._gate.learn(evidence.features[decided], right[decided] == warped[decided])

    def warm_up(self, frame):
        """Runs student and flow once."""
        self._student.infer_with_logits(frame)

    def get_state(self):
        """Returns the gate's state, the key frame and the last flow, for a checkpoint."""
        state = {f"gate/{name}": array for name, array in self._gate.get_state().items()}
        if self._key:
            state.update(
                {
                    "key/index": np.array(self._key.index),
                    "key/gray": self._key.gray,
                    "key/labels": self._key.labels,
                }
            )
            if self._flow is not None:
                state["flow"] = self._flow
        return state

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""
        self._gate.set_state({name: state[f"gate/{name}"] for name in ("mean", "precision")})
        self._key = self._flow = self._evidence = None
        if "key/index" in state:
            gray, labels = state["key/gray"], state["key/labels"]
            expected = {"gray": (gray, self._flow_size), "labels": (labels, self._size)}
            for name, (array, size) in expected.items():
                if array.dtype != np.uint8 or array.shape != size:
                    raise ValueError(f"key/{name} is {array.dtype} {array.shape}, not of {size}")
            self._key = Key(int(state["key/index"]), gray, labels)
        if "flow" in state:
            if state["flow"].dtype != np.float32 or state["flow"].shape != (*self._flow_size, 2):
                raise ValueError(f"a flow of {state['flow'].shape}, not {self._flow_size}")
            self._flow = state["flow"]


_NOWHERE = (np.zeros(0, np.intp), np.zeros(0, np.intp))
_NO_CLASSES = (np.zeros(0, np.uint8), np.zeros(0, np.uint8))

"""A bounded memory of examples, compressed."""

import collections

import cv2
import numpy as np

from jitnet_tf.base import pictures
from jitnet_tf.distillation.policies.base import Example

# JPEG's highest useful quality: some 300 kB of a 720p frame, where PNG takes 1.5 MB and ten times
# as long.
QUALITY = 95
PARTS = ("frame", "labels", "weights")


class ExampleMemory:
    """The latest examples, first in, first out.

    Frames are kept as JPEG, labels and weights without loss. A frame is trained on as it comes out
    of the memory, also before any checkpoint: so a resumed run repeats it to the bit.

    capacity: the number of examples kept.
    """

    def __init__(self, capacity):
        self._packed = collections.deque(maxlen=capacity)

    def __len__(self):
        return len(self._packed)

    def add(self, example):
        """Adds an `Example`; the oldest goes if the memory is full."""
        self._packed.append((example.index, _pack(example)))

    def __getitem__(self, place):
        """Unpacks an Example; 0 is the oldest."""
        index, packed = self._packed[place]
        return _unpack(index, packed)

    def get_state(self):
        """Returns the compressed examples, for a checkpoint: INDEX/frame and so on."""
        state = {}
        for index, packed in self._packed:
            state.update({f"{index}/{part}": packed[part] for part in PARTS})
        return state

    def set_state(self, state):
        """Restores `get_state`'s arrays. KeyError or ValueError where they are damaged."""
        self._packed.clear()
        for index in sorted({int(name.partition("/")[0]) for name in state}):
            packed = {part: np.asarray(state[f"{index}/{part}"]) for part in PARTS}
            if any(array.dtype != np.uint8 or array.ndim != 1 for array in packed.values()):
                raise ValueError(f"the example of frame {index} is not compressed")
            _unpack(index, packed)  # raises
            self._packed.append((index, packed))


def _pack(example):
    bgr = cv2.cvtColor(example.frame, cv2.COLOR_RGB2BGR)
    # Each float32 as four pixels: mostly equal rows, so fast compression is enough.
    weights = np.ascontiguousarray(example.weights, np.float32).view(np.uint8)
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return {
        "frame": cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].ravel(),
        "labels": cv2.imencode(".png", example.labels, fast)[1].ravel(),
        "weights": cv2.imencode(".png", weights, fast)[1].ravel(),
    }


def _unpack(index, packed):
    frame = pictures.decode(packed["frame"], cv2.IMREAD_COLOR)
    labels = pictures.decode(packed["labels"], cv2.IMREAD_UNCHANGED)
    weights = pictures.decode(packed["weights"], cv2.IMREAD_UNCHANGED)
    if frame is None or labels is None or weights is None:
        raise ValueError(f"the example of frame {index} is damaged")
    H, W = frame.shape[:2]
    if labels.shape != (H, W) or weights.shape != (H, 4 * W):
        raise ValueError(f"the example of frame {index} has parts of different sizes")
    return Example(index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), labels, weights.view(np.float32))

"""A bounded memory of examples, compressed."""

import collections
import io

import cv2
import numpy as np
from PIL import Image

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

    Args:
      capacity: the number of examples kept.
      frame_size: (H, W).
      num_classes: C.
    """

    def __init__(self, capacity, frame_size, num_classes):
        self._size, self._num_classes = tuple(frame_size), num_classes
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
        restored = []
        for index in sorted({int(name.partition("/")[0]) for name in state}):
            packed = {part: np.asarray(state[f"{index}/{part}"]) for part in PARTS}
            if any(array.dtype != np.uint8 or array.ndim != 1 for array in packed.values()):
                raise ValueError(f"the example of frame {index} is not compressed")
            self._check(index, packed)
            restored.append((index, packed))
        self._packed.clear()
        self._packed.extend(restored)

    def _check(self, index, packed):
        """Raises ValueError for parts that the student cannot be trained on."""
        try:  # before it is unpacked: a JPEG may claim gigabytes
            with Image.open(io.BytesIO(packed["frame"])) as image:
                fits = image.format == "JPEG" and image.size == self._size[::-1]
        except (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            fits = False
        if not fits:
            raise ValueError(f"the frame {index} is no JPEG of {self._size}")
        example = _unpack(index, packed)
        if example.labels.max() >= self._num_classes:
            raise ValueError(f"the labels of frame {index} have other classes")
        if not (np.isfinite(example.weights).all() and (example.weights >= 0).all()):
            raise ValueError(f"the weights of frame {index} are damaged")


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
    sizes = (labels.dtype, labels.shape, weights.dtype, weights.shape)
    if sizes != (np.uint8, (H, W), np.uint8, (H, 4 * W)):
        raise ValueError(f"the example of frame {index} has parts of different sizes")
    return Example(index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), labels, weights.view(np.float32))

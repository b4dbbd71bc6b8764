"""The offline oracle (paper §5.3): a student trained on the very stream, then frozen.

Trained and judged on the same stream, it says what the network can hold, not what it would do on
frames that it has not seen.
"""

import math
import pathlib
import shutil
import tempfile

import cv2
import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.distillation.distiller import DivergedError

# The paper's 20 %: every fifth frame.
FRAME_DISTANCE = 5
BATCH_SIZE = 4
PREFIX = "oracle-"


class TrainingFrames:
    """Every fifth of a stream's first frames with its label, at random access.

    The frames wait on disk, losslessly: 6,000 of them would not fit into memory. Use it as a
    context manager.

    Args:
      source: iterator of uint8 RGB [H, W, 3].
      teacher: a Recording.
      label_maker: a LabelMaker.
      frames: how many frames of the source the stream has.
      scratch: folder to keep them in until the end; what a killed process left there is removed.
      on_step: called after each frame of the source.

    Raises:
      UserError: no space on the disk.
    """

    def __init__(self, source, teacher, label_maker, frames, scratch, on_step=lambda: None):
        self._teacher = teacher
        self._label_maker = label_maker
        for left in pathlib.Path(scratch).glob(f"{PREFIX}*"):
            shutil.rmtree(left)
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=scratch)
        self.count = 0
        for index, frame in zip(range(frames), source, strict=False):
            on_step()
            if index % FRAME_DISTANCE == 0:
                fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
                if not cv2.imwrite(self._path(self.count), frame[..., ::-1], fast):
                    raise UserError(
                        f"{self._folder.name} cannot be written: the oracle's frames need free "
                        "space there"
                    )
                self.count += 1

    def _path(self, number):
        return str(pathlib.Path(self._folder.name, f"{number}.png"))

    def batch(self, numbers):
        """Frames uint8 [B, H, W, 3], labels uint8 [B, H, W] and weights float32 [B, H, W].

        numbers: B of 0…count − 1.
        """
        rows = []
        for number in map(int, numbers):  # SQLite finds nothing by numpy's integers
            frame = cv2.imread(self._path(number))
            if frame is None:
                raise UserError(f"{self._path(number)} is gone: the same command starts again")
            frame = np.ascontiguousarray(frame[..., ::-1])
            detections = self._teacher(frame, number * FRAME_DISTANCE)
            make, size = self._label_maker, frame.shape[:2]
            rows.append((frame, make.labels(detections, size), make.weights(detections, size)))
        return tuple(np.stack(arrays) for arrays in zip(*rows, strict=True))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._folder.cleanup()


def random_batches(count, steps, seed):
    """Yields `steps` arrays of numbers below count: epochs in random order, cut into batches."""
    generator = np.random.default_rng(seed)
    waiting = np.empty(0, int)
    for _ in range(steps):
        while len(waiting) < BATCH_SIZE:
            waiting = np.concatenate([waiting, generator.permutation(count)])
        yield waiting[:BATCH_SIZE]
        waiting = waiting[BATCH_SIZE:]


def learning_rate(step, steps, peak):
    """`peak` for the first half of the steps, then down to 0 by a half cosine."""
    falling = max(2 * step / steps - 1, 0)
    return peak * (1 + math.cos(math.pi * falling)) / 2


def train(student, frames, steps, peak, seed, on_step=lambda: None):
    """Trains a student for `steps` steps on random batches of TrainingFrames.

    The loss, the optimizer and the initial weights are those of the online student; only the
    learning rate falls, from `peak`, which an average over many batches needs to settle.
    on_step: called after each. DivergedError where the loss is no number any more.
    """
    for step, numbers in enumerate(random_batches(frames.count, steps, seed)):
        student.set_learning_rate(learning_rate(step, steps, peak))
        loss = student.train(*frames.batch(numbers))
        if not math.isfinite(loss):
            raise DivergedError(
                f"the oracle diverged at step {step} (loss {loss}): try another --seed"
            )
        on_step()

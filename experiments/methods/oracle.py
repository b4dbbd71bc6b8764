"""The offline oracle (paper §5.3): a student trained on the stream itself, then frozen.

It is trained and scored on the same stream: its accuracy shows the capacity of the network, not
how well it does on new frames.
"""

import contextlib
import dataclasses
import math
import pathlib
import shutil
import tempfile

import cv2
import numpy as np

from experiments.methods.base import Method, StudentSettings, setting
from experiments.methods.jitnet import FrozenStudent, distiller
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation.training import DivergedError

# The paper's 20 %: every fifth frame.
FRAME_DISTANCE = 5
BATCH_SIZE = 4
PREFIX = "oracle-"


class TrainingFrames:
    """Every fifth frame of a stream with its labels, at random access.

    The frames are kept on disk, losslessly: 6,000 of them do not fit into memory. A context
    manager.

    Args:
      source: iterator of uint8 RGB [H, W, 3].
      teacher: a Recording.
      label_maker: a LabelMaker.
      frames: number of frames of the stream; the source may have more.
      scratch: folder to keep them in; leftovers of a killed process are removed.
      on_step: called after each frame of the source.

    Raises:
      UserError: the disk is full.
    """

    def __init__(self, source, teacher, label_maker, frames, scratch, on_step=lambda: None):
        self._teacher = teacher
        self._label_maker = label_maker
        for left in pathlib.Path(scratch).glob(f"{PREFIX}*"):
            shutil.rmtree(left)
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=scratch)
        self.count = 0
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.cleanup)
            for index, frame in zip(range(frames), source, strict=False):
                on_step()
                if index % FRAME_DISTANCE == 0:
                    self._keep(frame)
            stack.pop_all()

    def _keep(self, frame):
        fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        if not cv2.imwrite(self._path(self.count), frame[..., ::-1], fast):
            raise UserError(
                f"{self._folder.name} cannot be written: the oracle keeps its frames there, make "
                "space"
            )
        self.count += 1

    def _path(self, number):
        return str(pathlib.Path(self._folder.name, f"{number}.png"))

    def batch(self, numbers):
        """Frames uint8 [B, H, W, 3], labels uint8 [B, H, W] and weights float32 [B, H, W].

        numbers: B of 0…count − 1.
        """
        rows = []
        for number in map(int, numbers):  # SQLite does not find numpy's integers
            frame = cv2.imread(self._path(number))
            if frame is None:
                raise UserError(f"{self._path(number)} is missing: run the same command again")
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
    """Yields `steps` batches of numbers below count: epochs in random order, cut up."""
    generator = np.random.default_rng(seed)
    waiting = np.empty(0, int)
    for _ in range(steps):
        while len(waiting) < BATCH_SIZE:
            waiting = np.concatenate([waiting, generator.permutation(count)])
        yield waiting[:BATCH_SIZE]
        waiting = waiting[BATCH_SIZE:]


def learning_rate(step, steps, peak):
    """Returns a step's rate: `peak` for half of the steps, then a half cosine down to 0."""
    falling = max(2 * step / steps - 1, 0)
    return peak * (1 + math.cos(math.pi * falling)) / 2


def train(student, frames, steps, peak, seed, on_step=lambda: None):
    """Trains a student for `steps` steps on random batches of TrainingFrames.

    Loss, optimizer and initial weights are those of the online student. Only the learning rate
    falls, from `peak`: an average over many batches settles no other way.
    on_step: called after each step. Raises DivergedError if the loss becomes NaN or infinite.
    """
    for step, numbers in enumerate(random_batches(frames.count, steps, seed)):
        student.set_learning_rate(learning_rate(step, steps, peak))
        loss = student.train(*frames.batch(numbers))
        if not math.isfinite(loss):
            raise DivergedError(
                f"the oracle diverged at step {step} (loss {loss}): try another --seed"
            )
        on_step()


@dataclasses.dataclass(frozen=True)
class OracleSettings(StudentSettings):
    """Settings of the oracle: it takes as many steps as the larger of the two asks for."""

    oracle_steps: int = setting(500, "Least number of the oracle's training steps.", at_least=1)
    oracle_epochs: int = setting(
        5, "Least number of its epochs; one is 20 % of the frames, once.", at_least=0
    )

    def steps(self, frames):
        """Returns the number of training steps on a stream of so many frames."""
        epoch = frames / FRAME_DISTANCE / BATCH_SIZE
        return max(self.oracle_steps, round(self.oracle_epochs * epoch))


class Oracle(Method):
    """A student trained on every fifth frame of the stream, then frozen."""

    settings_class = OracleSettings
    has_speedup = False
    is_jitnet = True

    def preparation(self, settings, frames):
        """Returns the number of frames to store and of training steps."""
        return frames + settings.steps(frames)

    def make(self, context):
        """Trains a student on every fifth frame; returns it as a FrozenStudent."""
        student, settings = distiller(context).student, context.settings
        with (
            context.open_source() as source,
            TrainingFrames(
                source,
                context.recording,
                context.label_maker,
                context.frames,
                context.scratch,
                context.on_step,
            ) as frames,
        ):
            steps, peak = settings.steps(context.frames), RunConfig.learning_rate
            train(student, frames, steps, peak, settings.seed, context.on_step)
        return FrozenStudent(student)

"""OSVOS, the video object segmentation that the paper compares with (§5.5).

Caelles et al., One-Shot Video Object Segmentation (CVPR 2017, arXiv:1611.05198). JITNet's authors
ran its authors' code from a script, `osvos_seg.py` with `osvos_dataset.py`, found in an index of
public code that names no repository: on 480×854 frames, 500 steps on every 30th, "30 sec runtime on
GCE V100", for 3600 frames from the 5400th on, of a stream's first class. That script swaps height
and width when it resizes training images; this module does not.
"""

import dataclasses
import hashlib
import math
import pathlib

import numpy as np

from experiments.methods.base import Method, SeedSettings, TeacherSettings, setting
from jitnet_tf.distillation.result import FrameResult, TeacherFrame
from jitnet_tf.distillation.segmenter import Segmenter
from jitnet_tf.distillation.stopwatch import Stopwatch

STRIDE = 30  # §5.5


class OneShotSegmentation(Segmenter):
    """Asks the teacher on every `stride`-th frame and fine-tunes OSVOS on one class of its labels.

    The prediction on a teacher frame is the network's own, after fine-tuning, as a student's is.
    Without a pixel of the class there it learns nothing, as published, and predicts with the
    weights it has. (Learning that all is background cost mode A .05 of IoU on 420 frames of
    fixed-one-by-one-person.)

    Args:
      network: an `osvos_network.OSVOS`.
      teacher, label_maker: see `Distiller`.
      class_id: of the foreground; all other pixels of a prediction are 0.
      stride: frames from one teacher frame to the next.
      keeps_weights: start each fine-tuning from the last weights (the paper's mode A), not from the
        initial ones (B); see `OSVOS.start`.
      steps, seconds, on_step: see `OSVOS.fine_tune`. on_step is also called for each step that
        `seconds` cut off.
    """

    def __init__(
        self,
        network,
        teacher,
        label_maker,
        class_id,
        *,
        stride,
        keeps_weights,
        steps,
        seconds,
        on_step=lambda: None,
    ):
        self._network = network
        self._teacher = teacher
        self._label_maker = label_maker
        self._class_id = class_id
        self._stride = stride
        self._keeps_weights = keeps_weights
        self._steps = steps
        self._seconds = seconds
        self._on_step = on_step
        self.index = 0

    def step(self, frame):
        """Segments the next frame, uint8 RGB [H, W, 3], after fine-tuning on a teacher frame."""
        watch, labels = Stopwatch(), None
        if self.index % self._stride == 0:
            with watch("teacher"):
                detections = self._teacher(frame, self.index)
            with watch("labels"):
                labels = self._label_maker.labels(detections, frame.shape[:2])
            with watch("update"):
                losses = self._fine_tune(frame, labels == self._class_id)
        with watch("infer"):
            foreground = self._network.segment(frame)
        prediction = foreground.astype(np.uint8) * self._class_id
        result = FrameResult(self.index, frame, prediction, self._stride, watch.seconds)
        if labels is not None:
            result.teacher = TeacherFrame(
                self.index, frame, labels, prediction, losses=tuple(losses)
            )
        self.index += 1
        return result

    def _fine_tune(self, frame, mask):
        self._network.start(self._keeps_weights)
        losses = self._network.fine_tune(frame, mask, self._steps, self._seconds, self._on_step)
        for _ in range(self._steps - len(losses)):
            self._on_step()
        return losses


@dataclasses.dataclass(frozen=True)
class OSVOSSettings(SeedSettings, TeacherSettings):
    """Settings of OSVOS."""

    osvos_weights: str | None = setting(
        None, "Converted weights of OSVOS. Default: random ones.", is_path=True
    )
    osvos_steps: int = setting(
        500, "Greatest number of OSVOS's steps on a teacher frame.", at_least=1
    )
    osvos_seconds: float = setting(
        30.0, "Greatest number of seconds for these steps; inf: no bound.", above=0, infinite=True
    )
    osvos_scale: float = setting(
        1.0, "Scale of the frames at OSVOS's first layer.", above=0, at_most=1
    )

    def check(self):
        """UserError also if the weights are missing or do not fit the network."""
        super().check()
        if self.osvos_weights:
            from experiments.methods import osvos_network  # imports TensorFlow

            osvos_network.load_weights(osvos_network.build_osvos(), self.osvos_weights)


class OneShot(Method):
    """OSVOS on the first of a stream's classes. keeps_weights: see OneShotSegmentation."""

    settings_class = OSVOSSettings

    def __init__(self, title, keeps_weights):
        super().__init__(title)
        self._keeps_weights = keeps_weights

    def preparation(self, settings, frames):
        """Returns the number of steps of all fine-tunings, which are made during the run."""
        return math.ceil(frames / STRIDE) * settings.osvos_steps

    def origin(self, settings):
        """Returns the file name and digest of the converted weights, or the seed of random ones."""
        if not settings.osvos_weights:
            return f"random, seed {settings.seed}"
        path = pathlib.Path(settings.osvos_weights)
        return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"

    def make(self, context):
        """Returns a OneShotSegmentation of the stream's first class."""
        from experiments.methods.osvos_network import OSVOS  # imports TensorFlow

        settings, names = context.settings, context.label_maker.groups.names
        return OneShotSegmentation(
            OSVOS(context.frame_size, settings.osvos_weights, settings.osvos_scale, settings.seed),
            context.teacher,
            context.label_maker,
            names.index(context.stream.classes[0]),
            stride=STRIDE,
            keeps_weights=self._keeps_weights,
            steps=settings.osvos_steps,
            seconds=settings.osvos_seconds,
            on_step=context.on_step,
        )

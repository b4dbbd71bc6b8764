"""The seams of the student: what a distiller needs of it, and how an architecture is added."""

import dataclasses
from typing import Protocol

import numpy as np

# The layer that makes logits; its weights are adapted when a student starts from other classes.
CLASS_LAYER = "logits"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One attempt at a labeled frame: lines 7–11 of Algorithm 1.

    Attributes:
      prediction: class ids before the update, uint8 [H, W].
      confusion: pixels by label (row) and prediction (column), int64 [C, C].
      loss: before the update; None without one.
    """

    prediction: np.ndarray
    confusion: np.ndarray
    loss: float | None = None

    @property
    def updated(self):
        """True if the attempt ended with an update."""
        return self.loss is not None


class StudentProtocol(Protocol):
    """A segmenter that learns from labels; `student.Student` implements it for Keras models."""

    def infer(self, frame: np.ndarray) -> np.ndarray:
        """Segments a frame: uint8 RGB [H, W, 3] → class ids, uint8 [H, W]."""

    def infer_with_logits(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segments a frame; returns also the logits, float32 [⌈H/2⌉, ⌈W/2⌉, C], for fusion."""

    def attempt(
        self, frame: np.ndarray, labels: np.ndarray, weights: np.ndarray, threshold: float
    ) -> Trial:
        """Segments a frame and updates on it if its mean IoU is below `threshold`.

        frame: uint8 RGB [H, W, 3]; labels: uint8 [H, W]; weights of the loss: float32 [H, W];
        threshold: 0…1, where 0 never updates.
        """

    def update(self, frame: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
        """Takes one step of training on a frame; arguments as `attempt`'s. Returns the loss."""

    def warm_up(self, frame: np.ndarray) -> None:
        """Runs every step once, changing nothing: first runs take longer."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns everything that training changes, by name."""

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays."""


class Architecture:
    """A network of students. Derive from it in a file of its own; add a line to `ARCHITECTURES`.

    The network takes uint8 RGB frames [B, H, W, 3] of any size and returns float32 logits
    [B, H, W, C]. Its last weights are those of a layer named CLASS_LAYER. A convolution NAME that a
    normalization NAME_norm follows is rescaled after pretraining (see `weights.restore_scale`).

    Attributes:
      encoder_layers: beginnings of the names of the layers that --updated_layers=decoder keeps.
    """

    encoder_layers: tuple[str, ...] = ()

    def build(self, num_classes, config, *, dtype, frame_size, xla):
        """Returns the Keras model, named as the architecture is in the registry.

        Args:
          num_classes: C, background included.
          config: a StudentConfig, of which the architecture heeds what it has.
          dtype: Keras dtype policy, 'float32' or 'mixed_bfloat16'.
          frame_size: (H, W), or (None, None).
          xla: whether XLA will compile the model.
        """
        raise NotImplementedError

    def half_resolution(self, model):
        """Returns the same network without a last resizing by two, or None if it has none.

        Its logits [B, ⌈H/2⌉, ⌈W/2⌉, C] resized with aligned corners have to be the model's own.
        """
        return None

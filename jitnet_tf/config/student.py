"""Options of the student's network."""

import dataclasses

from jitnet_tf.base import options
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import option
from jitnet_tf.config.names import (
    ARCHITECTURES,
    COMPUTATION,
    INPUT_NORMALIZATIONS,
    JITNET,
    STUDENT,
)


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """The student's network; see `student.architectures.build_network`."""

    architecture: str = option(
        JITNET,
        "Architecture of the student.",
        STUDENT,
        choices=tuple(ARCHITECTURES),
        aliases=("student",),
    )
    # At .125, updates of one frame crash inside TensorFlow 2.15 and 2.21 with oneDNN (not without).
    width: float = option(
        0.5,
        "Channel multiplier; the paper's Table 1 has .5 (FLOPs) and 1 (parameters).",
        STUDENT,
        at_least=0.25,
        only_for=JITNET,
    )
    units: int = option(1, "Residual units in each block.", STUDENT, at_least=1, only_for=JITNET)
    skip: bool = option(True, "Skip connections from encoder to decoder.", STUDENT, only_for=JITNET)
    separable: bool = option(
        False, "Depthwise separable 3×3 convolutions.", STUDENT, only_for=JITNET
    )
    normalization: str = option(
        "frame",
        "Normalize by each frame's own statistics, or by moving averages.",
        STUDENT,
        choices=("frame", "moving"),
    )
    precision: str = option(
        "float32",
        "Arithmetic between weights and logits; auto: bfloat16 if the hardware has units for it.",
        COMPUTATION,
        choices=("float32", "bfloat16", "auto"),
    )
    input_scale: float = option(
        1.0,
        "Scale of the frames at the student's input; class maps keep the frames' size.",
        STUDENT,
        above=0,
        at_most=1,
    )
    input_normalization: str = option(
        "centered",
        "Pixel values at the first layer: centered, -1…1; raw, 0…255 (the paper's authors); "
        "standardized, by mean and deviation of each color (EastGit0, a PyTorch follow-up).",
        STUDENT,
        choices=INPUT_NORMALIZATIONS,
        value_aliases={"centred": "centered", "standardised": "standardized"},
    )

    def check(self):
        """Raises UserError for values that make no sense."""
        options.check(self)
        for field, about in options.options(self):
            only = about.only_for
            if only and self.architecture != only and getattr(self, field.name) != field.default:
                raise UserError(f"--{field.name} is for --architecture={only}: leave it out")

    @classmethod
    def from_values(cls, values):
        """Makes a StudentConfig from values by name, also an older version's. Raises TypeError."""
        return options.from_values(cls, values)

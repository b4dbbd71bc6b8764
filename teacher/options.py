"""Options of live teachers: what a SavedModel does not say about itself."""

import dataclasses

from absl import flags

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from teacher.class_names import COCO, WORDS

RANGES = ("0..1", "0..255", "-1..1", "imagenet")
HELP = {
    "teacher_classes": f"Names of the teacher's classes: {', '.join(WORDS)}, or a file with a name "
    "a line (line k, from 0, names class k).",
    "teacher_signature": "Signature of the teacher's SavedModel. Default: serving_default, or the "
    "only one.",
    "teacher_input": "Pixel values that a semantic teacher with float input takes; imagenet: 0…1, "
    "less ImageNet's mean, by its deviation. Default: 0..1, with a note.",
}


@dataclasses.dataclass(frozen=True)
class TeacherOptions:
    """Options of a SavedModel as a teacher.

    Attributes:
      classes: see `class_names.read`.
      signature: its name; None for the default.
      input: one of RANGES; None if the user does not say.

    Raises:
      UserError: an unknown range.
    """

    classes: str = COCO
    signature: str | None = None
    input: str | None = None

    def __post_init__(self):
        """Checks the range."""
        if self.input is not None and self.input not in RANGES:
            raise UserError(
                f"--teacher_input={self.input} is invalid: it has to be one of {', '.join(RANGES)}"
            )

    @classmethod
    def of(cls, values):
        """Makes TeacherOptions of what has `teacher_classes`, …: a configuration, or FLAGS."""
        return cls(values.teacher_classes, values.teacher_signature, values.teacher_input)

    def check_unused(self, spec):
        """Raises UserError for an option that a precomputed teacher does not take."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                raise UserError(
                    f"--teacher_{field.name}={value} is for SavedModels: leave it out with {spec!r}"
                )


def define_flags():
    """Defines the flags of a command that opens a teacher, beside --teacher itself."""
    define_path("teacher_classes", COCO, HELP["teacher_classes"])
    flags.DEFINE_string("teacher_signature", None, HELP["teacher_signature"])
    flags.DEFINE_enum("teacher_input", None, RANGES, HELP["teacher_input"])

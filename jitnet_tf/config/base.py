"""Options that runs and pretrainings share."""

import dataclasses
import json

from jitnet_tf.base import files, options
from jitnet_tf.base.options import MOVED, option
from jitnet_tf.config.names import (
    COMPUTATION,
    LABELS,
)
from jitnet_tf.config.student import StudentConfig
from jitnet_tf.labels import PRESETS
from teacher.class_names import COCO, WORDS
from teacher.detections import MIN_SCORE
from teacher.options import HELP as TEACHER_HELP
from teacher.options import RANGES, TeacherOptions


@dataclasses.dataclass(frozen=True)
class Config:
    """Options that runs and pretrainings share."""

    class_groups: str = option(
        "lvs",
        "Classes: 'lvs' (the paper's eight), 'coco' (all 80), or a file of lines such as "
        "'auto = car, bus, truck'.",
        LABELS,
        is_path=True,
        resume=MOVED,
        words=tuple(PRESETS),
    )
    teacher_classes: str = option(
        COCO,
        TEACHER_HELP["teacher_classes"],
        LABELS,
        is_path=True,
        words=WORDS,
        resume=MOVED,
    )
    teacher_signature: str | None = option(None, TEACHER_HELP["teacher_signature"], LABELS)
    teacher_input: str | None = option(None, TEACHER_HELP["teacher_input"], LABELS, choices=RANGES)
    score_threshold: float = option(
        0.5,
        "Confidence, 0…1, from which a detection becomes a label.",
        LABELS,
        at_least=MIN_SCORE,
        at_most=1,
        reason="detections of a teacher with lower scores are not kept",
    )
    box_weight: float = option(
        5.0, "Loss weight inside boxes, 1 outside (EastGit0: 10).", LABELS, above=0
    )
    box_dilation: float = option(
        0.15,
        "Growth of a box on every side, as a part of its size (ShadowTutor: .075).",
        LABELS,
        at_least=0,
    )
    seed: int = option(0, "Seed of all randomness.", COMPUTATION, at_least=0)
    xla: str = option(
        "auto",
        "Compile by XLA; auto: everything on a GPU, elsewhere class ids and loss; off: nothing.",
        COMPUTATION,
        choices=("auto", "on", "off"),
    )
    student: StudentConfig = dataclasses.field(default_factory=StudentConfig)

    def __post_init__(self):
        """Checks the values; UserError names the flags."""
        options.check(self)
        self.student.check()

    @property
    def teacher_options(self):
        """The TeacherOptions of its teacher."""
        return TeacherOptions.of(self)

    def to_json(self):
        """Returns the configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text):
        """Reads `to_json`'s text. TypeError or ValueError where it is something else."""
        values = dict(files.parse_json(text))
        if "logdir" not in values:
            raise ValueError("it has no logdir")
        values["student"] = StudentConfig.from_values(values.get("student", {}))
        return options.from_values(cls, values)

    def to_flagfile(self):
        """Returns the configuration as an absl flagfile, which repeats the run elsewhere."""
        lines = []
        for name, value in self.flat().items():
            if isinstance(value, bool):
                lines.append(f"--{'' if value else 'no'}{name}")
            elif value is not None and value != ():
                text = "x".join(map(str, value)) if name == "frame_size" else value
                lines.append(f"--{name}={','.join(text) if isinstance(text, tuple) else text}")
        return "\n".join(lines) + "\n"

    def flat(self):
        """Returns name → value with the student's options among the others, as flags are named."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        student = dataclasses.asdict(values.pop("student"))
        return {**values, **student}

    def _to_tuples(self, *names):
        """Turns lists, which come from JSON, into tuples."""
        for name in names:
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else tuple(value))

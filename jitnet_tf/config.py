"""Everything that determines a run, as plain values: to and from JSON, no TensorFlow."""

import dataclasses
import json
import math
import os

from jitnet_tf.base.errors import UserError
from teacher import MIN_SCORE

# At .125, updates of one frame crash inside TensorFlow 2.15 and 2.21 with oneDNN (not without).
MIN_WIDTH = 0.25
# A student's architectures; what its first layer gets; see `student.build_network`.
JITNET, MOBILENETV2 = STUDENTS = ("jitnet", "mobilenetv2")
INPUT_NORMALIZATIONS = ("centred", "raw", "standardised")
# What updates with, and which layers they change; see `student.Student`.
SGD, ADAM = OPTIMIZERS = ("sgd", "adam")
ALL_LAYERS, DECODER, LAST_LAYER = UPDATED_LAYERS = ("all", "decoder", "last")
# Whether a frame waits for its teacher; see `distiller` and `asynchronous`.
SYNC, ASYNC = TEACHER_MODES = ("sync", "async")


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """The student's network; see `student.build_network`. The first four are JITNet's alone."""

    width: float = 0.5
    units: int = 1
    skip: bool = True
    separable: bool = False
    normalization: str = "frame"
    precision: str = "float32"
    student: str = JITNET
    input_scale: float = 1.0
    input_normalization: str = "centred"

    def check(self):
        """UserError where the fields make no sense."""
        # Written so that NaN, which compares as false, is refused too.
        if not MIN_WIDTH <= self.width < math.inf or self.units < 1:
            raise UserError(
                f"--width has to be at least {MIN_WIDTH} and finite, and --units at least 1"
            )
        if not 0 < self.input_scale <= 1:
            raise UserError(f"--input_scale={self.input_scale} is outside 0…1, or 0")
        if self.student != JITNET:
            for name in ("width", "units", "skip", "separable"):
                if getattr(self, name) != getattr(type(self), name):
                    raise UserError(f"--{name} is for --student={JITNET}: leave it out")


class Config:
    """What the commands' configurations share: frozen dataclasses with a field `student`."""

    def check_unit_interval(self, *names):
        """UserError where a field is outside 0…1."""
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name}={getattr(self, name)} is outside 0…1")

    def check_positive(self, *names):
        """UserError where a field is neither None nor at least 1."""
        for name in names:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"--{name}={getattr(self, name)} is below 1")

    def check_labels_and_student(self):
        """UserError where the fields about labels or the student make no sense."""
        if self.score_threshold < MIN_SCORE:
            raise UserError(
                f"--score_threshold={self.score_threshold} is below {MIN_SCORE}, under which "
                "nothing is kept of what a teacher says"
            )
        # Written so that NaN, which compares as false, is refused too.
        if not (0 < self.box_weight < math.inf and 0 <= self.box_dilation < math.inf):
            raise UserError("--box_weight has to be above 0 and --box_dilation at least 0")
        self.student.check()

    def to_json(self):
        """The configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text):
        """Reads `to_json`'s text. TypeError or ValueError where it is something else."""
        values = dict(json.loads(text))
        values["student"] = StudentConfig(**values.get("student", {}))
        return cls(**values)

    def to_flagfile(self):
        """The configuration as an absl flagfile, with which to repeat the run elsewhere."""
        lines = []
        for name, value in self.flat().items():
            if isinstance(value, bool):
                lines.append(f"--{'' if value else 'no'}{name}")
            elif value is not None and value != ():
                text = "x".join(map(str, value)) if name == "frame_size" else value
                lines.append(f"--{name}={','.join(text) if isinstance(text, tuple) else text}")
        return "\n".join(lines) + "\n"

    def flat(self):
        """Name → value with the student's fields among the others, as the flags are named."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        student = dataclasses.asdict(values.pop("student"))
        return {**values, **student}


@dataclasses.dataclass(frozen=True)
class RunConfig(Config):
    """One run of online distillation; the flags of `jitnet_tf.distill` under the same names.

    Attributes are explained by their flags' help texts and, where the paper and the released code
    differ, by the classes they are handed to.
    """

    video: str
    teacher: str
    logdir: str
    reference: str | None = None
    output: str | None = None
    masks: str | None = None
    frame_size: tuple[int, int] | None = None
    max_frames: int | None = None
    init: str = "pretrained"
    seed: int = 0
    class_groups: str = "lvs"
    evaluated_classes: tuple[str, ...] = ()
    score_threshold: float = 0.5
    box_weight: float = 5.0
    box_dilation: float = 0.15
    accuracy_threshold: float = 0.8
    max_updates: int = 8
    min_stride: int = 8
    max_stride: int = 64
    teacher_mode: str = SYNC
    max_staleness: int = 64
    optimizer: str = SGD
    learning_rate: float = 0.01
    momentum: float = 0.9
    updated_layers: str = ALL_LAYERS
    xla: str = "auto"
    checkpoint_every: int = 500
    image_every: int = 200
    student: StudentConfig = StudentConfig()

    def __post_init__(self):
        """Checks what flags alone cannot; UserError names the flags."""
        # A list comes from JSON.
        for name in ("frame_size", "evaluated_classes"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else tuple(value))
        self.check_unit_interval("accuracy_threshold", "score_threshold")
        self.check_labels_and_student()
        if self.min_stride < 1 or self.max_stride < self.min_stride:
            raise UserError(
                f"--min_stride={self.min_stride} --max_stride={self.max_stride}: strides are at "
                "least 1, and the minimum not above the maximum"
            )
        self.check_positive("checkpoint_every", "image_every", "max_frames", "max_staleness")
        if self.max_updates < 0:
            raise UserError(f"--max_updates={self.max_updates} is negative")
        # Written so that NaN, which compares as false, is refused too.
        if not (0 <= self.learning_rate < math.inf and 0 <= self.momentum < 1):
            raise UserError("--learning_rate has to be at least 0 and --momentum in 0…1, below 1")

    @property
    def overlay_path(self):
        """Where the overlay video goes: `output`; by default into logdir; None for 'none'."""
        if self.output is None:
            return os.path.join(self.logdir, "overlay.mp4")
        return None if self.output == "none" else self.output


@dataclasses.dataclass(frozen=True)
class PretrainConfig(Config):
    """One pretraining; the flags of `jitnet_tf.pretrain` under the same names."""

    logdir: str
    annotations: str | None = None
    labels: str | None = None
    images: str | None = None
    photographs: str | None = None
    teacher: str | None = None
    photographs_rate: float = 0.5
    holdout: float = 0.0
    validation_annotations: str | None = None
    validation_labels: str | None = None
    validation_images: str | None = None
    label_classes: tuple[str, ...] = ()
    init: str = "random"
    seed: int = 0
    class_groups: str = "lvs"
    score_threshold: float = 0.5
    box_weight: float = 5.0
    box_dilation: float = 0.15
    steps: int = 100_000
    batch_size: int = 16
    crop: int = 192
    min_scale: float = 0.25
    max_scale: float = 1.5
    stretch: float = 1.25
    flip: bool = True
    color: float = 0.4
    half_size_loss: bool = True
    learning_rate: float = 0.002
    epsilon: float = 1e-7
    weight_decay: float = 0.01
    warmup: int = 500
    cooldown: float = 0.2
    ema_decay: float = 0.999
    xla: str = "auto"
    checkpoint_every: int = 500
    validate_every: int = 5000
    student: StudentConfig = StudentConfig()

    def __post_init__(self):
        """Checks what flags alone cannot; UserError names the flags."""
        object.__setattr__(self, "label_classes", tuple(self.label_classes))  # from JSON, a list
        self.check_unit_interval("score_threshold", "photographs_rate", "holdout", "cooldown")
        self.check_labels_and_student()
        self.check_positive("steps", "batch_size", "checkpoint_every", "validate_every")
        if self.crop < 32:
            raise UserError(f"--crop={self.crop} is below 32, the student's greatest stride")
        if not 0 < self.min_scale <= self.max_scale < math.inf:
            raise UserError(
                f"--min_scale={self.min_scale} --max_scale={self.max_scale}: scales are above 0, "
                "and the minimum not above the maximum"
            )
        if not (1 <= self.stretch < math.inf and 0 <= self.color < 1):
            raise UserError("--stretch has to be at least 1 and --color in 0…1, below 1")
        if not (0 <= self.learning_rate < math.inf and 0 < self.epsilon < math.inf):
            raise UserError("--learning_rate has to be at least 0, and --epsilon above 0")
        if not (0 <= self.weight_decay < math.inf and 0 <= self.ema_decay < 1 and self.warmup >= 0):
            raise UserError(
                "--weight_decay and --warmup have to be at least 0, and --ema_decay in 0…1, below 1"
            )

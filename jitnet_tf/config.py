"""Configurations: every option of a run or a pretraining, once. Plain values, no TensorFlow."""

import dataclasses
import json
import os

from jitnet_tf.base import files, options
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import FREE, MOVED, option
from jitnet_tf.labels import PRESETS
from teacher.class_names import COCO, WORDS
from teacher.detections import MIN_SCORE
from teacher.options import HELP as TEACHER_HELP
from teacher.options import RANGES, TeacherOptions

# Interchangeable parts, by name: see `student.base.Architecture`, `distillation.policies.base`.
ARCHITECTURES = {
    "jitnet": "jitnet_tf.student.jitnet:JITNet",
    "mobilenetv2": "jitnet_tf.student.mobilenetv2:MobileNetV2",
}
REPLAY = "replay"
UPDATE_POLICIES = {
    "teacher_frame": "jitnet_tf.distillation.policies.teacher_frame:TeacherFramePolicy",
    REPLAY: "jitnet_tf.distillation.policies.replay:ReplayPolicy",
}
JITNET = "jitnet"
INPUT_NORMALIZATIONS = ("centered", "raw", "standardized")
# Optimizers, and the layers that online updates change.
SGD, ADAM = OPTIMIZERS = ("sgd", "adam")
ALL_LAYERS, DECODER, LAST_LAYER = UPDATED_LAYERS = ("all", "decoder", "last")
# Whether a frame waits for its teacher.
SYNC, ASYNC = TEACHER_MODES = ("sync", "async")
# What strides count from, what is shown of a teacher frame, and of the others.
STREAM, TEACHER_FRAME = STRIDE_ORIGINS = ("stream", "teacher_frame")
STUDENT_SHOWN, TEACHER_SHOWN = SHOWN = ("student", "teacher")
CUT, NOVELTY = TRIGGERS = ("cut", "novelty")
NO_FUSION, GATE = FUSIONS = ("none", "gate")
RANDOM, PRETRAINED = INITIAL_WEIGHTS = ("random", "pretrained")
SAMPLE = "sample"

# Headings of the options, in their order in --help.
INPUT = "Input and output"
TRAINING_SET = "Training set"
VALIDATION_SET = "Validation set"
RUN = "The run"
LABELS = "Classes and labels"
ALGORITHM = "Algorithm 1"
BEYOND = "Beyond the paper"
UPDATES = "Updates"
STUDENT = "The student"
AUGMENTATION = "Augmentation"
TRAINING = "Training"
COMPUTATION = "Computation"
GROUPS = (
    *(INPUT, TRAINING_SET, VALIDATION_SET, RUN, LABELS, ALGORITHM, BEYOND, UPDATES, STUDENT),
    *(AUGMENTATION, TRAINING, COMPUTATION),
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
    student: StudentConfig = StudentConfig()

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


@dataclasses.dataclass(frozen=True)
class RunConfig(Config):
    """A run of online distillation; the flags of `jitnet_tf.distill` have the same names."""

    video: str = option(
        "",
        "Video file, folder of frames or of videos (played as one), pipe, camera (0 or "
        "/dev/video0), rtsp/http URL, or 'sample' (a street clip that comes with the installation, "
        "with its teacher's labels).",
        INPUT,
        is_path=True,
        resume=MOVED,
        words=(SAMPLE,),
    )
    teacher: str = option(
        "",
        "SavedModel folder (Mask R-CNN, YOLO, semantic), recorded:FILE, lvs:FOLDER, or zoo:NAME.",
        INPUT,
        is_path=True,
        resume=MOVED,
    )
    reference: str | None = option(
        None,
        "Recording of the teacher on every frame, which every frame is scored against.",
        INPUT,
        is_path=True,
        resume=MOVED,
    )
    logdir: str = option(
        "",
        "Run directory. Default: runs/NAME of the video, runs/FOLDER-NAME if it is in a folder.",
        INPUT,
        is_output=True,
    )
    output: str | None = option(
        None,
        "Overlay video, .mp4; 'none' for none. Default: LOGDIR/overlay.mp4.",
        INPUT,
        is_output=True,
    )
    masks: str | None = option(
        None,
        "Folder for class masks, a PNG of class ids a frame. Default: none.",
        INPUT,
        is_output=True,
    )
    frame_size: tuple[int, int] | None = option(
        None, "HxW in pixels to resize frames to. Default: native size.", INPUT
    )
    max_frames: int | None = option(
        None,
        "Number of frames to stop after; the run is then complete. Default: all.",
        RUN,
        at_least=1,
        resume=FREE,
    )
    checkpoint_every: int = option(500, "Frames between checkpoints.", RUN, at_least=1)
    image_every: int = option(200, "Frames between pictures in TensorBoard.", RUN, at_least=1)
    evaluated_classes: tuple[str, ...] = option(
        (),
        "Classes that the mean IoU against --reference is taken over. Default: those that occur.",
        LABELS,
    )
    accuracy_threshold: float = option(
        0.8,
        "Mean IoU, 0…1, below which the student is trained on a teacher frame (a_thresh).",
        ALGORITHM,
        at_least=0,
        at_most=1,
    )
    max_updates: int = option(
        8, "Most updates on one teacher frame (u_max).", ALGORITHM, at_least=0
    )
    min_stride: int = option(
        8, "Fewest frames from one teacher frame to the next (δ_min).", ALGORITHM, at_least=1
    )
    max_stride: int = option(
        64, "Most frames from one teacher frame to the next (δ_max).", ALGORITHM, at_least=1
    )
    teacher_mode: str = option(
        SYNC,
        "sync: a frame waits for its teacher; async: frames go on while it works, in a process of "
        "its own.",
        ALGORITHM,
        choices=TEACHER_MODES,
    )
    max_staleness: int = option(
        64,
        "Frames after which the labels of an asynchronous teacher are waited for.",
        ALGORITHM,
        at_least=1,
    )
    shown: str = option(
        STUDENT_SHOWN,
        "What a teacher frame shows: the student's prediction after updates (the paper), or the "
        "teacher's labels, which a frame of an asynchronous teacher is too early for.",
        BEYOND,
        choices=SHOWN,
    )
    stride_from: str = option(
        STREAM,
        "What strides count from: the stream's first frame (the paper's t mod δ), or the latest "
        "teacher frame, as always with --teacher_budget and an asynchronous teacher.",
        BEYOND,
        choices=STRIDE_ORIGINS,
    )
    teacher_budget: float | None = option(
        None,
        "Greatest share, 0…1, of teacher frames, spent where what was shown was worst. Default: no "
        "limit but --min_stride; the stride is the paper's.",
        BEYOND,
        at_least=1e-6,
        below=1,
    )
    triggers: tuple[str, ...] = option(
        (),
        "Signs on which the teacher is asked before the stride is over, within --teacher_budget: "
        "cut, a new scene; novelty, student and warped labels begin to differ. --lookahead chooses "
        "teacher frames before they are seen, so that these have no part.",
        BEYOND,
    )
    fusion: str = option(
        NO_FUSION,
        "gate: decide each pixel between the student and the latest labels, warped by flow.",
        BEYOND,
        choices=FUSIONS,
    )
    hesitation: float | None = option(
        None,
        "Confidence, 0…1, from which an object below --score_threshold counts as unknown: its "
        "pixels have no weight. Default: it is background (the paper).",
        BEYOND,
        at_least=MIN_SCORE,
        at_most=1,
        reason="detections of a teacher with lower scores are not kept",
    )
    infer_every: int = option(
        1,
        "With --fusion: run the student on every so many-th frame; flow moves the last map to "
        "those between.",
        BEYOND,
        at_least=1,
    )
    lookahead: bool = option(
        False,
        "With --fusion, for files: decide frames between two teacher frames by the labels of both. "
        "Reads up to --max_stride frames ahead; figures do not compare with those of other runs.",
        BEYOND,
    )
    update_policy: str = option(
        "teacher_frame",
        "What updates are made on; teacher_frame: on the latest teacher frame alone (the paper); "
        "replay: every other one on an earlier teacher frame.",
        UPDATES,
        choices=tuple(UPDATE_POLICIES),
    )
    replay_memory: int = option(
        16, "Teacher frames that --update_policy=replay keeps.", UPDATES, at_least=1
    )
    optimizer: str = option(
        SGD, "Optimizer of the updates (ShadowTutor: adam).", UPDATES, choices=OPTIMIZERS
    )
    learning_rate: float = option(
        0.01, "Learning rate of the updates (.001 suits adam).", UPDATES, at_least=0
    )
    momentum: float = option(
        0.9, "Momentum of sgd; first decay of adam.", UPDATES, at_least=0, below=1
    )
    updated_layers: str = option(
        ALL_LAYERS,
        "Layers that updates change: all (the paper), those after the encoder, or the last alone.",
        UPDATES,
        choices=UPDATED_LAYERS,
    )
    init: str = option(
        PRETRAINED,
        "Initial weights: 'pretrained' (they come with this package), 'random', the folder of an "
        "earlier run or pretraining, or a checkpoint file. For other classes, all but the last "
        "layer is taken.",
        STUDENT,
        is_path=True,
        words=INITIAL_WEIGHTS,
    )

    def __post_init__(self):
        """Checks the values; UserError names the flags."""
        size = self.frame_size
        if not (size is None or (len(size) == 2 and all(isinstance(side, int) for side in size))):
            raise UserError(f"--frame_size={size} is invalid: give height and width in pixels")
        self._to_tuples("frame_size", "evaluated_classes", "triggers")
        super().__post_init__()
        if self.max_stride < self.min_stride:
            raise UserError(
                f"--min_stride={self.min_stride} is above --max_stride={self.max_stride}: give a "
                "minimum that is not above the maximum"
            )
        if unknown := [name for name in self.triggers if name not in TRIGGERS]:
            raise UserError(f"--triggers={unknown[0]} is none of {', '.join(TRIGGERS)}")
        if self.triggers and not self.teacher_budget:
            raise UserError(
                f"--triggers={','.join(self.triggers)} needs a limit of teacher frames: give "
                "--teacher_budget"
            )
        if NOVELTY in self.triggers and self.fusion == NO_FUSION:
            raise UserError("--triggers=novelty is for --fusion=gate: give both")
        if self.hesitation is not None and self.hesitation >= self.score_threshold:
            raise UserError(
                f"--hesitation={self.hesitation} is not below "
                f"--score_threshold={self.score_threshold}: give less"
            )
        default = {field.name: field.default for field in dataclasses.fields(self)}
        if self.replay_memory != default["replay_memory"] and self.update_policy != REPLAY:
            raise UserError(
                f"--replay_memory={self.replay_memory} is for --update_policy={REPLAY}: give both"
            )
        if self.infer_every > 1 and self.fusion == NO_FUSION:
            raise UserError(f"--infer_every={self.infer_every} is for --fusion=gate: give both")
        if self.lookahead and self.fusion == NO_FUSION:
            raise UserError("--lookahead is for --fusion=gate: give both")
        if self.lookahead and self.teacher_mode == ASYNC:
            raise UserError(
                "--lookahead is for --teacher_mode=sync: a stream that does not wait for its "
                "teacher has no frames ahead; leave one of them out"
            )
        if self.shown == TEACHER_SHOWN and self.teacher_mode == ASYNC:
            raise UserError(
                "--shown=teacher is for --teacher_mode=sync: the labels of an asynchronous teacher "
                "come after their frame has been shown; leave it out"
            )

    @property
    def overlay_path(self):
        """The path of the overlay video: `output`, by default in logdir; None for 'none'."""
        if self.output is None:
            return os.path.join(self.logdir, "overlay.mp4")
        return None if self.output == "none" else self.output


@dataclasses.dataclass(frozen=True)
class PretrainConfig(Config):
    """A pretraining; the flags of `jitnet_tf.pretrain` have the same names."""

    annotations: str | None = option(
        None,
        "Annotations of --images in COCO's format, .json.",
        TRAINING_SET,
        is_path=True,
        resume=MOVED,
    )
    labels: str | None = option(
        None,
        "Labels of --images instead: a folder of PNGs of class ids, named as the images are "
        "(some/name.png for some/name.jpg). Id 255 does not count unless it has a name.",
        TRAINING_SET,
        is_path=True,
        resume=MOVED,
    )
    label_classes: tuple[str, ...] = option(
        (),
        "Names of the ids 0, 1, … in folders of labels without a classes.json; 255=person names "
        "the id 255. Names that are no class of the student are background; 'ignore' does not "
        "count.",
        TRAINING_SET,
    )
    images: str | None = option(
        None,
        "Folder of the images of --annotations or --labels.",
        TRAINING_SET,
        is_path=True,
        resume=MOVED,
    )
    unlabeled_images: str | None = option(
        None,
        "Folder of images that --teacher labels.",
        TRAINING_SET,
        is_path=True,
        resume=MOVED,
        aliases=("photographs",),
    )
    teacher: str | None = option(
        None,
        "Teacher of --unlabeled_images: SavedModel folder, zoo:NAME, or annotated:FILE, which "
        "teacher.annotate wrote.",
        TRAINING_SET,
        is_path=True,
        resume=MOVED,
    )
    unlabeled_rate: float = option(
        0.5,
        "Share, 0…1, of --unlabeled_images among the samples, if there are --images, too.",
        TRAINING_SET,
        at_least=0,
        at_most=1,
        aliases=("photographs_rate",),
    )
    holdout: float = option(
        0.0,
        "Share, 0…1, of the images that is kept from training and judged on.",
        VALIDATION_SET,
        at_least=0,
        at_most=1,
    )
    validation_annotations: str | None = option(
        None, "As --annotations, to judge on.", VALIDATION_SET, is_path=True, resume=MOVED
    )
    validation_labels: str | None = option(
        None, "As --labels, to judge on.", VALIDATION_SET, is_path=True, resume=MOVED
    )
    validation_images: str | None = option(
        None, "Folder of their images.", VALIDATION_SET, is_path=True, resume=MOVED
    )
    logdir: str = option("", "Folder for everything that is written.", RUN, is_output=True)
    checkpoint_every: int = option(500, "Steps between checkpoints.", RUN, at_least=1)
    validate_every: int = option(5000, "Steps between validations.", RUN, at_least=1)
    crop: int = option(
        192,
        "Side of the square crops in pixels; 32 is the student's greatest stride.",
        AUGMENTATION,
        at_least=32,
    )
    min_scale: float = option(
        0.25, "Least scale of an image before cropping.", AUGMENTATION, above=0
    )
    max_scale: float = option(1.5, "Greatest scale of an image.", AUGMENTATION, above=0)
    stretch: float = option(
        1.25, "Greatest change of the aspect ratio, a factor.", AUGMENTATION, at_least=1
    )
    flip: bool = option(True, "Mirror every other crop.", AUGMENTATION)
    color: float = option(
        0.4,
        "Greatest relative change of brightness, contrast and saturation.",
        AUGMENTATION,
        at_least=0,
        below=1,
        aliases=("colour",),
    )
    steps: int = option(100_000, "Training steps in all.", TRAINING, at_least=1, resume=FREE)
    batch_size: int = option(16, "Crops a step, on all devices together.", TRAINING, at_least=1)
    half_size_loss: bool = option(
        True, "Compare every second row and column of JITNet's labels: a quarter faster.", TRAINING
    )
    learning_rate: float = option(0.002, "Greatest learning rate, of AdamW.", TRAINING, at_least=0)
    epsilon: float = option(1e-7, "ε of AdamW.", TRAINING, above=0)
    weight_decay: float = option(0.01, "Weight decay of AdamW.", TRAINING, at_least=0)
    warmup: int = option(500, "Steps over which the learning rate rises.", TRAINING, at_least=0)
    cooldown: float = option(
        0.2,
        "Share, 0…1, of the steps, at the end, over which the learning rate falls to 0.",
        TRAINING,
        at_least=0,
        at_most=1,
    )
    ema_decay: float = option(
        0.999, "Decay of the moving average of the weights.", TRAINING, at_least=0, below=1
    )
    init: str = option(
        RANDOM,
        "Initial weights: 'random', 'pretrained' (they come with this package), the folder of an "
        "earlier run or pretraining, or a checkpoint file.",
        STUDENT,
        is_path=True,
        words=INITIAL_WEIGHTS,
    )

    def __post_init__(self):
        """Checks the values; UserError names the flags."""
        self._to_tuples("label_classes")
        super().__post_init__()
        if self.min_scale > self.max_scale:
            raise UserError(
                f"--min_scale={self.min_scale} is above --max_scale={self.max_scale}: give a "
                "minimum that is not above the maximum"
            )

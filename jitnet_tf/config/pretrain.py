"""Options of a pretraining."""

import dataclasses

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import FREE, MOVED, option
from jitnet_tf.config.base import Config
from jitnet_tf.config.names import (
    AUGMENTATION,
    INITIAL_WEIGHTS,
    RANDOM,
    RUN,
    STUDENT,
    TRAINING,
    TRAINING_SET,
    VALIDATION_SET,
)


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

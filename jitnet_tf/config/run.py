"""Options of a run of online distillation."""

import dataclasses
import os

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import FREE, MOVED, option
from jitnet_tf.config.base import Config
from jitnet_tf.config.live import LiveOptions
from jitnet_tf.config.names import (
    ALGORITHM,
    ALL_LAYERS,
    ASYNC,
    BEYOND,
    FUSIONS,
    INITIAL_WEIGHTS,
    INPUT,
    LABELS,
    NO_FUSION,
    NOVELTY,
    OPTIMIZERS,
    PRETRAINED,
    REPLAY,
    RUN,
    SAMPLE,
    SGD,
    SHOWN,
    STREAM,
    STRIDE_ORIGINS,
    STUDENT,
    STUDENT_SHOWN,
    SYNC,
    TEACHER_MODES,
    TEACHER_SHOWN,
    TRIGGERS,
    UPDATE_POLICIES,
    UPDATED_LAYERS,
    UPDATES,
)
from jitnet_tf.config.outputs import OutputOptions
from jitnet_tf.config.regions import RegionOptions
from jitnet_tf.config.serving import ServingOptions
from teacher.detections import MIN_SCORE


@dataclasses.dataclass(frozen=True)
class RunConfig(LiveOptions, RegionOptions, OutputOptions, ServingOptions, Config):
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
        "Overlay video, .mp4; 'none' for none. Default: LOGDIR/overlay.mp4. With --segment a "
        "folder, by default LOGDIR/overlay.",
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
        self.check_outputs()
        self._check_serving()
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
        """The path of the overlay video: `output`, by default in logdir; None for 'none'.

        With `segment` it is a folder.
        """
        if self.output is None:
            return os.path.join(self.logdir, "overlay" if self.segment else "overlay.mp4")
        return None if self.output == "none" else self.output

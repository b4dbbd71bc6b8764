"""A run of online distillation: video in, student out, everything on disk, resumable."""

import contextlib
import dataclasses
import itertools
import pathlib
import platform
import shutil
import time

import av
import cv2
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import jitnet_tf
from jitnet_tf.base import threads, checkpoint
from jitnet_tf.student import initial_weights
from jitnet_tf.distillation import metrics
from jitnet_tf.runs import directory
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.class_masks import ClassMasks
from jitnet_tf.sinks.frame_log import FrameLog
from jitnet_tf.sinks.overlay_video import OVERLAY_STATE, OverlayVideo
from jitnet_tf import video
from jitnet_tf.distillation.asynchronous import AsynchronousDistiller
from jitnet_tf.config import ASYNC
from jitnet_tf.distillation.distiller import Distiller, DivergedError, Stopwatch
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.distillation.schedule import Schedule
from jitnet_tf.distillation.stream import ScoredStream
from jitnet_tf.runs.summary import Statistics
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.student.student import make_student
from jitnet_tf.sinks.tensorboard import TensorBoard
from jitnet_tf.sinks.writers import MaskWriter, VideoWriter
from teacher import open_teacher, split_spec
from teacher.process import ProcessTeacher
from teacher.recorded import Recording, is_like, thumbnail

PACKAGES = (jitnet_tf, tf, keras, np, cv2, av)


def versions():
    """What a run is computed with."""
    found = {package.__name__: package.__version__ for package in PACKAGES}
    return {**found, "python": platform.python_version(), "machine": platform.machine()}


def make_distiller(config, label_maker, teacher, frame_size):
    """Student, teacher and schedule as a RunConfig describes them; see `Distiller`.

    teacher: a `ProcessTeacher` where config.teacher_mode is ASYNC.
    """
    schedule = Schedule(
        config.accuracy_threshold, config.max_updates, config.min_stride, config.max_stride
    )
    student = make_student(config, label_maker.groups, frame_size)
    if config.teacher_mode == ASYNC:
        return AsynchronousDistiller(student, teacher, label_maker, schedule, config.max_staleness)
    return Distiller(student, teacher, label_maker, schedule)


def check_paths_distinct(config):
    """UserError where a RunConfig writes over what it reads."""
    directory.check_paths_distinct(
        {
            "video": config.video,
            "teacher": split_spec(config.teacher)[1],
            "reference": config.reference,
            "init": config.init,
        },
        {"logdir": config.logdir, "output": config.overlay_path, "masks": config.masks},
    )


def check_classes(config, groups, progress):
    """UserError where classes to evaluate are none, or a checkpoint's progress tells of others."""
    for name in config.evaluated_classes:
        if name not in groups.names[1:]:
            raise UserError(
                f"--evaluated_classes: {name!r} is not among {', '.join(groups.names[1:])}"
            )
    now = initial_weights.describe(groups, config.student)["groups"]
    if progress.get("groups", now) != now:
        raise UserError(
            f"--resume: the class groups in {config.class_groups!r} are not those of the "
            "run any more; start another run"
        )


def check_outputs(config, resume, overwrite):
    """UserError where overlay or masks cannot be written, or would replace what they must not."""
    if config.overlay_path:
        VideoWriter.check(config.overlay_path, resumed=resume, overwrite=overwrite)
    if config.masks:
        MaskWriter.check(config.masks, resumed=resume, overwrite=overwrite)


def seek_to_checkpoint(source, progress):
    """Takes a source to the frame that a checkpoint was taken before.

    A live one is there: what it showed meanwhile is gone.

    Raises:
      UserError: it is not the video that the checkpoint was taken on.
    """
    if source.live or not progress["frames"]:
        return
    if source.size != tuple(progress["frame_size"]) or (
        source.skip(progress["frames"] - 1) < progress["frames"] - 1
    ):
        same = False
    else:
        frame = next(source, None)
        same = frame is not None and is_like(frame, np.array(progress["thumbnail"], np.uint8))
    if not same:
        raise UserError(
            f"--resume: {source.spec} is not the video that the run was made of, or not the whole "
            "of it any more"
        )


def student_arrays(arrays):
    """A checkpoint's arrays without those of the sinks."""
    return {name: a for name, a in arrays.items() if not name.startswith(OVERLAY_STATE)}


class Run:
    """A run, opened.

    What a user can have got wrong is found on construction, before anything is written. What
    happens later (Ctrl-C, a stream that breaks off, a frame of another size, a recording too short)
    ends the run in order: outputs are closed and a checkpoint is written, from which `resume` goes
    on. All but Ctrl-C is then raised.

    Args:
      config: a RunConfig.
      resume: go on with the run in config.logdir.
      overwrite: replace the run in config.logdir, and existing outputs.

    Raises:
      UserError: whatever the user can mend.
    """

    def __init__(self, config, *, resume=False, overwrite=False):
        # What is written down has no credentials.
        self.config = dataclasses.replace(config, video=video.without_credentials(config.video))
        check_paths_distinct(config)
        saved = directory.find_checkpoint(config, resume, overwrite)
        arrays, progress = saved or ({}, {"frames": 0})
        groups = class_groups(config.class_groups)
        check_classes(config, groups, progress)
        self._label_maker = LabelMaker(
            groups, config.score_threshold, config.box_weight, config.box_dilation
        )
        with contextlib.ExitStack() as stack:
            teacher, read_teacher = self._open_inputs(config, stack)
            first = self._first_frame(teacher, progress)
            check_outputs(config, resume, overwrite)
            self._make_distiller(config, teacher, bool(saved))
            if saved:
                self._restore(arrays, progress)
            # From here on files are written.
            self._claim_directory(progress if saved else None)
            self._overlay = Overlay(groups.names, self.source.size)
            resume_at = progress["frames"] if resume else None
            self._sinks = [
                *self._open_outputs(groups.names, arrays, resume_at, overwrite),
                *self._open_logs(groups.names, bool(saved)),
            ]
            for frame in first:
                self.distiller.student.warm_up(frame)
            self._thumbnail = progress.get("thumbnail")
            self._latest = None
            self._start_stream(first, stack)
            self._stack = stack.pop_all()

    def _open_inputs(self, config, stack):
        """Opens source, teacher and reference, to be closed by the stack.

        Returns the teacher, and the one in this process that can be read and checked, or None:
        mostly the same.
        """
        self.source = stack.enter_context(video.open_source(config.video, config.frame_size))
        if config.teacher_mode == ASYNC:
            teacher = stack.enter_context(ProcessTeacher(config.teacher))
            read_teacher = teacher.local
        else:
            teacher = read_teacher = open_teacher(config.teacher)
        self._reference = Recording(config.reference) if config.reference else None
        recordings = [r for r in (read_teacher, self._reference) if isinstance(r, Recording)]
        for recording in recordings:
            stack.callback(recording.close)
            recording.check_score_threshold(config.score_threshold)
        return teacher, read_teacher

    def _first_frame(self, teacher, progress):
        """The frame to begin with, tried on teacher and reference; in a list, empty at the end."""
        seek_to_checkpoint(self.source, progress)
        wanted = 1 if progress["frames"] != self.config.max_frames else 0
        first = list(itertools.islice(self.source, wanted))
        for frame in first:
            # What does not fit shows now, and one-time costs stay out of the times measured.
            for source_of_labels in filter(None, (teacher, self._reference)):
                source_of_labels(frame, progress["frames"])
        return first

    def _make_distiller(self, config, teacher, resumed):
        """Makes the distiller, and the statistics that go with it, as yet of no frame."""
        if resumed:
            config = dataclasses.replace(config, init=initial_weights.RANDOM)  # the checkpoint has it all
        self.distiller = make_distiller(config, self._label_maker, teacher, self.source.size)
        score = None
        if self._reference:
            names = self._label_maker.groups.names
            score = metrics.StreamScore(names, config.evaluated_classes)
        self.statistics = Statistics.of(teacher, score, config.teacher_mode)

    def _restore(self, arrays, progress):
        """Puts distiller and statistics where a checkpoint was taken."""
        self.distiller.set_state(student_arrays(arrays), progress)
        try:
            self.statistics.set_state(progress["statistics"])
        except KeyError as error:
            raise UserError(
                f"--resume: the run in {self.config.logdir!r} was made by another version of "
                f"jitnet_tf, which counted no {error}: start it again with --overwrite"
            ) from None

    def _claim_directory(self, progress):
        """Begins the run directory anew, or cuts it back to what a checkpoint's progress says."""
        config = self.config
        if progress:
            checkpoint.cut_back(config.logdir, progress["file_sizes"])
            return
        directory.start(config, versions())
        if not config.overlay_path:  # an earlier run's, which nothing else replaces
            parts = pathlib.Path(config.logdir) / directory.VIDEO_PARTS
            shutil.rmtree(parts, ignore_errors=True)

    def _open_outputs(self, class_names, arrays, resume_at, overwrite) -> list[Sink]:
        """The sinks that write where the user said."""
        config, outputs = self.config, []
        if config.overlay_path:
            parts = pathlib.Path(config.logdir) / directory.VIDEO_PARTS
            writer = VideoWriter(
                config.overlay_path,
                self.source.fps,
                parts,
                resume_at=resume_at,
                overwrite=overwrite,
            )
            outputs.append(OverlayVideo(writer, self._overlay, self.statistics, arrays))
        if config.masks:
            writer = MaskWriter(config.masks, class_names, resume_at=resume_at, overwrite=overwrite)
            outputs.append(ClassMasks(writer))
        return outputs

    def _open_logs(self, class_names, resumed) -> list[Sink]:
        """The sinks that write to the run directory."""
        return [
            FrameLog(self.config.logdir),
            TensorBoard(
                self.config.logdir,
                class_names,
                self.statistics,
                self.config.flat(),
                self._overlay,
                self.config.image_every,
                resumed,
            ),
        ]

    def _start_stream(self, first, stack):
        """Puts the frames on their way: decoded ahead of the distiller, put out behind it."""
        frames = itertools.chain(first, self.source)
        if not self.source.live:  # of which only the latest frame is worth having
            frames = stack.enter_context(contextlib.closing(threads.prefetch(frames)))
        self._outputs = threads.Worker(self._put_out)
        stack.callback(self._outputs.close)
        self._stream = ScoredStream(frames, self.distiller, self._label_maker, self._reference)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def execute(self):
        """Processes the frames to the end, showing progress; returns the summary."""
        total = min(
            filter(None, (self.source.announced_frames, self.config.max_frames)), default=None
        )
        progress = tqdm(total=total, initial=self.distiller.index, unit="frame", dynamic_ncols=True)
        with StopRequest() as stop, progress:
            failure = self._loop(stop, progress)
            # A live stream has no end but the user's.
            complete = not failure and (self.source.live or not stop.made)
            self._save()
            for sink in self._sinks:
                sink.finish(complete)
            summary = {
                "complete": complete,
                **self.statistics.summary(),
                "problems": list(self.source.problems),
            }
            directory.write_summary(self.config.logdir, summary)
        if failure:
            raise failure
        return summary

    def _loop(self, stop, progress):
        """Takes frames to the end; returns the UserError that ended them early, or None.

        An error of the outputs is none of these: it passes through, and the last checkpoint holds.
        """
        start = time.perf_counter()
        while not stop.made and self.distiller.index != self.config.max_frames:
            try:
                result = self._stream.next_result()
            except DivergedError:
                raise
            except video.BrokenOffError as error:
                return UserError(
                    f"{error}; what came is kept: --resume --logdir={self.config.logdir} goes on"
                )
            except UserError as error:
                return error
            if result is None:
                return None
            self._latest = result.frame
            self._outputs(result)
            if self.distiller.index % self.config.checkpoint_every == 0:
                self._save()
            now = time.perf_counter()
            self.statistics.wall_seconds += now - start
            start = now
            progress.set_postfix_str(self.statistics.progress(), refresh=False)
            progress.update()
        return None

    def _put_out(self, result):
        self.statistics.add(result)
        watch = Stopwatch()
        with watch("output"):
            for sink in self._sinks:
                sink.add(result)
        self.statistics.seconds["output"] += watch.seconds["output"]

    def _save(self):
        self._outputs.wait()
        arrays = self.distiller.student.get_state()
        for sink in self._sinks:
            sink.flush()
            arrays.update(sink.get_state())
        if self._latest is not None:
            self._thumbnail = thumbnail(self._latest).tolist()
        progress = {
            **self.distiller.progress(),
            "frame_size": self.source.size,
            "thumbnail": self._thumbnail,
            **initial_weights.describe(self._label_maker.groups, self.config.student),
            "statistics": self.statistics.get_state(),
            "file_sizes": checkpoint.growing_files(self.config.logdir),
        }
        checkpoint.save(self.config.logdir, arrays, progress)


def run(config, *, resume=False, overwrite=False):
    """Distils a student from a video; see `Run`. Returns the summary as in summary.json."""
    try:
        with Run(config, resume=resume, overwrite=overwrite) as opened:
            return opened.execute()
    except (OSError, tf.errors.OpError) as error:  # a full disk, say
        raise UserError(
            f"the run stopped ({error}): mend that, then --resume goes on from the last checkpoint"
        ) from error

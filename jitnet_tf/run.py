"""A run of online distillation: video in, student out, everything on disk, resumable."""

import contextlib
import dataclasses
import itertools
import pathlib
import signal

from tqdm import tqdm

from jitnet_tf import checkpoint, metrics, run_directory, sinks, video
from jitnet_tf.distiller import Distiller, DivergedError, Stopwatch
from jitnet_tf.errors import UserError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.overlay import Overlay
from jitnet_tf.schedule import Schedule
from jitnet_tf.statistics import Statistics
from jitnet_tf.student import make_student
from jitnet_tf.summaries import TensorBoard
from jitnet_tf.writers import MaskWriter, VideoWriter
from teacher import open_teacher
from teacher.recorded import Recording


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request to stop between frames.

    A frame is never left half-learned; a second signal interrupts at once.
    """

    def __init__(self):
        self.made = False

    def __enter__(self):
        self._previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number, frame):
        if self.made:
            raise KeyboardInterrupt
        self.made = True


def make_distiller(config, label_maker, teacher, frame_size):
    """Student, teacher and schedule as a RunConfig describes them; see `Distiller`."""
    schedule = Schedule(
        config.accuracy_threshold, config.max_updates, config.min_stride, config.max_stride
    )
    student = make_student(config, len(label_maker.groups.names), frame_size)
    return Distiller(student, teacher, label_maker, schedule)


def student_arrays(arrays):
    """A checkpoint's arrays without those of the sinks."""
    return {name: a for name, a in arrays.items() if not name.startswith(sinks.OVERLAY_STATE)}


class Run:
    """A run, opened.

    What a user can have got wrong is found on construction, before anything is written. What
    happens later (Ctrl-C, a frame of another size, a recording too short) ends the run in order:
    outputs are closed and a checkpoint is written, from which `resume` goes on.

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
        saved = run_directory.prepare(config, resume, overwrite)
        arrays, progress = saved or ({}, {"frames": 0})
        groups = class_groups(config.class_groups)
        for name in config.evaluated_classes:
            if name not in groups.names[1:]:
                raise UserError(
                    f"--evaluated_classes: {name!r} is not among {', '.join(groups.names[1:])}"
                )
        self._label_maker = LabelMaker(
            groups, config.score_threshold, config.box_weight, config.box_dilation
        )
        with contextlib.ExitStack() as stack:
            self.source = stack.enter_context(video.open_source(config.video, config.frame_size))
            if saved and self.source.size != tuple(progress["frame_size"]):
                raise UserError(
                    f"--resume: the frames of {self.source.spec} are {self.source.size}, those of "
                    f"the run were {tuple(progress['frame_size'])}; start another run"
                )
            teacher = open_teacher(config.teacher)
            self._reference = Recording(config.reference) if config.reference else None
            self.source.skip(progress["frames"])
            first = list(itertools.islice(self.source, 1))
            for frame in first:
                # What does not fit shows now, and one-time costs stay out of the times measured.
                for source_of_labels in filter(None, (teacher, self._reference)):
                    source_of_labels(frame, progress["frames"])
            self.distiller = make_distiller(config, self._label_maker, teacher, self.source.size)
            self.statistics = Statistics(
                metrics.StreamScore(groups.names, config.evaluated_classes)
                if self._reference
                else None,
                getattr(teacher, "teacher_seconds", None),
            )
            self._overlay = Overlay(groups.names, self.source.size)
            resume_at = progress["frames"] if resume else None
            outputs = self._open_outputs(groups.names, arrays, resume_at, overwrite)
            if saved:
                self.distiller.set_state(student_arrays(arrays), progress)
                self.statistics.set_state(progress["statistics"])
                checkpoint.cut_back(config.logdir, progress["file_sizes"])
            else:
                run_directory.start(self.config)
            self._sinks = [*outputs, *self._open_logs(groups.names, bool(saved))]
            for frame in first:
                self.distiller.student.warm_up(frame)
            self._frames = itertools.chain(first, self.source)
            self._stack = stack.pop_all()

    def _open_outputs(self, class_names, arrays, resume_at, overwrite):
        """The sinks that write where the user said, which may fail."""
        config, outputs = self.config, []
        if config.output:
            parts = pathlib.Path(config.logdir) / run_directory.VIDEO_PARTS
            writer = VideoWriter(
                config.output, self.source.fps, parts, resume_at=resume_at, overwrite=overwrite
            )
            outputs.append(sinks.OverlayVideo(writer, self._overlay, self.statistics, arrays))
        if config.masks:
            writer = MaskWriter(config.masks, class_names, resume_at=resume_at, overwrite=overwrite)
            outputs.append(sinks.ClassMasks(writer))
        return outputs

    def _open_logs(self, class_names, resumed):
        """The sinks that write to the run directory."""
        return [
            sinks.FrameLog(self.config.logdir),
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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def execute(self):
        """Processes the frames to the end, showing progress; returns the summary."""
        failure = None
        total = min(
            filter(None, (self.source.announced_frames, self.config.max_frames)), default=None
        )
        progress = tqdm(
            total=total, initial=self.distiller.index, unit=" frames", dynamic_ncols=True
        )
        with StopRequest() as stop, progress:
            try:
                while not stop.made and self._step():
                    progress.set_postfix_str(self.statistics.progress(), refresh=False)
                    progress.update()
                    if self.distiller.index % self.config.checkpoint_every == 0:
                        self._save()
            except DivergedError:
                raise  # not worth a checkpoint
            except UserError as error:
                failure = error
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
            run_directory.write_summary(self.config.logdir, summary)
        if failure:
            raise failure
        return summary

    def _step(self):
        """Takes one frame all the way; False at the stream's end."""
        if self.distiller.index == self.config.max_frames:
            return False
        watch = Stopwatch()
        with watch("decode"):
            frame = next(self._frames, None)
        if frame is None:
            return False
        result = self.distiller.step(frame)
        result.seconds.update(watch.seconds)
        if self._reference:
            with watch("reference"):
                instances = self._reference(frame, result.index)
                labels = self._label_maker.labels(instances, frame.shape[:2])
                result.reference_confusion = metrics.confusion(
                    labels, result.prediction, self.distiller.num_classes
                )
            result.seconds.update(watch.seconds)
        self.statistics.add(result)
        with watch("output"):
            for sink in self._sinks:
                sink.add(result)
        self.statistics.seconds["output"] += watch.seconds["output"]
        return True

    def _save(self):
        arrays = self.distiller.student.get_state()
        for sink in self._sinks:
            sink.flush()
            arrays.update(sink.get_state())
        checkpoint.save(
            self.config.logdir,
            arrays,
            {
                "frames": self.distiller.index,
                "frame_size": self.source.size,
                "stride": self.distiller.schedule.stride,
                "statistics": self.statistics.get_state(),
                "file_sizes": checkpoint.growing_files(self.config.logdir),
            },
        )


def run(config, *, resume=False, overwrite=False):
    """Distils a student from a video; see `Run`. Returns the summary as in summary.json."""
    with Run(config, resume=resume, overwrite=overwrite) as opened:
        return opened.execute()

"""A run of online distillation: video in, student out, everything on disk, resumable."""

import contextlib
import dataclasses
import itertools
import time

from jitnet_tf import video
from jitnet_tf.base import memory, threads
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest
from jitnet_tf.base.progress import progress_bar, say
from jitnet_tf.base.state import prefixed, with_prefix
from jitnet_tf.config.names import RANDOM
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.build import make_distiller
from jitnet_tf.distillation.stream import ScoredStream, warm_up
from jitnet_tf.distillation.training import DivergedError
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.runs import directory, inputs
from jitnet_tf.runs.checks import (
    check_classes,
    check_max_frames,
    check_paths_distinct,
    check_sink_names,
    own_teacher,
)
from jitnet_tf.runs.claims import claim
from jitnet_tf.runs.errors import misfits_as_user_errors, stops_as_user_errors
from jitnet_tf.runs.exporter import Exporter, Model
from jitnet_tf.runs.inputs import Inputs
from jitnet_tf.runs.outputs import Outputs
from jitnet_tf.runs.progress import bar_options, step
from jitnet_tf.runs.summary import Statistics
from jitnet_tf.runs.versions import versions
from jitnet_tf.sinks.base import StreamInfo
from jitnet_tf.sinks.registry import check_sinks
from jitnet_tf.student import initial_weights
from teacher.base import TeacherError

DISTILLER = "distiller/"  # prefix of arrays in a checkpoint


class Run:
    """A run, opened; use it as a context manager.

    All user errors are raised by the constructor, before anything is written. Later events (Ctrl-C,
    a stream that breaks off, a frame of another size, a recording that is too short) end the run in
    order: outputs are closed and a checkpoint is written, from which `resume` continues.

    `execute` processes all frames. A caller who owns the loop calls `advance` for each frame, and
    `finish` at the end:

        with Run(config) as run:
            while (result := run.advance()) is not None:
                ...
            summary = run.finish()

    Args:
      config: a RunConfig. Without a logdir, it gets a free one by the name of its video.
      sinks: Sinks beside those that the configuration asks for. A resumed run restores those that
        it had.
      teacher: a Teacher, or a function as for `CallableTeacher`, where config.teacher is empty; it
        is not closed. Resume such a run with its teacher.
      resume: continue the run in config.logdir.
      overwrite: replace the run in config.logdir, and existing outputs.

    Attributes:
      config: the RunConfig, with its logdir and without credentials.
      distiller: the Distiller; its `index` is the next frame's.
      source: the frame source.
      statistics: the Statistics so far; up to date after `advance` but for the frames that the
        sinks have not taken yet.

    Raises:
      UserError: the input, the options or the output cannot be used.
    """

    def __init__(self, config, sinks=(), *, teacher=None, resume=False, overwrite=False):
        check_sink_names(sinks)
        check_paths_distinct(config)
        resumed = config.logdir if resume else ""
        with stops_as_user_errors(resumed), contextlib.ExitStack() as stack:
            config, notes = claim(config, stack, overwrite)
            check_paths_distinct(config)  # with a logdir that was only chosen now
            # Never write credentials to disk.
            self.config = dataclasses.replace(config, video=video.without_credentials(config.video))
            saved = directory.find_checkpoint(config, resume, overwrite)
            arrays, progress = saved or ({}, {"frames": 0})
            self._notes = list(dict.fromkeys([*progress.get("problems", []), *notes]))
            if resume:
                inputs.check_present(config)
            check_max_frames(config, progress)
            groups = class_groups(config.class_groups)
            check_classes(config, groups, progress)
            played = progress.get("played", 0)
            self._inputs = Inputs(config, own_teacher(config, teacher), stack, played)
            self.source, teacher = self._inputs.source, self._inputs.teacher
            for note in [*groups.check(teacher.names), *self._inputs.problems]:
                self.note(note)
            self._label_maker = LabelMaker(
                groups,
                config.score_threshold,
                config.box_weight,
                config.box_dilation,
                config.hesitation,
                teacher.names,
                self._inputs.ignored,
            )
            if saved:
                earlier = directory.load_config(self.config.logdir)
                for problem in self._inputs.seek(self.config, earlier, progress):
                    self.note(problem)
            check_sinks(config, resumed=resume, overwrite=overwrite)
            model = Model(self.config, groups, self.source.size, self._inputs.ignored)
            self._exporter = Exporter(model, overwrite)
            stack.callback(self._exporter.close)
            self._make_distiller(config, teacher, bool(saved))
            if saved:
                self._restore(arrays, progress)
            frames = self._warm_up(teacher)
            # From here on files are written.
            self._claim_directory(progress if saved else None)
            resume_at = progress["frames"] if resume else None
            self._open_outputs(sinks, arrays, resume_at, overwrite, stack)
            self._shown = {name: progress.get(name) for name in inputs.FRAME}
            self._latest = self._failure = None
            self._ended = False
            self._wall_seconds = self.statistics.wall_seconds
            self._start_threads(frames, stack)
            self._stack = stack.pop_all()

    def _make_distiller(self, config, teacher, resumed):
        """Makes the distiller, and its statistics, as yet of no frame."""
        if resumed:
            config = dataclasses.replace(config, init=RANDOM)  # the checkpoint has all weights
        self.distiller = make_distiller(config, self._label_maker, teacher, self.source.size)
        score = None
        if self._inputs.reference:
            names = self._label_maker.groups.names
            score = metrics.StreamScore(names, config.evaluated_classes)
        budget, looks_ahead = config.teacher_budget, self.distiller.looks_ahead
        self.statistics = Statistics.of(teacher, score, config.teacher_mode, budget, looks_ahead)

    def _restore(self, arrays, progress):
        """Restores distiller and statistics from a checkpoint."""
        with misfits_as_user_errors(self.config.logdir):
            self.distiller.set_state(with_prefix(DISTILLER, arrays))
            self.statistics.set_state(progress["statistics"])
            if self.distiller.index != progress["frames"]:
                raise ValueError(f"frame {self.distiller.index} or {progress['frames']}")
        if self.source.live:  # the time between the runs is not counted
            self.source.start_at(self.statistics.video_seconds or 0.0)
            self.distiller.after_gap()

    def _warm_up(self, teacher):
        """Returns the frames, once the first has been tried on all that it will go through."""
        if self.distiller.index == self.config.max_frames:
            return iter(())
        frames, first = self.source.frames(), self.source.peek()
        if first is None:
            if directory.is_complete(self.config.logdir):
                raise UserError(f"--resume: {self.source.spec} has no more frames: nothing to do")
            return frames
        teachers = filter(None, (teacher, self._inputs.reference))
        warm_up(first, self.distiller, *teachers)
        return frames

    def _claim_directory(self, progress):
        """Starts the run directory anew, or cuts it back to a checkpoint."""
        if progress:
            directory.restart(self.config, progress)
        else:
            directory.start(self.config, versions())

    def _open_outputs(self, further, arrays, resume_at, overwrite, stack):
        """Opens the configuration's sinks, adds further ones, and restores all."""
        stream = StreamInfo(
            self._label_maker.groups.names,
            self.source.size,
            self.source.fps,
            self.statistics,
            resume_at,
            overwrite,
            self._label_maker.ignored,
        )
        self._outputs = Outputs(self.config, stream, further, arrays, stack)

    def _start_threads(self, frames, stack):
        """Starts the decoding thread; the outputs have their own."""
        if self.config.lookahead and self.config.max_frames:  # which ends the stream in sight, too
            frames = itertools.islice(frames, self.config.max_frames - self.distiller.index)
        if not self.source.live:  # of which only the newest frame is of use
            frames = stack.enter_context(contextlib.closing(threads.prefetch(frames)))
        self._stream = ScoredStream(
            frames, self.distiller, self._label_maker, self._inputs.reference
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def remarks(self):
        """Lines for the user at the start, of source and sinks, such as addresses."""
        of_source = [self.source.remark] if self.source.remark else []
        return [*of_source, *self._outputs.remarks]

    @property
    def problems(self):
        """Everything that the user has to know of the run so far, a sentence each, each once.

        Those of source, teacher, reference, sinks, segments and statistics, and what `note` was
        told.
        """
        known = *self.source.problems, *self._problems_to_save()
        return list(
            dict.fromkeys([*known, *self._outputs.segment_problems, *self.statistics.problems])
        )

    def note(self, problem):
        """Adds a sentence to `problems`, which a resumed run keeps."""
        self._notes.append(problem)

    def _problems_to_save(self):
        """Returns the problems that are not found again when a resumed run reads its video."""
        parts = [self._inputs.teacher, self._inputs.reference, self._exporter, self._outputs]
        found = [problem for part in parts if part for problem in part.problems]
        if self.source.live:
            found = [*self.source.problems, *found]
        return list(dict.fromkeys([*self._notes, *found]))

    def execute(self):
        """Processes the frames to the end or Ctrl-C, showing progress; returns the summary."""
        of_bar = self.source, self.config.max_frames
        progress = progress_bar(**bar_options(*of_bar, self.statistics))
        disk_errors = stops_as_user_errors(self.config.logdir)
        with StopRequest(self.source.interrupt) as stop, progress, disk_errors:
            while not stop.made and (result := self.advance()) is not None:
                progress.set_postfix_str(self.statistics.progress(), refresh=False)
                progress.update(step(progress, *of_bar, result))
            if self._exporter.lacks(self.distiller):
                say("writing the last export, which may take a minute")
            # A live stream has no end but the user's.
            return self.finish(complete=self.source.live or not stop.made)

    def advance(self):
        """Processes the next frame.

        Returns:
          Its FrameResult; None at the end of the stream, and when it broke off: then `finish`
          raises the reason.

        Raises:
          DivergedError: see there.
          UserError, OSError: an output cannot be written; the last checkpoint stays valid.
        """
        if self._ended or self.distiller.index == self.config.max_frames:
            self._ended = True
            return None
        start = time.perf_counter()
        try:
            taken = self._stream.take()
            if taken is None:
                self._ended = True
                return None
            result = self._stream.score(self.distiller.step(taken.frame.pixels), taken)
        except UserError as error:
            self._ended, self._failure = True, error
            if isinstance(error, DivergedError):
                raise
            return None
        self._latest = result.frame
        begins_segment = self._outputs(result)
        if begins_segment or self.distiller.index % self.config.checkpoint_every == 0:
            self.save()
        self._exporter.offer(self.distiller)
        self._wall_seconds += time.perf_counter() - start
        return result

    def finish(self, complete=None):
        """Ends the run: writes a checkpoint and summary.json and completes the outputs.

        complete: whether all that was wanted is done; a run that is not complete can be resumed.
          Default: whether the stream has come to its end, or to `max_frames`.

        Returns:
          The summary, as in summary.json.

        Raises:
          UserError: the stream broke off, or the teacher failed.
          DivergedError: `advance` has raised it; the last checkpoint stays.
        """
        if isinstance(self._failure, DivergedError):
            raise self._failure
        complete = (self._ended if complete is None else complete) and not self._failure
        self.save()
        self._outputs.finish(complete)
        summary = self._write_summary(complete)
        exports = self._exporter.problems
        self._exporter.finish(self.distiller)  # which takes time: the summary is there by then
        if self._exporter.problems != exports:
            summary = self._write_summary(complete)
        if isinstance(self._failure, (video.BrokenOffError, TeacherError)):
            raise UserError(
                f"{self._failure}; the frames so far are kept; to continue after them give "
                f"{directory.resume_flags(self.config)}"
            ) from self._failure
        if self._failure:
            raise self._failure
        return summary

    def _write_summary(self, complete):
        """Writes summary.json, and returns what is in it."""
        summary = {
            "complete": complete,
            **self.statistics.summary(),
            **self._outputs.summary(),
            "problems": self.problems,
        }
        if self._failure and not isinstance(self._failure, video.BrokenOffError):
            summary["problems"].append(str(self._failure))  # a source notes that it broke off
        self._outputs.write_summary(summary)
        return summary

    def save(self):
        """Writes a checkpoint, once the outputs have taken all frames so far."""
        self._outputs.wait()
        self.statistics.wall_seconds = self._wall_seconds
        if self._latest is not None:
            self._shown = inputs.describe_frame(self._latest)
        progress = {
            "frames": self.distiller.index,
            "frame_size": self.source.size,
            "live": self.source.live,
            "played": self.source.number + 1,
            **self._shown,
            inputs.IDENTITIES: self._inputs.identities,
            **initial_weights.describe(self._label_maker.groups, self.config.student),
            "statistics": self.statistics.get_state(),
            "problems": self._problems_to_save(),
        }
        self._outputs.save(prefixed(DISTILLER, self.distiller.get_state()), progress)
        memory.give_back()

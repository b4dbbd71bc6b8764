"""The outputs of a run: its sinks, the segments of their files, and the thread that fills them."""

import dataclasses

from jitnet_tf.base import checkpoint, threads
from jitnet_tf.base.state import prefixed, with_prefix
from jitnet_tf.distillation.stopwatch import Stopwatch
from jitnet_tf.runs import directory
from jitnet_tf.runs.errors import misfits_as_user_errors
from jitnet_tf.sinks.registry import open_sinks
from jitnet_tf.sinks.segments import Segments

SEGMENTS = "segments/"  # prefixes of arrays in a checkpoint
SINKS = "sinks/"


class Outputs:
    """The sinks that a configuration asks for, and further ones, opened and restored.

    Args:
      config: a RunConfig.
      stream: the StreamInfo, with the Statistics, which it keeps up to date.
      further: Sinks.
      arrays: of the run's checkpoint; without, {}.
      stack: an ExitStack, which closes everything.

    Raises:
      UserError: an output cannot be written, or the arrays do not fit.
    """

    def __init__(self, config, stream, further, arrays, stack):
        self._logdir = config.logdir
        self._statistics = stream.statistics
        with misfits_as_user_errors(self._logdir):
            self._segments = Segments.open(config, stream, with_prefix(SEGMENTS, arrays))
        stream = dataclasses.replace(stream, segments=self._segments)
        self._sinks = [*open_sinks(config, stream), *further]
        for sink in self._sinks:
            stack.callback(sink.close)
        with misfits_as_user_errors(self._logdir):
            for sink in self._sinks:
                if state := with_prefix(f"{SINKS}{sink.name}/", arrays):
                    sink.set_state(state)
        self._put_out = threads.Worker(self._put_out_now)
        stack.callback(self._put_out.close)

    @property
    def remarks(self):
        """Lines for the user at the start, such as addresses."""
        return [sink.remark for sink in self._sinks if sink.remark]

    @property
    def problems(self):
        """Sentences of the sinks, which a resumed run does not find again."""
        return [problem for sink in self._sinks for problem in sink.problems]

    @property
    def segment_problems(self):
        """Sentences of the segments, made anew from counts that they save themselves."""
        return self._segments.problems

    def __call__(self, result):
        """Hands a FrameResult to the output thread; returns whether it begins another segment.

        Then a checkpoint is due: only after it can the oldest segment be deleted. Raises what a
        sink has raised on an earlier result.
        """
        begins_segment = self._segments.begins(result)
        self._put_out(result)
        return begins_segment

    def _put_out_now(self, result):
        self._statistics.add(result)
        self._segments.add(result)
        watch = Stopwatch()
        with watch("output"):
            for sink in self._sinks:
                sink.add(result)
        self._statistics.seconds["output"] += watch.seconds["output"]

    def wait(self):
        """Returns once all results are put out and flushed."""
        self._put_out.wait()
        for sink in self._sinks:
            sink.flush()

    def save(self, arrays, progress):
        """Writes a checkpoint of the run's arrays and progress, with what outputs need."""
        for sink in self._sinks:
            arrays = {**arrays, **prefixed(f"{SINKS}{sink.name}/", sink.get_state())}
        self._segments.write(lambda: self._write_checkpoint(arrays, progress))
        self._segments.saved()

    def _write_checkpoint(self, arrays, progress):
        # Each try is of the segments that there still are.
        segments = prefixed(SEGMENTS, self._segments.get_state())
        progress = {**progress, "file_sizes": checkpoint.growing_files(self._logdir)}
        checkpoint.save(self._logdir, {**arrays, **segments}, progress)

    def finish(self, complete):
        """Completes the files. complete: see `Run.finish`."""
        for sink in self._sinks:
            sink.finish(complete)

    def summary(self):
        """Returns what outputs add to the summary, as JSON values."""
        of_sinks = {name: value for sink in self._sinks for name, value in sink.summary().items()}
        return {**self._segments.summary(), **of_sinks}

    def write_summary(self, summary):
        """Writes summary.json, and makes room for it if the disk is full."""
        self._segments.write(lambda: directory.write_summary(self._logdir, summary))

"""Opens everything that one pass over a stream needs: video, recording, segmenter, statistics."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator

from experiments.methods import Context
from experiments.protocol import streams
from jitnet_tf import video
from jitnet_tf.config.names import SYNC
from jitnet_tf.distillation import metrics
from jitnet_tf.distillation.stream import ScoredStream, warm_up
from jitnet_tf.labels import LabelMaker
from jitnet_tf.runs.summary import Statistics
from teacher import Teacher
from teacher.recorded import Recording


@dataclasses.dataclass(frozen=True)
class OpenStream:
    """A stream before its first frame.

    Attributes:
      source: the video's Source.
      frames: iterator of its `video.Frame`s.
      score: frames → ScoredStream of their FrameResults.
      statistics: the Statistics to add these to.
    """

    source: video.FrameSource
    frames: Iterator
    score: Callable
    statistics: Statistics


class TimedTeacher(Teacher):
    """Runs a teacher for its time, and takes the detections from a recording.

    So accuracy compares with other results of that recording, whatever the teacher finds.
    """

    def __init__(self, teacher, recording):
        self._teacher = teacher
        self._recording = recording
        self.names = recording.names

    def __call__(self, frame, index):
        """Returns the recorded Detections of a frame, after the teacher has made its own."""
        self._teacher(frame, index)
        return self._recording(frame, index)

    @property
    def problems(self):
        """The problems of both; see `Teacher`."""
        return [*self._teacher.problems, *self._recording.problems]


@contextlib.contextmanager
def open_stream(
    stream,
    frames,
    make,
    settings,
    *,
    teacher=None,
    only_timed=False,
    teacher_mode=SYNC,
    scratch=None,
    on_step=lambda: None,
):
    """Opens a stream for a segmenter and runs teacher and segmenter once, to warm up.

    Args:
      stream: a `streams.Stream`, checked.
      frames: number of its frames.
      make: Context → segmenter; see `Method.make`.
      settings: see `Context`.
      teacher: a live teacher, which is closed at the end. None: the stream's recording.
      only_timed: the teacher is run for its time alone; see `TimedTeacher`.
      teacher_mode: as in RunConfig.
      scratch, on_step: see `Context`.

    Yields:
      An OpenStream. Every frame is scored against the stream's recording.

    Raises:
      UserError: as the product's parts do.
    """
    with contextlib.ExitStack() as stack:
        if teacher:
            stack.callback(teacher.close)
        recording = stack.enter_context(Recording(stream.recording))
        if only_timed:
            teacher = TimedTeacher(teacher, recording)
        teacher = teacher or recording
        label_maker = LabelMaker(streams.GROUPS, categories=teacher.names)

        def open_source():
            return video.open_source(stream.video, recording.frame_size)

        source = stack.enter_context(open_source())
        segmenter = make(
            Context(
                settings,
                label_maker,
                teacher,
                recording,
                source.size,
                frames,
                open_source,
                scratch,
                on_step,
                stream,
            )
        )
        warm_up(source.peek(), segmenter, teacher)
        yield OpenStream(
            source,
            itertools.islice(source.frames(), frames),
            lambda frames: ScoredStream(iter(frames), segmenter, label_maker, recording),
            Statistics.of(
                teacher,
                metrics.StreamScore(streams.GROUPS.names, stream.classes),
                teacher_mode,
                looks_ahead=segmenter.looks_ahead,
            ),
        )

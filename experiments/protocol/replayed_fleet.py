"""A fleet of recordings replayed as many streams, to compare schedulers of teachers' time.

There is no student: a stream shows the labels that it got last, unchanged.
"""

import contextlib
import dataclasses

import numpy as np

from experiments.protocol import streams
from jitnet_tf import video
from jitnet_tf.fleet.scheduling import Decay, Request
from jitnet_tf.labels import LabelMaker
from teacher.recorded import Recording

SIZE = (90, 160)  # of the label maps, at most
FPS = 25.0


def read(stream):
    """Returns the labels of a Stream's frames, uint8 [N, H, W]. UserError if it cannot be read."""
    maker, maps = LabelMaker(streams.GROUPS), []
    with contextlib.ExitStack() as stack:
        recording = stack.enter_context(Recording(stream.recording))
        size = tuple(map(min, SIZE, recording.frame_size))
        source = stack.enter_context(video.open_source(stream.video, size))
        for index, frame in enumerate(source):
            if index == (stream.max_frames or len(recording)):
                break
            maps.append(maker.labels(recording(frame, index), size))
    return np.array(maps)


def accuracies(maps, num_classes):
    """Compares the labels of all frames with each other.

    Args:
      maps: uint8 [N, H, W] class ids.
      num_classes: C, with the background, 0.

    Returns:
      float32 [N + 1, N]: the mean IoU, as `metrics.mean_iou` has it, of the labels of frame i shown
      on frame j; in the last row without any labels. NaN where neither has an object.
    """
    flat = np.concatenate([maps.reshape(len(maps), -1), np.zeros((1, maps[0].size), np.uint8)])
    total, present = np.zeros((2, len(flat), len(maps)))
    for of_class in range(1, num_classes):
        there = (flat == of_class).astype(np.float32)
        if not there.any():
            continue
        shared = there @ there[:-1].T
        union = there.sum(1)[:, None] + there[:-1].sum(1) - shared
        total += np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        present += union > 0
    return np.divide(total, present, out=np.full(total.shape, np.nan), where=present > 0).astype(
        np.float32
    )


@dataclasses.dataclass(frozen=True)
class Played:
    """The end of a simulation.

    Attributes:
      accuracy: of what each stream with objects has shown, mean over its frames, float64 [n].
      waits: seconds that each answered request has waited.
    """

    accuracy: np.ndarray
    waits: np.ndarray


class Playback:
    """Streams that play recordings in a circle, from random places.

    Args:
      tables: for each recording what `accuracies` returns.
      number: of streams; they take turns with the recordings.
      generator: a numpy Generator.

    Attributes:
      shown: the step whose labels each stream shows, int [number]; -1: none.
    """

    def __init__(self, tables, number, generator):
        self._tables = tables
        self._lengths = np.array([table.shape[1] for table in tables])
        self._kinds = np.arange(number) % len(tables)
        self._starts = generator.integers(self._lengths[self._kinds])
        self.shown = np.full(number, -1)

    def __len__(self):
        return len(self.shown)

    def accuracy(self, step, which=None):
        """Returns the accuracies of what streams show at a step, NaN without objects.

        which: numbers of the streams, int [n]; None for all.
        """
        which = np.arange(len(self)) if which is None else which
        found = np.empty(len(which))
        kinds, shown = self._kinds[which], self.shown[which]
        lengths = self._lengths[kinds]
        place = (self._starts[which] + step) % lengths
        row = np.where(shown < 0, lengths, (self._starts[which] + shown) % lengths)
        for kind, table in enumerate(self._tables):
            taken = kinds == kind
            found[taken] = table[row[taken], place[taken]]
        return found


def simulate(playing, scheduler, share, steps, min_stride, warm_up=0):
    """Plays streams for some steps, a frame of each a step; they ask as soon as they may.

    Args:
      playing: a Playback.
      scheduler: a Scheduler.
      share: answers of the teachers, as a share of the frames of all streams, 0…1.
      steps: number of steps that count, after the warm-up.
      min_stride: fewest frames between two requests of a stream.
      warm_up: steps before, which do not count.

    Returns:
      A Played.
    """
    number = len(playing)
    total, counts, waits = np.zeros(number), np.zeros(number), []
    asked, waiting = np.full(number, -min_stride), np.zeros(number, bool)
    decays, credit = [Decay() for _ in range(number)], 0.0
    for step in range(warm_up + steps):
        found = playing.accuracy(step)
        if step >= warm_up:
            there = ~np.isnan(found)
            total[there] += found[there]
            counts += there
        for stream in np.flatnonzero(~waiting & (step - asked >= min_stride)):
            labeled = playing.shown[stream] / FPS if playing.shown[stream] >= 0 else None
            scheduler.add(Request(stream, step / FPS, labeled, decays[stream].value))
            asked[stream], waiting[stream] = step, True
        # While requests wait the rest is below 1; while none does, one answer is saved at most.
        credit = min(credit, 1.0) + share * number
        while credit >= 1 and len(scheduler):
            request = scheduler.next(step / FPS)
            _label(playing, request, decays[request.stream])
            waiting[request.stream] = False
            if step >= warm_up:
                waits.append(step / FPS - request.made)
            credit -= 1
    return Played(total[counts > 0] / counts[counts > 0], np.array(waits))


def _label(playing, request, decay):
    """Gives a stream the labels of the frame that it has asked with."""
    made, first = round(request.made * FPS), playing.shown[request.stream] < 0
    shown = float(playing.accuracy(made, np.array([request.stream]))[0])
    # Before the first labels nothing is known, and a pair without objects proves nothing.
    decay.add(request.made, None if first or np.isnan(shown) else shown, 1.0)
    playing.shown[request.stream] = made

"""Segments: stretches of a stream by time, and which of them are kept."""

import collections
import dataclasses
import time

import numpy as np

from jitnet_tf.base import segment_names
from jitnet_tf.base.durations import show
from jitnet_tf.base.errors import UserError
from jitnet_tf.sinks.disk import is_full
from jitnet_tf.sinks.segment_files import SegmentFiles

_TOLERANCE = 1e-6  # seconds; times are sums of floats


@dataclasses.dataclass
class Segment:
    """A segment of a stream.

    Attributes:
      first: index of its first frame.
      start: time of its first frame in the stream, seconds.
      utc: the same as a time of day, whole seconds since 1970.
      last: time of its last frame so far, seconds.
    """

    first: int
    start: float
    utc: int
    last: float

    @property
    def name(self):
        """The stem of its files, such as 20261129T051148Z-000000123."""
        return segment_names.name_of(self.utc, self.first)


class Segments:
    """Decides which segment a frame is in, and deletes the oldest segments.

    A segment ends with the last frame before `length` is over. It is deleted once its last frame is
    `keep` older than the latest, or earlier on a full disk (`write`), but only if the last
    checkpoint is of a later segment: from that, a resumed run makes the later ones again.

    Args:
      length: seconds; None for a run without segments, for which this does nothing.
      keep: seconds; None for ever.
      files: the SegmentFiles.
      period: seconds a frame, for frames without a time.

    Attributes:
      length: seconds, or None.
    """

    def __init__(self, length=None, keep=None, files=None, period=0.04):
        self.length = length
        self._keep = keep
        self._files = files
        self._period = period
        self._kept = collections.deque()  # oldest first; without `keep` the current alone
        self._needed = 0  # first frame of the segment that the last checkpoint is of
        self._origin = None  # the time of day of the stream's time 0
        self._written = self._expired = self._dropped = 0
        self._unknown = 0  # those of a damaged log

    @classmethod
    def open(cls, config, stream, state):
        """Returns the Segments of a RunConfig, and clears what is no part of the run.

        Args:
          config: the RunConfig.
          stream: the StreamInfo.
          state: of the checkpoint to resume from.

        Raises:
          KeyError, ValueError, TypeError: the state is another's.
        """
        files = SegmentFiles(config.logdir, config.overlay_path, config.masks)
        segments = cls(config.segment, config.keep, files, 1 / stream.fps)
        if segments.length and stream.resume_at:
            segments.set_state(state)
        elif segments.length or stream.overwrite:
            files.delete_all()
        return segments

    @property
    def current(self):
        """The segment of the latest frame; None before the first, and without segments."""
        return self._kept[-1] if self._kept else None

    def begins(self, result):
        """Returns whether the next frame, a FrameResult, begins a segment, but for the first."""
        current = self.current
        return (
            current is not None and self._time(result) - current.start >= self.length - _TOLERANCE
        )

    def add(self, result):
        """Takes the next frame, before any sink does."""
        if self.length is None:
            return
        now = self._time(result)
        if self.current is None or self.begins(result):
            if self._keep is None:
                self._kept.clear()
            self._kept.append(Segment(result.index, now, self._utc(result, now), now))
            self._written += 1
        self.current.last = now

    def _time(self, result):
        return result.index * self._period if result.time is None else result.time

    def _utc(self, result, now):
        """Returns the time of day of a frame: of a file, as if it was played from the run on."""
        if result.lag is not None:
            return round(time.time() - result.lag)
        if self._origin is None:
            self._origin = time.time() - now
        return round(self._origin + now)

    def saved(self):
        """Deletes what is no longer needed: the run has just got a checkpoint."""
        current = self.current
        if current is None:
            return
        self._needed = current.first
        self._files.delete_parts_but(current.name)
        while self._keep is not None and self._is_old(self._kept[0]):
            self._delete_oldest()
            self._expired += 1

    def _is_old(self, segment):
        return self.current.last - segment.last >= self._keep - _TOLERANCE

    def _delete_oldest(self):
        self._files.delete(self._kept[0].name)
        self._kept.popleft()

    def write(self, function):
        """Calls a function that writes, and again after each segment deleted for a full disk.

        Args:
          function: without arguments; after an error it can be called again.

        Returns:
          Its result.

        Raises:
          OSError, UserError: its own, once there is nothing to delete, and without `keep`.
        """
        while True:
            try:
                return function()
            except (OSError, UserError) as error:
                if not is_full(error) or self._keep is None or not self._is_spare():
                    raise
            self._delete_oldest()
            self._dropped += 1

    def _is_spare(self):
        return len(self._kept) > 1 and self._kept[0].first < self._needed

    @property
    def problems(self):
        """A sentence each if the disk was full, and if there are segments that stay."""
        found = []
        if self._dropped and self._keep is not None:
            found.append(
                f"{self._dropped} segments were deleted before --keep={show(self._keep)}, the "
                "oldest first, because the disk was full, or by hand before --resume; give a "
                "shorter one, or a larger disk"
            )
        if self._unknown:
            found.append(
                f"segments of an unknown age, because their logs are damaged: {self._unknown}; "
                "they are not deleted"
            )
        return found

    def summary(self):
        """Returns its figures for summary.json; nothing without segments."""
        if self.length is None:
            return {}
        deleted = {"expired": self._expired, "deleted_on_full_disk": self._dropped}
        kept = self._written - sum(deleted.values())
        return {"segments": {"written": self._written, "kept": kept, **deleted}}

    def get_state(self):
        """Returns the segments and counts as arrays by name, for a checkpoint."""
        if self.current is None:
            return {}
        columns = zip(*map(dataclasses.astuple, self._kept), strict=True)
        names = [field.name for field in dataclasses.fields(Segment)]
        counts = [self._written, self._expired, self._dropped]
        return {
            **{name: np.array(values) for name, values in zip(names, columns, strict=True)},
            "counts": np.array(counts),
            "origin": np.array([] if self._origin is None else [self._origin]),
        }

    def set_state(self, state):
        """Restores `get_state`'s arrays; deletes later segments, and what a kill has left.

        Raises:
          KeyError, ValueError, TypeError: it is another's.
        """
        columns = [state[field.name] for field in dataclasses.fields(Segment)]
        counts, origin = state["counts"], state["origin"]
        first, start, _, last = columns
        if (
            any(column.shape != (max(len(first), 1),) for column in columns)
            or any(column.dtype.kind not in "fi" for column in (*columns, counts, origin))
            or not all(np.isfinite(column).all() for column in (*columns, origin))
            or (np.diff(first) <= 0).any()
            or (last < start).any()
            or first[0] < 0
            or counts.shape != (3,)
            or origin.shape not in ((0,), (1,))
        ):
            raise ValueError("the segments of another run")
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self._kept = collections.deque(Segment(*row) for row in rows)
        self._written, self._expired, self._dropped = counts.tolist()
        self._origin = float(origin[0]) if origin.size else None
        if self._keep is None:  # then no earlier one is the rest of a deletion
            self._files.delete_without_log(after=self.current.first)
        else:
            self._files.delete_without_log()
            self._add_earlier()
        self.saved()
        # All others that are gone made room after the checkpoint.
        there = [segment for segment in self._kept if self._files.has_log(segment.name)]
        self._dropped += len(self._kept) - len(there)
        self._kept = collections.deque(there)

    def _add_earlier(self):
        """Adds the segments that a run without `keep` had left, as their logs tell."""
        for name in reversed(self._files.earlier(self._kept[0].first)):
            try:
                start, last = self._files.times(name, self._period)
                utc = segment_names.utc_of(name)
            except ValueError:
                self._unknown += 1
            else:
                self._kept.appendleft(Segment(segment_names.first_of(name), start, utc, last))

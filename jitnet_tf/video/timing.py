"""The times of frames, from the time stamps of their source."""

# A step back by more periods than this is a restarted clock, a smaller one disorder. Frames in a
# row that are in disorder: from there on the time stamps say nothing.
_DISORDER = 4
LONGEST_STEP = 3600.0  # seconds; more is a fault of the clock, and MP4 has room for 6 hours
_NOTED_STEP = 10.0  # seconds
_LEAST_STEP = 0.0001  # seconds


class Clock:
    """Turns time stamps into seconds from the first frame, which always increase.

    Time stamps that are missing, in disorder or far away are replaced; `problems` says so, unless
    later ones confirm those in place of missing ones: MPEG program streams state some alone.

    Args:
      period: seconds a frame where nothing else is known.
      longest_step: seconds from one frame to the next, above which it is a fault of the clock.

    Attributes:
      end: seconds at which the latest frame ends.
    """

    def __init__(self, period: float, longest_step: float = LONGEST_STEP):
        self.end = 0.0
        self._longest_step = longest_step
        self._period = period
        self._offset: float | None = None  # from time stamps to seconds; None: as yet unknown
        self._time = 0.0  # of the latest frame
        self._part = 0
        self._count = self._disordered_in_a_row = 0
        # Of the missing ones, those since the latest time stamp, which may yet confirm them.
        self._missing = self._unconfirmed = self._disordered = 0
        # Number of them; seconds and frame of the first jump, and of the longest gap.
        self._jumps, self._jump = 0, (0.0, 0)
        self._gaps, self._gap = 0, (0.0, 0)

    def start_at(self, seconds: float) -> None:
        """Lets the first frame begin at this time instead of 0."""
        self.end = seconds

    def __call__(
        self, stamp: float | None, duration: float | None = None, part: int = 0
    ) -> tuple[float, float]:
        """Returns the time and the duration of the next frame in seconds.

        Args:
          stamp: its time stamp in seconds, None if it has none.
          duration: its seconds until the next frame, None if unknown.
          part: number of its file; each file has its own time stamps, and follows the one before.
        """
        if part != self._part:
            self._end_unconfirmed()
            self._part, self._offset = part, None
        if stamp is None:
            self._unconfirmed += 1
            self._time = self.end
        elif self._offset is None:
            self._end_unconfirmed()
            self._time = self.end
            self._offset = self._time - stamp
        else:
            self._time = self._checked(stamp)
        if duration is None or not _LEAST_STEP <= duration <= LONGEST_STEP:
            duration = self._period
        self._count += 1
        self.end = self._time + duration
        return self._time, duration

    def _checked(self, stamp: float) -> float:
        time = stamp + self._offset
        if abs(time - self.end) > 0.5 * self._period:
            self._missing += self._unconfirmed
        self._unconfirmed = 0
        step = time - self._time
        if step > self._longest_step or step < -_DISORDER * self._period:
            self._jump = self._jump if self._jumps else (step, self._count)
            self._jumps += 1
            self._offset = self.end - stamp
            return self.end
        if step >= _LEAST_STEP:
            self._disordered_in_a_row = 0
            if step > _NOTED_STEP:
                self._gaps += 1
                self._gap = max(self._gap, (step, self._count))
            return time
        self._disordered += 1
        self._disordered_in_a_row += 1
        if self._disordered_in_a_row > _DISORDER:
            self._offset = self.end - stamp
            return self.end
        return self._time + _LEAST_STEP

    def _end_unconfirmed(self) -> None:
        """Counts missing time stamps after which none can confirm those in their place."""
        self._missing += self._unconfirmed if self._unconfirmed > _DISORDER else 0
        self._unconfirmed = 0

    @property
    def problems(self) -> list[str]:
        """Faults of the time stamps so far, and long gaps, a sentence each."""
        found = []
        missing = self._missing + (self._unconfirmed if self._unconfirmed > _DISORDER else 0)
        if missing:
            rate = 1 / self._period
            found.append(f"{missing} frames without a time stamp: {rate:g} a second assumed")
        if self._disordered:
            found.append(
                f"{self._disordered} frames with the time stamp of an earlier frame, or before it: "
                "shown right after the frame before"
            )
        if self._jumps:
            step, index = self._jump
            more = f", and {self._jumps - 1} times more" if self._jumps > 1 else ""
            found.append(
                f"the time stamps jump by {step:.1f} s at frame {index}{more}: its time follows "
                "that of the frame before"
            )
        if self._gaps:
            step, index = self._gap
            found.append(
                f"no frame for more than {_NOTED_STEP:g} s {self._gaps} times, at most {step:.1f} "
                f"s before frame {index}: kept as in the source"
            )
        return found

"""The end of a stream's run."""

import dataclasses
import math

ENDED, STOPPED, FAILED = "ended", "stopped", "failed"
CRASHED, IN_USE, AWAY = "crashed", "in use", "away"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a stream's run.

    Attributes:
      state: ENDED, at the end of its video; STOPPED, when asked to; FAILED, with a mistake of the
        user's; CRASHED, with any other error; IN_USE: another process, such as one that is about to
        end, holds its folder; AWAY: its camera cannot be reached.
      summary: as in summary.json; None without one.
      reason: of all but ENDED, a line.
      patience: seconds for which a camera may be AWAY.
    """

    state: str
    summary: dict | None = None
    reason: str = ""
    patience: float = math.inf

"""The end of a stream's run."""

import dataclasses

ENDED, STOPPED, FAILED, IN_USE = "ended", "stopped", "failed", "in use"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a stream's run.

    Attributes:
      state: ENDED, at the end of its video; STOPPED, when asked to; FAILED, with a mistake of the
        user's; IN_USE: another process, such as one that is about to end, holds its folder.
      summary: as in summary.json; None without one.
      reason: of FAILED and IN_USE, a line.
    """

    state: str
    summary: dict | None = None
    reason: str = ""

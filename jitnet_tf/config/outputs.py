"""Options of what a run writes and for how long that is kept."""

import dataclasses

from jitnet_tf.base.durations import show
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import FREE, option
from jitnet_tf.config.names import LIVE


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """Options of a run's outputs in segments by time."""

    segment: float | None = option(
        None,
        "Length of the segments that overlay, masks, frames.jsonl and TensorBoard's event files "
        "are written in, by the stream's time, as in 10min. Default: one of each.",
        LIVE,
        at_least=1,
        is_duration=True,
    )
    keep: float | None = option(
        None,
        "With --segment: age at which segments are deleted, as in 24h; on a full disk the oldest "
        "go earlier. Default: they are kept for ever.",
        LIVE,
        at_least=1,
        is_duration=True,
        resume=FREE,
    )

    def check_outputs(self):
        """Raises UserError for a retention without segments, or an overlay that is no folder."""
        if self.segment is not None and (self.output or "").lower().endswith(".mp4"):
            raise UserError(
                f"--output={self.output}: with --segment it names a folder: leave out .mp4, or "
                "leave out --segment"
            )
        if self.keep is None:
            return
        if self.segment is None:
            raise UserError(
                f"--keep={show(self.keep)} is for outputs in segments: give --segment, such as "
                "--segment=10min"
            )
        if self.keep < self.segment:
            raise UserError(
                f"--keep={show(self.keep)} is shorter than --segment={show(self.segment)}: give a "
                "longer --keep or a shorter --segment"
            )

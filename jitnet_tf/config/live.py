"""Options of live streams."""

import dataclasses

from jitnet_tf.base.options import FREE, option
from jitnet_tf.config.names import LIVE


@dataclasses.dataclass(frozen=True)
class LiveOptions:
    """Options of runs on cameras and live URLs, which a run is never ended by."""

    reconnect_for: float | None = option(
        None,
        "Time for which a live source that is gone is opened again and again, then the run ends. "
        "Default: for ever; 0: not at all.",
        LIVE,
        is_duration=True,
        at_least=0,
        resume=FREE,
    )
    frozen_for: float = option(
        60.0,
        "Time of one and the same picture after which a live source counts as gone; 0: never.",
        LIVE,
        is_duration=True,
        at_least=0,
        resume=FREE,
    )
    realtime: bool = option(
        False,
        "Play a video file at its own rate, as a camera would: its newest frame, others dropped.",
        LIVE,
    )

"""Options of a fleet of streams."""

import dataclasses

from jitnet_tf.base import options
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import option
from jitnet_tf.config.names import FLEET


@dataclasses.dataclass(frozen=True)
class FleetConfig:
    """A fleet; the flags of `jitnet_tf.fleet` have the same names."""

    streams: str = option(
        "",
        "CSV file of the streams: a line of column names (name, video, and any option in which "
        "streams differ), then a line for each. Streams are added and removed while the fleet "
        "runs.",
        FLEET,
        is_path=True,
    )
    address: str | None = option(
        None,
        "Ray cluster to join: HOST:PORT of its head, or auto for the one that this machine is in. "
        "Default: Ray is started on this machine.",
        FLEET,
    )
    teachers: int = option(1, "Teachers, which all streams share.", FLEET, at_least=1)
    teacher_gpus: float = option(0.0, "GPUs of each teacher, such as 1 or .5.", FLEET, at_least=0)
    teacher_batch: int = option(
        8,
        "Most frames that a teacher is given at a time, if its model takes several.",
        FLEET,
        at_least=1,
    )
    stream_cpus: float = option(
        0.0,
        "Cores that are reserved for each stream and used by it; a stream that finds none free "
        "waits. 0: none are reserved, streams are spread evenly and use one each.",
        FLEET,
        at_least=0,
    )
    stream_gpus: float = option(
        0.0, "GPUs of each stream, such as .1; 0: streams run on cores.", FLEET, at_least=0
    )
    status_every: float = option(
        30.0, "Time between two tables of all streams.", FLEET, above=0, is_duration=True
    )

    def __post_init__(self):
        """Checks the values; UserError names the flags."""
        options.check(self)
        if not self.streams:
            raise UserError("--streams is missing: give a CSV file with the columns name and video")

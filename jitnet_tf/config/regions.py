"""Options of a run: what to ignore, and which frames to keep."""

import dataclasses

from jitnet_tf.base.options import MOVED, option
from jitnet_tf.config.names import INPUT, LABELS


@dataclasses.dataclass(frozen=True)
class RegionOptions:
    """A region of the frames to ignore, and teacher frames to keep."""

    ignore_mask: str | None = option(
        None,
        "PNG of the frames' shape, of any size: what is neither black nor transparent in it is "
        "neither learned nor scored nor a trigger. Default: none.",
        LABELS,
        is_path=True,
        resume=MOVED,
    )
    keep_hard: int = option(
        0,
        "Number of teacher frames to keep in LOGDIR/hard, those of lowest accuracy before update, "
        "as a COCO data set.",
        INPUT,
        at_least=0,
    )

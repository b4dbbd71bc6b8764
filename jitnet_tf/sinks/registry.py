"""The sinks of a run."""

from jitnet_tf.sinks.class_masks import ClassMasks
from jitnet_tf.sinks.frame_log import FrameLog
from jitnet_tf.sinks.overlay_video import OverlayVideo
from jitnet_tf.sinks.tensorboard import TensorBoard

# In the order in which they take a result.
SINKS = [OverlayVideo, ClassMasks, FrameLog, TensorBoard]


def check_sinks(config, *, resumed, overwrite):
    """Raises UserError if an output of a RunConfig cannot be written."""
    for sink in SINKS:
        sink.check(config, resumed=resumed, overwrite=overwrite)


def open_sinks(config, stream):
    """Opens the sinks that a RunConfig asks for. stream: a StreamInfo."""
    opened = (sink.open(config, stream) for sink in SINKS)
    return [sink for sink in opened if sink is not None]

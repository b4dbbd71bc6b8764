"""The sinks of a run, by name."""

from jitnet_tf.base import registry

# In the order in which they take a result.
SINKS = {
    "overlay": "jitnet_tf.sinks.overlay_video:OverlayVideo",
    "masks": "jitnet_tf.sinks.class_masks:ClassMasks",
    "hard_frames": "jitnet_tf.sinks.hard_frames:HardFrames",
    "frame_log": "jitnet_tf.sinks.frame_log:FrameLog",
    "tensorboard": "jitnet_tf.sinks.tensorboard:TensorBoard",
}


def check_sinks(config, *, resumed, overwrite):
    """Raises UserError if an output of a RunConfig cannot be written."""
    for name in SINKS:
        registry.load(SINKS, name).check(config, resumed=resumed, overwrite=overwrite)


def open_sinks(config, stream):
    """Opens the sinks that a RunConfig asks for. stream: a StreamInfo."""
    opened = (registry.load(SINKS, name).open(config, stream) for name in SINKS)
    return [sink for sink in opened if sink is not None]

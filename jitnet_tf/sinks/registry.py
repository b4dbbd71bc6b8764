"""The sinks of a run, by name."""

import contextlib

from jitnet_tf.base import registry

# In the order in which they take a result.
SINKS = {
    "overlay": "jitnet_tf.sinks.overlay_video:OverlayVideo",
    "masks": "jitnet_tf.sinks.class_masks:ClassMasks",
    "hard_frames": "jitnet_tf.sinks.hard_frames:HardFrames",
    "frame_log": "jitnet_tf.sinks.frame_log:FrameLog",
    "tensorboard": "jitnet_tf.sinks.tensorboard:TensorBoard",
    "prometheus": "jitnet_tf.sinks.prometheus:Prometheus",
    "preview": "jitnet_tf.sinks.preview:Preview",
}


def check_sinks(config, *, resumed, overwrite):
    """Raises UserError if an output of a RunConfig cannot be written."""
    for name in SINKS:
        registry.load(SINKS, name).check(config, resumed=resumed, overwrite=overwrite)


def open_sinks(config, stream):
    """Opens the sinks that a RunConfig asks for. stream: a StreamInfo."""
    opened = []
    with contextlib.ExitStack() as stack:  # closes those opened, if a later one cannot be
        for name in SINKS:
            if sink := registry.load(SINKS, name).open(config, stream):
                stack.callback(sink.close)
                opened.append(sink)
        stack.pop_all()
    return opened

"""Frame sources: video files, folders, cameras and URLs, decoded to uint8 RGB frames."""

from jitnet_tf.video.decoders import BrokenOffError
from jitnet_tf.video.files import video_files
from jitnet_tf.video.live import Patience
from jitnet_tf.video.source import (
    SIDES,
    Frame,
    FrameSource,
    UnavailableError,
    open_source,
    parse_size,
    without_credentials,
)

__all__ = [
    "SIDES",
    "BrokenOffError",
    "Frame",
    "FrameSource",
    "Patience",
    "UnavailableError",
    "open_source",
    "parse_size",
    "video_files",
    "without_credentials",
]

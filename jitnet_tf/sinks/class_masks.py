"""Class masks: a PNG of class ids a frame."""

from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.mask_writer import MaskWriter
from jitnet_tf.sinks.segmented import SegmentedMasks, check_no_segments


class ClassMasks(Sink):
    """Writes every prediction. writer: a MaskWriter or SegmentedMasks."""

    name = "masks"

    def __init__(self, writer):
        self._writer = writer

    @classmethod
    def open(cls, config, stream):
        """Opens the folder --masks; None without one."""
        if not config.masks:
            return None
        resume_at, overwrite = stream.resume_at, stream.overwrite
        of = config.masks, stream.class_names
        if config.segment:
            return cls(SegmentedMasks(*of, stream.segments, resume_at))
        return cls(MaskWriter(*of, resume_at=resume_at, overwrite=overwrite))

    @staticmethod
    def check(config, *, resumed, overwrite):
        """Raises UserError if the folder cannot be written, or holds other files."""
        if config.masks:
            check_no_segments(config.masks, resumed=resumed, overwrite=overwrite)
            MaskWriter.check(config.masks, resumed=resumed, overwrite=overwrite)

    def add(self, result):
        """Writes one prediction."""
        self._writer.write(result.index, result.prediction)

"""Class masks: a PNG of class ids for each frame."""


class ClassMasks:
    """Writes each prediction as a PNG of class ids. writer: a MaskWriter."""

    def __init__(self, writer):
        self._writer = writer

    def add(self, result):
        """Writes one FrameResult's prediction."""
        self._writer.write(result.index, result.prediction)

    def flush(self):
        """Nothing: each mask is a file of its own."""

    def get_state(self):
        """Nothing."""
        return {}

    def finish(self, complete):
        """Nothing."""

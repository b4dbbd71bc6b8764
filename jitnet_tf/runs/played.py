"""Recordings of a file that is played in real time, whose frames are numbered as in the file."""

from teacher.base import Teacher


class Played(Teacher):
    """Takes the frame's number from the source, since a run counts the frames that it has taken.

    Args:
      teacher: a Recording, or a ProcessTeacher of one.
      source: the FrameSource, which has just given the frame.
    """

    def __init__(self, teacher, source):
        self._teacher = teacher
        self._source = source
        self.precomputed, self.mean_seconds = teacher.precomputed, teacher.mean_seconds
        self.names = teacher.names

    @property
    def problems(self):
        """Those of the recording."""
        return self._teacher.problems

    def __call__(self, frame, index):
        """Returns the Detections of the source's latest frame."""
        return self._teacher(frame, self._source.number)

    def ask(self, frame, index):
        """Asks a ProcessTeacher for the source's latest frame."""
        return self._teacher.ask(frame, self._source.number)

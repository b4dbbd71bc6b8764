"""Recordings of a file in real time: their frames are numbered as in the file."""

import types

from jitnet_tf.runs.played import Played
from teacher.base import Teacher


class Recorded(Teacher):
    """Answers with the number that it is asked for."""

    precomputed, mean_seconds, problems = True, 0.25, ["a note"]

    def __call__(self, frame, index):
        return index

    def ask(self, frame, index):
        return f"asked for {index}"


def test_a_run_asks_for_the_frame_that_the_source_has_given():
    source = types.SimpleNamespace(number=0)
    played = Played(Recorded(), source)
    for index, source.number in enumerate([0, 1, 7, 8]):  # 2 to 6 were dropped
        assert played("frame", index) == source.number
        assert played.ask("frame", index) == f"asked for {source.number}"
    assert (played.precomputed, played.mean_seconds, played.problems) == (True, 0.25, ["a note"])

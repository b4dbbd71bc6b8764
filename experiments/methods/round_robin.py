"""Round robin among streams, to compare the scheduler of fleets with."""

from jitnet_tf.fleet.scheduling import FirstCome


class RoundRobin(FirstCome):
    """Answers the stream that was answered the longest time ago."""

    def __init__(self):
        super().__init__()
        self._turns = {}  # stream → number of its latest answer
        self._turn = 0

    def remove(self, stream):
        """Forgets a stream, and its turn."""
        super().remove(stream)
        self._turns.pop(stream, None)

    def next(self, now):
        """Takes out the request of the stream whose turn it is."""
        request = super().next(now)
        if request:
            self._turn += 1
            self._turns[request.stream] = self._turn
        return request

    def _choose(self, now):
        return min(self._waiting, key=lambda stream: self._turns.get(stream, 0))

"""Figures of a fleet for Prometheus: those of each stream, and of the teachers."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from jitnet_tf.fleet.members import RUNNING
from jitnet_tf.sinks.prometheus import CONTENT_TYPE, StreamMetrics


class FleetMetrics(StreamMetrics):
    """The latest figures of a fleet as metrics; those of streams have a label `run`."""

    def __init__(self):
        super().__init__()
        self._states = {}
        self._pool = None

    def show_fleet(self, members, pool):
        """Replaces all figures.

        members: name → Member. pool: as `Dispatcher.figures` returns it, or None.
        """
        for name in self._states.keys() - members.keys():
            self.remove(name)
        self._pool = pool
        self._states = {name: (m.state == RUNNING, m.restarts) for name, m in members.items()}
        for name, member in members.items():
            if member.state == RUNNING:
                self.show(name, member.figures)
            else:  # their latest figures are no longer true
                self.remove(name)

    def answer(self):
        """Returns content type and text of the page /metrics."""
        return CONTENT_TYPE, self.text()

    def collect(self):
        """Yields the metrics, for prometheus_client."""
        yield from super().collect()
        up = GaugeMetricFamily("jitnet_up", "1 while the stream runs.", labels=["run"])
        restarts = CounterMetricFamily(
            "jitnet_restarts", "Times that a dead stream was started again.", labels=["run"]
        )
        for name, (runs, count) in self._states.items():
            up.add_metric([name], float(runs))
            restarts.add_metric([name], count)
        yield from (up, restarts)
        if self._pool:
            yield from _of_pool(*self._pool)


def _of_pool(teachers, waiting, waited, _):
    yield GaugeMetricFamily(
        "jitnet_requests_waiting", "Frames that wait for a teacher.", value=waiting
    )
    yield CounterMetricFamily(
        "jitnet_request_wait_seconds", "Time that answered frames have waited.", value=waited
    )
    for name, text, figure in (
        ("jitnet_teacher_answers", "Frames that a teacher has answered.", "answered"),
        ("jitnet_teacher_busy_seconds", "Time that a teacher has spent on frames.", "busy"),
        ("jitnet_teacher_deaths", "Times that a teacher has died while it was asked.", "deaths"),
    ):
        family = CounterMetricFamily(name, text, labels=["teacher"])
        for place, figures in enumerate(teachers):
            family.add_metric([str(place)], getattr(figures, figure))
        yield family

"""Figures of running streams for Prometheus."""

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric

from jitnet_tf.base.web_server import WebServer
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.figures import Figures, run_name

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FLAG = "metrics_port"
# Name → figure of `Figures.now`, help.
COUNTERS = {
    "jitnet_frames": ("frames", "Frames that were segmented."),
    "jitnet_dropped_frames": ("dropped", "Frames of a live stream passed over for newer ones."),
    "jitnet_teacher_frames": ("teacher_frames", "Frames that the student was trained on."),
    "jitnet_updates": ("updates", "Updates of the student."),
    "jitnet_reconnects": ("reconnects", "Times that a live stream came back."),
}
GAUGES = {
    "jitnet_fps": ("fps", "Frames a second over the last 10 seconds."),
    "jitnet_seconds_since_frame": ("seconds_since_frame", "Time since the latest frame's result."),
    "jitnet_lag_seconds": ("lag", "From the arrival of the latest live frame to its result."),
    "jitnet_teacher_share": ("teacher_share", "Teacher frames among all frames, 0 to 1."),
    "jitnet_accuracy_before_update": (
        "accuracy",
        "Mean IoU of the student with the teacher, before updates, on the latest teacher frame.",
    ),
    "jitnet_stride": ("stride", "Frames from a teacher frame to the next."),
}
ACCURACY = "jitnet_teacher_frame_accuracy"
ACCURACY_HELP = "Mean IoU before updates on each teacher frame: sum / count is the mean."


class StreamMetrics:
    """The latest figures of any number of streams, by name, as metrics with a label `run`."""

    def __init__(self):
        self._registry = CollectorRegistry()  # not the process's: there may be several runs in it
        self._registry.register(self)
        self._lock = threading.Lock()
        self._streams: dict[str, dict] = {}

    def show(self, name: str, figures: dict) -> None:
        """Replaces the figures of a stream. figures: as `Figures.now` returns them."""
        with self._lock:
            self._streams[name] = figures

    def remove(self, name: str) -> None:
        """Forgets a stream."""
        with self._lock:
            self._streams.pop(name, None)

    def text(self) -> bytes:
        """Returns all metrics as Prometheus reads them."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics, for prometheus_client."""
        with self._lock:
            streams = dict(self._streams)
        for kind, metrics in ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES)):
            for name, (figure, text) in metrics.items():
                family = kind(name, text, labels=["run"])
                for stream, figures in streams.items():
                    if figures[figure] is not None:
                        family.add_metric([stream], figures[figure])
                yield family
        family = SummaryMetricFamily(ACCURACY, ACCURACY_HELP, labels=["run"])
        for stream, figures in streams.items():
            family.add_metric([stream], figures["accuracy_count"], figures["accuracy_sum"])
        yield family


class Prometheus(Sink):
    """Serves the figures of a run at /metrics.

    Args:
      name: of the run.
      figures: its Figures.
      port, bind: see `WebServer`.
    """

    name = "prometheus"

    def __init__(self, name, figures, port, bind):
        self._run = name
        self._figures = figures
        self._metrics = StreamMetrics()
        self._server = WebServer(FLAG, port, bind, {"/metrics": self._answer})
        self.remark = f"metrics for Prometheus at {self._server.url}metrics"
        self.problems = self._server.problems

    @classmethod
    def open(cls, config, stream):
        """Starts to serve --metrics_port; None without one."""
        if config.metrics_port is None:
            return None
        name = run_name(config.logdir)
        return cls(name, Figures(stream.statistics), config.metrics_port, config.bind)

    @staticmethod
    def check(config, *, resumed, overwrite):
        """Raises UserError if the port cannot be served."""
        if config.metrics_port is not None:
            WebServer.check(FLAG, config.metrics_port, config.bind)

    def add(self, result):
        """Counts one frame."""
        self._figures.add(result)

    def close(self):
        """Ends the server."""
        self._server.close()

    def _answer(self):
        self._metrics.show(self._run, self._figures.now())
        return CONTENT_TYPE, self._metrics.text()

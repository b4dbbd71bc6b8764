"""Metrics and preview of a running stream, asked over HTTP."""

import contextlib
import json
import socket
import threading
import time
import types
import urllib.request

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.sinks import figures, preview
from jitnet_tf.sinks.figures import Figures
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.sinks.preview import Preview
from jitnet_tf.sinks.prometheus import Prometheus, StreamMetrics
from tests.browser import Page
from tests.sinks.test_sinks import NAMES, SIZE, result, stream

WAIT_SECONDS = 60


@pytest.fixture
def opened(tmp_path):
    """Opens a sink on a free port; returns (sink, a function that adds results)."""
    with contextlib.ExitStack() as stack:

        def open_sink(kind, **options):
            info = stream()
            sink = kind.open(RunConfig(logdir=str(tmp_path / "my run"), **options), info)
            stack.callback(sink.close)

            def add(*results):
                for each in results:
                    info.statistics.add(each)
                    sink.add(each)

            return sink, add

        yield open_sink


def live(index, **changes):
    made = result(index, index if index == 1 else None)
    made.lag = 0.25
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def samples(text):
    """Returns the metrics' samples, {name: value}, of a text for Prometheus, and their labels."""
    families = list(text_string_to_metric_families(text))
    found = [sample for family in families for sample in family.samples]
    kinds = {family.name: family.type for family in families}
    return {sample.name: sample.value for sample in found}, kinds, [s.labels for s in found]


def read(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def url_of(sink):
    return sink.remark.rpartition(" ")[2]


# Figures


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(figures, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_fps_is_that_of_the_last_ten_seconds(clock):
    gathered = Figures(stream().statistics)
    assert gathered.now()["fps"] == 0
    for index in range(81):  # 4 a second, over 20 s
        clock.now = 100 + index / 4
        gathered.add(result(index))
    assert gathered.now()["fps"] == 4
    clock.now += 5  # the camera is gone
    assert gathered.now()["fps"] == pytest.approx(20 / 10)
    assert gathered.now()["seconds_since_frame"] == 5
    clock.now += 60
    assert gathered.now()["fps"] == 0


def test_the_latest_gap_is_kept(clock):
    gathered = Figures(stream().statistics)
    gathered.add(live(0))
    assert gathered.now()["gap"] is None
    gathered.add(live(1, gap=12.5))
    gathered.add(live(2))
    assert gathered.now()["gap"] == {"frame": 1, "seconds": 12.5}


# Metrics


def test_metrics_are_the_figures_of_the_summary(opened):
    sink, add = opened(Prometheus, metrics_port=0)
    add(live(0, dropped=2), live(1, dropped=3, gap=7.0), live(2, stride=16, lag=0.5))
    values, kinds, labels = samples(read(url_of(sink)))
    assert all(found == {"run": "my run"} for found in labels)
    summary = sink._figures._statistics.summary()
    assert {
        "jitnet_frames_total": summary["frames"],
        "jitnet_dropped_frames_total": summary["dropped_frames"],
        "jitnet_teacher_frames_total": summary["teacher_frames"],
        "jitnet_updates_total": summary["updates"],
        "jitnet_reconnects_total": summary["reconnects"],
        "jitnet_teacher_share": summary["teacher_fraction"],
        "jitnet_accuracy_before_update": summary["accuracy_before_update"],
        "jitnet_teacher_frame_accuracy_sum": 0.25,
        "jitnet_teacher_frame_accuracy_count": 1,
        "jitnet_stride": 16,
        "jitnet_lag_seconds": 0.5,
    }.items() <= values.items()
    assert (values["jitnet_frames_total"], values["jitnet_reconnects_total"]) == (3, 1)
    assert values["jitnet_fps"] > 0
    assert kinds["jitnet_frames"] == kinds["jitnet_reconnects"] == "counter"
    assert kinds["jitnet_fps"] == kinds["jitnet_stride"] == "gauge"


def test_a_file_has_no_lag_and_a_run_without_frames_no_accuracy(opened):
    sink, add = opened(Prometheus, metrics_port=0)
    values = samples(read(url_of(sink)))[0]
    assert values["jitnet_frames_total"] == 0
    assert "jitnet_accuracy_before_update" not in values
    add(result(0))
    assert "jitnet_lag_seconds" not in samples(read(url_of(sink)))[0]


def test_metrics_of_many_streams_are_told_apart_and_forgotten():
    metrics, values = StreamMetrics(), Figures(stream().statistics).now()
    for number, name in enumerate(("gate", 'a "b"\n')):
        metrics.show(name, {**values, "frames": number})
    families = text_string_to_metric_families(metrics.text().decode())
    [frames] = [family for family in families if family.name == "jitnet_frames"]
    assert {s.labels["run"]: s.value for s in frames.samples} == {"gate": 0, 'a "b"\n': 1}
    metrics.remove("gate")
    assert '"gate"' not in metrics.text().decode()


@pytest.mark.parametrize("kind", [Prometheus, Preview])
def test_ports_are_checked_before_anything_is_written(kind, tmp_path):
    flag = {Prometheus: "metrics_port", Preview: "preview_port"}[kind]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = RunConfig(logdir=str(tmp_path), **{flag: port})
        with pytest.raises(UserError, match=f"--{flag}={port} "):
            kind.check(config, resumed=False, overwrite=False)
    kind.check(config, resumed=False, overwrite=False)
    assert kind.open(RunConfig(), stream()) is None


# Preview


class Client:
    """Reads the pictures of a preview's stream."""

    def __init__(self, sink):
        self.answer = urllib.request.urlopen(url_of(sink) + "stream")
        assert self.answer.headers.get_content_type() == "multipart/x-mixed-replace"
        assert self.answer.readline() == preview.BOUNDARY

    def picture(self):
        """Returns the next picture, uint8 [H, W, 3]."""
        head = [self.answer.readline() for _ in range(3)]
        assert head[0] == b"Content-Type: image/jpeg\r\n"
        content = self.answer.read(int(head[1].split(b":")[1]))
        assert [self.answer.readline() for _ in range(2)] == [b"\r\n", preview.BOUNDARY]
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), 1), cv2.COLOR_BGR2RGB)


def wait_until(condition):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_pictures_are_those_of_the_overlay(opened):
    sink, add = opened(Preview, preview_port=0)
    add(result(0), result(1, 1))
    scene = sink._scene
    expected = Overlay(NAMES, SIZE).draw(scene.frame, scene.prediction, scene.teacher, scene.status)
    client = Client(sink)
    with client.answer:
        picture = client.picture()
        assert picture.shape == expected.shape
        assert np.abs(picture.astype(int) - expected).mean() < 4  # JPEG
        add(result(2, 2))
        assert np.abs(client.picture().astype(int) - picture).mean() > 0


def test_nothing_is_drawn_while_nobody_watches(opened):
    sink, add = opened(Preview, preview_port=0)
    drawn = []
    draw = sink._overlay.draw
    sink._overlay.draw = lambda *scene: drawn.append(scene[-1].index) or draw(*scene)
    add(*map(result, range(5)))
    assert drawn == []
    for watched in (5, 6):
        client = Client(sink)
        with client.answer:
            client.picture()
            add(result(watched))  # while it is watched
            client.picture()
        wait_until(lambda: add(result(4)) or not sink._watchers)  # which a write finds out
        assert sink._picture == b""
    assert drawn[:2] == [4, 5]


def test_a_client_that_does_not_read_holds_up_nobody(opened, monkeypatch):
    monkeypatch.setattr(preview, "LEAST_SECONDS", 0)
    sink, add = opened(Preview, preview_port=0)
    add(result(0))
    idle, client = Client(sink), Client(sink)
    with idle.answer, client.answer:
        for index in range(1, 40):
            add(result(index))
            client.picture()
    assert sink._number >= 2


def test_page_and_figures(opened):
    sink, add = opened(Preview, preview_port=0)
    add(live(0, gap=3.0))
    assert "<title>" in read(url_of(sink))
    found = json.loads(read(url_of(sink) + "figures"))
    assert (found["run"], found["frames"], found["lag"]) == ("my run", 1, 0.25)
    assert found["gap"] == {"frame": 0, "seconds": 3.0}


def test_close_ends_the_streams(opened):
    sink, add = opened(Preview, preview_port=0)
    add(result(0))
    client = Client(sink)
    with client.answer:
        client.picture()
        sink.close()
        assert client.answer.read() == b""
    with pytest.raises(OSError, match="refused"):
        read(url_of(sink))


@pytest.mark.slow
def test_a_browser_shows_picture_and_figures(opened, tmp_path):
    sink, add = opened(Preview, preview_port=0)
    red = np.full((*SIZE, 3), (200, 30, 30), np.uint8)
    ended = threading.Event()

    def feed():
        for index in range(10**6):
            if ended.wait(0.05):
                return
            add(live(index, frame=red, gap=7.0 if index == 3 else None))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with Page(tmp_path, url_of(sink)) as page:
            page.wait_until(f"picture.naturalWidth == {sink._overlay.size[1]}")
            text = page.value("document.body.innerText")
            assert "my run" in text
            assert "7.0 s before frame 3" in text
            shown = page.screenshot()
            frames = page.value("document.body.innerText")
            page.wait_until(f"document.body.innerText != {json.dumps(frames)}")  # it goes on
            ended.set()
            sink.close()
            page.wait_until("!notice.hidden")
            assert "the run has ended" in page.value("notice.innerText")
    finally:
        ended.set()
        feeder.join()
    height, width = shown.shape[:2]
    video = shown[height // 2, width // 6]  # within the left one of three panels
    assert np.abs(video.astype(int) - red[0, 0]).max() < 30

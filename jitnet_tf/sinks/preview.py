"""The preview: a page that shows the overlay live in a browser."""

import json
import pathlib
import threading
import time
from collections.abc import Generator

import cv2

from jitnet_tf.base.web_server import WebServer
from jitnet_tf.sinks.base import Sink
from jitnet_tf.sinks.figures import Figures, run_name
from jitnet_tf.sinks.overlay import Overlay
from jitnet_tf.sinks.scenes import Scene, Scenes

FLAG = "preview_port"
PAGE = pathlib.Path(__file__).parents[1] / "data" / "preview.html"
LEAST_SECONDS = 0.1  # between two pictures
REPEAT_SECONDS = 5  # after which a picture is sent again, to find out who still watches
QUALITY = 80  # of JPEG
BOUNDARY = b"--picture\r\n"
STREAM = "multipart/x-mixed-replace; boundary=picture"


class Preview(Sink):
    """Serves a page with the overlay's newest picture, drawn only while somebody watches.

    A result is only kept: pictures are drawn and encoded in a thread, which takes the newest one.
    Every client is sent the newest picture when it has taken the one before, so that no queue grows
    and none waits for another.

    Args:
      name: of the run.
      overlay: an Overlay, used by this sink alone.
      scenes: the run's Scenes.
      figures: its Figures.
      port, bind: see `WebServer`.
    """

    name = "preview"

    def __init__(self, name, overlay, scenes, figures, port, bind):
        self._run = name
        self._overlay = overlay
        self._scenes = scenes
        self._figures = figures
        # The condition guards all that follows; it is notified whenever any of it changes.
        self._changed = threading.Condition()
        self._scene: Scene | None = None  # the newest
        self._is_drawn = True  # or there is none
        self._picture, self._number = b"", 0  # the latest as JPEG, and how many there were
        self._watchers = 0
        self._closed = False
        routes = {"/": self._page, "/stream": self._stream, "/figures": self._answer}
        self._server = WebServer(FLAG, port, bind, routes)
        self.remark = f"live picture at {self._server.url}"
        self.problems = [*self._server.problems, *overlay.problems]
        self._drawer = threading.Thread(target=self._draw, name="preview", daemon=True)
        self._drawer.start()

    @classmethod
    def open(cls, config, stream):
        """Starts to serve --preview_port; None without one."""
        if config.preview_port is None:
            return None
        return cls(
            run_name(config.logdir),
            Overlay(stream.class_names, stream.frame_size, ignored=stream.ignored),
            Scenes(stream.statistics, stream.frame_size),
            Figures(stream.statistics),
            config.preview_port,
            config.bind,
        )

    @staticmethod
    def check(config, *, resumed, overwrite):
        """Raises UserError if the port cannot be served."""
        if config.preview_port is not None:
            WebServer.check(FLAG, config.preview_port, config.bind)

    def add(self, result):
        """Keeps the newest result."""
        self._figures.add(result)
        with self._changed:
            self._scene, self._is_drawn = self._scenes.of(result), False
            self._changed.notify_all()

    def close(self):
        """Ends the page's connections and the server."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._drawer.join()
        self._server.close()

    def _draw(self):
        """Draws the newest scene, again and again."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (self._watchers and not self._is_drawn)
                )
                if self._closed:
                    return
                scene, self._is_drawn = self._scene, True
            start = time.monotonic()
            drawn = self._overlay.draw(scene.frame, scene.prediction, scene.teacher, scene.status)
            bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
            _, picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            with self._changed:
                self._picture, self._number = picture.tobytes(), self._number + 1
                self._changed.notify_all()
                rest = start + LEAST_SECONDS - time.monotonic()
                self._changed.wait_for(lambda: self._closed, rest)

    def _page(self):
        return "text/html; charset=utf-8", PAGE.read_bytes()

    def _answer(self):
        figures = {"run": self._run, **self._figures.now()}
        return "application/json", json.dumps(figures).encode()

    def _stream(self):
        return STREAM, self._pictures()

    def _pictures(self) -> Generator[bytes, None, None]:
        """Yields the parts of a stream for one client until the preview is closed."""
        with self._changed:
            sent = self._number if not self._picture else 0
            self._watchers += 1
            self._changed.notify_all()
        try:
            yield BOUNDARY
            while news := self._next(sent):
                picture, sent = news
                if picture:
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    # The next boundary at once: browsers show a picture when it has come.
                    yield head.encode() + picture + b"\r\n" + BOUNDARY
        finally:
            with self._changed:
                self._watchers -= 1
                if not self._watchers:  # the next one has the newest drawn
                    self._picture, self._is_drawn = b"", self._scene is None

    def _next(self, sent):
        """Waits for a picture after number `sent`; returns it and its number, None at the end.

        Without a new one for a while it is the same again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > sent, REPEAT_SECONDS)
            return None if self._closed else (self._picture, self._number)

"""A headless Chromium, driven over its DevTools pipe."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

import cv2
import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu")
FLAGS += ("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking")
WAIT_SECONDS = 120


class Page:
    """A page in a browser of its own; the test is skipped where there is none.

    Args:
      folder: for the browser's profile.
      url: the page's.
      size: (height, width) of the window in pixels.
    """

    def __init__(self, folder, url, size=(520, 1280)):
        browser = next(filter(None, map(shutil.which, NAMES)), None)
        if browser is None:
            pytest.skip("no Chromium on this machine")
        self._browser, self._folder, self._url, self._size = browser, folder, url, size
        self._number, self._session = 0, {}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _start(self, stack):
        to_browser, commands = os.pipe()
        answers, from_browser = os.pipe()
        arguments = [*FLAGS, f"--user-data-dir={self._folder}"]
        arguments.append(f"--window-size={self._size[1]},{self._size[0]}")
        pipes = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'  # where it looks for them
        process = subprocess.Popen(
            ["bash", "-c", pipes, "-", self._browser, *arguments],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        os.close(to_browser)
        os.close(from_browser)
        self._commands = stack.enter_context(os.fdopen(commands, "wb", buffering=0))
        self._answers = stack.enter_context(os.fdopen(answers, "rb"))
        target = self._ask("Target.createTarget", url=self._url)["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}

    def _ask(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._number:
                return answer["result"]

    def _message(self):
        content = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            content += byte
        return content

    def value(self, expression):
        """Returns the value of an expression in JavaScript."""
        return self._ask("Runtime.evaluate", expression=expression)["result"].get("value")

    def wait_until(self, expression):
        """Waits until an expression in JavaScript is true."""
        end = time.monotonic() + WAIT_SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression} stays {self.value(expression)}"
            time.sleep(0.1)

    def screenshot(self):
        """Returns a picture of the window, uint8 RGB [H, W, 3]."""
        data = base64.b64decode(self._ask("Page.captureScreenshot")["data"])
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)

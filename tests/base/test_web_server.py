"""The web server: its answers, refusals, slow clients, and its end."""

import contextlib
import http.client
import itertools
import socket
import threading
import urllib.error
import urllib.request

import pytest

from jitnet_tf.base import web_server
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.web_server import WebServer


@pytest.fixture
def serve():
    """Starts a server with the given routes; it is closed at the test's end."""
    with contextlib.ExitStack() as stack:

        def start(routes, bind="127.0.0.1"):
            server = WebServer("preview_port", 0, bind, routes)
            stack.callback(server.close)
            return server

        yield start


def get(server, path="", host=None):
    """Returns the status and content of a path."""
    headers = {"Host": host} if host is not None else {}
    request = urllib.request.Request(server.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def hello():
    return "text/plain", b"hello"


def test_answers_its_paths_alone(serve):
    parts = lambda: ("text/plain", (part for part in (b"a", b"b")))  # noqa: E731
    server = serve({"/": hello, "/more": parts})
    assert get(server) == get(server, "?x=1") == (200, b"hello")
    assert get(server, "more") == (200, b"ab")
    for path in ("other", "../etc/passwd", "%2e%2e/etc/passwd", "more/../../etc/passwd"):
        assert get(server, path)[0] == 404


def test_other_methods_are_refused(serve):
    server = serve({"/": hello})
    connection = http.client.HTTPConnection(server.url.split("/")[2])
    with contextlib.closing(connection):
        connection.request("POST", "/", b"x")
        assert connection.getresponse().status == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 200) for name in ("localhost", "localhost:8000", "127.0.0.1:1", "[::1]:1")),
        *((name, 421) for name in ("evil.example", "evil.example:80", "10.0.0.1", "[::", "a@b")),
    ],
)
def test_a_loopback_address_is_asked_for_by_its_own_names(serve, host, status):
    assert get(serve({"/": hello}), host=host)[0] == status


def test_a_public_address_takes_any_name(serve):
    server = serve({"/": hello}, bind="0.0.0.0")
    assert "--bind=0.0.0.0: anyone" in server.problems[0]
    port = server.url.rstrip("/").rpartition(":")[2]
    with urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{port}", headers={"Host": "box.example"})
    ) as answer:
        assert answer.read() == b"hello"


def test_the_port_in_use_is_refused_and_free_after_close():
    first = WebServer("metrics_port", 0, "127.0.0.1", {})
    port = int(first.url.rstrip("/").rpartition(":")[2])
    assert first.problems == []
    with pytest.raises(UserError, match=f"--metrics_port={port} .*in use"):
        WebServer.check("metrics_port", port, "127.0.0.1")
    first.close()
    WebServer.check("metrics_port", port, "127.0.0.1")


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(UserError, match=f"--metrics_port={port} .*0 to 65535"):
        WebServer.check("metrics_port", port, "127.0.0.1")


@pytest.mark.parametrize("bind", ["192.0.2.1", "a" * 70, ""])
def test_an_address_of_another_machine_is_refused(bind):
    with pytest.raises(UserError, match=f"--preview_port=0 .*--bind={bind} "):
        WebServer.check("preview_port", 0, bind)


def test_close_ends_clients_that_say_nothing_or_wait(serve):
    ended = threading.Event()

    def endless():
        try:
            yield b"first"
            ended.wait()
        finally:
            ended.set()

    server = serve({"/": lambda: ("text/plain", endless())})
    address = server.url.split("/")[2].split(":")
    with socket.create_connection((address[0], int(address[1]))) as silent:
        with urllib.request.urlopen(server.url) as waiting:
            assert waiting.read(5) == b"first"
            ended.set()
            server.close()
            assert waiting.read() == b""
        assert silent.recv(1) == b""
    server.close()


def test_a_client_that_takes_nothing_is_dropped(serve, monkeypatch):
    monkeypatch.setattr(web_server._Handler, "timeout", 0.2)
    ended = threading.Event()

    def much():
        try:
            for _ in itertools.count():
                yield bytes(1 << 20)
        finally:
            ended.set()

    server = serve({"/": lambda: ("text/plain", much())})
    with urllib.request.urlopen(server.url):  # and never reads on
        assert ended.wait(60)


def test_too_many_clients_are_hung_up_on(serve, monkeypatch):
    monkeypatch.setattr(web_server, "MOST_CLIENTS", 1)
    server = serve({"/": hello})
    host, port = server.url.split("/")[2].split(":")
    refused = pytest.raises((ConnectionError, urllib.error.URLError))
    with socket.create_connection((host, int(port))), refused:
        get(server)

"""A small web server in threads, for pages that show what a run does; it serves no files."""

import contextlib
import http.server
import ipaddress
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable, Generator
from http import HTTPStatus

from jitnet_tf.base.errors import UserError

LAST_PORT = 65535
SECONDS = 10  # for a request, and for a client to take what it is sent
MOST_CLIENTS = 32  # at a time
MOST_STREAMS = 24  # of these that are sent a stream, which leaves room for figures
SEND_BUFFER = 1 << 18  # bytes; more would only make a slow client's pictures older
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'self'",
    # No other website may show it.
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# Returns the content type and the content; a generator's parts are sent one after the other.
Route = Callable[[], tuple[str, bytes | Generator[bytes, None, None]]]


class WebServer:
    """Answers GET on fixed paths until `close`.

    On a loopback address it also refuses requests by another name than localhost's, so that no
    website can have a browser read it (DNS rebinding).

    Args:
      flag: that named the port, for messages.
      port: 0 takes a free one.
      bind: address of this machine.
      routes: path, such as "/", to what answers it. A route runs in its client's thread. One that
        returns a generator has to end it before `close`.

    Attributes:
      url: of the path "/".
      problems: a sentence if other machines may reach it.

    Raises:
      UserError: the port is in use, or the address is none of this machine.
    """

    def __init__(self, flag: str, port: int, bind: str, routes: dict[str, Route]):
        try:
            if not bind:
                raise ValueError("no address")
            if not 0 <= port <= LAST_PORT:
                raise ValueError(f"ports are 0 to {LAST_PORT}")
            family, *_, address = socket.getaddrinfo(
                bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._server = _Server(family, address, routes)
        except (OSError, ValueError) as error:  # UnicodeError: no name at all
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"--{flag}={port} cannot be served at --bind={bind} ({reason}): give a free port, "
                "0 for any, and an address of this machine"
            ) from None
        host = ipaddress.ip_address(address[0].partition("%")[0])
        self._server.is_public = not host.is_loopback
        self.problems = []
        if self._server.is_public:
            self.problems.append(
                f"--{flag} is served at --bind={bind}: anyone who can reach this machine sees it, "
                "without a password"
            )
        name = socket.gethostname() if host.is_unspecified else str(host)
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{self._server.server_port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=flag, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends all connections and frees the port. A second call does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    @staticmethod
    def check(flag: str, port: int, bind: str) -> None:
        """Raises UserError if the port cannot be served."""
        WebServer(flag, port, bind, {}).close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # `server_close` waits for them

    def __init__(self, family, address, routes):
        self.address_family = family
        self.routes = routes
        self.is_public = True
        self._clients: set[socket.socket] = set()
        self.streams = threading.Semaphore(MOST_STREAMS)
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self):
        # Not http.server's, which looks up the host's name.
        super(http.server.HTTPServer, self).server_bind()
        self.server_port = self.server_address[1]

    def process_request(self, request, client_address):
        """Starts a client's thread, unless there are too many."""
        with self._lock:
            admitted = len(self._clients) < MOST_CLIENTS
            if admitted:
                self._clients.add(request)
        if not admitted:
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        """Ends a client's connection."""
        with self._lock:
            self._clients.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        """Ends what clients are waiting for, so that their threads end."""
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """Says nothing of clients that have gone."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = SECONDS  # of each reading and sending
    server_version, sys_version = "jitnet_tf", ""

    def setup(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().setup()

    def do_GET(self):
        """Answers one request."""
        if not self._is_addressed():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        route = self.server.routes.get(urllib.parse.urlsplit(self.path).path)
        if route is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content_type, content = route()
        if isinstance(content, bytes):
            self._answer(content_type, content)
            return
        with contextlib.closing(content):
            if not self.server.streams.acquire(blocking=False):
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            try:
                self._answer(content_type, None)
                for part in content:
                    self.wfile.write(part)
            finally:
                self.server.streams.release()

    def _answer(self, content_type, content):
        """Sends the headers, and the content if it is known."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if content is not None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if content is not None:
            self.wfile.write(content)

    def _is_addressed(self):
        """Returns whether the request is by a name that only this machine's user can have given."""
        if self.server.is_public or not (host := self.headers.get("Host")):
            return True
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def log_message(self, format, *args):
        """Logs nothing."""

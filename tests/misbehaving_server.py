"""A local HTTP server with faults that a test chooses."""

import contextlib
import http.server
import re
import threading


class Server(http.server.ThreadingHTTPServer):
    """Serves `body` at any path, with the faults that its attributes describe."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = b""
        self.honors_ranges = True
        self.lengths = True  # whether Content-Length is sent
        self.chunked = False
        self.statuses = []  # of the next responses, instead of success
        self.cuts = []  # of the next responses: bytes after which the connection is closed
        self.shift = 0  # added to the first byte in Content-Range
        self.requests = []  # headers of each
        self.before = self.after = lambda: None  # called around a response

    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file"

    def asked(self):
        """Returns the Range header of each request so far."""
        return [headers["Range"] for headers in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers)
        server.before()
        if status := server.statuses.pop(0) if server.statuses else 0:
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        start = 0
        if server.honors_ranges and self.headers["Range"]:
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
        rest = server.body[start:]
        total = len(server.body)
        if start and not rest:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            claimed = start + server.shift
            self.send_header("Content-Range", f"bytes {claimed}-{total - 1}/{total}")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif server.lengths:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if server.chunked:
            rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)
        self.wfile.write(rest[: server.cuts.pop(0)] if server.cuts else rest)
        server.after()


@contextlib.contextmanager
def running():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()

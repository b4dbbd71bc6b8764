"""A local camera with as much RTSP as FFmpeg needs, which then closes the connection."""

import contextlib
import re
import socketserver
import struct
import threading

DESCRIPTION = "\r\n".join(
    [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=camera",
        "t=0 0",
        "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        "a=control:track",
        "",
    ]
)
HEADERS = {
    "OPTIONS": ["Public: OPTIONS, DESCRIBE, SETUP, PLAY"],
    "DESCRIBE": ["Content-Type: application/sdp", f"Content-Length: {len(DESCRIPTION)}"],
    "SETUP": ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"],
}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while request := self.rfile.readline().decode():
            method = request.split()[0]
            headers = {}
            while line := self.rfile.readline().decode().strip():
                name, _, headers[name] = line.partition(": ")
            answer = ["RTSP/1.0 200 OK", f"CSeq: {headers['CSeq']}", "Session: 1"]
            answer += HEADERS.get(method, [])
            body = DESCRIPTION if method == "DESCRIBE" else ""
            self.wfile.write("\r\n".join([*answer, "", body]).encode())
            if method == "PLAY":
                self.play()
                return

    def play(self):
        """Sends an RTP packet for each unit of the H.264 stream, at 30 frames a second."""
        units = [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", self.server.h264)[1:]]
        time = 0
        for number, unit in enumerate(units):
            is_picture = unit[0] & 31 in (1, 5)
            kind = 96 | 128 * is_picture  # 128: the last of its frame
            packet = struct.pack(">BBHII", 128, kind, number, time, 7) + unit
            self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
            time += 3000 * is_picture


@contextlib.contextmanager
def running(h264):
    """Yields the URL of a camera that sends an H.264 stream, one unit a frame, once."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.h264 = True, h264
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/camera"
        server.shutdown()
        thread.join()

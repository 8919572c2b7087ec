"""The app of the tests: GET / says its release, slow and plain; SIGTERM lets requests finish.

serve.py [--port PORT]    without it the environment's PORT
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RELEASE = os.environ.get("RELCTL_RELEASE", "old")  # old: before relctl there was no such variable
PORT = sys.argv[2] if sys.argv[1:2] == ["--port"] else os.environ["PORT"]
BROKEN = Path("broken")


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path != "/ready":
            time.sleep(0.005)
        failing = self.path != "/ready" and BROKEN.exists()
        body = f"{RELEASE} {os.getpid()}\n".encode()
        self.send_response(500 if failing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(PORT)), Answer)
    server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"{RELEASE} serves with {sys.version.split()[0]}", flush=True)
    server.serve_forever(0.05)
    server.server_close()


main()

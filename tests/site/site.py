"""A site nginx as on a real machine, in a directory of its own, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

NGINX = "/usr/sbin/nginx"

CONFIG = """\
{user}
daemon off;
pid nginx.pid;
error_log error.log notice;
worker_processes {workers};
worker_rlimit_nofile 16384;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_max_body_size 64m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl{http2_listen};
        {http2_directive}
        server_name www.example.com localhost;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        location / {{ proxy_pass {upstream}; }}
        location /upload {{ proxy_request_buffering off; proxy_pass {upstream}; }}
        location /sse {{ proxy_buffering off; proxy_pass {upstream}; }}
    }}
}}
"""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on. All are held until all are chosen, so they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def nginx_version() -> tuple[int, ...]:
    text = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", text)
    assert found is not None, text
    return tuple(int(part) for part in found.groups())


def wait_until(met: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Raises TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not met():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.005)


class Site:
    """`with Site(gate_port) as site:` → `site.port` (HTTP/1.1), `site.tls_port` (TLS, HTTP/2 or 1.1).

    Its workers run as www-data when the caller is root, so its directory is not under pytest's private one.
    """

    def __init__(self, upstream_port: int, *, workers: int = 2) -> None:
        self.upstream_port = upstream_port
        self.workers = workers
        self.port, self.tls_port = 0, 0
        self.prefix = Path()
        self.master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it accepts connections; raises RuntimeError with nginx's words if it does not."""
        self.port, self.tls_port = free_ports(2)
        self.prefix = Path(tempfile.mkdtemp(prefix="relctl-site-"))
        self.prefix.chmod(0o711)
        self.make_certificate()
        self.write_config()
        command = [NGINX, "-p", f"{self.prefix}/", "-c", "nginx.conf", "-e", "error.log"]
        with (self.prefix / "stderr.log").open("wb") as stderr:
            self.master = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        try:
            wait_until(self.accepts, "the site's nginx accepts")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """At once, as `nginx -s stop`; removes the directory."""
        if self.master is not None:
            workers = self.worker_pids()
            self.master.terminate()
            try:
                self.master.wait(5)
            except subprocess.TimeoutExpired:
                for pid in [*workers, self.master.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.master.wait()
            self.master = None
        shutil.rmtree(self.prefix, ignore_errors=True)

    def reload(self) -> float:
        """`nginx -s reload`; returns once a new worker runs. Gives the monotonic time of the signal."""
        before = set(self.worker_pids())
        at = time.monotonic()
        self.command("-s", "reload")
        wait_until(
            lambda: bool(set(self.worker_pids()) - before), "a new worker of the site's nginx"
        )
        return at

    def change_upstream(self, port: int) -> float:
        """What people do without relctl: rewrite `proxy_pass`, test, reload."""
        self.upstream_port = port
        self.write_config()
        self.command("-t", "-q")
        return self.reload()

    def errors(self) -> str:
        """The error log, without notices."""
        text = (self.prefix / "error.log").read_text(errors="replace")
        return "".join(line for line in text.splitlines(keepends=True) if "[notice]" not in line)

    def accepts(self) -> bool:
        assert self.master is not None
        if self.master.poll() is not None:
            raise RuntimeError(
                f"nginx ended with {self.master.returncode}: {(self.prefix / 'stderr.log').read_text()}"
            )
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.tls_port)) == 0 and bool(self.worker_pids())

    def worker_pids(self) -> list[int]:
        assert self.master is not None
        pid = self.master.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        return [int(child) for child in children.split()]

    def command(self, *arguments: str) -> None:
        subprocess.run(
            [NGINX, "-p", f"{self.prefix}/", "-c", "nginx.conf", "-e", "error.log", *arguments],
            check=True,
            capture_output=True,
        )

    def write_config(self) -> None:
        own_directive = nginx_version() >= (1, 25, 1)
        text = CONFIG.format(
            user="user www-data;" if os.geteuid() == 0 else "",
            workers=self.workers,
            port=self.port,
            tls_port=self.tls_port,
            http2_listen="" if own_directive else " http2",
            http2_directive="http2 on;" if own_directive else "",
            upstream=f"http://127.0.0.1:{self.upstream_port}",
        )
        staged = self.prefix / "nginx.conf.new"
        staged.write_text(text)
        staged.replace(self.prefix / "nginx.conf")

    def make_certificate(self) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
                *("-subj", "/CN=www.example.com", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(self.prefix / "key.pem"), "-out", str(self.prefix / "cert.pem")),
            ],
            check=True,
            capture_output=True,
        )

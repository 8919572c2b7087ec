"""An app on a Unix socket and files from disk, with everybody's sandbox on: reld's, the gate's, the app's."""

from __future__ import annotations

import pytest

from tests.vm import machine
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

APP = """\
import os, socketserver, sys
from http.server import BaseHTTPRequestHandler

os.umask(0o077)

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['RELCTL_RELEASE']} {'PORT' in os.environ} {os.environ['SOCKET']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "-"

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 1024

Server(sys.argv[1], Answer).serve_forever()
"""
COMMAND = '["/usr/bin/python3", "serve.py"]'
ON_A_SOCKET = '["/usr/bin/python3", "on_a_socket.py", "{socket}"]'
STATIC = '[gate]\nstatic = [{ url = "/assets/", dir = "public" }]\n'
SANDBOX = "/etc/systemd/system/relctl-web-.service.d/sandbox.conf"


def asset(box: Box, name: str) -> str:
    code = (
        "import sys, urllib.request as u\n"
        "r = u.Request('http://127.0.0.1/assets/' + sys.argv[1])\n"
        "r.add_header('Host', 'www.example.com')\n"
        "print(u.urlopen(r, timeout=10).read().decode())\n"
    )
    return box.run("/usr/bin/python3", "-c", code, name).stdout.strip()


def test_sockets_and_files_work_through_every_sandbox_a_crash_and_a_reboot(serving: Box):
    for release in ("v1", "v2"):
        serving.write(f"/srv/web/releases/{release}/on_a_socket.py", APP)
        serving.write(f"/srv/web/releases/{release}/public/{release}.js", f"{release} from disk")
    serving.write("/etc/relctl/web.toml", machine.CONFIG.replace(COMMAND, ON_A_SOCKET) + STATIC)
    serving.put(machine.EXAMPLES / "app-sandbox.conf", SANDBOX)
    serving.sh("systemctl daemon-reload; systemctl restart reld@web")
    with machine.Load(serving) as load:
        serving.sh("relctl switch v2 2>&1")
        serving.sh("relctl switch v1 2>&1; relctl rollback 2>&1", timeout=120)
    assert load.lost == []
    assert machine.release(serving) == "v2"
    said = serving.sh("find /run/relctl/web/sockets -printf '%P %u %g %m\\n'").splitlines()
    assert said[0] == " root root 755"
    now = machine.status(serving)
    for instance in now["slots"][now["live"]]["instances"]:
        number = instance["socket"].split("/")[-2]
        assert f"{number} web relctl-gate 750" in said
        assert f"{number}/app.sock web web 766" in said
    eve = "useradd -m eve 2>/dev/null; runuser -u eve -- ls /run/relctl/web/sockets/* 2>&1 || true"
    assert "Permission denied" in serving.sh(eve)
    assert [asset(serving, f"{name}.js") for name in ("v1", "v2")] == [
        "v1 from disk",
        "v2 from disk",
    ]

    before = machine.pids(serving)
    serving.sh(f"kill -9 {min(before)}")
    machine.until("a new one", lambda: len(machine.pids(serving) - {min(before)}) == 2)
    serving.reboot()
    machine.until("the app after the reboot", lambda: machine.release(serving) == "v2", 60)
    assert asset(serving, "v2.js") == "v2 from disk"

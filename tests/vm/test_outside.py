"""What leaves the machine, from inside the sandbox of reld's unit: webhook, command, file of metrics."""

from __future__ import annotations

import json
import time

from tests.vm.box import Box

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open("/srv/told/hook", "ab").write(body + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("0.0.0.0", 8099), Handler).serve_forever()
"""
TELL = """#!/bin/sh
id -un >> /srv/told/users
cat >> /srv/told/command
cat /proc/self/cgroup >> /srv/told/cgroup
"""
TABLES = """
[metrics]
textfile = "/var/lib/node-exporter/relctl-web.prom"
[[notify]]
url = "http://localhost:8099/hook"
[[notify]]
command = ["/usr/local/bin/tell"]
"""


def told(box: Box, name: str) -> list[dict[str, object]]:
    said = box.sh(f"cat /srv/told/{name} 2>/dev/null || true")
    return [json.loads(line) for line in said.splitlines()]


def wait_for_trouble(box: Box, name: str, what: str) -> None:
    deadline = time.monotonic() + 60
    while what not in {message["what"] for message in told(box, name)}:
        assert time.monotonic() < deadline, (name, told(box, name))
        time.sleep(0.2)


def test_others_are_told_from_inside_the_sandbox_and_of_a_reboot(serving: Box):
    serving.sh("install -d -m 1777 /srv/told; install -d /var/lib/node-exporter")
    serving.write("/usr/local/bin/tell", TELL, 0o755)
    serving.write("/usr/local/lib/hook.py", SERVER)
    serving.write(
        "/etc/systemd/system/hook.service",
        "[Service]\nExecStart=/usr/bin/python3 /usr/local/lib/hook.py\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    serving.sh("systemctl enable --quiet --now hook")
    config = serving.sh("cat /etc/relctl/web.toml")
    serving.write("/etc/relctl/web.toml", f"{config}\n{TABLES}")
    serving.sh("systemctl restart reld@web")
    serving.sh(
        "for n in $(seq 100); do curl -so /dev/null localhost:8099 && break; sleep 0.1; done || true"
    )
    said = json.loads(serving.sh("relctl notify --test --json"))
    assert [t["answer"] for t in said["targets"]] == ["200 OK", "exit code 0"], said
    assert serving.sh("sort -u /srv/told/users").strip() == "relctl-notify"
    assert "relctl-web-run-" in serving.sh("cat /srv/told/cgroup")
    serving.sh("relctl switch v2 --now 2>&1")
    for name in ("hook", "command"):
        wait_for_trouble(serving, name, "done")
    page = serving.sh(
        "for n in $(seq 200); do cat /var/lib/node-exporter/*.prom && break; sleep 0.1; done"
    )
    assert 'reld_up{app="web"} 1.0' in page
    assert serving.sh("stat -c %a /var/lib/node-exporter/relctl-web.prom").strip() == "644"
    serving.reboot()
    for name in ("hook", "command"):
        wait_for_trouble(serving, name, "rebooted")

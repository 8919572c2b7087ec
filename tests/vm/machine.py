"""What a person does on a box, in words: the package, a site with an app, load, looking at status."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.vm.box import Box
from tests.vm.inside import run_pytest  # noqa: F401  one more thing that is done with a box

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "packaging/examples"
RELEASES = ("v1", "v2", "v3")
CONFIG = """\
[app]
command = ["/usr/bin/python3", "serve.py"]
directory = "/srv/web/releases/{release}"
user = "web"
instances = 2
[readiness]
path = "/ready"
[rollout]
steps = [20, 50, 100]
step_time = "1s"
step_requests = 0
bake = "2s"
drain = "1s"
"""


OLD_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 /srv/myapp/serve.py --port 8000
User=web
Restart=always
[Install]
WantedBy=multi-user.target
"""


def version(deb: Path) -> str:
    return deb.name.split("_")[1]


def add_package(box: Box, deb: Path) -> None:
    box.put(deb, f"/srv/{deb.name}")


def apt(box: Box, what: str) -> str:
    return box.sh(f"DEBIAN_FRONTEND=noninteractive apt-get -y {what} 2>&1", timeout=300)


def add_site(box: Box) -> None:
    """A site on port 80 as in the examples, and three releases of an app."""
    box.sh("useradd --system --user-group web; rm /etc/nginx/sites-enabled/default")
    box.put(EXAMPLES / "site.conf", "/etc/nginx/sites-enabled/web")
    for release in RELEASES:
        box.put(HERE / "serve.py", f"/srv/web/releases/{release}/serve.py")
    box.put(HERE / "load.py", "/srv/load.py")
    box.write("/etc/relctl/web.toml", CONFIG)
    box.sh("nginx -t 2>&1 && systemctl reload nginx")


def add_old_app(box: Box) -> None:
    """As it was before relctl: a unit that somebody wrote by hand, on port 8000, behind the site."""
    box.sh("useradd --system --user-group web; rm -f /etc/nginx/sites-enabled/default")
    site = (EXAMPLES / "site.conf").read_text().replace("127.0.0.1:8080", "127.0.0.1:8000")
    box.write("/etc/nginx/sites-enabled/web", site)
    box.put(HERE / "serve.py", "/srv/myapp/serve.py")
    box.put(HERE / "load.py", "/srv/load.py")
    box.write("/etc/systemd/system/myapp.service", OLD_UNIT)
    box.sh("systemctl daemon-reload; systemctl enable --quiet --now myapp; nginx -t 2>&1")
    box.sh("systemctl reload nginx")
    until("the old app to serve", lambda: release(box) == "old")


def status(box: Box) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(box.sh("relctl status --json"))
    return answer


def pids(box: Box) -> set[int]:
    """Of the live slot's instances that run."""
    now = status(box)
    live = now["slots"][now["live"]] if now["live"] else {"instances": []}
    return {i["pid"] for i in live["instances"] if i["state"] == "ready"}


def phase(box: Box) -> str | None:
    """Of the rollout that runs."""
    rollout = status(box)["rollout"]
    return str(rollout["phase"]) if rollout else None


def percent(box: Box) -> int:
    """Of the traffic that the candidate of the rollout that runs has."""
    rollout = status(box)["rollout"]
    return int(rollout["percent"]) if rollout else 0


def shares(box: Box) -> set[str]:
    """What all lanes that there are say: 000 is nothing for a candidate."""
    return set(box.sh("readlink /run/relctl/web/lanes/*/current || true").split())


def release(box: Box) -> str:
    """What a visitor gets: the name of the release, or the status code."""
    code = (
        "import urllib.request as u, urllib.error as e\n"
        "r = u.Request('http://127.0.0.1/', headers={'Host': 'www.example.com'})\n"
        "try: print(u.urlopen(r, timeout=10).read().decode().split()[0])\n"
        "except e.HTTPError as error: print(error.code)\n"
        "except OSError as error: print(error)\n"
    )
    return box.run("/usr/bin/python3", "-c", code).stdout.strip()


def until(what: str, look: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true answer. Raises AssertionError with the last one."""
    last: object = None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            last = look()
            if last:
                return last
        except (AssertionError, KeyError, ValueError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:g} s, at last {last!r}")


class Load:
    """Keep-alive clients inside the box, from `with` to its end."""

    def __init__(self, box: Box, clients: int = 8) -> None:
        self._box = box
        self._clients = clients
        self.said: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._running: subprocess.Popen[str] = self._box.start(
            "--unit=load", "/usr/bin/python3", "/srv/load.py", "300", str(self._clients)
        )
        until("the load to begin", lambda: self._box.sh("pgrep -f /srv/load.py"))
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._box.run("systemctl", "kill", "--signal=TERM", "load.service")
        said, wrong = self._running.communicate(timeout=60)
        assert said, wrong
        self.said = json.loads(said)

    @property
    def lost(self) -> list[str]:
        """What a browser's user would have seen."""
        return list(self.said["failed"])

    @property
    def stale(self) -> list[float]:
        """When a kept connection was found closed; seconds since 1970."""
        return list(self.said["stale"])

    @property
    def failed(self) -> list[str]:
        """As seen by a client that never sends anything twice."""
        return [*self.lost, *(f"a kept connection was closed at {at}" for at in self.stale)]

    @property
    def answers(self) -> dict[str, int]:
        return dict(self.said["answers"])

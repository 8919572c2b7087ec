"""`relctl init` and `relctl check` on a real machine: a unit that somebody wrote by hand, and what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vm import machine, roots
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

HURRY = " --steps 50,100 --step-time 1s --step-requests 0 --bake 1s --drain 1s"


@pytest.mark.parametrize("suite", roots.SUITES)
def test_what_init_says_is_typed_and_the_old_app_moves_in(suite: str, deb: Path) -> None:
    with Box([roots.build(roots.server(suite))]) as box:
        box.boot()
        machine.apt(box, "install nginx python3")
        machine.add_old_app(box)
        machine.add_package(box, deb)
        machine.apt(box, f"install /srv/{deb.name}")
        told = json.loads(box.sh("relctl init --json"))
        assert told["app"] == "myapp"
        config = told["config"]
        assert (
            'command = ["/usr/bin/python3", "{directory}/serve.py", "--port", "{port}"]' in config
        )
        assert 'unit = "myapp.service"' in config
        assert 'user = "web"  # who runs it today (myapp.service)' in config
        assert 'host = "www.example.com"' in config
        assert told["wrong"] == []
        for line in told["next"]:
            typed = line.removeprefix("sudo ").replace("&& sudo ", "&& ")
            if not typed.startswith("sudoedit "):
                box.sh(typed + (HURRY if "switch" in typed else ""))
        assert machine.release(box) == "v1"
        box.sh("systemctl disable --quiet --now myapp")
        assert machine.release(box) == "v1"
        # It is there now: nothing is ever written over.
        assert "nothing is ever overwritten" in box.sh("relctl init myapp --write 2>&1 || true")
        _looks_well(box, "myapp")


def _looks_well(box: Box, app: str) -> None:
    findings = json.loads(box.sh(f"relctl --app {app} check --json"))["findings"]
    assert [f for f in findings if f["level"] == "error"] == []
    texts = " | ".join(f["text"] for f in findings)
    assert "could not be looked at" not in texts, texts
    for words in (
        "systemd keeps the app and its gate",
        "it is started at boot",
        "www.example.com leads to the gate (/etc/nginx/sites-enabled/web:",
        "the control socket is open to root and to group relctl",
    ):
        assert words in texts, texts


def test_check_finds_what_is_wrong_with_a_real_machine(serving: Box) -> None:
    _looks_well(serving, "web")
    serving.sh(
        "systemctl disable --quiet reld@web; chmod 777 /srv/web/releases; chmod 700 /srv/web"
    )
    serving.sh("sed -i 's|127.0.0.1:8080|localhost:8080|' /etc/nginx/sites-enabled/web")
    said = serving.sh("relctl check; echo exit $?")
    for words in (
        "reld@web is disabled",
        "next: sudo systemctl enable reld@web",
        "everybody on this machine can put releases into /srv/web/releases",
        "www.example.com says localhost",
        "exit 9",
    ):
        assert words in said, said
    # Who may not ask is told how he may, and what can be told without.
    serving.sh("useradd -m -s /bin/bash guest")
    said = serving.sh("runuser -u guest -- relctl check; echo exit $?")
    assert "sudo adduser guest relctl" in said, said
    assert "exit 9" in said
    serving.sh("systemctl stop reld@web.socket reld@web 2>&1")
    said = " ".join(serving.sh("relctl check; echo exit $?").split())
    assert "reld@web is inactive (dead)" in said, said
    assert "users are served, reld or no reld" in said, said
    assert "/etc/relctl/web.toml loads" in said, said

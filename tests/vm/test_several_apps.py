"""Two apps on one booted machine: each has its own ports, gate, lanes, log, state and socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm import machine
from tests.vm.box import Box

BLOG = machine.CONFIG.replace("/srv/web/", "/srv/blog/").replace('"web"', '"blog"')
LISTEN = '[gate]\nlisten = "127.0.0.1:8090"\n'
RELEASES = ("b1", "b2")


def add_blog(box: Box) -> None:
    box.sh("useradd --system --user-group blog")
    for release in RELEASES:
        box.put(machine.HERE / "serve.py", f"/srv/blog/releases/{release}/serve.py")
    box.write("/etc/relctl/blog.toml", BLOG + LISTEN)


@pytest.fixture
def both(serving: Box) -> Box:
    """web with v1 on :8080, blog with b1 on :8090."""
    add_blog(serving)
    serving.sh("systemctl enable --quiet --now reld@blog && relctl --app blog switch b1 2>&1")
    return serving


def status(box: Box, app: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(box.sh(f"relctl --app {app} status --json"))
    return found


def ports(box: Box, app: str) -> set[int]:
    slots = status(box, app)["slots"].values()
    return {i["port"] for slot in slots for i in slot["instances"]}


def answer(box: Box, port: int) -> str:
    code = (
        f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/').read().decode())"
    )
    said = box.run("/usr/bin/python3", "-c", code)
    return (said.stdout.split() or [said.stderr[-200:]])[0]


def test_without_a_name_relctl_says_which_apps_there_are(both: Box):
    said = both.run("relctl", "status")
    assert said.returncode == 2
    assert "there are blog, web" in said.stderr
    assert status(both, "blog")["release"] == "b1"
    assert both.sh("RELCTL_APP=web relctl status --json").startswith("{")
    lines = both.sh("relctl apps").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["blog", "b1"], ["web", "v1"]]


def test_an_app_that_comes_later_moves_nobody(both: Box):
    """`blog` comes before `web` in the alphabet, and neither names a range."""
    web = ports(both, "web")
    both.sh("systemctl restart reld@web; relctl --app web switch v2 2>&1")
    assert all(21000 <= port <= 21099 for port in web | ports(both, "web"))
    assert all(21100 <= port <= 21199 for port in ports(both, "blog"))


def test_two_rollouts_at_once_are_both_done_and_lose_nothing(both: Box):
    with machine.Load(both) as load:
        other = both.start("relctl", "--app", "blog", "switch", "b2")
        both.sh("relctl --app web switch v2 2>&1")
        said, wrong = other.communicate(timeout=60)
        assert other.returncode == 0, said + wrong
    assert load.failed == []
    assert load.answers.keys() == {"v1", "v2"}
    assert (answer(both, 8080), answer(both, 8090)) == ("v2", "b2")


def test_a_killed_reld_is_nothing_to_the_others_rollout(both: Box):
    both.sh("relctl --app blog switch b2 --step-time 20s --no-wait")
    machine.until("traffic to move", lambda: status(both, "blog")["rollout"]["percent"])
    with machine.Load(both) as load:
        web = both.start("relctl", "--app", "web", "switch", "v2")
        both.sh("systemctl kill --signal=KILL --kill-whom=main reld@blog")
        said, wrong = web.communicate(timeout=60)
        assert web.returncode == 0, said + wrong
    assert load.failed == []
    assert machine.until("blog's reld", lambda: status(both, "blog")["rollout"])["to"] == "b2"


def test_a_reboot_brings_both_back_with_their_own_releases(both: Box):
    both.sh("relctl --app web switch v2 2>&1")
    before = {app: ports(both, app) for app in ("web", "blog")}
    both.reboot()
    machine.until("v2 to serve", lambda: answer(both, 8080) == "v2")
    machine.until("b1 to serve", lambda: answer(both, 8090) == "b1")
    for app in ("web", "blog"):
        machine.until(f"{app} to be whole", lambda app=app: status(both, app)["degraded"] is None)
        assert ports(both, app) == before[app]
    assert both.sh("systemctl --failed --no-legend") == ""


def test_a_reboot_in_the_middle_of_two_rollouts_takes_both_back(both: Box):
    both.sh("relctl --app web switch v2 --step-time 60s --no-wait")
    both.sh("relctl --app blog switch b2 --step-time 60s --no-wait")
    for app in ("web", "blog"):
        machine.until("traffic to move", lambda app=app: status(both, app)["rollout"]["percent"])
    both.reboot()
    for app, old, port in (("web", "v1", 8080), ("blog", "b1", 8090)):
        machine.until("the end", lambda app=app: status(both, app)["rollout"] is None, 60)
        assert status(both, app)["release"] == old
        machine.until(f"{old} to serve", lambda old=old, port=port: answer(both, port) == old)


def test_each_app_has_its_own_log(both: Box):
    web = both.sh("relctl --app web logs")
    blog = both.sh("relctl --app blog logs")
    assert "v1 serves" in web
    assert "b1" not in web
    assert "b1 serves" in blog
    assert "v1" not in blog


def test_a_config_that_wants_the_gate_of_another_app_is_refused_and_the_other_one_stays(both: Box):
    both.write("/etc/relctl/copy.toml", BLOG + LISTEN)
    both.sh("systemctl start --no-block reld@copy; sleep 2")
    said = both.sh("journalctl -u reld@copy --no-pager")
    assert "copy.toml" in said
    assert "127.0.0.1:8090 is taken by blog (blog.toml)" in said
    both.sh("systemctl restart reld@blog && relctl --app blog switch b2 2>&1")
    assert answer(both, 8090) == "b2"


def test_the_user_of_one_app_can_do_nothing_to_the_other(both: Box):
    """Neither its files, nor its lanes, nor its socket, nor its processes."""
    tries = (
        "cat /var/lib/relctl/blog/state.db",
        "ls /var/lib/relctl",
        "cat /var/lib/relctl/blog/ports.json",
        "touch /run/relctl/blog/x",
        "find /run/relctl/blog/lanes -mindepth 1 -delete -print | grep .",
        "relctl --app blog status",
        "pkill -u blog",
        "flock -n /var/lib/relctl true",
    )
    for tried in tries:
        said = both.run("/bin/bash", "-c", tried, user="web")
        assert said.returncode != 0, f"{tried}: {said.stdout}"
    assert answer(both, 8090) == "b1"

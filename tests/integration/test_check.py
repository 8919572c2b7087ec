"""`relctl check` of a real reld with a real gate, a real site and a real app."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from reld import aside as asides
from reld.aside import HangsError, aside
from tests.rig import FAST, Rig, fast, wait_for
from tests.site import Site

SMOKE = '[[smoke]]\nname = "login"\nmethod = "POST"\npath = "/login"\nbody = "user=probe"\n'
SOUND = fast(drain_max="60s") + SMOKE


def wrong(rig: Rig) -> list[str]:
    """What is not fine. The host, and a group that this machine may not have, are not the rig's."""
    findings = rig.relctl("check", "--json").json["findings"]
    return [
        f"{f['area']} {f['level']} {f['text']} | {f['mend']}"
        for f in findings
        if f["level"] != "ok" and f["area"] not in ("host", "permissions")
    ]


def until_told(rig: Rig, *words: str, visits: int = 0) -> None:
    """A look is short, and a machine that is busy gets another one. `visits`: requests before each."""
    last: list[str] = []

    def all_told() -> bool:
        for _ in range(visits):
            rig.get()
        last[:] = wrong(rig)
        return all(any(word in one for one in last) for word in words)

    wait_for(all_told, 60, lambda: f"{words} not in {last}")


def test_where_all_is_well_check_finds_nothing_and_without_reld_it_says_that_users_are_served() -> (
    None
):
    patient = 'path = "/ready"\ndeadline = "100s"\n'
    with Rig(rest=SOUND, readiness=patient) as rig, Site(rig.listen) as site:
        rig.live_v1()
        wait_for(lambda: not wrong(rig), 60, lambda: str(wrong(rig)))
        findings = rig.relctl("check", "--json").json["findings"]
        texts = [f["text"] for f in findings]
        assert f"www.example.com leads to the gate ({site.prefix}/nginx.conf:30)" in texts
        assert "1 smoke check before the first user" in texts
        assert "checks are fine; all of them: relctl check -v" in rig.relctl("check").out
        rig.kill_reld()
        answer = rig.relctl("check")
        assert answer.code == 9
        assert "users are served, reld or no reld" in " ".join(answer.out.split())


def test_a_readiness_that_lies_a_site_that_goes_past_and_an_app_open_to_all_are_found() -> None:
    command = '["/usr/bin/python3", "knobs.py", "--bind", "0.0.0.0:{port}"]'
    with Rig(rest=FAST + SMOKE, command=command) as rig:
        rig.live_v1("v3", get_error_rate=0.9)
        rig.release("v2", login_fails=True)
        assert rig.relctl("switch", "v2").code == 1
        (port,) = {i["port"] for s in rig.status()["slots"].values() for i in s["instances"]}
        with Site(port):
            until_told(
                rig,
                "app warning readiness said yes too early: v2 was ready in rollout 2",
                "relctl show 2",
                "app warning instance 0 listens on 0.0.0.0",
                f"nginx error www.example.com goes straight to an instance's port, 127.0.0.1:{port}",
                "config warning drain_max is 5 s",
                "requests failed in the last seconds, while readiness says yes",
                visits=40,
            )
        # The next good release shows that it was that one.
        assert rig.relctl("switch", "v3", "--now", "--bake", "0s").code == 0
        assert not [one for one in wrong(rig) if "too early" in one]


def test_an_app_that_hangs_and_a_config_that_is_broken_are_told() -> None:
    with Rig(rest=SOUND) as rig:
        rig.live_v1()
        (pid,) = rig.pids()
        rig.edit("[readiness]", "[readyness]")
        os.kill(pid, signal.SIGSTOP)
        try:
            until_told(
                rig,
                "app warning readiness says no just now: GET /ready: no answer",
                "config error no switch can begin:",
            )
            assert rig.relctl("check").code == 9
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_what_hangs_is_left_alone_the_next_time() -> None:
    stuck = threading.Event()
    with pytest.raises(HangsError):
        await aside("a dead disk", stuck.wait, 0.05)
    with pytest.raises(HangsError):
        await aside("a dead disk", lambda: 7, 10.0)
    stuck.set()
    asides._hanging["a dead disk"].join(10)
    assert await aside("a dead disk", lambda: 7, 10.0) == 7


async def test_what_nobody_waits_for_any_more_is_not_begun_again_beside_itself() -> None:
    stuck, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        stuck.wait(60)

    asked = asyncio.create_task(aside("a slow disk", work, 60.0))
    await asyncio.wait_for(begun.wait(), 30)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    with pytest.raises(HangsError):
        await aside("a slow disk", work, 60.0)
    stuck.set()


async def test_what_fails_aside_fails_here() -> None:
    with pytest.raises(ZeroDivisionError):
        await aside("a division", lambda: 1 // 0, 10.0)

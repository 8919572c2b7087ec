"""Two copies do not fit: the app is away for a moment, it is announced, and everybody is counted."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any, Self

from tests.rig import Answer, Rig, fast, wait_for

ONE = fast(strategy="stop-first", drain="10s", drain_max="20s")
"""A drain of 10 s is nothing that anybody should notice: it is over when nothing is left."""
SMOKE = '[[smoke]]\nname = "slow"\npath = "/slow?seconds=0.7"\nwithin = "5s"\n'
QUICK = 'path = "/ready"\ndeadline = "3s"\n'
KILLED_AT = (
    "after:reload",  # the gate serves nobody, and nobody knows
    "after:stop",
    "after:spawn",
    "after:smoke",
    "after:reload:2",  # the new release is live, and nobody knows
)

ABORTED_IN = ("draining", "stopping", "starting", "proving")


class Callers:
    """Clients that never retry; each answer is kept: status, Retry-After, release."""

    def __init__(self, rig: Rig, count: int = 2) -> None:
        self._port = rig.listen
        self._rig = rig
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]
        self._threads.append(threading.Thread(target=self._look))
        self.seen: Counter[tuple[int, str | None, str]] = Counter()
        self.broken: list[str] = []
        self.most = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        while not self._over.is_set():
            try:
                status, retry, body = asked(self._port, "/")
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                continue
            release = json.loads(body)["release"] if status == 200 else ""
            self.seen[status, retry, release] += 1
            time.sleep(0.01)

    def _look(self) -> None:
        """How many copies of the app there are at once."""
        while not self._over.is_set():
            self.most = max(self.most, len(self._rig.leftovers()))
            time.sleep(0.05)

    @property
    def turned_away(self) -> int:
        return sum(n for (status, _, _), n in self.seen.items() if status == 503)

    def wait_for(self, more: int = 20) -> None:
        """So many answers more of a release."""
        until = self._good + more
        wait_for(lambda: self._good >= until, 20, lambda: f"nobody is answered: {self.seen}")

    @property
    def _good(self) -> int:
        return sum(n for (status, _, _), n in self.seen.copy().items() if status == 200)


def asked(port: int, path: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After"), answer.read()
    finally:
        connection.close()


def announced_only(callers: Callers, *receipts: dict[str, Any]) -> None:
    """Whoever got no answer of the app got a 503 that says when to come again, and was counted."""
    assert callers.broken == []
    others = {(status, retry) for status, retry, _ in callers.seen if status != 200}
    assert others <= {(503, "5")}, callers.seen
    assert sum(r["turned_away"] for r in receipts) == callers.turned_away, (callers.seen, receipts)
    assert callers.most == 1, callers.most


def serves(rig: Rig, release: str) -> None:
    shown = rig.status()
    assert (shown["release"], shown["rollout"], shown["degraded"]) == (release, None, None), shown
    assert json.loads(rig.get("/")[1])["release"] == release
    assert rig.leftovers() == rig.pids()


def ends(switch: Any) -> Answer:
    out, err = switch.communicate(timeout=40)
    return Answer(switch.returncode, out, err)


def test_a_switch_turns_away_only_whom_it_announces_and_counts_them() -> None:
    with Rig(rest=ONE) as rig:
        rig.live_v1("v2")
        with Callers(rig) as callers:
            callers.wait_for()
            slow: list[tuple[int, str | None, bytes]] = []
            begun = threading.Thread(
                target=lambda: slow.append(asked(rig.listen, "/slow?seconds=1"))
            )
            begun.start()
            callers.wait_for()
            switch = rig.relctl("switch", "v2")
            callers.wait_for()
            back = rig.relctl("rollback")
            callers.wait_for()
        begun.join(20)
        assert switch.code == 0, switch.text
        assert back.code == 0, back.text
        assert slow[0][0] == 200  # it had begun before, and ended in peace
        first, second = rig.receipt(2), rig.receipt(3)
        announced_only(callers, first, second)
        assert {release for _, _, release in callers.seen} == {"v1", "v2", ""}
        assert first["turned_away"] > 10
        assert f"{first['turned_away']} requests got the announced 503" in switch.text
        assert "users get 503 for about" in back.text
        assert (first["strategy"], first["outcome"], first["drain"]["cut"]) == (
            "stop-first",
            "done",
            0,
        )
        assert (second["strategy"], second["outcome"]) == ("stop-first", "done")
        assert first["requests"]["blue"]["total"] > 10
        assert [p["phase"] for p in first["phases"]] == [
            *("preparing", "draining", "stopping", "starting", "proving", "committing"),
            "finishing",
        ]
        told = rig.relctl("history").text
        assert f"{second['turned_away']} requests got the announced 503" in told
        serves(rig, "v1")


def test_a_bad_release_is_gone_before_the_old_one_comes_back_by_itself() -> None:
    with Rig(rest=ONE, readiness=QUICK) as rig:
        rig.live_v1()
        rig.release("v2", crash_at_boot=7)
        rig.release("v3", never_ready=True)
        with Callers(rig) as callers:
            callers.wait_for()
            crashed = rig.relctl("switch", "v2")
            callers.wait_for()
            never = rig.relctl("switch", "v3", "--json")
            callers.wait_for()
        assert crashed.code == 3, crashed.text
        assert "exit code 7" in crashed.text
        assert "v1 serves" in rig.receipt(2)["summary"]
        assert (never.code, never.json["outcome"]) == (3, "rolled_back")
        assert "not ready after 3 s" in never.json["reason"]
        announced_only(callers, rig.receipt(2), rig.receipt(3))
        serves(rig, "v1")


def test_an_old_release_that_does_not_come_back_either_bars_nobody() -> None:
    with Rig(rest=ONE, readiness=QUICK) as rig:
        rig.live_v1("v3")
        knobs = rig.release("v2", crash_at_boot=7).parent / "v1" / "knobs.json"
        knobs.write_text(json.dumps({"crash_at_boot": 8}))
        answer = rig.relctl("switch", "v2", timeout=90)
        assert answer.code == 3, answer.text
        assert "did not come back in time" in answer.text
        shown = rig.status()
        assert shown["release"] == "v1"
        assert "v1" in shown["degraded"]
        assert asked(rig.listen, "/")[:2] == (503, "5")
        assert rig.relctl("switch", "v3").code == 0
        serves(rig, "v3")


def test_reld_is_killed_at_every_stage_and_goes_on() -> None:
    with Rig(rest=ONE) as rig:
        rig.live_v1("v2")
        point = rig.home / "failpoint"
        rig.kill_reld()
        rig.start_reld(f"@{point}")
        now, other = "v1", "v2"
        with Callers(rig) as callers:
            for stage in KILLED_AT:
                callers.wait_for()
                # `restart` would do, but each release should be seen to serve.
                switch = rig.relctl_begun("switch", other)
                wait_for(lambda: rig_is(rig, "preparing", "draining"), 10, "it never begins")
                point.write_text(stage)
                assert rig.reld is not None
                rig.reld.wait(20)
                point.unlink()
                rig.start_reld(f"@{point}")
                answer = ends(switch)
                assert answer.code == 0, (stage, answer.text, rig.reld_log()[-3000:])
                now, other = other, now
                serves(rig, now)
            callers.wait_for()
        numbers = range(2, 2 + len(KILLED_AT))
        announced_only(callers, *(rig.receipt(number) for number in numbers))


def rig_is(rig: Rig, *phases: str) -> bool:
    rollout = rig.status()["rollout"]
    return bool(rollout) and rollout["phase"] in phases


def test_who_aborts_has_the_old_release_back() -> None:
    with Rig(rest=ONE, app='stop_timeout = "700ms"', tables=SMOKE) as rig:
        rig.live_v1(ignore_sigterm=True)
        rig.release("v2", boot_delay=1.0)
        with Callers(rig) as callers:
            for phase in ABORTED_IN:
                callers.wait_for()
                begun = threading.Thread(target=lambda: asked(rig.listen, "/slow?seconds=1"))
                begun.start()
                callers.wait_for()
                switch = rig.relctl_begun("switch", "v2")
                rig.wait_phase(phase)
                wait_for(lambda: rig.status()["slots"]["blue"]["percent"] == 0, 10, "still served")
                assert rig.relctl("abort", "--reason", "no").code == 0
                answer = ends(switch)
                begun.join(20)
                assert answer.code == 3, (phase, answer.text)
                serves(rig, "v1")
            callers.wait_for()
        receipts = [rig.receipt(2 + number) for number, _ in enumerate(ABORTED_IN)]
        assert {(r["outcome"], r["moved"]) for r in receipts} == {("aborted", True)}
        announced_only(callers, *receipts)


def test_who_has_no_memory_for_two_copies_is_told_of_the_other_way() -> None:
    poor = "import reld.processes.resources as r\nr.memory_available = lambda: 1 << 20\n"
    with Rig(hook=poor) as rig:
        rig.live_v1("v2")
        refused = rig.relctl("switch", "v2")
        assert refused.code == 1, refused.text
        assert "relctl switch v2 --stop-first: the app is away for about" in refused.text
        plan = rig.relctl("switch", "v2", "--stop-first", "--bake", "1m", "--dry-run").text
        assert "v1 → v2, stop-first, about" in plan
        answer = rig.relctl("switch", "v2", "--stop-first", "--now")
        assert answer.code == 0, answer.text
        assert "--now ignored" in answer.text
        serves(rig, "v2")

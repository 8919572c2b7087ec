"""What has to be true of a rollout in which reld was killed, whenever that was."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.clients import Clients
from tests.rig import Rig, wait_for

PATIENCE = 150.0
"""Seconds that anything may take on a busy machine, where the verdict may wait out a warm-up (60 s)."""
OUTCOMES = ("done", "failed", "rolled_back", "aborted")
NEVER_BEGUN = "never begun"
"""reld died before the command was on disk, and nobody was told anything else."""
RESTS = 301.0
"""Seconds that a port is not handed out again, at most."""
UNSURE = 1.5
"""Seconds after the beginning of a watch in which the old slot's requests may not be counted yet."""


@dataclass
class Told:
    """What became of one rollout. `told_after`: seconds until the reld that came back told the truth
    about who runs."""

    outcome: str
    requests: int
    lost: int
    receipt: dict[str, Any]
    deaths: int
    told_after: float


class Account:
    """One rollout: made before it is asked for, `over` looks at everything."""

    def __init__(self, rig: Rig, clients: Clients, number: int) -> None:
        """`number`: the id that the rollout will have."""
        self._rig, self._clients, self._expected = rig, clients, number
        self._began = time.monotonic()
        shown = rig.status()
        self._live, self._old = shown["live"], shown["release"]
        self._before = set(rig.pids())
        self._candidates: set[int] = set()
        self._away: list[tuple[float, float]] = []
        self._deaths = 0
        self._told_after = 0.0
        self.promised: int | None = None
        """The id that whoever asked for it was told."""
        self.new = ""

    def seen(self) -> None:
        """Whoever runs now is to run at the end, or was to be stopped."""
        self._candidates |= set(self._rig.leftovers()) - self._before

    def died(self, requests: int = 8) -> None:
        """reld is gone, and so many requests are answered without it."""
        self._away.append((time.monotonic(), float("inf")))
        self._deaths += 1
        self.seen()
        self._clients.wait_for(requests)

    def back(self) -> None:
        """It answers, and what it tells soon is the truth."""
        came = time.monotonic()
        self._away = [(gone, min(until, came)) for gone, until in self._away]

        def true() -> bool:
            shown = [i for s in self._rig.status()["slots"].values() for i in s["instances"]]
            return all(Path(f"/proc/{i['pid']}").exists() for i in shown if i["pid"])

        wait_for(true, PATIENCE, "status tells of processes that do not run")
        self._told_after = time.monotonic() - came

    def over(self, outcomes: tuple[str, ...] = OUTCOMES) -> Told:
        """Waits for the end; raises AssertionError when anything is not as it has to be."""
        rig, clients = self._rig, self._clients
        shown = at_rest(rig)
        clients.wait_for(8)
        lanes_are_gone(rig)
        receipt = self._receipt()
        now = time.monotonic()
        lost = clients.lost(self._began)
        assert not lost, f"{lost[:5]}: {receipt}\n{self._log}"
        outcome = receipt.get("outcome") or NEVER_BEGUN
        if receipt:
            self._outcome_is_named(receipt, outcomes)
            self._totals_are_true(receipt, now)
        self._the_right_ones_run(shown, outcome)
        requests = len(clients.sent(self._began))
        return Told(outcome, requests, len(lost), receipt, self._deaths, self._told_after)

    def _receipt(self) -> dict[str, Any]:
        """As it is on disk; what reld remembers may be more. Empty: there was no such rollout."""
        code, told = self._rig.ask("GET", f"/v1/rollouts/{self._expected}")
        with contextlib.closing(sqlite3.connect(self._rig.state / "state.db")) as database:
            query = "SELECT receipt FROM rollouts WHERE id = ?"
            kept = database.execute(query, (self._expected,)).fetchall()
        if code != 200:
            assert self.promised is None, f"rollout {self.promised} was promised and is forgotten"
            assert not kept
            return {}
        assert kept, f"the receipt of rollout {self._expected} is not on disk: {told}\n{self._log}"
        receipt: dict[str, Any] = json.loads(kept[0][0])
        return receipt

    @property
    def _log(self) -> str:
        return self._rig.reld_log()[-5000:]

    def _outcome_is_named(self, receipt: dict[str, Any], outcomes: tuple[str, ...]) -> None:
        outcome = receipt["outcome"]
        assert outcome in OUTCOMES, receipt
        assert receipt["ended"], receipt
        assert outcome == "done" or receipt["reason"], receipt
        # What reld has no hold of yet dies with it; from the gate's first reload on nothing does.
        early = "admitting" not in [phase["phase"] for phase in receipt["phases"]]
        fine = outcome in outcomes or (outcome == "failed" and early)
        assert fine, f"{receipt}\n{self._log}"

    def _totals_are_true(self, receipt: dict[str, Any], now: float) -> None:
        offset = time.monotonic() - time.time()
        ended = dt.datetime.fromisoformat(receipt["ended"]).timestamp() + offset
        totals = {color: of["total"] for color, of in receipt["requests"].items()}
        old = totals.pop(self._live)
        (new,) = totals.values()
        most = self._clients.answered(self._began, now)
        least = self._clients.answered(self._began, ended)
        text = f"{self._old} {old}, {self.new} {new}, clients {most}, {least} until its end"
        text = f"{text}: {receipt}\n{self._log}"
        assert least[self.new] <= new <= most[self.new], text
        since = self._watched_since(receipt, offset)
        surely = self._clients.answered(since, ended)[self._old] if since else 0
        assert surely <= old <= most[self._old], f"at least {surely}: {text}"

    def _watched_since(self, receipt: dict[str, Any], offset: float) -> float | None:
        """From when on the old slot's requests were surely counted; None: nothing was watched."""
        at = dt.datetime.fromisoformat(receipt["started"]).timestamp() + offset
        for phase in receipt["phases"]:
            if phase["phase"] == "admitting":
                for gone, came in self._away:
                    at = came if gone <= at + UNSURE and at <= came else at
                return at + UNSURE
            at += phase["seconds"]
        return None

    def _the_right_ones_run(self, shown: dict[str, Any], outcome: str) -> None:
        rig = self._rig
        instances = [i for s in shown["slots"].values() for i in s["instances"]]
        pids = {i["pid"] for i in instances}
        assert shown["release"] == (self.new if outcome == "done" else self._old), shown
        wait_for(lambda: set(ours(rig)) == pids, 10, lambda: f"{[*ours(rig)]} run: {shown}")
        assert [i["restarts"] for i in instances] == [0] * len(instances), shown
        if outcome != "done":
            assert pids == self._before, shown
        elif self._candidates:
            assert pids <= self._candidates, f"{self._candidates}: {shown}"
        self._no_port_is_kept(instances)
        assert len(masters(rig)) == 1, masters(rig)

    def _no_port_is_kept(self, instances: list[dict[str, Any]]) -> None:
        """Whoever left rests for a while, and then its port can be had again."""
        with contextlib.closing(sqlite3.connect(self._rig.state / "state.db")) as database:
            ((text,),) = database.execute("SELECT json FROM state").fetchall()
        state = json.loads(text)
        slots = [state[color] for color in ("blue", "green") if state[color]]
        leased = {i["address"] for slot in slots for i in slot["instances"]}
        assert leased == {i["address"] for i in instances}, state
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert all(rest["until"] <= now + RESTS for rest in state["resting"]), state["resting"]


def at_rest(rig: Rig) -> dict[str, Any]:
    """No rollout, and nothing is wrong any more."""
    return rig.wait_status(lambda s: s["rollout"] is None and s["degraded"] is None, PATIENCE)


def lanes_are_gone(rig: Rig) -> None:
    lanes = rig.runtime / "lanes"

    def left() -> list[str]:
        return [d.name for d in lanes.iterdir() if d.name.isdecimal()] if lanes.exists() else []

    wait_for(lambda: not left(), PATIENCE, lambda: f"lanes stay: {left()}")


def _pids() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def ours(rig: Rig) -> Iterator[int]:
    """Every process that reld started for the app: instances, hooks, what waits to be let go."""
    logs = str(rig.state / "logs")
    for entry in _pids():
        for link, root in (("cwd", str(rig.releases)), ("fd/1", logs)):
            with contextlib.suppress(OSError):
                if os.readlink(entry / link).startswith(root):
                    yield int(entry.name)
                    break


def masters(rig: Rig) -> list[int]:
    """Every nginx master that runs with a config of this gate."""
    found: dict[int, int] = {}
    for entry in _pids():
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_text()
            if line.startswith("nginx: master") and str(rig.runtime) in line:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(stat[1])
    # A worker that was forked a moment ago is still called a master.
    return [pid for pid, parent in found.items() if parent not in found]

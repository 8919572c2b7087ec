"""kill -9 of everything but reld: what was in flight on the killed process may be lost, and no more.

"In flight" is what the clients see: a request that was sent before the process was gone and had no
answer when it was killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.account import PATIENCE, Told, at_rest, lanes_are_gone, masters, ours
from tests.crash.clients import FEW, Sent
from tests.crash.suite import READINESS, Stage
from tests.load.load import Mix
from tests.rig import Rig, fast, runs, wait_for

CALM = fast(steps=[50, 100], step_time="1s", bake="1s", drain="1s", drain_max="5s")
SMOKE = '[[smoke]]\nname = "slow"\npath = "/slow?seconds=0.3"\nwithin = "20s"\n'
KNOBS = {"latency": 0.1, "boot_delay": 0.3}
"""Seconds; slow enough for every process to hold requests at any time."""
TRIES = 10
"""A phase that takes a tenth of a second may be missed."""


@dataclass(frozen=True)
class Part:
    """`victims` of a rig whose rollout is in `phase`; "" = nothing is rolled out. `holds`: they have
    requests of users.
    """

    name: str
    victims: Callable[[Rig], list[int]]
    phase: str = ""
    outcomes: tuple[str, ...] = ("done",)
    instances: int = 1
    holds: bool = True

    def __str__(self) -> str:
        return self.name


@dataclass
class Killed:
    """`in_flight`: requests that the clients waited for when it was killed (0 if none can have been
    its own); `lost` of them, and `more` that were lost and should not have been.
    """

    told: Told
    in_flight: int
    lost: list[Sent]
    more: list[Sent]


class _MissedError(Exception):
    """The phase was over before anything could be killed in it."""


def stage_for(part: Part, mix: Mix = FEW) -> Stage:
    return Stage(mix, KNOBS, rest=CALM, tables=SMOKE, readiness=READINESS, instances=part.instances)


def kill(stage: Stage, part: Part) -> Killed:
    """Raises AssertionError."""
    for _ in range(TRIES):
        try:
            return _kill(stage, part)
        except _MissedError:
            stage.last += 1
            at_rest(stage.rig)
    raise AssertionError(f"{part}: its phase is never met")


def _kill(stage: Stage, part: Part) -> Killed:
    rig, clients = stage.rig, stage.clients
    began = time.monotonic()
    if part.phase:
        account = stage.account()
        body = {"kind": "switch", "release": account.new, "options": {}}
        number = stage.promised(body)
        assert number == stage.last + 1
        _met(rig, part.phase)
    victims = part.victims(rig)
    if not victims:
        raise _MissedError
    killed = time.monotonic()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(runs(pid) for pid in victims), PATIENCE, f"{victims} live")
    died = time.monotonic()
    clients.wait_for(30)
    at_rest(rig)
    shown = rig.wait_status(lambda s: _all_serve(s, victims), PATIENCE)
    lanes_are_gone(rig)
    clients.wait_for(10)
    receipt: dict[str, Any] = {}
    if part.phase:
        stage.last += 1
        receipt = rig.receipt(stage.last)
        assert receipt["outcome"] in part.outcomes, f"{receipt}\n{rig.reld_log()[-4000:]}"
    pids = {i["pid"] for s in shown["slots"].values() for i in s["instances"]}
    wait_for(lambda: set(ours(rig)) == set(rig.pids()), PATIENCE, lambda: f"{pids}: {[*ours(rig)]}")
    wait_for(lambda: len(masters(rig)) == 1, PATIENCE, lambda: f"masters: {masters(rig)}")
    waited = [one for one in clients.sent(killed) if one.began <= died]
    lost = clients.lost(began)
    more = [one for one in lost if one not in waited]
    requests = len(clients.sent(began))
    outcome = receipt.get("outcome") or "serves on"
    told = Told(outcome, requests, len(lost), receipt, len(victims), 0.0)
    return Killed(told, len(waited) if part.holds else 0, lost, more)


def _all_serve(status: dict[str, Any], killed: list[int]) -> bool:
    instances = [i for s in status["slots"].values() for i in s["instances"]]
    return all(i["state"] == "ready" and i["pid"] not in killed for i in instances)


def _met(rig: Rig, phase: str) -> None:
    def met() -> bool:
        rollout = rig.status()["rollout"]
        if rollout is None:
            raise _MissedError
        return bool(rollout["phase"] == phase)

    wait_for(met, PATIENCE, f"{phase} is never met")


def candidate(rig: Rig) -> list[int]:
    shown = rig.status()
    return _of(rig, "green" if shown["live"] == "blue" else "blue")


def old(rig: Rig) -> list[int]:
    """The slot that was live when the rollout began: after the commit it is the other one."""
    shown = rig.status()
    if shown["rollout"] is None:
        return []
    release = shown["rollout"]["from"]
    return [i["pid"] for s in shown["slots"].values() if s["release"] == release
            for i in s["instances"] if i["pid"]]  # fmt: skip


def one_of_the_live(rig: Rig) -> list[int]:
    return _of(rig, rig.status()["live"])[:1]


def master(rig: Rig) -> list[int]:
    return masters(rig)


def workers(rig: Rig) -> list[int]:
    found = []
    for pid in masters(rig):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            line = Path(f"/proc/{child}/cmdline").read_text()
            if line.startswith("nginx: worker") and "shutting" not in line:
                found.append(int(child))
    return found


def first_worker(rig: Rig) -> list[int]:
    return workers(rig)[:1]


def second_worker(rig: Rig) -> list[int]:
    return workers(rig)[-1:]


def _of(rig: Rig, color: str) -> list[int]:
    return [i["pid"] for i in rig.status()["slots"][color]["instances"] if i["pid"]]


BACK = ("rolled_back",)
PARTS = (
    Part("the candidate while it starts", candidate, "starting", ("failed",), holds=False),
    Part("the candidate while it is proved", candidate, "proving", ("failed",), holds=False),
    Part(
        "the candidate while the gate admits it",
        candidate,
        "admitting",
        ("failed", *BACK),
        holds=False,
    ),
    Part("the candidate at half of the traffic", candidate, "shifting", BACK),
    Part("the candidate with all the traffic", candidate, "baking", BACK),
    Part("the old slot while the new one bakes", old, "baking"),
    Part("the old slot while it drains", old, "draining", holds=False),
    Part("one of two live instances", one_of_the_live, instances=2),
    Part("the gate's master", master, holds=False),
    Part("the gate's master in a shift", master, "shifting", holds=False),
    Part("a worker of the gate", first_worker),
    Part("another worker of the gate in a shift", second_worker, "shifting"),
    Part("all workers of the gate", workers),
)

"""Where reld can be killed, from the code itself, and what has to go on for it to get there."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Iterator
from typing import Any, get_args

from reld.core import effects
from reld.failpoints import name_of
from tests.crash.clients import QUIET
from tests.crash.suite import Case, Scenario, Stage

_IN_THE_MACHINE = (effects.RunUnits, effects.RemoveUnits)
"""They need a systemd: tests/vm/test_eject.py."""
_OF_A_REHEARSAL = (effects.AskGate,)
"""No release comes of it that could be accounted for: tests/integration/test_rehearse.py."""
EFFECTS = tuple(
    name_of(kind.__name__)
    for kind in get_args(effects.Effect)
    if kind not in (*_IN_THE_MACHINE, *_OF_A_REHEARSAL)
)
TIMES = (1, 2, 3, 5, 8)
"""Which write of the state."""


def fail(stage: Stage, rate: float, color: str | None = None) -> None:
    """So many of the requests to the slot, or to both, are answered by an error."""
    slots = stage.rig.status()["slots"]
    for slot in [slots[color]] if color else slots.values():
        for instance in slot["instances"]:
            turn(instance["port"], error_rate=rate)


def turn(port: int, **knobs: Any) -> None:
    body = json.dumps(knobs).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/knobs", body, timeout=30) as answer:
        assert answer.status == 200


def candidate_fails(stage: Stage) -> None:
    """Long after the old slot had its last request: nothing is left to compare with."""
    stage.clients.wait_for(60)
    shown = stage.rig.status()
    fail(stage, 1.0, "green" if shown["live"] == "blue" else "blue")


def outage(stage: Stage) -> None:
    """Of both, once the verdict knows what is usual."""
    steer(stage, "pause")
    stage.clients.wait_for(600)
    fail(stage, 1.0)


def outage_over(stage: Stage) -> None:
    fail(stage, 0.0)
    steer(stage, "resume")


def steer(stage: Stage, verb: str) -> None:
    code, told = stage.rig.ask("POST", f"/v1/rollouts/{stage.last + 1}/{verb}", {})
    assert code == 200, told


SWITCH = Scenario("switch")
SLOW = Scenario("switch", options={"step_time": 8, "step_max": 60}, armed_in="shifting")
CHECKED = Scenario("switch", options={"step_time": 2, "step_max": 60}, armed_in="shifting")
COME_BACK = Scenario("switch", killed_in="shifting")
BAD_AT_LAST = Scenario(
    "switch", options={"steps": [100], "bake": 600}, armed_in="baking", trouble=candidate_fails,
    mix=QUIET, outcomes=("rolled_back",),
)  # fmt: skip
OUTAGE = Scenario(
    "switch", options={"step_time": 3, "step_max": 600}, armed_in="shifting", trouble=outage,
    over=outage_over,
)  # fmt: skip
SHADOWED = Scenario("switch", options={"shadow": 0.2, "step_time": 1, "step_max": 60})
TURN_BACK = Scenario("turn back", instant=True, outcomes=("rolled_back",))
ROLLBACK = Scenario("rollback", kind="rollback")

_IN_A_SWITCH = {
    "before:keep-gate": COME_BACK,
    "after:keep-gate": COME_BACK,
    "after:check-ready": SLOW,
    "after:check-live": CHECKED,
    "before:ask-old": BAD_AT_LAST,
    "after:ask-old": BAD_AT_LAST,
    "before:set-shield": OUTAGE,
    "after:set-shield": OUTAGE,
    "before:set-shadow": SHADOWED,
    "after:set-shadow": SHADOWED,
}
"""What takes more than a switch; all other effects are part of every switch."""
_TURNING_BACK = (
    *("move-lanes", "reload", "count-drain", "stop", "kill", "remove-lanes", "run-hook"),
    "await-exit",
)
_NOT_TURNING_BACK = ("before:await-exit",)
"""It began long before."""
_NOT_IN_A_ROLLBACK = (
    "ask-old",
    "set-shield",
    "set-shadow",
    "keep-gate",
    "check-ready",
    "check-live",
)
"""A rollback is never judged; the rest is not about rollouts."""
RECOVERY = (
    *("before:persist", "after:persist", "before:keep-gate", "after:keep-gate"),
    "before:await-exit",
)
"""Points that every reld comes to when it has begun and an instance runs."""


def both_sides(names: tuple[str, ...]) -> Iterator[str]:
    return (f"{when}:{name}" for name in names for when in ("before", "after"))


def in_a_switch() -> list[Case]:
    """Before and after each effect; slow ones first."""
    again = itertools.cycle(RECOVERY)
    found = [Case(p, _IN_A_SWITCH.get(p, SWITCH), next(again)) for p in both_sides(EFFECTS)]
    return sorted(found, key=lambda case: case.scenario is SWITCH)


def turning_back() -> list[Case]:
    """An instant rollback, in the middle of a shift."""
    again = itertools.cycle(RECOVERY)
    points = [p for p in both_sides(_TURNING_BACK) if p not in _NOT_TURNING_BACK]
    return [Case(point, TURN_BACK, next(again)) for point in points]


def in_a_rollback() -> list[Case]:
    """One that boots what was live before in the idle slot."""
    again = itertools.cycle(RECOVERY)
    names = tuple(name for name in EFFECTS if name not in _NOT_IN_A_ROLLBACK)
    return [Case(point, ROLLBACK, next(again)) for point in both_sides(names)]


def at_writes(scenario: Scenario, times: tuple[int, ...] = TIMES) -> list[Case]:
    """Before and after some writes of the state."""
    again = itertools.cycle(RECOVERY)
    points = [f"{point}:{number}" for number in times for point in both_sides(("persist",))]
    return [Case(point, scenario, next(again)) for point in points]


def everywhere() -> list[Case]:
    """For the bench."""
    return [
        *in_a_switch(),
        *turning_back(),
        *in_a_rollback(),
        *at_writes(SWITCH, tuple(range(1, 11))),
        *at_writes(TURN_BACK, tuple(range(1, 6))),
        *at_writes(ROLLBACK, tuple(range(1, 11))),
    ]

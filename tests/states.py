"""States of an app as reld has them, in every phase of a rollout, for those who show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reld.api.service import SlotVitals
from reld.core.model import (
    Closed,
    Color,
    Counts,
    Exit,
    Gate,
    Identity,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Maintenance,
    Mark,
    Mirrored,
    Outcome,
    Phase,
    Rollout,
    Routing,
    Shadow,
    Slot,
    State,
    Target,
    Watch,
)
from reld.core.policy import STOP_FIRST, Policy, SlotPolicy
from reld.core.verdict.finding import Finding, Verdict

NOW = 1000.0
BOOTED = 1_795_431_000.0
ONE = Target(Color.BLUE, "v1", ("127.0.0.1:21001", "127.0.0.1:21002"))
TWO = Target(Color.GREEN, "v2", ("127.0.0.1:21003", "127.0.0.1:21004"))
KNOWN = "v2 fails at most 0.4 % more often than v1, its 95th percentile is at most 12 % slower"
MIB = 1 << 20


def instance(number: int, state: InstanceState = InstanceState.READY, **more: Any) -> Instance:
    identity = None if state is InstanceState.WANTED else Identity(800 + number, 5, "b")
    address = f"127.0.0.1:{21000 + number}"
    return Instance(number, (number - 1) % 2, address, state, identity, started_at=500.0, **more)


def slot(color: Color, *states: InstanceState, **more: Any) -> Slot:
    first, release = (1, "v1") if color is Color.BLUE else (3, "v2")
    states = states or (InstanceState.READY, InstanceState.READY)
    crew = tuple(instance(first + place, state) for place, state in enumerate(states))
    return Slot(color, release, 7, SlotPolicy(instances=len(crew)), crew, **more)


STEADY = State("web", "b", blue=slot(Color.BLUE), gate=Gate(Loaded(3, Routing(ONE))))
BEGUN = Rollout(
    id=42,
    kind=Kind.SWITCH,
    phase=Phase.PREPARING,
    since=NOW - 2.0,
    began=NOW - 2.0,
    policy=Policy(slot=SlotPolicy(instances=2)),
    actor="alice",
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
)


def rolling(phase: Phase, seconds: float = 12.0, **changed: Any) -> State:
    """For so many seconds in this phase; both slots ready, both named by the gate."""
    marks = (Mark(Phase.PREPARING, NOW - 100.0), Mark(Phase.STARTING, NOW - 99.0))
    here = {"since": NOW - seconds, "began": NOW - 100.0, "marks": marks}
    rollout = replace(BEGUN, phase=phase, **(here | changed))
    gate = Gate(Loaded(4, Routing(ONE, TWO, 42)))
    return replace(STEADY, green=slot(Color.GREEN), gate=gate, rollout=rollout)


def shifting(finding: Finding = Finding(known=KNOWN, errors=0.12, slowness=0.034), **changed: Any):
    """34 s of the second step."""
    moved = {
        "step": 1,
        "share": 25,
        "wanted_share": 25,
        "moved": True,
        "step_since": NOW - 34.0,
        "blue": Counts(9041, 9),
        "green": Counts(741, 1),
        "step_base": 9541,
        "watch": Watch(NOW - 0.4, NOW + 10.0, finding, 41.0),
    }
    phase = changed.pop("phase", Phase.SHIFTING)
    return rolling(phase, 94.0, **(moved | changed))


def baking(finding: Finding = Finding(known=KNOWN, errors=0.02), **changed: Any) -> State:
    return shifting(
        finding,
        **({"phase": Phase.BAKING, "since": NOW - 214.0, "step": 4, "share": 100} | changed),
    )


def away_from(phase: Phase, leaving: Color, **changed: Any) -> State:
    """What leaves is no longer named."""
    kept = ONE if leaving is Color.GREEN else TWO
    state = rolling(phase, leaving=leaving, moved=True, **changed)
    return replace(state, gate=Gate(Loaded(5, Routing(kept))))


REASON = (
    "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %); by chance once in 52000 releases"
)
WORSE = Finding(Verdict.WORSE, REASON, known="", errors=1.0, slowness=0.1, odds=52000.0)
OUTAGE = Finding(Verdict.ENVIRONMENT, "both slots suffer: v1 fails 31 %, v2 29 %", errors=0.2)
CORNERED = "an instance of v2 exited: exit code 1, but v1 is not fit: going back when it is"
HALF = (InstanceState.READY, InstanceState.STARTING)
ONE_AT_A_TIME = Policy(slot=SlotPolicy(instances=2), strategy=STOP_FIRST)
IN_TURN = {"stop_first": True, "made_way": True, "policy": ONE_AT_A_TIME, "turned_away": 214}

EVENTS = (
    (NOW - 99.0, "starting 2 × v2 beside v1"),
    (NOW - 97.2, "instance 0 of v2 (green) started on port 21003, pid 803"),
    (NOW - 95.0, "v2 is ready: proving it before any user sees it"),
    (NOW - 94.0, "admitting v2 to the gate at 0 %"),
    (NOW - 93.8, "the gate serves generation 4"),
    (NOW - 34.0, "v2 has 25 % of the traffic"),
)


AT_REST = ((NOW - 400.0, "instance 1 of v1 (blue) is ready"),)


def _begin(state: State, **changed: Any) -> State:
    alone = replace(state, green=None, gate=Gate(Loaded(3, Routing(ONE))))
    return replace(alone, **changed)


STATES: dict[str, Callable[[], State]] = {
    "steady": lambda: STEADY,
    "nothing-is-live": lambda: State("web", "b"),
    "degraded": lambda: replace(
        STEADY, blue=slot(Color.BLUE, InstanceState.READY, InstanceState.WANTED)
    ),
    "maintenance": lambda: replace(
        STEADY, maintenance=Maintenance(Closed(), "2026-11-23T11:02:00Z", "alice", "new database")
    ),
    "preparing": lambda: _begin(rolling(Phase.PREPARING, 2.0, marks=(), began=NOW - 2.0)),
    "starting": lambda: _begin(rolling(Phase.STARTING, 8.2), green=slot(Color.GREEN, *HALF)),
    "proving": lambda: _begin(rolling(Phase.PROVING, 3.0), green=slot(Color.GREEN)),
    "waiting-for-approval": lambda: _begin(
        rolling(
            Phase.PROVING,
            smoke=True,
            approval=True,
            waiting="an approver: relctl approve 42",
        ),
        green=slot(Color.GREEN),
    ),
    "admitting": lambda: rolling(Phase.ADMITTING, 0.3),
    "in-shadow": lambda: rolling(
        Phase.SHIFTING,
        20.0,
        policy=Policy(shadow=0.05),
        shadow=Shadow(on=True, since=NOW - 18.0, mirrored=Mirrored(31, 0, 0.081, 0.079)),
        watch=Watch(NOW - 0.4, NOW + 10.0, Finding(errors=0.04), 41.0),
    ),
    "shifting": shifting,
    "asks-a-person": lambda: shifting(
        asked=True, waiting="a person: relctl promote 42 agrees to go on after 25 %"
    ),
    "paused": lambda: shifting(paused=True, waiting="paused by a person: relctl resume goes on"),
    "environment": lambda: shifting(OUTAGE, waiting=OUTAGE.sentence, unshielded=True),
    "cornered": lambda: replace(
        shifting(waiting=CORNERED),
        blue=slot(Color.BLUE, InstanceState.UNREADY, InstanceState.WANTED),
        green=slot(Color.GREEN, InstanceState.READY, InstanceState.EXITED),
    ),
    "baking": baking,
    "committing": lambda: baking(phase=Phase.COMMITTING, since=NOW - 0.4),
    "committing-refused": lambda: baking(
        phase=Phase.COMMITTING,
        since=NOW - 40.0,
        waiting="the gate does not take the new config: nginx -t: no space left on device; "
        "both slots stay warm, it is tried again",
    ),
    "draining": lambda: away_from(
        Phase.DRAINING, Color.BLUE, committed=True, drain_since=NOW - 12.0, left=12, streams=9
    ),
    "draining-for-long": lambda: away_from(
        Phase.DRAINING, Color.BLUE, committed=True, drain_since=NOW - 75.0, left=3
    ),
    "stopping": lambda: away_from(Phase.STOPPING, Color.BLUE, committed=True),
    "finishing": lambda: replace(away_from(Phase.FINISHING, Color.BLUE, committed=True), blue=None),
    "reverting": lambda: shifting(
        WORSE,
        phase=Phase.REVERTING,
        since=NOW - 0.2,
        share=0,
        wanted_share=0,
        turned_at=25,
        outcome=Outcome.ROLLED_BACK,
        reason=REASON,
    ),
    "draining-back": lambda: away_from(
        Phase.DRAINING,
        Color.GREEN,
        drain_since=NOW - 3.0,
        left=2,
        turned_at=25,
        outcome=Outcome.ROLLED_BACK,
        reason=REASON,
    ),
    "failed-start": lambda: _begin(
        rolling(
            Phase.STOPPING,
            0.4,
            leaving=Color.GREEN,
            outcome=Outcome.FAILED,
            reason="instance 0 of v2 exited while it was starting: exit code 1\nits log: boom",
        ),
        green=replace(
            slot(Color.GREEN),
            instances=(instance(3, InstanceState.EXITED, exit=Exit(1)),),
        ),
    ),
    "stop-first-draining": lambda: replace(
        away_from(Phase.DRAINING, Color.BLUE, drain_since=NOW - 4.0, left=5, **IN_TURN),
        green=None,
        gate=Gate(Loaded(5, Routing())),
    ),
    "stop-first-starting": lambda: replace(
        rolling(Phase.STARTING, 6.0, **IN_TURN),
        blue=None,
        green=slot(Color.GREEN, *HALF),
        gate=Gate(Loaded(5, Routing())),
    ),
    "first-release": lambda: replace(
        STATES["starting"](),
        blue=None,
        gate=Gate(),
        rollout=replace(BEGUN, phase=Phase.STARTING, from_="", old=None, id=1),
    ),
    "stopping-the-app": lambda: replace(
        rolling(
            Phase.DRAINING,
            kind=Kind.STOP,
            to="",
            candidate=None,
            leaving=Color.BLUE,
            drain_since=NOW - 3.0,
        ),
        green=None,
        gate=Gate(Loaded(5, Routing())),
    ),
    "rollback": lambda: shifting(kind=Kind.ROLLBACK, phase=Phase.BAKING, since=NOW - 20, share=100),
    "returning": lambda: replace(
        shifting(WORSE, phase=Phase.RETURNING, since=NOW - 2, surge=1, reason=REASON),
        blue=slot(Color.BLUE, InstanceState.READY, InstanceState.STARTING),
    ),
    "surge": lambda: replace(
        shifting(surge=1, step_since=None),
        blue=replace(
            slot(Color.BLUE),
            instances=(instance(1), instance(2, InstanceState.PARKED, spare=True)),
        ),
        green=slot(Color.GREEN, InstanceState.STARTING),
    ),
}


def measured(state: State) -> dict[str, SlotVitals]:
    """Numbers that fit the share."""
    default = state.gate.verified.routing.default
    moved = state.rollout.share if state.rollout is not None else 0
    share = 100 if default is not None and default.color is Color.GREEN else moved
    blue = SlotVitals(
        rate=round(41.3 * (100 - share) / 100, 1),
        errors=0.001 if share < 100 else None,
        **({"p50": 12.1, "p95": 80.4, "p99": 121.0} if share < 100 else {}),
        rss_bytes=210 * MIB,
        cpu_percent=12.3,
    )
    green = SlotVitals(
        rate=round(41.3 * share / 100, 1),
        errors=0.0014 if share else None,
        **({"p50": 11.8, "p95": 84.0, "p99": 133.0} if share else {}),
        rss_bytes=214 * MIB,
        cpu_percent=14.1,
    )
    return {"blue": blue, "green": green}

"""The live release through the other slot, at a small share for a while, and back: no user is moved.

    preparing → starting → proving → admitting → shifting (one share) → reverting → draining
    → stopping → finishing

It never goes on: what is not as it should be goes back, and where the live slot is not fit it waits
until that is, because both are named and each is the other's backup. It runs with the live slot's own
snapshot, so nothing that nobody has seen reaches users. No hook of the config runs (the data and the
release are as they were), no worker moves, and the good releases stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from reld.core import watch
from reld.core.events import Asked, Judged
from reld.core.guard import cornered, guard
from reld.core.maintenance import closed
from reld.core.model import (
    OWN_ROUTE,
    Kind,
    Outcome,
    Phase,
    Rollout,
    Slot,
    State,
)
from reld.core.policy import STOP_FIRST, Policy
from reld.core.rehearsal_result import findings, result
from reld.core.rehearsed import Rehearsal
from reld.core.routing import answers_somewhere
from reld.core.turns import TOLD_AFTER, guarded, lanes_awaited, turn_back, wait, with_rollout
from reld.core.verdict.finding import Verdict

FIND_WITHIN = 60.0
"""Seconds in which the verdict has to find what fails on purpose."""
LAST_WORD = 3.0
"""Seconds that the last requests may take to be read."""
_WRITTEN_AFTER = 0.2
_FEW, _MANY, _REACH = 5.0, 30.0, 1.5
"""Own requests a second, and how many of them should reach a candidate that fails them."""
_UNSEEN = (Phase.STARTING, Phase.PROVING)


def barred(state: State, policy: Policy, live: Slot | None) -> tuple[str, str]:
    """Why it cannot be now, and what to do; empty = it can. Something of reld's own is live."""
    if policy.strategy == STOP_FIRST:
        return "two copies do not fit: with stop-first there is nothing to rehearse", "relctl check"
    if closed(state) is not None:
        return "the gate is closed for maintenance", "relctl maintenance off"
    if live is not None and not live.fit:
        return f"{live.release} is not fit", "relctl status"
    return "", ""


def policy_of(policy: Policy, wish: Rehearsal, live: Slot | None) -> Policy:
    """Today's times, and the processes as they run now."""
    slot, verdict = policy.slot, replace(policy.verdict, act=True, planned=wish.time)
    if live is not None:
        run = live.policy
        slot = replace(
            slot,
            instances=len(live.instances),
            stop_signal=run.stop_signal,
            workers=run.workers,
        )
    if wish.fails:
        verdict = replace(verdict, routes=(*verdict.routes, OWN_ROUTE), planned=FIND_WITHIN)
    stays = _stays(wish)
    return replace(
        policy,
        slot=slot,
        verdict=verdict,
        steps=(wish.share,),
        approve_after=(),
        step_time=stays,
        step_max=stays,
        step_requests=0,
        bake=0.0,
        shadow=0.0,
        hooks=(),
    )


def of(rollout: Rollout) -> Rehearsal:
    return rollout.rehearsal or Rehearsal()


def asks(state: State, rollout: Rollout) -> bool:
    """Own requests are sent now; a gate that a person has closed would only say so."""
    running = rollout.phase is Phase.SHIFTING and rollout.turning is None
    ours = rollout.kind is Kind.REHEARSAL and running and rollout.step_since is not None
    return ours and closed(state) is None


def judges(rollout: Rollout) -> bool:
    """The log is read to its end before the account is made."""
    return rollout.kind is Kind.REHEARSAL and rollout.phase is Phase.FINISHING


def per_second(ours: Rehearsal) -> float:
    """How many own requests are sent: a trickle."""
    return min(_MANY, max(_FEW, _REACH * 100 / ours.share)) if ours.fails else _FEW


def asked(rollout: Rollout, event: Asked) -> Rollout:
    """Totals, so that one that comes twice adds nothing."""
    ours = of(rollout)
    seen = replace(
        ours,
        asked=max(ours.asked, event.asked),
        failed=max(ours.failed, event.failed),
        lost=max(ours.lost, event.lost),
    )
    return replace(rollout, rehearsal=seen)


def heard(rollout: Rollout, event: Judged) -> Rollout:
    ours = rollout.rehearsal
    if ours is None or event.longest <= ours.longest:
        return rollout
    return replace(rollout, rehearsal=replace(ours, longest=event.longest))


def noted(state: State, at: float) -> State:
    """What is so now for the first time; and without somebody to go back to nothing is begun."""
    rollout = state.rollout
    assert rollout is not None
    ours = of(rollout)
    old = state.slot(rollout.old)
    nobody = old is None or old.dead or not answers_somewhere(state, old)
    if rollout.phase in _UNSEEN and rollout.turning is None and nobody:
        why = f"{rollout.from_} does not run: there is nothing to go back to"
        return with_rollout(state, replace(rollout, turning=Outcome.FAILED, reason=why))
    gone = rollout.phase is Phase.REVERTING and not rollout.share and not rollout.unsure
    if gone and ours.back_at is None and rollout.moved:
        ours = replace(ours, back_at=at)
    if rollout.phase is Phase.DRAINING and rollout.drained and ours.drained_at is None:
        ours = replace(ours, drained_at=at)
    return state if ours == rollout.rehearsal else with_rollout(state, _with(rollout, ours))


def shifting(state: State, rollout: Rollout, at: float) -> State:
    """The gate obeys, then it stays for its time; what goes wrong meanwhile goes back at once."""
    ours, old = of(rollout), state.slot(rollout.old)
    found = ours.fails and rollout.watch.finding.verdict is Verdict.WORSE
    why = guard(state)
    if found and rollout.turning is None and why == watch.worse(rollout) and not cornered(state):
        shown = _with(rollout, replace(ours, found=True))
        return turn_back(state, shown, Outcome.DONE, f"as it was to be found: {why}", at)
    back = guarded(state, rollout, at)
    if back is not None:
        return back
    if old is None or not old.fit:
        return wait(state, rollout, f"{rollout.from_} is not fit: going back when it is")
    if rollout.share != rollout.wanted_share:
        if at >= rollout.since + 2 * TOLD_AFTER:
            why = f"the gate does not obey the share: {state.lanes_trouble or 'no answer'}"
            return turn_back(state, rollout, Outcome.ROLLED_BACK, why, at)
        return lanes_awaited(state, rollout, at)
    if rollout.step_since is None:
        return with_rollout(state, replace(rollout, step_since=at))
    if rollout.paused:
        return wait(state, rollout, "paused by a person: relctl resume goes on")
    until = rollout.step_since + rollout.policy.step_time
    read = rollout.watch.read_to >= until or at >= rollout.watch.silent_at
    if not rollout.promoted and (at < until or not read):
        return wait(state, rollout, "")
    if not ours.fails:
        return turn_back(state, rollout, Outcome.DONE, rollout.reason, at)
    if rollout.promoted:
        cut_short = "it was cut short before the verdict came"
        return turn_back(state, rollout, Outcome.ROLLED_BACK, cut_short, at)
    missed = _with(rollout, replace(ours, found=False))
    why = f"the verdict did not find it within {FIND_WITHIN:g} s, and {_failed(ours)}"
    return turn_back(state, missed, Outcome.ROLLED_BACK, why, at)


def counts_on(rollout: Rollout, at: float) -> bool:
    """The last requests may not have been read yet."""
    if not rollout.moved or at >= rollout.since + LAST_WORD:
        return False
    return rollout.watch.read_to < rollout.since + _WRITTEN_AFTER


def concluded(rollout: Rollout) -> Rollout:
    """It went forth and back; was all of it as it should be?"""
    if rollout.outcome is not Outcome.DONE:
        return rollout
    nobody = not watch.dealt(rollout) and not of(rollout).asked
    rollout = replace(rollout, unproven=rollout.unproven or nobody)
    wrong = findings(rollout)
    if not wrong:
        return rollout
    return replace(rollout, outcome=Outcome.ROLLED_BACK, reason=wrong)


def told(state: State) -> State:
    """Its account stays after it has ended."""
    last = state.last
    if state.rollout is not None or last is None:
        return state
    account = result(last)
    return state if account is None else replace(state, rehearsed=account)


def alarms(rollout: Rollout) -> tuple[float, ...]:
    """What this life waits for and others do not."""
    if rollout.kind is not Kind.REHEARSAL:
        return ()
    if rollout.phase is Phase.FINISHING:
        return (rollout.since + LAST_WORD,)
    if rollout.phase is not Phase.SHIFTING:
        return ()
    if rollout.step_since is None:
        return (rollout.since + 2 * TOLD_AFTER,)
    return (rollout.step_since + rollout.policy.step_time,)


def _stays(wish: Rehearsal) -> float:
    return FIND_WITHIN if wish.fails else wish.time


def _with(rollout: Rollout, ours: Rehearsal) -> Rollout:
    return replace(rollout, rehearsal=ours)


def _failed(ours: Rehearsal) -> str:
    if not ours.failed:
        return f"none of {ours.asked} own requests failed"
    return f"{ours.failed} of {ours.asked} own requests failed as they were told to"

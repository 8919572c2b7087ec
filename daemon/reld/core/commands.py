"""What a person may ask for, and when it is refused: the words are the answer that they read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from reld.core import agreement, approval, rehearsal, stop_first
from reld.core.maintenance import Maintain, cannot_hold, holds
from reld.core.model import (
    Followed,
    Good,
    Kind,
    Outcome,
    Phase,
    Rollout,
    Slot,
    State,
)
from reld.core.policy import Policy
from reld.core.rehearsed import Rehearsal


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a rollout. `release` None: the release that the kind implies.

    `approval`: the config names approvers. `people`: the user ids of who begins it.
    `unit` and `port` are for `eject`: what the plain units are called, and the first one's port.
    """

    kind: Kind
    release: str | None
    policy: Policy
    actor: str = ""
    reason: str = ""
    force: bool = False
    unit: str = ""
    port: int = 0
    approval: bool = False
    people: tuple[int, ...] = ()
    note: str = ""
    on_duty: str = ""
    follow: Followed | None = None  # the link that asks for it
    rehearsal: Rehearsal | None = None  # what it should be like; None: as usual


@dataclass(frozen=True, slots=True)
class Pause:
    rollout: int


@dataclass(frozen=True, slots=True)
class Resume:
    rollout: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Clear a pause and end one wait; `full`: straight to 100 %. Never turns the guard off. Who is
    no operator only agrees: a pause stays.

    `operator`, `approver`: what the person is who says so; `at` (wall clock) and `note` are for the
    receipt, where it is a person that is waited for.
    """

    rollout: int
    full: bool = False
    people: tuple[int, ...] = ()
    actor: str = ""
    note: str = ""
    at: str = ""
    operator: bool = True
    approver: bool = False


@dataclass(frozen=True, slots=True)
class Abort:
    """Go back. `outcome` says whether it was an abort or a rollback that was typed."""

    rollout: int
    reason: str
    outcome: Outcome = Outcome.ABORTED


@dataclass(frozen=True, slots=True)
class Approve:
    """Another person agrees. `people`: the user ids of who says so, `actor`: the name."""

    rollout: int
    people: tuple[int, ...]
    actor: str
    note: str = ""
    at: str = ""


Steer = Pause | Resume | Promote | Abort | Approve
Command = Begin | Steer | Maintain


class Why(StrEnum):
    """Classes of refusals: each has an exit code of its own."""

    REFUSED = "refused"
    BAD = "bad"
    BUSY = "busy"
    OPERATOR = "operator"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Refusal:
    why: Why
    message: str
    hint: str = ""


_OF_OURS = (Kind.RESTART, Kind.CONTRACT, Kind.EJECT, Kind.REHEARSAL)
_OF_WHAT_IS_LIVE = (*_OF_OURS, Kind.ROLLBACK)
_GOING_BACK = "it is already going back"
_ASK_THEM = "ask one of the approvers in [access] of the config"

_FORWARD = (
    Phase.PREPARING,
    Phase.STARTING,
    Phase.PROVING,
    Phase.ADMITTING,
    Phase.SHIFTING,
    Phase.BAKING,
    Phase.COMMITTING,
)
_PAUSABLE = _FORWARD[:-1]
_BACK = (Phase.RETURNING, Phase.REVERTING)


def refuse(state: State, command: Command) -> Refusal | None:
    """Why the command cannot be done now; None = it can."""
    if isinstance(command, Begin):
        return _refuse_begin(state, command)
    if isinstance(command, Maintain):
        return _refuse_maintain(state, command)
    rollout = state.rollout
    if rollout is None or rollout.id != command.rollout:
        return Refusal(Why.REFUSED, f"rollout {command.rollout} does not run", "relctl history")
    match command:
        case Pause() | Resume():
            return _refuse_pause(rollout)
        case Promote():
            return _refuse_promote(rollout, command)
        case Abort():
            return _refuse_abort(state, rollout)
        case Approve(people=people):
            return _refuse_approve(rollout, people)


def can_go_back(state: State) -> bool:
    """`rollback` turns the running rollout instead of beginning one."""
    rollout = state.rollout
    if rollout is None or rollout.kind in (Kind.STOP, Kind.CONTRACT):
        return False
    if rollout.kind is Kind.ROLLBACK:
        return False  # typed twice it must not undo itself; `abort` says what is meant
    return rollout.phase in _BACK or _refuse_abort(state, rollout) is None


def turns_back(state: State, begin: Begin) -> bool:
    """The way back that is wished for is that of the running rollout.

    Of a rehearsal only if what is live is named: who just wants to go back wants to be rid of that.
    """
    rollout = state.rollout
    if rollout is None or begin.kind is not Kind.ROLLBACK:
        return False
    meant = begin.release == rollout.from_
    if rollout.kind is not Kind.REHEARSAL:
        meant = meant or begin.release is None
    return meant and can_go_back(state)


def already(state: State, begin: Begin) -> str:
    """What makes the wish true already, one sentence; empty = nothing does."""
    if state.rollout is not None:
        return ""
    live = state.slot(state.live)
    match begin.kind:
        case Kind.EJECT if live is not None and live.unit:
            return f"{live.release} already runs without reld: sudo systemctl status '{live.unit}*'"
        case Kind.SWITCH if live is not None and live.unit:
            return ""  # the way in again, of the same release too
        case Kind.SWITCH | Kind.START if live is not None and begin.release == live.release:
            return f"{live.release} is already live"
        case Kind.START if live is not None and begin.release is None:
            return f"{live.release} is already live"
        case Kind.STOP if not state.slots:
            return "nothing runs already"
        case Kind.ROLLBACK if live is not None:
            if begin.release == live.release:
                return f"{live.release} is already live"
            if begin.release is None and _went_back_by_itself(state.last):
                assert state.last is not None
                ended = str(state.last.outcome).replace("_", " ")
                return (
                    f"rollout {state.last.id} ({state.last.to}) ended already, {ended}: "
                    f"{live.release} is live"
                )
    return ""


def release_of(state: State, begin: Begin) -> str:
    """Which release a command means."""
    live = state.slot(state.live)
    if begin.kind in (Kind.RESTART, Kind.CONTRACT, Kind.EJECT, Kind.REHEARSAL):
        return live.release if live is not None else ""
    if begin.release is not None:
        return begin.release
    match begin.kind:
        case Kind.START:
            return state.good[-1].release if state.good else ""
        case Kind.ROLLBACK:
            earlier = way_back(state)
            return earlier.release if earlier is not None else ""
        case _:
            return ""


def way_back(state: State) -> Good | None:
    """The good release below the live one."""
    live = state.slot(state.live)
    names = [g.release for g in state.good]
    if live is not None and live.release in names:
        below = state.good[: names.index(live.release)]
    else:
        below = state.good
    return below[-1] if below else None


def _refuse_begin(state: State, begin: Begin) -> Refusal | None:
    release = release_of(state, begin)
    what = f"cannot {begin.kind}" + (f" to {release}" if release else "")
    if begin.kind is Kind.REHEARSAL:
        what = f"cannot rehearse {release}".rstrip()
    if state.rollout is not None:
        running = state.rollout
        hint = f"relctl watch {running.id}, or add --wait-lock"
        if begin.kind is Kind.STOP:
            hint = f"relctl abort {running.id}, then relctl stop"
        elif running.awaits_approval:
            hint = f"relctl approve {running.id}, relctl abort {running.id}, or add --wait-lock"
        message = f"{what}: rollout {running.id} ({running.to or running.kind}) is {running.phase}"
        if running.kind is Kind.REHEARSAL and begin.kind is Kind.ROLLBACK:
            message = f"{what}: rollout {running.id} rehearses {running.to}"
            named = f" {begin.release}" if begin.release else ""
            hint = f"relctl abort {running.id}, then relctl rollback{named} --wait-lock"
        return Refusal(Why.BUSY, message, hint)
    if state.store_trouble:
        return Refusal(Why.OPERATOR, f"{what}: {state.store_trouble}", "relctl status")
    if holds(state):
        return Refusal(Why.REFUSED, f"{what}: requests are held", "relctl maintenance off")
    live = state.slot(state.live)
    if live is None and begin.kind in _OF_WHAT_IS_LIVE:
        return Refusal(Why.REFUSED, f"{what}: nothing is live", "relctl switch RELEASE")
    foreign = (live is None or live.external) and any(s.external for s in state.slots)
    if foreign and (begin.kind is Kind.STOP or begin.kind in _OF_OURS):
        message = f"{what}: the live app was not started by reld"
        return Refusal(Why.REFUSED, message, "relctl switch RELEASE")
    why, hint = rehearsal.barred(state, begin.policy, live)
    if begin.kind is Kind.REHEARSAL and why:
        return Refusal(Why.REFUSED, f"{what}: {why}", hint)
    if begin.kind is Kind.EJECT and live is not None and live.policy.workers:
        names = ", ".join(w.name for w in live.policy.workers)
        message = f"{what}: its workers ({names}) would stop, plain units are for instances only"
        hint = (
            "write a unit for each worker, remove [[worker]] from the config, relctl restart,"
            " start those units, then relctl eject"
        )
        return Refusal(Why.REFUSED, message, hint)
    if not release and begin.kind is not Kind.STOP:
        message = f"{what}: no earlier good release is known"
        return Refusal(Why.REFUSED, message, "relctl releases, then name one")
    if stop_first.barred(begin.kind, begin.policy, state.slots):
        message = f"{what} stop-first: the app that serves was not started by reld"
        hint = 'stop it yourself and switch then, or without stop-first: strategy = "warm"'
        return Refusal(Why.REFUSED, message, hint)
    if begin.kind in (Kind.STOP, Kind.CONTRACT):
        return _refuse_contract(begin)
    if begin.kind is Kind.ROLLBACK and not begin.force:
        sealed = next((g for g in state.good if g.release == release and g.sealed), None)
        if sealed is not None:
            message = (
                f"{what}: a contract migration has run since, it may not fit the data any more"
            )
            return Refusal(Why.OPERATOR, message, "relctl rollback --force, if you know it does")
    return _refuse_slot(state, what)


def _refuse_maintain(state: State, wish: Maintain) -> Refusal | None:
    if wish.maintenance is not None and wish.maintenance.closed.hold and state.rollout is not None:
        message = f"cannot hold requests: rollout {state.rollout.id} is {state.rollout.phase}"
        return Refusal(Why.BUSY, message, f"relctl watch {state.rollout.id}")
    if why := cannot_hold(state, wish):
        return Refusal(Why.REFUSED, f"cannot hold requests: {why}", "relctl maintenance")
    over = wish.maintenance is None and holds(state)  # it ends with us anyway
    if over or not state.store_trouble:
        return None
    what = "end the maintenance" if wish.maintenance is None else "begin a maintenance"
    message = f"cannot {what}: {state.store_trouble}"  # a kill would bring back what was before
    return Refusal(Why.OPERATOR, message, "relctl status")


def _refuse_contract(begin: Begin) -> Refusal | None:
    if begin.kind is Kind.CONTRACT and "contract" not in begin.policy.hooks:
        return Refusal(Why.REFUSED, "cannot contract: hooks.contract is not configured")
    return None


def _refuse_slot(state: State, what: str) -> Refusal | None:
    idle = idle_slot(state)
    if idle is None:
        return None
    message = f"{what}: slot {idle.color} is locked, processes of {idle.release} are still there"
    return Refusal(Why.OPERATOR, message, "relctl status")


def idle_slot(state: State) -> Slot | None:
    """What still occupies the slot that a rollout would need."""
    live = state.live
    return next((s for s in state.slots if s.color is not live and not s.external), None)


def _refuse_pause(rollout: Rollout) -> Refusal | None:
    if stop_first.away(rollout):
        message = f"cannot pause rollout {rollout.id}: users get 503 until {rollout.to} is ready"
        return Refusal(Why.REFUSED, message, f"relctl abort {rollout.id}")
    if rollout.phase in _PAUSABLE:
        return None
    return Refusal(Why.REFUSED, f"rollout {rollout.id} is {rollout.phase}: nothing to pause")


def _refuse_promote(rollout: Rollout, promote: Promote) -> Refusal | None:
    cannot = f"cannot promote rollout {rollout.id}"
    asks = agreement.asks(rollout)
    if not promote.operator and rollout.awaits_approval:
        message = f"{cannot}: it waits to be approved, and the rest is for operators"
        return Refusal(Why.PERSON, message, f"relctl approve {rollout.id}")
    if not promote.operator and (promote.full or not asks):
        what = "--full is" if promote.full else "it waits for nobody's agreement, and the rest is"
        return Refusal(Why.PERSON, f"{cannot}: {what} for operators", f"relctl watch {rollout.id}")
    if asks and rollout.approval and not promote.approver:
        return Refusal(Why.PERSON, f"{cannot}: it waits for an approver", _ASK_THEM)
    if asks and rollout.approval and approval.began_it(rollout, promote.people):
        return _their_own(rollout, cannot)
    if asks:
        return None
    waits = (Phase.SHIFTING, Phase.BAKING, Phase.RETURNING, Phase.DRAINING)
    if rollout.phase in waits:
        return None
    return Refusal(Why.REFUSED, f"rollout {rollout.id} is {rollout.phase}: nothing to promote")


def _refuse_approve(rollout: Rollout, people: tuple[int, ...]) -> Refusal | None:
    cannot = f"cannot approve rollout {rollout.id}"
    why = approval.barred(rollout)
    if why:
        return Refusal(Why.REFUSED, f"{cannot}: {why}", f"relctl show {rollout.id}")
    if rollout.approval and approval.began_it(rollout, people):
        return _their_own(rollout, cannot)
    return None


def _their_own(rollout: Rollout, cannot: str) -> Refusal:
    message = f"{cannot}: {rollout.actor} began it, and another person has to agree"
    return Refusal(Why.PERSON, message, _ASK_THEM)


def _may_agree(rollout: Rollout, promote: Promote) -> bool:
    theirs = rollout.approval and approval.began_it(rollout, promote.people)
    return not theirs and (promote.approver or not rollout.approval)


def _refuse_abort(state: State, rollout: Rollout) -> Refusal | None:
    cannot = f"cannot abort rollout {rollout.id}"
    if rollout.awaits_approval and rollout.phase is Phase.FINISHING:
        return None  # a contract that has not begun
    if rollout.kind in (Kind.STOP, Kind.CONTRACT):
        return Refusal(Why.REFUSED, f"{cannot}: a {rollout.kind} is not undone", "relctl start")
    if rollout.phase in _FORWARD or rollout.phase in _BACK:
        return None
    if stop_first.can_turn(rollout):
        return None
    if rollout.phase is not Phase.DRAINING:
        return Refusal(Why.REFUSED, f"{cannot}: it is {rollout.phase}", "relctl status")
    if rollout.leaving is not rollout.old:
        return Refusal(Why.REFUSED, f"{cannot}: {_GOING_BACK}", f"relctl watch {rollout.id}")
    old = state.slot(rollout.old)
    if old is None or not old.fit:
        hint = "relctl rollback, once it has ended"
        return Refusal(Why.REFUSED, f"{cannot}: {rollout.from_ or 'the old slot'} is gone", hint)
    return None


def steered(rollout: Rollout, command: Steer) -> Rollout:
    """The rollout after a command that was not refused."""
    match command:
        case Pause():  # also what an earlier promote has not done yet
            return replace(rollout, paused=True, promoted=False, full=False)
        case Resume():
            return replace(rollout, paused=False)
        case Promote():
            return _promoted(rollout, command)
        case Approve(actor=actor, note=note, at=at) if agreement.asks(rollout):
            return agreement.agreed(rollout, actor, at, note, to_all=False)
        case Approve(actor=actor, note=note):
            return replace(rollout, approved_by=actor, approval_note=note, waiting="")
        case Abort(reason=reason, outcome=outcome):
            if rollout.phase in _BACK:
                return rollout
            return replace(rollout, turning=outcome, reason=reason)


def _promoted(rollout: Rollout, promote: Promote) -> Rollout:
    asks = agreement.asks(rollout)
    paused = rollout.paused and not promote.operator
    on = replace(rollout, paused=paused, full=promote.full or rollout.full)
    if asks or (promote.full and _may_agree(rollout, promote)):
        who, at, note = promote.actor, promote.at, promote.note
        on = agreement.agreed(on, who, at, note, to_all=promote.full)
    return on if asks else replace(on, promoted=True)


def _went_back_by_itself(last: Rollout | None) -> bool:
    if last is None or last.kind not in (Kind.SWITCH, Kind.RESTART):
        return False
    return last.outcome in (Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.FAILED)

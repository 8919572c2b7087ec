"""State → the object of `relctl status --json`. Pure."""

from __future__ import annotations

from typing import Any

from reld.api import agreements, maintenance, new_lines, rehearsal, shadow, workers
from reld.api.clock import iso
from reld.api.evidence import evidence
from reld.api.measured import measured
from reld.api.progress import progress
from reld.api.service import Vitals
from reld.api.timing import eta, phases, segments
from reld.core import exchange
from reld.core import workers as core_workers
from reld.core.addresses import socket_path
from reld.core.model import Color, Instance, Phase, Rollout, Slot, State
from reld.core.offers import offers
from reld.core.policy import STOP_FIRST, WARM

_GOING_OUT = {Phase.DRAINING: "draining", Phase.STOPPING: "stopping", Phase.FINISHING: "stopping"}


def status(state: State, vitals: Vitals) -> dict[str, Any]:
    """The status object, key by key as it is documented."""
    default = state.gate.verified.routing.default
    return {
        "app": state.app,
        "live": None if default is None else str(default.color),
        "release": None if default is None else default.release,
        "rollout": None if state.rollout is None else _rollout(state, state.rollout, vitals),
        "slots": {str(color): _slot(state, color, vitals) for color in Color},
        "degraded": degraded(state, vitals.damage),
        "config": vitals.config or None,
        "maintenance": maintenance.shown(state),
        "rehearsal": rehearsal.shown(state.rehearsed),
        "follow": None if vitals.follow is None else dict(vitals.follow),
        "can": list(offers(state)),
    }


def headline(shown: dict[str, Any]) -> str:
    """One line for people, of a status object."""
    rollout = shown["rollout"]
    if rollout is None:
        now = f"{shown['release']} is live" if shown["release"] else "nothing is live"
        return f"{now}; degraded: {shown['degraded']}" if shown["degraded"] else now
    words = [f"{rollout['phase']} {rollout['to'] or rollout['from'] or ''}".rstrip()]
    if rollout["phase"] in ("shifting", "baking", "returning", "reverting"):
        words.append(f"{rollout['percent']} %")
    if rollout["waiting"]:
        words.append(rollout["waiting"])
    elif rollout["eta"]:
        words.append(f"about {rollout['eta']:.0f} s left")
    return ", ".join(words)


def share(state: State, color: Color) -> int:
    """Percent of the requests that the slot gets."""
    routing = state.gate.verified.routing
    moved = 0
    if routing.candidate is not None and state.rollout is not None:
        moved = state.rollout.share if routing.rollout == state.rollout.id else 0
    if routing.default is not None and routing.default.color is color:
        return 100 - moved
    if routing.candidate is not None and routing.candidate.color is color:
        return moved
    return 0


def degraded(state: State, damage: str = "") -> str | None:
    """What is not as it should be, in one line; None: all is well. `damage`: see Vitals."""
    found = [damage, state.store_trouble, state.lanes_trouble, state.gate.trouble]
    found += [state.active_trouble, *core_workers.trouble(state)]
    live = state.slot(state.live)
    if live is not None and live.dead:
        found.append(f"no instance of {live.release} runs, and it is live")
    elif live is not None and not live.fit:
        ready = sum(i.was_ready for i in live.instances)
        found.append(f"{ready} of {len(live.crew)} instances of {live.release} are ready")
    rollout = state.rollout
    if (
        rollout is not None
        and rollout.waiting
        and not rollout.paused
        and not rollout.awaits_approval
        and not rollout.asked
    ):
        found.append(f"rollout {rollout.id}: {rollout.waiting}")
    found += [
        f"slot {slot.color} is locked: processes of {slot.release} did not end"
        for slot in state.slots
        if _locked(state, slot)
    ]
    return "; ".join(part for part in found if part) or None


def slot_word(state: State, color: Color) -> str:
    """One word for what the slot is doing.

    empty, external, live, degraded, dead, starting, ready, candidate, warm, draining, stopping,
    stopped (it made way) or locked.
    """
    slot, rollout = state.slot(color), state.rollout
    if slot is None:
        return "empty"
    if slot.external:
        return "external"
    if rollout is not None:
        if rollout.leaving is color and rollout.phase in _GOING_OUT:
            return _GOING_OUT[rollout.phase]
        if rollout.made_way and rollout.old is color:
            return "stopped"
        if rollout.candidate is color and state.live is not color:
            return _candidate_word(state, slot)
        if share(state, color) == 0 and slot.fit:
            return "warm"
    if state.live is color:
        if slot.dead:
            return "dead"
        return "live" if slot.fit else "degraded"
    return "locked" if _locked(state, slot) else "stopping"


def _candidate_word(state: State, slot: Slot) -> str:
    if slot.dead and any(i.exit is not None for i in slot.instances):
        return "dead"
    if state.rollout is not None and state.rollout.phase is Phase.REVERTING:
        return "draining"
    if share(state, slot.color) > 0:
        return "candidate"
    return "ready" if slot.fit else "starting"


def _locked(state: State, slot: Slot) -> bool:
    """Nothing works on it and it is still there: some process of its trees did not end."""
    return state.rollout is None and not slot.external and state.live is not slot.color


def _slot(state: State, color: Color, vitals: Vitals) -> dict[str, Any]:
    slot = state.slot(color)
    return {
        "state": slot_word(state, color),
        "release": None if slot is None else slot.release,
        "percent": share(state, color),
        "instances": [] if slot is None else [_instance(i, vitals) for i in slot.instances],
        "workers": [] if slot is None else workers.shown(slot, vitals),
        **measured(vitals.slot(color)),
    }


def _instance(instance: Instance, vitals: Vitals) -> dict[str, Any]:
    port, path = instance.address.rpartition(":")[2], socket_path(instance.address)
    started = instance.started_at if instance.runs or instance.exit is not None else 0.0
    return {
        "pid": None if instance.identity is None else instance.identity.pid,
        "port": int(port) if port.isascii() and port.isdigit() else None,
        "socket": path or None,
        "address": instance.address,
        "state": str(instance.state),
        "started": iso(started + vitals.offset) if started else None,
        "restarts": instance.restarts,
        "adopted": instance.adopted,
        "exit": _exit(instance),
        "detail": instance.detail,
    }


def _exit(instance: Instance) -> str | None:
    """How it ended. Only a parent is told that for sure, and an adopted process has another one."""
    found = instance.exit
    if found is None:
        return None
    unknown = found.code is None and found.signal is None
    return f"{found}: it was adopted" if unknown and instance.adopted else str(found)


def _rollout(state: State, rollout: Rollout, vitals: Vitals) -> dict[str, Any]:
    left = eta(rollout, vitals.now)
    begun = segments(rollout, vitals.now, running=True)[-1][1]
    return {
        "id": rollout.id,
        "kind": str(rollout.kind),
        "from": rollout.from_ or None,
        "to": rollout.to or None,
        "phase": str(rollout.phase),
        "percent": rollout.share,
        "step": rollout.step + 1 if rollout.step >= 0 else None,
        "steps": list(rollout.policy.steps),
        "outcome": None if rollout.outcome is None else str(rollout.outcome),
        "reason": rollout.reason or None,
        "actor": rollout.actor,
        "started": iso(rollout.began + vitals.offset),
        "since": iso(begun + vitals.offset),
        "seconds": round(max(0.0, vitals.now - rollout.began), 3),
        "eta": None if left is None else round(left, 3),
        "progress": progress(rollout, vitals.now),
        "waiting": rollout.waiting or None,
        "paused": rollout.paused,
        "approval": "awaited" if rollout.awaits_approval else rollout.approved_by or None,
        "note": rollout.note or None,
        "on_duty": rollout.on_duty or None,
        **agreements.shown(rollout),
        "left": rollout.left,
        "streams": rollout.streams,
        "verdict": str(rollout.watch.finding.verdict),
        "evidence": evidence(rollout),
        "skipped": list(rollout.skipped),
        "shadow": shadow.account(rollout),
        "surge": rollout.surge,
        "warm": exchange.warm_now(state) or None,
        "rate": rollout.watch.rate,
        "strategy": STOP_FIRST if rollout.stop_first else WARM,
        "turned_away": rollout.turned_away,
        "new_lines": new_lines.shown(vitals.new_lines.get(rollout.id), new_lines.IN_STATUS),
        "phases": phases(rollout, vitals.now, running=True),
    }

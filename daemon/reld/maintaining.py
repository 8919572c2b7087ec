"""`relctl maintenance`: the page is kept first, then the state asks for it, then the gate is seen to obey."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from reld.api.clock import iso
from reld.api.maintenance import MaintenanceRequest, told
from reld.api.peers import Caller
from reld.clock import boottime, offset
from reld.core.commands import Command, Refusal
from reld.core.maintenance import Maintain, already, holds, in_effect
from reld.core.model import Closed, Maintenance, State
from reld.errors import GateError

PATIENCE = 20.0
"""Seconds that the gate may take; it is tried again for as long as it takes, only not waited for."""

KeepPage = Callable[[bytes], str]
BeginToHold = Callable[[], None]


def nothing_is_held() -> None:
    """For who has no gate."""


@dataclass(frozen=True, slots=True)
class Means:
    """`begin_to_hold`: who asks waits from then on, see `host.holding`. `rate`: requests a second."""

    keep_page: KeepPage
    begin_to_hold: BeginToHold = nothing_is_held
    rate: Callable[[], float | None] = lambda: None


class Running(Protocol):
    """The engine, as far as it is needed here."""

    @property
    def state(self) -> State: ...

    def command(self, command: Command) -> Refusal | None: ...

    async def until(self, condition: Callable[[State], bool]) -> None: ...


async def maintain(
    engine: Running, means: Means, request: MaintenanceRequest, caller: Caller
) -> tuple[Refusal | None, dict[str, Any]]:
    """The refusal, or the body that answers POST /v1/maintenance. Raises OSError, GateError."""
    wish = await _wish(means, request, caller)
    same = already(engine.state, wish)
    refusal = engine.command(wish)
    if refusal is not None:
        return refusal, {}
    if holds(engine.state):  # long before the gate asks
        try:
            means.begin_to_hold()
        except GateError:
            engine.command(Maintain(None))
            raise
    word = "on" if request.on else "off"
    obeyed = await _obeyed(engine)
    now = engine.state.maintenance
    message = f"maintenance is {'already ' if same else ''}{word}"
    if request.hold:
        message = f"requests wait, for {request.hold:g} s at most"
        if now is None:
            message = "requests were held for a moment and go on already"
    if not obeyed:
        why = engine.state.gate.trouble or "it did not answer in time"
        message = f"{message}, but the gate does not obey yet: {why}; it is tried again"
    return None, {
        "already": same,
        "in_effect": obeyed,
        "message": message,
        "maintenance": None if now is None else told(now),
    }


async def _wish(means: Means, request: MaintenanceRequest, caller: Caller) -> Maintain:
    if not request.on:
        return Maintain(None)
    page = "" if request.page is None else await asyncio.to_thread(means.keep_page, request.page)
    since = iso(boottime() + offset())
    closed = Closed(page, request.allow, request.hold)
    return Maintain(Maintenance(closed, since, caller.actor, request.reason), means.rate())


async def _obeyed(engine: Running) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await engine.until(in_effect)
    except TimeoutError:
        return False
    return True

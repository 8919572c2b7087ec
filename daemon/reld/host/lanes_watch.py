"""Do the lanes still say what was moved last? Whoever removes them sends everything to live, in silence.

Moved back by somebody (`relctl rollback --offline` beside a reld that runs): then it goes back. Gone
or unreadable: the share is 0 whatever was moved, so that is what is shown, and they are made anew.
"""

from __future__ import annotations

import asyncio
import logging

from reld.core.commands import Abort
from reld.core.events import LanesMoved, LanesStuck
from reld.core.model import Outcome, Phase, Rollout
from reld.core.shadowing import mirrors
from reld.engine import Engine
from reld.errors import GateError
from reld.nginx.gate import Gate
from reld.nginx.obedience import Disobeys

log = logging.getLogger("reld.gate")

LOOK_EVERY = 0.5
AGAIN_AFTER = 0.1
"""Seconds until the gate is asked once more: between two looks the share may have been moved."""


class LanesWatch:
    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate

    async def keep(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("cannot look at the lanes: %s", error)
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        self._look_at_the_mirror()
        rollout = self._settled()
        if rollout is None or not await self._trouble(rollout):
            return
        await asyncio.sleep(AGAIN_AFTER)
        trouble = await self._trouble(rollout)
        now = self._settled()
        if not trouble or now is None or (now.id, now.share) != (rollout.id, rollout.share):
            return
        there = self._gate.share(rollout.id)
        log.warning("rollout %d: %s", rollout.id, trouble)
        if there is not None and there < rollout.share:
            self._engine.tell(LanesMoved(rollout.id, there))
            why = "the lanes were moved back"
            self._engine.command(Abort(rollout.id, why, Outcome.ROLLED_BACK))
            return
        self._engine.tell(LanesMoved(rollout.id, 0))
        self._engine.tell(LanesStuck(rollout.id, trouble))

    def _look_at_the_mirror(self) -> None:
        """Before the first lane moves, going back by hand is to remove this file."""
        rollout = self._engine.state.rollout
        if rollout is None or not mirrors(rollout) or rollout.shadow.since is None:
            return
        if self._gate.share(rollout.id) is not None and not self._gate.mirrors(rollout.id):
            why = "the mirror was switched off"
            self._engine.command(Abort(rollout.id, why, Outcome.ROLLED_BACK))

    async def _trouble(self, rollout: Rollout) -> str:
        """What the gate does instead, in words; "" = it obeys, or cannot be asked now."""
        there = self._gate.share(rollout.id)
        if there is None:
            return f"the lanes of rollout {rollout.id} are gone: all requests go to live"
        try:
            await self._gate.obeys(rollout.id, rollout.share)
        except Disobeys as error:
            return error.message
        except GateError:
            return ""
        return "" if there == rollout.share else f"the lanes were moved to {there} %"

    def _settled(self) -> Rollout | None:
        """The rollout, when its lanes are where they should be, as far as is known."""
        rollout = self._engine.state.rollout
        if rollout is None or rollout.phase not in (Phase.SHIFTING, Phase.BAKING):
            return None
        moving = rollout.unsure or rollout.share != rollout.wanted_share
        return None if moving or not rollout.share or rollout.turning is not None else rollout

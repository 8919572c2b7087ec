"""Does the gate see the lanes? An unreadable directory would send everything to live, in silence."""

from __future__ import annotations

from reld.core.model import Routing
from reld.errors import GateError
from reld.nginx import lanes, status
from reld.nginx.settings import GateSettings


class Disobeys(GateError):
    """The gate deals requests otherwise than the files say."""


async def check(settings: GateSettings, routing: Routing, share: int) -> None:
    """Asks the gate for the last lane inside a share and the first one outside of it.

    `routing` names both slots. Raises Disobeys when the gate says something else than the files do,
    another GateError when it cannot be asked.
    """
    assert routing.default is not None
    assert routing.candidate is not None
    asked = [(share - 1, routing.candidate.color)] if share > 0 else []
    asked += [(share, routing.default.color)] if share < lanes.LANES else []
    for lane, color in asked:
        answer = await status.ask(settings, f"/lane/{lane:02d}")
        if answer is None or answer.app != settings.app:
            raise GateError(
                f"cannot see whether the gate obeys: {settings.status} does not answer",
                hint=f"see {settings.error_log}",
            )
        if answer.slot != color:
            home = lanes.directory(settings.runtime, routing.rollout or 0)
            raise Disobeys(
                f"the gate does not obey: lane {lane} at share {share} goes to "
                f"{answer.slot or 'nobody'}, not to {color}",
                hint=f"can its workers read {home}? see {settings.error_log}",
            )

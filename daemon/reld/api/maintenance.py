"""What POST /v1/maintenance asks for, checked, and what is said of a maintenance. Pure.

Limits: a page has at most 256 KiB, `allow` 200 networks.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from reld.api.requests import known_object, one_line
from reld.core.model import LONGEST_HOLD, Maintenance, State
from reld.errors import BadRequest

LARGEST_PAGE = 256 << 10  # bytes
LARGEST_BODY = 2 << 20  # bytes; JSON may need six for one of the page
_MOST = 200


@dataclass(frozen=True, slots=True)
class MaintenanceRequest:
    """`page` None: the common one. `hold`: seconds that requests wait instead of the 503."""

    on: bool
    page: bytes | None = None
    allow: tuple[str, ...] = ()
    reason: str = ""
    note: str = ""
    hold: float = 0.0


def maintenance_request(body: Any) -> MaintenanceRequest:
    """Reads the body. Raises BadRequest."""
    fields = known_object(body, "the request", ("on", "page", "allow", "hold", "reason", "note"))
    on = fields.get("on")
    if not isinstance(on, bool):
        raise BadRequest("cannot read the request: on is true or false")
    hold = _hold(fields.get("hold"))
    if not on and (fields.get("page") is not None or fields.get("allow") or hold):
        raise BadRequest("cannot end the maintenance: page, allow and hold mean nothing then")
    if hold and fields.get("page") is not None:
        raise BadRequest("cannot hold requests: nobody gets a page then", "leave page out")
    return MaintenanceRequest(
        on,
        _page(fields.get("page")),
        _allow(fields.get("allow")),
        one_line(fields, "reason"),
        one_line(fields, "note"),
        hold,
    )


def shown(state: State) -> dict[str, Any] | None:
    """The "maintenance" of a status; None: there is none. `in_effect` false: the gate is not so yet."""
    now = state.maintenance
    if now is None:
        return None
    serves = [loaded.routing.maintenance for loaded in state.gate.possible]
    return {
        **told(now),
        "in_effect": all(one == now.closed for one in serves),
    }


def told(maintenance: Maintenance) -> dict[str, Any]:
    """`hold`: the seconds that requests wait; None: they get the 503."""
    return {
        "hold": maintenance.closed.hold or None,
        "since": maintenance.since,
        "by": maintenance.actor,
        "reason": maintenance.reason or None,
        "page": bool(maintenance.closed.page),
        "allow": list(maintenance.closed.allow),
    }


def _hold(raw: Any) -> float:
    if raw is None:
        return 0.0
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 1 <= raw <= LONGEST_HOLD:
        raise BadRequest(f"cannot use hold: it is 1 to {LONGEST_HOLD:g} seconds")
    return float(raw)


def _page(raw: Any) -> bytes | None:
    if raw is None:
        return None
    if not isinstance(raw, str) or not raw:
        raise BadRequest("cannot use page: it is the text of an HTML page")
    try:
        content = raw.encode()
    except UnicodeEncodeError:
        raise BadRequest("cannot use page: it is not UTF-8") from None
    if len(content) > LARGEST_PAGE:
        raise BadRequest(f"cannot use page: it is larger than {LARGEST_PAGE >> 10} KiB")
    return content


def _allow(raw: Any) -> tuple[str, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list) or len(raw) > _MOST:
        raise BadRequest(f"cannot use allow: it is a list of at most {_MOST} networks")
    found = set()
    for one in raw:
        try:
            found.add(ipaddress.ip_network(one if isinstance(one, str) else "", strict=False))
        except ValueError:
            raise BadRequest(
                f"cannot allow {str(one)[:80]!r}: it is no address and no network",
                "such as 192.0.2.7 or 2001:db8::/32",
            ) from None
    return tuple(sorted(map(str, found)))

"""The first lines of a gate config: comments from which its routing can be read back, and whether the
settings have changed since.
"""

from __future__ import annotations

import json
from typing import Any

from reld.core.model import Closed, Color, Marked, Routing, Target
from reld.errors import GateError

_MARK = "# relctl: "
_SETTINGS = "# settings: "


def mark(generation: int, routing: Routing) -> str:
    """The line, with its end. Escapes keep it one line whatever is in it."""
    said: dict[str, Any] = {
        "generation": generation,
        "default": _said(routing.default),
        "candidate": _said(routing.candidate),
        "rollout": routing.rollout,
        "maintenance": _said_closed(routing.maintenance),
        "shadow": routing.shadow,
    }
    if routing.rehearsal is not None:
        said["rehearsal"] = [routing.rehearsal.token, routing.rehearsal.fails]
    return f"{_MARK}{json.dumps(said)}\n"


def read_back(text: str) -> tuple[int, Routing]:
    """Generation and routing of a config that `render` wrote; GateError when it is not one."""
    first = text.partition("\n")[0]
    try:
        # Anything else than our mark leaves text that is no JSON.
        said = json.loads(first.removeprefix(_MARK))
        routing = Routing(
            _read_target(said["default"]),
            _read_target(said["candidate"]),
            said["rollout"],
            _read_closed(said.get("maintenance")),  # an older reld said nothing of it
            float(said.get("shadow", 0.0)),
            _read_marked(said.get("rehearsal")),
        )
        return int(said["generation"]), routing
    except (ValueError, KeyError, TypeError) as error:
        raise GateError(f"cannot read the gate config back: {error}") from error


def settings_line(fingerprint: str) -> str:
    return f"{_SETTINGS}{fingerprint}\n"


def settings_of(text: str) -> str | None:
    """The fingerprint of the settings that a config was made from; None in one of an older reld."""
    found = [line for line in text.split("\n", 3)[:3] if line.startswith(_SETTINGS)]
    return found[0].removeprefix(_SETTINGS) if found else None


def _said(target: Target | None) -> dict[str, Any] | None:
    if target is None:
        return None
    return {
        "color": str(target.color),
        "release": target.release,
        "addresses": list(target.addresses),
    }


def _said_closed(closed: Closed | None) -> dict[str, Any] | None:
    if closed is None:
        return None
    return {"page": closed.page, "allow": list(closed.allow), "hold": closed.hold}


def _read_closed(said: dict[str, Any] | None) -> Closed | None:
    if said is None:
        return None
    allow = tuple(map(str, said["allow"]))
    return Closed(str(said["page"]), allow, float(said.get("hold", 0.0)))


def _read_marked(said: list[Any] | None) -> Marked | None:
    if said is None:
        return None
    token, fails = said
    return Marked(str(token), bool(fails))


def _read_target(said: dict[str, Any] | None) -> Target | None:
    if said is None:
        return None
    return Target(Color(said["color"]), str(said["release"]), tuple(map(str, said["addresses"])))

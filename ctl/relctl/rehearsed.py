"""What a rehearsal showed: one line of a status, a few of a receipt."""

from __future__ import annotations

from relctl.text import clean, local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIMES = (
    ("ready in", "seconds_to_ready"),
    ("back in", "seconds_to_roll_back"),
    ("longest request", "longest_request"),
    ("drained in", "seconds_to_drain"),
    ("stopped in", "seconds_to_stop"),
)
_IN_STATUS = 2


def line(found: Any) -> str:
    """Of a "rehearsal" of a status; empty = there was none."""
    if not isinstance(found, dict):
        return ""
    outcome = clean(found.get("outcome") or "").replace("_", " ")
    said = outcome if outcome == "done" else f"{outcome}: {clean(found.get('reason') or '')}"
    parts = [said.rstrip(": "), *_times(found)[:_IN_STATUS], _lost(found)]
    if found.get("found") is not None:
        parts.append(_verdict(found))
    return f"{clean(found.get('release'))}, {local(found.get('at'))}: {', '.join(parts)}"


def pairs(found: Any) -> list[tuple[str, str]]:
    """Of a "rehearsal" of a receipt."""
    if not isinstance(found, dict):
        return []
    verdict = "" if found.get("found") is None else _verdict(found)
    advice = "\n".join(clean(one) for one in found.get("advice") or [])
    measured = ", ".join([*_times(found), _lost(found)])
    return [
        ("measured", measured),
        ("its own", _own(found)),
        ("shown", verdict),
        ("advice", advice),
    ]


def _times(found: dict[str, Any]) -> list[str]:
    return [f"{name} {_span(found[key])}" for name, key in _TIMES if found.get(key) is not None]


def _lost(found: dict[str, Any]) -> str:
    lost = int(found.get("lost") or 0)
    return f"{lost or 'nothing'} lost"


def _verdict(found: dict[str, Any]) -> str:
    return "the verdict works" if found.get("found") else "the verdict did not find it"


def _own(found: dict[str, Any]) -> str:
    own = found.get("own")
    if not isinstance(own, dict) or not own.get("asked"):
        return ""
    failed = (
        f", {int(own.get('failed') or 0)} failed as they were told to" if found.get("fail") else ""
    )
    return f"{int(own['asked'])} requests of reld's own{failed}: they are not among the others"


def _span(seconds: Any) -> str:
    number = float(seconds)
    return f"{number:.1f} s" if number >= 1 else f"{max(1, round(number * 1000))} ms"

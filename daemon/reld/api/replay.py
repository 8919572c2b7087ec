"""What the body of POST /v1/rollouts/ID/replay asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reld.errors import BadRequest

_LONGEST = 30 * 24 * 3600.0
_RANGES = {
    # Above 0 and at most; as in the config.
    "false_alarm": (0.5, "a fraction of 1 above 0 and at most 0.5"),
    "max_error_rate": (1.0, "a fraction of 1 above 0 and at most 1"),
    "max_p95": (_LONGEST, "a number of seconds above 0"),
}


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Judge a rollout's counts again. None: as it was judged then.

    `false_alarm` and `max_error_rate` are fractions of 1, `max_p95` and `warmup` seconds.
    """

    rollout: int
    false_alarm: float | None = None
    max_error_rate: float | None = None
    max_p95: float | None = None
    warmup: float | None = None

    @property
    def changed(self) -> dict[str, float]:
        """The settings that are other ones than then."""
        given = {name: getattr(self, name) for name in (*_RANGES, "warmup")}
        return {name: value for name, value in given.items() if value is not None}


def replay_request(rollout: int, body: Any) -> ReplayRequest:
    """Reads the body.

    Raises:
        BadRequest: what is wrong, and what was expected.
    """
    if not isinstance(body, dict):
        raise BadRequest("cannot read the replay: it is not a JSON object")
    given: dict[str, float] = {}
    for name, raw in body.items():
        if name not in _RANGES and name != "warmup":
            known = ", ".join((*_RANGES, "warmup"))
            raise BadRequest(
                f"cannot read the replay: {name[:40]!r} is not known", f"one of {known}"
            )
        if raw is None:
            continue
        number = type(raw) in (int, float)
        if name == "warmup":
            fits, expected = number and 0 <= raw <= _LONGEST, "a number of seconds from 0 on"
        else:
            most, expected = _RANGES[name]
            fits = number and 0 < raw <= most
        if not fits:
            raise BadRequest(f"cannot use {name}: it is {expected}")
        given[name] = float(raw)
    return ReplayRequest(rollout, **given)

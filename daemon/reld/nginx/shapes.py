"""What lines mean that differ only in time and client.

A request that was tried twice has lists ("A, B", or "A : B" after a redirect of nginx's own), and an
upstream's name as the last address when nobody could be tried any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from reld.core.model import OWN_ROUTE

OLD, NEW = 0, 1
MOST = 10_000
"""Shapes that are remembered; methods are the clients' to invent."""


class Outcome(IntEnum):
    """Of the first attempt."""

    GOOD = 0
    FAILED = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """`slot`: of the first attempt, None = of no known slot. `timed`: the time to the first byte is
    judged. `kind`: slot and outcome in one number. `left`: the client did not wait for it. `label`: where a failure was, "checkout (POST)".
    `seen`: for each slot what one such request adds to the five fields of `counting.Seen`.
    `nobodys`: a request that no user made, see `mirror`: not counted.
    `turned_away`: the gate itself answered 503, because it serves nobody. `own`: reld asked, not a
    user: it is judged as any other and counted as nobody's.
    """

    slot: int | None = None
    kind: int = 0
    outcome: Outcome = Outcome.GOOD
    timed: bool = False
    left: bool = False
    stands_for: int = 1
    route: str = ""
    label: str = ""
    seen: tuple[tuple[int, tuple[int, ...]], ...] = ()
    beat: bool = False
    nobodys: bool = False
    turned_away: bool = False
    own: bool = False


NONSENSE = Shape(label="nonsense")
BEAT = Shape(beat=True)
NOBODYS = Shape(nobodys=True)
SHADOW = "shadow"
"""The kind of a mirrored request."""
_FIELDS = 9
_LIST = re.compile(r", | : ")


class Shapes:
    """Works shapes out, each once."""

    def __init__(
        self, old: frozenset[str], new: frozenset[str], success: dict[str, tuple[int, ...]]
    ) -> None:
        self._slots = dict.fromkeys(old, OLD) | dict.fromkeys(new, NEW)
        self._success = success
        self._known: dict[str, Shape] = {}

    def of(self, said: str) -> Shape:
        """The shape of a line from its fifth field on; NONSENSE when it has none."""
        found = self._known.get(said)
        if found is None:
            if len(self._known) >= MOST:
                self._known.clear()
            found = self._known[said] = self._read(said)
        return found

    def _read(self, said: str) -> Shape:
        if said == "beat":
            return BEAT
        fields = said.split("|")
        if len(fields) != _FIELDS:
            return NONSENSE
        addresses, statuses, final, method, kind, thin, rollout, generation, route = fields
        numbers = (generation, rollout.replace("-", "0", 1))
        if thin not in ("-", "k", "t", "d") or not all(map(str.isdecimal, numbers)):
            return NONSENSE
        try:
            attempts = [
                (self._slots.get(address), None if status == "-" else _status(status))
                for address, status in zip(
                    _LIST.split(addresses), _LIST.split(statuses), strict=True
                )
                if ":" in address  # else the name of an upstream
            ]
            status = _status(final)
        except ValueError:
            return NONSENSE
        if kind == SHADOW:
            return NOBODYS
        route, own = "" if route == "-" else route, route == OWN_ROUTE
        stands_for = 10 if thin == "k" else 1
        label = f"{route} ({method})" if route else method
        if not attempts:
            away = addresses == "-" and status == 503
            return Shape(stands_for=stands_for, route=route, label=label, turned_away=away)
        slot, first = attempts[0]
        bad = self._failed(first, route) or (first is None and status >= 500)
        bad_in_the_end = self._failed(status, route)
        outcome = Outcome.FAILED if bad else Outcome.GOOD
        # Found in the other slot, as a script of the other release is: nobody was refused.
        found_elsewhere = len(attempts) > 1 and status < 400
        if first is not None and _refused(first) and not found_elsewhere:
            outcome = Outcome.REFUSED
        return Shape(
            slot=slot,
            kind=(slot or 0) * len(Outcome) + outcome,
            outcome=outcome,
            timed=thin != "d" and kind == "plain" and first != 101 and not bad,
            left=first is None and status == 499,
            stands_for=stands_for,
            route=route,
            label=label,
            seen=_seen(
                [(slot, self._failed(status, route)) for slot, status in attempts],
                bad_in_the_end,
                bad and len(attempts) > 1 and not bad_in_the_end and status < 400,
            ),
            own=own,
        )

    def _failed(self, status: int | None, route: str) -> bool:
        if status is None or 400 <= status < 500:
            return False
        success = self._success.get(route)
        return status >= 500 if not success else status not in success


def _status(text: str) -> int:
    if len(text) != 3 or not (text.isascii() and text.isdecimal()):
        raise ValueError
    return int(text)


def _refused(status: int) -> bool:
    return 400 <= status < 500 and status != 499


def _seen(
    attempts: list[tuple[int | None, bool]], error: bool, saved: bool
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    found: dict[int, list[int]] = {}
    for slot, failed in attempts:
        if slot is not None:
            fields = found.setdefault(slot, [0] * 5)
            fields[3] += 1
            fields[4] += failed
    first, last = attempts[0][0], attempts[-1][0]
    if last is not None:
        found[last][0] += 1
        found[last][1] += error
    if first is not None:
        found[first][2] += saved
    return tuple((slot, tuple(fields)) for slot, fields in found.items())

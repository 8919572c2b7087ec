"""Named moments at which reld kills itself, so that tests can hit them exactly.

    RELD_FAILPOINT=after:reload         the first time that a reload has ended and nobody knows yet
    RELD_FAILPOINT=before:persist:3     before the third write of the state
    RELD_FAILPOINT=@/run/web/failpoint  what the file says, from the moment that it says so

Points: `before:` and `after:` each effect of the core, in lower case with hyphens (`after:move-lanes`),
and `before:persist`, `after:persist`. `after:` an effect is when the world has changed and the state
has not. Off without the variable, at the cost of one comparison.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

VARIABLE = "RELD_FAILPOINT"
_FORM = re.compile(r"((?:before|after):[a-z-]+)(?::([1-9][0-9]*))?")

Reach = Callable[[str, object], None]
"""Called with "before" or "after" and what is done: an effect, or a word."""


def nowhere(when: str, what: object) -> None:
    """Production."""


def from_environment(environment: dict[str, str]) -> Reach:
    """Raises ValueError when the variable is set and makes no sense: a test that kills nobody lies."""
    text = environment.get(VARIABLE)
    if not text:
        return nowhere
    return _Armed(Path(text[1:])) if text.startswith("@") else _failpoint(text)


def _failpoint(text: str) -> Reach:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{VARIABLE}: expected before:NAME or after:NAME[:TIMES], got {text!r}")
    return _Failpoint(found[1], int(found[2] or 1))


def name_of(what: object) -> str:
    """`MoveLanes(…)` → move-lanes."""
    word = what if isinstance(what, str) else type(what).__name__
    return re.sub(r"(?<!^)(?=[A-Z])", "-", word).lower()


class _Failpoint:
    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self._left = times

    def __call__(self, when: str, what: object) -> None:
        if f"{when}:{name_of(what)}" != self._name:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _Armed:
    """Without a file nothing happens; TIMES are counted from when the file first said so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said = ""
        self._reach: Reach = nowhere

    def __call__(self, when: str, what: object) -> None:
        try:
            said = self._path.read_text().strip()
        except FileNotFoundError:
            said = ""
        if said != self._said:
            self._said = said
            self._reach = _failpoint(said) if said else nowhere
        self._reach(when, what)

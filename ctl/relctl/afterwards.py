"""What to type after a rollout that did not end as it was meant to."""

from __future__ import annotations

from relctl.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WITHOUT_A_RELEASE = ("restart", "start", "stop", "contract", "eject")
_AGAIN = {"rehearsal": "rehearse"}


def next_words(receipt: dict[str, Any], *, shown: bool) -> str:
    """Empty = nothing. `shown`: the whole receipt is on the screen already."""
    outcome = str(receipt.get("outcome") or "")
    if outcome not in ("failed", "rolled_back", "aborted"):
        return ""
    words = [] if shown else [f"relctl show {receipt.get('id')}"]
    if outcome != "aborted" and _started(receipt):
        words.insert(0, f"relctl logs --release {clean(receipt['to'])}")
    again = f"relctl {_again(receipt)}"
    words.append(again if outcome == "aborted" else f"once it is mended: {again}")
    return " · ".join(words)


def _started(receipt: dict[str, Any]) -> bool:
    """Whether its release has written anything that could be looked at."""
    log = (receipt.get("evidence") or {}).get("log")
    return bool(receipt.get("to")) and log != []


def _again(receipt: dict[str, Any]) -> str:
    kind = clean(receipt.get("kind") or "switch")
    named = "" if kind in (*_WITHOUT_A_RELEASE, *_AGAIN) else f" {clean(receipt.get('to') or '')}"
    return f"{_AGAIN.get(kind, kind)}{named}".rstrip()

"""A rollout's counts judged again, by other settings. Pure, and slow: for a thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from reld.api.replay import ReplayRequest
from reld.api.requests import NotFound
from reld.core.verdict import words
from reld.core.verdict.replay import Found, replay
from reld.core.verdict.settings import VerdictSettings
from reld.errors import Refused
from reld.store import codec


def judged_again(
    request: ReplayRequest, account: Mapping[str, Any] | None, rows: bytes | None
) -> dict[str, Any]:
    """What answers POST /v1/rollouts/ID/replay.

    `account`: the rollout's receipt, None = there is no such rollout. `rows`: what was counted, as
    JSON lines; None = not kept.

    Raises:
        NotFound: there is no such rollout.
        Refused: it still runs, or there is nothing to judge.
    """
    number = request.rollout
    if account is None:
        raise NotFound(f"cannot replay rollout {number}: there is none", "relctl history")
    if account["outcome"] is None:
        raise Refused(f"cannot replay rollout {number}: it still runs", f"relctl watch {number}")
    then = account.get("judged_by")
    if not rows or then is None:
        raise Refused(
            f"cannot replay rollout {number}: its counts are not kept, only those of the last 50 "
            "rollouts that were watched are",
            "relctl history",
        )
    settings = codec.decode(VerdictSettings, {**then, **request.changed})
    try:
        replayed = replay(map(json.loads, rows.splitlines()), settings)
    except ValueError as error:
        raise Refused(
            f"cannot replay rollout {number}: its counts are damaged: {error}", "relctl history"
        ) from error
    found = replayed.worse
    return {
        "id": number,
        "seconds": replayed.seconds,
        "outcome": account["outcome"],
        "found": None if found is None else _found(found, account),
        "settings": {**asdict(settings), "routes": list(settings.routes)},
    }


def _found(found: Found, account: Mapping[str, Any]) -> dict[str, Any]:
    finding = found.finding
    new, old = str(account.get("to") or "the candidate"), str(account.get("from") or "the old one")
    return {
        "seconds": found.seconds,
        "share": found.share,
        "verdict": str(finding.verdict),
        "sentence": words.named(finding.sentence, new, old),
        "odds": finding.odds,
    }

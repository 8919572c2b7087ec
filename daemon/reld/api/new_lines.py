"""What the candidate writes that the old release never did, as it is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reld.newlines.news import News

IN_STATUS = 5
IN_RECEIPT = 20
"""Kinds of lines."""


def shown(news: News | None, most: int) -> dict[str, Any] | None:
    """None: not known. Errors first, then the most frequent; "known": lines it was compared with."""
    if news is None:
        return None
    return {
        "kinds": news.kinds,
        "lines": news.lines,
        "top": [
            {"text": kind.text, "count": kind.count, "level": kind.level}
            for kind in news.top[:most]
        ],
        "known": news.known,
        "thinned": news.thinned,
    }


def told(account: Mapping[str, Any], why: str) -> dict[str, Any]:
    """What answers GET /v1/logs/new. `account`: a receipt; `why`: why nothing is known."""
    found = account.get("new_lines")
    return {
        "rollout": account["id"],
        "from": account["from"],
        "to": account["to"],
        "outcome": account["outcome"],
        "new_lines": found,
        "why": None if found is not None else why,
    }

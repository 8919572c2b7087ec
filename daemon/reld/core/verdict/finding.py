"""What the detector has to say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    FINE = "fine"  # nothing known against it
    WORSE = "worse"  # clearly worse than the old slot: go back
    DOUBT = "doubt"  # fails, and no control is left: ask the warm old slot before going back
    ENVIRONMENT = "environment"  # both slots suffer: hold
    BLIND = "blind"  # the feed is silent or makes no sense: hold


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what it rests on.

    `sentence`: the verdict in words, with numbers and odds; empty while FINE. `hold`: why the share
    must not grow yet although nothing is proven; `asks`: only a person may end that hold. `known`:
    what can be said for the candidate.
    `errors`, `slowness`: evidence against it, 0 … 1 of what a verdict needs. `odds`: by chance once
    in so many releases (0 = no verdict).
    """

    verdict: Verdict = Verdict.FINE
    sentence: str = ""
    hold: str = ""
    asks: bool = False
    known: str = ""
    errors: float = 0.0
    slowness: float = 0.0
    odds: float = 0.0

"""What the detector found, in words: `words` says how a number reads, this what is said."""

from __future__ import annotations

from reld.core.verdict.eprocess import Counts
from reld.core.verdict.errors import Charge
from reld.core.verdict.sample import Tally
from reld.core.verdict.words import NEW, OLD, failed, percent, place, sentence

_BOTH = "both slots are failing: the environment, not the release"


def tallies(counts: Counts) -> tuple[Tally, Tally]:
    """Of the old slot and of the candidate."""
    return (
        Tally(round(counts.old), round(counts.old_failed)),
        Tally(round(counts.new), round(counts.new_failed)),
    )


def accusation(charge: Charge, failed_at: tuple[tuple[str, int], ...]) -> str:
    """Why the candidate goes back, with the odds."""
    old, new = tallies(charge.counts)
    clause = failed(new, old)
    if charge.route:
        return sentence(f"on {charge.route} {clause}", charge.odds)
    return sentence(clause, charge.odds, place(failed_at, new.failures))


def both_fail(now: Counts) -> str:
    """`now`: of the last seconds."""
    old, new = percent(now.old_rate), percent(now.new_rate)
    return f"{_BOTH} ({NEW} {new}, {OLD} {old} of the last requests)"


def both_hang(clause: str) -> str:
    return f"{_BOTH}: {clause}"


def no_control(total: Counts) -> str:
    old, new = tallies(total)
    return f"{failed(new, old)}; {OLD} gets no traffic to compare with"


def nothing_came(share: int, expected: float) -> str:
    return (
        f"the gate gives {NEW} nothing: not one request at {share} %, "
        f"about {expected:.0f} were to be expected"
    )


def refusing(seen: Counts) -> str:
    old, new = percent(seen.old_rate), percent(seen.new_rate)
    return f"{NEW} refuses more often (4xx): {new} of its requests, {OLD} {old}"

"""Does the candidate fail more often than the old slot? On everything, and on each named route."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reld.core.verdict import eprocess
from reld.core.verdict.eprocess import NOTHING, Bet, Counts, RatioEProcess
from reld.core.verdict.sample import RouteTally, Tally

BET = Bet((6.0, 12.0, 25.0))
"""From 1 % (ten times the usual 0.1 %) to everything: nobody loses much on a neighbour's bet. With 3, 10
and 40 a fault of 1 % needs half a failure more, and 40 instead of 25 finds a total one no sooner
(simulated at 100 requests a second)."""

ERRORS_PART = 0.4
"""Of the false alarms that are allowed; slowness has .3, the guard at 100 % .3."""

ROUTES_PART = 0.5
"""Of the errors' part, when there are named routes."""

LEAST_FAILURES = 3
LEAST_RATIO = 2.0
LEAST_EXCESS = 0.001
"""0.1 point: at 1000 requests a second 0.02 % against 0.00 % is true, and nobody wants to go back."""

OPEN = 0.25
"""From this part of the needed evidence on the share does not grow: what is wrong is found with the
fewest victims while the share is small."""

LEAST_TO_WAIT = 0.5
"""One failure, for a half-life of five minutes. Waiting for the second one costs a healthy release a
minute now and then, and spares the users of a 1 % fault two failures of ten (simulated)."""

_COLLAPSED, _HEALTHY = 0.8, 0.1
_SURE, _QUICK, _CONTROL = 10, 6, 10  # requests
_MOST_ODDS = 1e6


@dataclass(frozen=True, slots=True)
class RouteErrors:
    """`total`: whole blocks, never fading."""

    name: str
    process: RatioEProcess
    block: Counts = NOTHING
    total: Counts = NOTHING


@dataclass(frozen=True, slots=True)
class Errors:
    """`block`: this one so far; `before`: the one before it, if nothing lies between. `total`: whole
    blocks in which the candidate had a share, never fading.
    """

    process: RatioEProcess
    routes: tuple[RouteErrors, ...] = ()
    block: Counts = NOTHING
    before: Counts = NOTHING
    total: Counts = NOTHING


@dataclass(frozen=True, slots=True)
class Charge:
    """Why the candidate is worse. `route`: empty for all requests together; `counts`: what it rests
    on, since the candidate has had a share. `odds`: by chance once in so many releases.
    """

    route: str
    counts: Counts
    odds: float


def begin_errors(false_alarm: float, routes: tuple[str, ...], planned: float) -> Errors:
    alpha = false_alarm * ERRORS_PART
    if not routes:
        return Errors(eprocess.begin(BET, alpha, planned))
    apart = alpha * ROUTES_PART / len(routes)
    return Errors(
        eprocess.begin(BET, alpha * (1 - ROUTES_PART), planned),
        tuple(RouteErrors(name, eprocess.begin(BET, apart, planned)) for name in routes),
    )


def errors_step(errors: Errors, share: int) -> Errors:
    """The candidate has `share` percent from now on; the block before must have been judged."""
    return Errors(
        eprocess.moved(errors.process, share / 100),
        tuple(
            RouteErrors(r.name, eprocess.moved(r.process, share / 100), r.block, r.total)
            for r in errors.routes
        ),
        errors.block,
        NOTHING,  # who answered before the lanes were moved is no control for what comes now
        errors.total,
    )


def errors_seen(errors: Errors, old: Tally, new: Tally, routes: tuple[RouteTally, ...]) -> Errors:
    """More of the same block."""
    block = Counts(
        errors.block.old + old.requests,
        errors.block.old_failed + old.failures,
        errors.block.new + new.requests,
        errors.block.new_failed + new.failures,
    )
    apart = errors.routes
    if routes and apart:
        more = {
            route.name: Counts(
                route.old.requests, route.old.failures, route.new.requests, route.new.failures
            )
            for route in routes
        }
        apart = tuple(
            RouteErrors(r.name, r.process, r.block + more[r.name], r.total) if r.name in more else r
            for r in apart
        )
    return Errors(errors.process, apart, block, errors.before, errors.total)


def errors_judged(errors: Errors, seconds: int) -> Errors:
    """The block is over, and the next one begins `seconds` after this one began."""
    process = eprocess.judged(errors.process, BET, errors.block, seconds)
    routes = errors.routes and tuple(
        RouteErrors(
            r.name,
            eprocess.judged(r.process, BET, r.block, seconds),
            NOTHING,
            _sum(r.process, r.total, r.block),
        )
        for r in errors.routes
    )
    return _turned(errors, process, routes, seconds)


def errors_rested(errors: Errors, seconds: int) -> Errors:
    """The same, and the block is no evidence (the environment's)."""
    process = eprocess.rested(errors.process, errors.block, seconds)
    routes = errors.routes and tuple(
        RouteErrors(
            r.name,
            eprocess.rested(r.process, r.block, seconds),
            NOTHING,
            _sum(r.process, r.total, r.block),
        )
        for r in errors.routes
    )
    return _turned(errors, process, routes, seconds)


def _turned(
    errors: Errors, process: RatioEProcess, routes: tuple[RouteErrors, ...], seconds: int
) -> Errors:
    before = errors.block if seconds <= eprocess.BLOCK else NOTHING
    total = _sum(errors.process, errors.total, errors.block)
    return Errors(process, routes, NOTHING, before, total)


def _sum(process: RatioEProcess, total: Counts, block: Counts) -> Counts:
    return total + block if process.share else total


def counted(errors: Errors) -> Counts:
    """All requests since the candidate has had a share."""
    return _sum(errors.process, errors.total, errors.block)


def level(errors: Errors) -> float:
    """0 … 1 of what a verdict needs; the highest of all and of each route."""
    most = _part(errors.process, errors.block)
    for route in errors.routes:
        most = max(most, _part(route.process, route.block))
    return most


def _part(process: RatioEProcess, block: Counts) -> float:
    return min(1.0, max(0.0, eprocess.peek(process, BET, block) / process.needed))


def charge(errors: Errors) -> Charge | None:
    """Is it proven, and does it matter? To be asked when a failure of the candidate was counted."""
    if collapsed(errors):
        return Charge("", counted(errors), collapse_odds(errors))
    if _proven(errors.process, errors.block):
        return Charge("", counted(errors), _odds(errors.process, errors.block))
    for route in errors.routes:
        if _proven(route.process, route.block):
            return Charge(route.name, route.total + route.block, _odds(route.process, route.block))
    return None


def _proven(process: RatioEProcess, block: Counts) -> bool:
    return eprocess.peek(process, BET, block) >= process.needed and _matters(process, block)


def _matters(process: RatioEProcess, block: Counts) -> bool:
    """Over the last minutes, or in the last seconds alone: it may have begun just now."""
    return _clearly_more(process.seen + block) or _clearly_more(process.lately + block)


def _clearly_more(seen: Counts) -> bool:
    return (
        # Not a whole number: they fade. Half of the third failure may be long ago.
        seen.new_failed >= LEAST_FAILURES - 0.5
        and seen.new_rate >= LEAST_RATIO * seen.old_rate
        and seen.new_rate - seen.old_rate >= LEAST_EXCESS
    )


def unsettled(errors: Errors) -> bool:
    """Does it seem to fail more often, by the bare rates of the last minutes?"""
    seen = errors.process.seen + errors.block
    if seen.new_failed < LEAST_TO_WAIT:
        return False
    # Half a failure more: counts are whole numbers, and the next one may be on its way.
    return (seen.new_failed + 0.5) / seen.new >= LEAST_RATIO * seen.old_rate


def slight(errors: Errors) -> bool:
    """Proven, and too little to go back for."""
    process, block = errors.process, errors.block
    return eprocess.peek(process, BET, block) >= process.needed and not _matters(process, block)


def _odds(process: RatioEProcess, block: Counts) -> float:
    return math.exp(min(math.log(_MOST_ODDS), eprocess.peek(process, BET, block)))


def collapsed(errors: Errors) -> bool:
    """The fast path: nearly everything fails on the candidate, and next to nothing on the old slot.

    Of the last 2 … 4 seconds, all of 6 requests or 80 % of 10. No process that merely stalls does
    that (30 % of its requests fail: 0.1 % of its stalls). The old slot's silence is not its health:
    without ten requests of it this decided 12 % of all shared outages wrongly.
    """
    block, both = errors.block, errors.before + errors.block
    # At 100 % what the old slot still answers are stragglers from before, and no control.
    if not block.new_failed or not 0 < errors.process.share < 1:
        return False
    quick = both.new >= _QUICK and both.new_failed == both.new
    sure = both.new >= _SURE and both.new_failed >= _COLLAPSED * both.new
    return (
        (quick or sure)
        and both.old >= _CONTROL
        and both.old_failed <= _HEALTHY * both.old
        and block.old_failed <= _HEALTHY * block.old
    )


def collapse_odds(errors: Errors) -> float:
    """One in so many: the failures of these seconds dealt to the slots by chance (Fisher's exact test)."""
    both = errors.before + errors.block
    chance = (
        _log_choose(both.new, both.new_failed)
        + _log_choose(both.old, both.old_failed)
        - _log_choose(both.new + both.old, both.new_failed + both.old_failed)
    )
    return math.exp(min(math.log(_MOST_ODDS), -chance))


def _log_choose(n: float, k: float) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

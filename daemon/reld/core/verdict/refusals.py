"""Does the candidate refuse (4xx) more often? Never a reason to go back, for a release may mean it.

A scanner or an expired token makes 4xx on both slots; a route that a release forgot makes them on one.
Twice as often is all right; what is proven to be more than that holds, and a person decides.
"""

from __future__ import annotations

from reld.core.verdict import eprocess
from reld.core.verdict.eprocess import Bet, Counts, RatioEProcess

BET = Bet((4.0, 10.0, 40.0), fair=2.0)


def begin_refusals(false_alarm: float, planned: float) -> RatioEProcess:
    return eprocess.begin(BET, false_alarm, planned)


def more_refusals(process: RatioEProcess) -> bool:
    return (
        process.value >= process.needed
        and process.seen.new_failed >= 10
        and process.seen.new_rate >= 2 * process.seen.old_rate
    )


def refusals_judged(process: RatioEProcess, block: Counts, seconds: int) -> RatioEProcess:
    return eprocess.judged(process, BET, block, seconds)

"""What a rehearsal is asked for, what it sees, and what is left of it: values only.

`rehearsal` has its life, `rehearsal_result` makes the account and the advice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LEAST_SHARE, MOST_SHARE = 1, 50
LONGEST = 600.0
"""Seconds that a rehearsal may stay at its share."""
USUAL_SHARE, USUAL_MOST = 5, 30.0


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One that runs, or ran. `time`: seconds at `share` percent. `began`: wall clock, for people.

    Requests of its own go through the gate like a user's; `token` tells them apart. `fails`: those
    that come to the candidate fail there, to see whether the verdict finds it. `asked`: so many
    are over, `failed` as they were told to, `lost` without an answer of the app. `longest`: seconds of
    the longest request of anybody that ended meanwhile, on either slot. `back_at`: no lane was the
    candidate's any more (0: a reboot did that, which measures nothing); `drained_at`: nothing of what it had begun was left. `found`: the verdict
    came; None: it had not to.
    """

    share: int = USUAL_SHARE
    time: float = USUAL_MOST
    fails: bool = False
    token: str = ""
    began: str = ""
    asked: int = 0
    failed: int = 0
    lost: int = 0
    longest: float = 0.0
    back_at: float | None = None
    drained_at: float | None = None
    found: bool | None = None


def of_another_boot(ours: Rehearsal) -> Rehearsal:
    """Without the times of another boot."""
    return replace(ours, back_at=0.0, drained_at=None)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What the last one showed. Times in seconds; None: it did not come so far."""

    release: str
    at: str
    id: int
    outcome: str
    reason: str = ""
    seconds_to_ready: float | None = None
    seconds_to_roll_back: float | None = None
    longest_request: float | None = None
    seconds_to_drain: float | None = None
    seconds_to_stop: float | None = None
    lost: int = 0
    found: bool | None = None
    advice: tuple[str, ...] = ()

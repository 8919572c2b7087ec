"""What a rehearsal measured, what it says against, and what it advises. Numbers and words only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reld.core.model import Counts, Kind, Outcome, Phase, Rollout
from reld.core.policy import Policy
from reld.core.rehearsed import Rehearsed

TWICE = 2.0
WILDLY = 10.0
"""A setting that is more than so many times what is needed may be less."""
_NICE = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1200, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the config, and what was measured of it; `least`: never advise less (seconds)."""

    key: str
    now: float
    measured: float
    what: str
    least: float


def result(rollout: Rollout) -> Rehearsed | None:
    """The account of one that is over; None: it is no rehearsal."""
    ours = rollout.rehearsal
    if ours is None or rollout.kind is not Kind.REHEARSAL:
        return None
    ready = took(rollout, Phase.STARTING) if _came_to(rollout, Phase.PROVING) else None
    stop = took(rollout, Phase.STOPPING) if rollout.addresses else None
    return Rehearsed(
        release=rollout.to,
        at=ours.began,
        id=rollout.id,
        outcome=str(rollout.outcome or Outcome.DONE),
        reason=rollout.reason.partition("\n")[0],  # the receipt has the log that follows
        seconds_to_ready=_rounded(ready),
        seconds_to_roll_back=_rounded(_since(rollout, Phase.REVERTING, ours.back_at)),
        longest_request=_rounded(ours.longest) if rollout.moved else None,
        seconds_to_drain=_rounded(_drain(rollout)),
        seconds_to_stop=_rounded(stop),
        lost=lost(rollout),
        found=ours.found,
        advice=advice(rollout, ready, stop),
    )


def lost(rollout: Rollout) -> int:
    """Requests that the rehearsal cost somebody.

    What was cut when the drain had its time; own ones without an answer; and users' errors on the
    candidate beyond those that the live slot had of as many requests: an app that fails one in a
    hundred does so wherever it is asked.
    """
    own = 0 if rollout.rehearsal is None else rollout.rehearsal.lost
    return rollout.cut + own + beyond(*_counts(rollout))


def beyond(old: Counts, new: Counts) -> int:
    """Errors of `new` that the rate of `old` does not explain."""
    expected = math.ceil(new.total * old.errors / old.total) if old.total else 0
    return max(0, new.errors - expected)


def findings(rollout: Rollout) -> str:
    """What is wrong although it went forth and back; empty = nothing."""
    parts = []
    if rollout.cut:
        some = "1 connection was" if rollout.cut == 1 else f"{rollout.cut} connections were"
        parts.append(f"{some} cut when drain_max ({rollout.policy.drain_max:g} s) was over")
    others = lost(rollout) - rollout.cut
    if others:
        parts.append(f"{others} request{'' if others == 1 else 's'} lost")
    return "; ".join(parts)


def advice(rollout: Rollout, ready: float | None, stop: float | None) -> tuple[str, ...]:
    """One line for each setting of which something was measured."""
    found = [said(s) for s in _settings(rollout, ready, stop)]
    limit, most = rollout.policy.slot.ready_deadline, rollout.policy.drain_max
    if rollout.reason.startswith(f"not ready after {limit:g} s"):
        more = shown(nice(TWICE * limit))
        found.append(f"[readiness] deadline = {more}: it was not ready within {seconds(limit)}")
    if rollout.cut:
        more = shown(nice(TWICE * most))
        found.append(f"[rollout] drain_max = {more}: {rollout.cut} were cut after {seconds(most)}")
    return tuple(found)


def said(setting: Setting) -> str:
    """The advice: twice what was measured, if it is not so already."""
    needed = nice(max(setting.least, TWICE * setting.measured))
    measured = f"{setting.what} {seconds(setting.measured)}"
    if setting.now < TWICE * setting.measured:
        return f"{setting.key} = {shown(needed)}: {measured}, it should be twice that"
    if setting.now > WILDLY * needed:
        return (
            f"{setting.key} = {shown(needed)} would do: {measured}, {seconds(setting.now)} is much"
        )
    return f"{setting.key} = {shown(setting.now)}: as it is ({measured})"


def nice(number: float) -> float:
    """As people write it in a config, never less."""
    return next((float(n) for n in _NICE if n >= number), float(math.ceil(number / 3600) * 3600))


def shown(number: float) -> str:
    """A duration as the config has it."""
    if number < 1:
        return f'"{round(number * 1000)}ms"'
    whole = number == int(number)
    if whole and number >= 120 and number % 60 == 0:
        return f'"{int(number) // 60}m"'
    return f'"{number:g}s"'


def seconds(number: float) -> str:
    """For people: no more digits than it has."""
    if number == int(number):
        return f"{number:.0f} s"
    return f"{number:.1f} s" if number >= 0.95 else f"{max(1, round(number * 1000))} ms"


def took(rollout: Rollout, phase: Phase) -> float | None:
    """Seconds that a phase that is over took; None: it was not there, or before a reboot."""
    ends = [*(mark.at for mark in rollout.marks[1:]), rollout.since]
    spans = [end - m.at for m, end in zip(rollout.marks, ends, strict=False) if m.phase is phase]
    return sum(spans) if spans else None


def _settings(rollout: Rollout, ready: float | None, stop: float | None) -> list[Setting]:
    policy, slot = rollout.policy, rollout.policy.slot
    found: list[Setting] = []
    drain = _drain(rollout)
    if drain is not None:
        found += _of_drain(rollout, policy, drain)
    if ready is not None:
        what = "getting ready took"
        found.append(Setting("[readiness] deadline", slot.ready_deadline, ready, what, 10.0))
    if stop is not None and ready is not None:
        what = "stopping took"
        if stop >= slot.stop_timeout:
            what = "it had to be killed (does it obey its stop signal?): stopping took"
        found.append(Setting("[app] stop_timeout", slot.stop_timeout, stop, what, 5.0))
    return found


def _of_drain(rollout: Rollout, policy: Policy, drain: float) -> list[Setting]:
    assert rollout.rehearsal is not None
    longest = rollout.rehearsal.longest
    found = [Setting("[rollout] drain", policy.drain, longest, "the longest request took", 5.0)]
    if not rollout.cut:
        # One that was not over by itself is as long as the setting, and says nothing of what is needed.
        most = longest if rollout.rehearsal.drained_at is None else max(longest, drain)
        what = "the drain took" if most > longest else "the longest request took"
        found.append(Setting("[rollout] drain_max", policy.drain_max, most, what, 30.0))
    return found


def _drain(rollout: Rollout) -> float | None:
    """Seconds until nothing was left, or until it was cut; None: it never drained."""
    ours = rollout.rehearsal
    if ours is None or not rollout.drain_seconds or rollout.drain_since is None:
        return None
    if ours.drained_at is None:
        return rollout.drain_seconds
    return max(0.0, ours.drained_at - rollout.drain_since)


def _since(rollout: Rollout, phase: Phase, at: float | None) -> float | None:
    began = next((m.at for m in reversed(rollout.marks) if m.phase is phase), None)
    return None if at is None or began is None or at < began else at - began


def _came_to(rollout: Rollout, phase: Phase) -> bool:
    return any(mark.phase is phase for mark in rollout.marks)


def _counts(rollout: Rollout) -> tuple[Counts, Counts]:
    """Of the live slot and of the candidate."""
    both = {"blue": rollout.blue, "green": rollout.green}
    new = str(rollout.candidate)
    return next(c for name, c in both.items() if name != new), both.get(new, Counts())


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)

"""What the sensor says, and what follows from it for the rollout that is being watched."""

from __future__ import annotations

from dataclasses import replace

from reld.core.events import Judged
from reld.core.model import Color, Counts, Mirrored, Rollout, Watch
from reld.core.verdict.finding import Finding, Verdict

SILENT_AFTER = 10.0
"""Seconds without news of the sensor after which its silence is shown."""
ASKED_AGAIN_AFTER = 5.0
"""Seconds after which an old slot that failed its checks is asked again."""
_NO_EVIDENCE = (Verdict.ENVIRONMENT, Verdict.BLIND, Verdict.DOUBT)
FEWEST = 10
_SMOOTH = 0.5
"""How much of `Watch.failing` is the last news."""
"""A step that cannot give the candidate so many requests cannot show anything."""


def judged(rollout: Rollout, event: Judged, at: float) -> Rollout:
    """The rollout after the sensor spoke."""
    finding = _first_told(rollout.watch.finding, event.finding)
    answers = rollout.old_answers
    again = answers is False and at >= rollout.asked_at + ASKED_AGAIN_AFTER
    if finding.verdict is not Verdict.DOUBT or again:
        answers = None
    observed = rollout.observed
    if finding.verdict is Verdict.WORSE and not rollout.policy.verdict.act and not observed:
        at_share = f"at {rollout.share} %" if rollout.share else "in shadow"
        observed = f"{at_share}: {finding.sentence}"
    before = rollout.watch
    unwatched = before.unwatched
    if before.finding.verdict in _NO_EVIDENCE:
        unwatched += max(0.0, event.read_to - max(before.read_to, rollout.since))
    failing = _failing(rollout, event)
    seen = Watch(event.read_to, at + SILENT_AFTER, finding, event.rate, unwatched, failing)
    return replace(
        rollout,
        blue=event.blue,
        green=event.green,
        watch=seen,
        old_answers=answers,
        observed=observed,
        warning=rollout.warning or event.warning,
        turned_away=max(rollout.turned_away, event.turned_away),
        shadow=replace(rollout.shadow, mirrored=_most(rollout.shadow.mirrored, event.mirrored)),
    )


def _first_told(before: Finding, now: Finding) -> Finding:
    """What made it so stays the reason: numbers that change every second are not news."""
    if now.verdict is before.verdict and now.verdict is not Verdict.FINE:
        now = replace(now, sentence=before.sentence)
    if now.hold and before.hold and now.asks is before.asks:
        now = replace(now, hold=before.hold)
    return now


def listened(watch: Watch, at: float) -> Watch:
    """The sensor has its time from now on."""
    return replace(watch, silent_at=max(watch.silent_at, at + SILENT_AFTER))


def watch_begun(watch: Watch, at: float) -> Watch:
    """A step, or the bake: what was held before is nothing to it."""
    return replace(listened(watch, at), unwatched=0.0)


def worse(rollout: Rollout) -> str:
    """Why the verdict says to go back; empty = it does not, or must not act."""
    finding = rollout.watch.finding
    if not rollout.policy.verdict.act:
        return ""
    if finding.verdict is Verdict.WORSE:
        return finding.sentence
    if finding.verdict is Verdict.DOUBT and rollout.old_answers:
        return f"{finding.sentence}; {rollout.from_} passes its checks"
    return ""


def not_yet(rollout: Rollout, at: float) -> str:
    """Why nothing may be decided now, for or against the candidate; empty = go on."""
    watch = rollout.watch
    if at >= watch.silent_at:
        return "nothing is heard from the gate's request log: the share stays as it is"
    match watch.finding.verdict:
        case Verdict.ENVIRONMENT | Verdict.BLIND:
            return watch.finding.sentence
        case Verdict.DOUBT if rollout.old_answers is False and rollout.policy.verdict.act:
            return (
                f"{watch.finding.sentence}; {rollout.from_} fails its checks too: "
                "the environment, not the release"
            )
        case Verdict.DOUBT if rollout.policy.verdict.act:
            return f"{watch.finding.sentence}; asking {rollout.from_}"
        case _:
            return ""


def watched_for(rollout: Rollout, since: float) -> float:
    """Seconds after `since` of which the log has been read, and said something."""
    return rollout.watch.read_to - since - rollout.watch.unwatched


def next_step(rollout: Rollout, step: int) -> int:
    """The first step from this one on that could show anything; the last one always can be taken."""
    steps, rate = rollout.policy.steps, rollout.watch.rate
    if rate is None:
        return step
    while step < len(steps) - 1 and rate * steps[step] / 100 * rollout.policy.step_max < FEWEST:
        step += 1
    return step


def dealt(rollout: Rollout) -> int:
    """Requests that the candidate was given in this rollout."""
    return _of(rollout, rollout.candidate).total


def _failing(rollout: Rollout, event: Judged) -> float:
    was = _of(rollout, rollout.candidate)
    now = event.blue if rollout.candidate is Color.BLUE else event.green
    asked, failed = now.total - was.total, now.failures - was.failures
    if asked <= 0:
        return rollout.watch.failing
    return rollout.watch.failing * (1 - _SMOOTH) + min(1.0, max(0.0, failed / asked)) * _SMOOTH


def _most(before: Mirrored, now: Mirrored) -> Mirrored:
    return now if now.total >= before.total else before


def _of(rollout: Rollout, color: Color | None) -> Counts:
    return rollout.blue if color is Color.BLUE else rollout.green

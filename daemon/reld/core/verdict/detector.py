"""Samples in, a finding out: the parts of the verdict together, on one clock.

The clock is the log's own. It only ever goes on: lines that are a few seconds late belong to now, a
clock that was set back costs nothing, and a gap counts for a minute at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reld.core.verdict import eprocess, words
from reld.core.verdict.baseline import (
    Baseline,
    acquitted,
    baseline_seen,
    begin_baseline,
    doubtful,
    unwatched,
    watched,
)
from reld.core.verdict.environment import Environment, environment_judged
from reld.core.verdict.eprocess import BLOCK, NOTHING, Counts, RatioEProcess
from reld.core.verdict.errors import (
    OPEN,
    Errors,
    begin_errors,
    charge,
    counted,
    errors_judged,
    errors_rested,
    errors_seen,
    errors_step,
    level,
    slight,
    unsettled,
)
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.hangs import Hangs, begin_hangs, hangs_seen
from reld.core.verdict.limits import Limits, begin_limits, limits_seen
from reld.core.verdict.logtime import passed
from reld.core.verdict.refusals import begin_refusals, more_refusals, refusals_judged
from reld.core.verdict.sample import Sample, Tally
from reld.core.verdict.sentences import (
    accusation,
    both_fail,
    both_hang,
    no_control,
    nothing_came,
    refusing,
    tallies,
)
from reld.core.verdict.settings import VerdictSettings
from reld.core.verdict.slowness import (
    Slowness,
    begin_slowness,
    slowness_seen,
    slowness_step,
    slowness_times,
)

_LONGEST_GAP = 60  # seconds
_EXPECTED = 20.0
"""Requests that the candidate should have had: that none of them came has the chance e^-20."""
_MOST_PLACES = 8
_CALM = Environment()


@dataclass(frozen=True, slots=True)
class Detector:
    """Everything that is known of a rollout so far: a few dozen numbers, whatever the traffic.

    `last`: second of the newest sample; `clock`: seconds that only ever grow. `refused`: requests
    and 4xx of the block. `share`: percent of the lanes; `expected`, `came`: requests of the candidate
    since they were moved. `failed_at`: where it failed most. `worse`: the sentence of the verdict
    once it is found, with its odds, for good.
    """

    settings: VerdictSettings
    errors: Errors
    refusals: RatioEProcess
    baseline: Baseline
    slowness: Slowness
    hangs: Hangs
    limits: Limits
    environment: Environment = _CALM
    refused: Counts = NOTHING
    share: int = 0
    last: int | None = None
    clock: int = 0
    expected: float = 0.0
    came: int = 0
    failed_at: tuple[tuple[str, int], ...] = ()
    worse: str = ""
    odds: float = 0.0


def begin(settings: VerdictSettings) -> Detector:
    alarm, planned = settings.false_alarm, settings.planned
    return Detector(
        settings,
        begin_errors(alarm, settings.routes, planned),
        begin_refusals(alarm, planned),
        begin_baseline(alarm),
        begin_slowness(settings),
        begin_hangs(),
        begin_limits(settings),
    )


def known_times(detector: Detector, times: tuple[tuple[int, int], ...]) -> Detector:
    """The live slot's times of the last hour, as `Tally.times`; before the first step."""
    return replace(detector, slowness=slowness_times(detector.slowness, times))


def next_step(detector: Detector, share: int) -> Detector:
    """The candidate has `share` percent of the lanes from now on."""
    judged = _turned(detector, 0)
    baseline = (
        watched(judged.baseline, judged.environment, judged.clock)
        if share >= 100
        else unwatched(judged.baseline)
    )
    return replace(
        judged,
        errors=errors_step(judged.errors, share),
        refusals=eprocess.moved(judged.refusals, share / 100),
        baseline=baseline,
        slowness=slowness_step(judged.slowness, share),
        share=share,
        expected=0.0,
        came=0,
    )


def old_fails_too(detector: Detector) -> Detector:
    """DOUBT was raised, and the warm old slot failed its probe: it is not the release. As much
    evidence again is needed on top before it is doubted again; when the trouble is over, as before.
    """
    return replace(detector, baseline=acquitted(detector.baseline))


def observe(detector: Detector, sample: Sample) -> Detector:
    """What came since the last sample: a second or a part of one, or nothing."""
    last, past = passed(detector.last, sample.second, _LONGEST_GAP)
    # Blocks begin at even seconds of the log, so that its seconds are not cut.
    clock = sample.second % BLOCK if detector.last is None else detector.clock + past
    if clock // BLOCK != detector.clock // BLOCK:
        detector = _turned(detector, (clock // BLOCK - detector.clock // BLOCK) * BLOCK)
    old, new, share = sample.old, sample.new, detector.share
    errors, baseline, slowness = detector.errors, detector.baseline, detector.slowness
    refused, expected = detector.refused, detector.expected
    if old.requests or new.requests:
        errors = errors_seen(errors, old, new, sample.routes)
        if old.refusals or new.refusals:
            refused += Counts(0, old.refusals, 0, new.refusals)
        if 0 < share < 100:
            expected += old.requests * share / (100 - share)
    if share >= 100:
        baseline = baseline_seen(baseline, clock, new.requests, new.failures)
    hangs, limits = hangs_seen(detector.hangs, sample), detector.limits
    if not detector.environment.bad:
        slowness = slowness_seen(slowness, sample)
        limits = limits_seen(limits, sample)
    seen = Detector(
        detector.settings,
        errors,
        detector.refusals,
        baseline,
        slowness,
        hangs,
        limits,
        detector.environment,
        refused,
        share,
        last,
        clock,
        expected,
        detector.came + new.requests,
        _placed(detector.failed_at, sample.failed_at) if sample.failed_at else detector.failed_at,
        detector.worse,
        detector.odds,
    )
    if seen.worse or not share or seen.environment.bad:
        return seen
    return _sentenced(seen, new)


def _sentenced(detector: Detector, new: Tally) -> Detector:
    charged = charge(detector.errors) if new.failures else None
    if charged is not None:
        return replace(detector, worse=accusation(charged, detector.failed_at), odds=charged.odds)
    slowness, hangs, limits = detector.slowness, detector.hangs, detector.limits
    if slowness.worse:
        clause = words.sentence(slowness.clause, slowness.odds)
        return replace(detector, worse=clause, odds=slowness.odds)
    if hangs.worse:
        return replace(detector, worse=hangs.clause)
    if limits.worse:
        return replace(detector, worse=limits.clause)
    return detector


def find(detector: Detector) -> Finding:
    """What there is to say now."""
    total = counted(detector.errors)
    old, new = tallies(total)
    known = words.known(new.requests, new.failures)
    errors, slowness = level(detector.errors), detector.slowness.level
    verdict, sentence, hold, asks = Verdict.FINE, "", "", False
    if detector.worse:
        verdict, sentence = Verdict.WORSE, detector.worse
    elif detector.environment.bad:
        verdict, sentence = Verdict.ENVIRONMENT, both_fail(detector.environment.now)
    elif detector.hangs.both:
        verdict, sentence = Verdict.ENVIRONMENT, both_hang(detector.hangs.clause)
    elif doubtful(detector.baseline):
        verdict, sentence = Verdict.DOUBT, no_control(total)
    elif detector.hangs.alone:
        verdict, sentence = Verdict.DOUBT, detector.hangs.clause
    elif _blind(detector):
        verdict, sentence = Verdict.BLIND, nothing_came(detector.share, detector.expected)
    else:
        hold, asks = _hold(detector, errors, words.failed(new, old))
    return Finding(verdict, sentence, hold, asks, known, errors, slowness, detector.odds)


def _hold(detector: Detector, errors: float, failed: str) -> tuple[str, bool]:
    """Why the share must not grow yet, and whether a person is asked."""
    if detector.limits.both:
        return f"both slots break a limit: {detector.limits.clause}", False
    if slight(detector.errors):
        return f"fails more often, though not much: {failed}", False
    if detector.share < 100 and (errors >= OPEN or unsettled(detector.errors)):
        return f"not clear yet: {failed}", False
    if detector.slowness.hold:
        return detector.slowness.hold, False
    if more_refusals(detector.refusals):
        return refusing(detector.refusals.seen), True
    return "", False


def _turned(detector: Detector, seconds: int) -> Detector:
    """The block is over, and the next one begins `seconds` after it began."""
    errors, refused, refusals = detector.errors, detector.refused, detector.refusals
    block = errors.block
    if detector.environment.bad:
        judged = errors_rested(errors, seconds)
    else:
        judged = errors_judged(errors, seconds)
        counts = Counts(block.old, refused.old_failed, block.new, refused.new_failed)
        refusals = refusals_judged(refusals, counts, seconds)
    return Detector(
        detector.settings,
        judged,
        refusals,
        detector.baseline,
        detector.slowness,
        detector.hangs,
        detector.limits,
        environment_judged(detector.environment, block, seconds),
        NOTHING,
        detector.share,
        detector.last,
        detector.clock,
        detector.expected,
        detector.came,
        detector.failed_at,
        detector.worse,
        detector.odds,
    )


def _blind(detector: Detector) -> bool:
    came = detector.came or detector.hangs.new_waiting  # who waits for an answer did come
    return not came and detector.expected >= _EXPECTED


def _placed(
    known: tuple[tuple[str, int], ...], more: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    """The counts together; only the places with the most are kept."""
    counts = dict(known)
    for place, count in more:
        counts[place] = counts.get(place, 0) + count
    if len(counts) <= _MOST_PLACES:
        return tuple(counts.items())
    return tuple(sorted(counts.items(), key=lambda item: -item[1])[:_MOST_PLACES])

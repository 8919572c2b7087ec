"""Is the candidate slower? How often each slot exceeds the old slot's own p95 and p99.

Means hide a slow tail and window quantiles need memory; a fixed line needs two counters per slot. The
lines are frozen before the traffic that they judge, at edges of the histogram.

The test is the bet of `eprocess`, against "no more than `r0` = 1.5 times as often": a release may be a
little slower. A slow request is on the candidate with its share of the traffic, tilted by that.

Cold starts: nothing is judged before `warmup`, and then `r0` begins at what was seen until then (its
upper bound) and falls back to 1.5 in a few times `warmup`. What shrinks as fast as that never wins.

Units: seconds of the log's own clock; gaps count for two minutes at most, jumps back for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from reld.core.verdict import eprocess
from reld.core.verdict.cuts import added, cut
from reld.core.verdict.eprocess import BLOCK, NOTHING, Bet, Counts, RatioEProcess
from reld.core.verdict.logtime import passed
from reld.core.verdict.sample import LAST_BUCKET, Sample, upper
from reld.core.verdict.settings import VerdictSettings
from reld.core.verdict.words import NEW, OLD, percent, span

PART = 0.3
"""The part of the budget for false alarms that slowness may use, for both lines together."""
TIMES_AS_OFTEN = 1.5
_GRID = (4 / 3, 2.0, 10 / 3, 20 / 3, 40 / 3)  # of r0: 2, 3, 5, 10, 20 times as often
_TAILS = (0.05, 0.01)
_WINDOW, _WINDOW_CAP = 20, 1 / 2
"""Seconds, and the part of the needed evidence that they may bring: a pause of a process is no proof."""
_ENOUGH = 200  # times of the old slot before lines are drawn
_LEAST_SLOW = 10
_FEW_SLOW = 3
_DOUBTFUL = 3.0  # nats
_FAR = 2  # buckets: a fifth slower, whatever the spread
_COLD = 1.25
"""Of `warmup`: the time in which a cold start falls to a third, at the slowest that is believed."""
_MOST_COLD = 100.0  # times as often
_COLD_YET = 2.0
_HALF_RATE = 120.0
_LONGEST_GAP = 120
_LITTLE = 1e-80


@dataclass(frozen=True, slots=True)
class Line:
    """One cut point and the bet on it; a request that "failed" is one that took longer.

    `tail`: the part of the old slot's requests that should; `cut`: the bucket above which a request
    did (-1: not drawn yet). `open`: the block that is being filled; `early`: before `warmup`;
    `recent`: since, fading; `far`: the candidate's that are above the cut by a fifth. `slow`: all the
    candidate's since `warmup`. `base`: log value at the start of the window.
    """

    tail: float
    bet: RatioEProcess
    base: float = 0.0
    cut: int = -1
    slow: int = 0
    open: Counts = NOTHING
    open_far: int = 0
    early: Counts = NOTHING
    early_far: int = 0
    recent: Counts = NOTHING
    far: float = 0.0

    @property
    def proven(self) -> bool:
        """And still so in what is recent."""
        enough = self.bet.value >= self.bet.needed - 1e-9 and self.slow >= _LEAST_SLOW
        return enough and _looks_slower(self.recent, self.far)


@dataclass(frozen=True, slots=True)
class Slowness:
    """Everything that is known about the times of both slots.

    `history`: the old slot's requests per bucket; `collected`: how many of them since the last step.
    `clock`: seconds consumed; `born`: the clock at the candidate's first request (-1: none yet).
    """

    lines: tuple[Line, ...]
    warmup: float
    share: int = 0
    history: tuple[float, ...] = (0.0,) * (LAST_BUCKET + 1)
    collected: int = 0
    clock: float = 0.0
    last_second: int | None = None
    settled: float = 0.0
    born: float = -1.0

    @property
    def worse(self) -> bool:
        return any(line.proven for line in self.lines)

    @property
    def level(self) -> float:
        """Evidence, 0 … 1 of what a verdict needs."""
        return min(1.0, max(0.0, *(line.bet.value / line.bet.needed for line in self.lines)))

    @property
    def odds(self) -> float:
        """By chance once in so many releases; 0 while there is no verdict."""
        best = max((line.bet.value for line in self.lines if line.proven), default=-math.inf)
        return math.exp(best) * PART / len(_TAILS)

    @property
    def clause(self) -> str:
        """What was seen, in words; empty while there is no verdict."""
        proven = [line for line in self.lines if line.proven]
        if not proven:
            return ""
        line = max(proven, key=lambda one: one.bet.value)
        edge = span(min(100.0, upper(line.cut)))
        new, old = percent(line.recent.new_rate), percent(line.recent.old_rate)
        return f"{new} of {NEW}'s requests took longer than {edge}, {old} of {OLD}'s"

    @property
    def hold(self) -> str:
        """Why the share must not grow yet, although nothing is proven; mostly empty."""
        if self.worse or self.born < 0 or not 0 < self.share < 100:
            return ""
        age = self.clock - self.born
        for line in self.lines:
            early = age < self.warmup
            if not early and _allowed(line, age, self.warmup) <= _COLD_YET:
                continue
            if _looks_slower(*((line.early, line.early_far) if early else (line.recent, line.far))):
                return f"{NEW} is slower than {OLD}: a cold start, or it stays so"
        if any(_likely_slower(line.recent, line.far) for line in self.lines):
            return f"{NEW} looks slower than {OLD}, which is not proven yet"
        return ""


def _looks_slower(counts: Counts, far: float) -> bool:
    """By the bare rates, and by more than a shift of a few percent."""
    if far < _FEW_SLOW:
        return False
    many = counts.new_rate >= TIMES_AS_OFTEN * counts.old_rate
    return many and far / counts.new >= counts.old_rate


def _likely_slower(counts: Counts, far: float) -> bool:
    """Once in a hundred times by chance: enough to wait for more, not enough to blame anybody.

    How far the candidate's part of the slow requests is from its part of all, as a relative entropy.
    """
    slow = counts.new_failed + counts.old_failed
    if not _looks_slower(counts, far) or counts.old <= 0:
        return False
    part, fair = counts.new_failed / slow, counts.new / (counts.new + counts.old)
    gain = part * math.log(part / fair)
    if part < 1:
        gain += (1 - part) * math.log((1 - part) / (1 - fair))
    return slow * gain >= _DOUBTFUL


def begin_slowness(settings: VerdictSettings) -> Slowness:
    """Nothing seen yet."""
    alpha = settings.false_alarm * PART / len(_TAILS)
    bet = eprocess.begin(Bet(_GRID), alpha, settings.planned)
    return Slowness(tuple(Line(tail, bet) for tail in _TAILS), max(0.0, settings.warmup))


def slowness_times(state: Slowness, times: tuple[tuple[int, int], ...]) -> Slowness:
    """What the live slot's times were before the first step."""
    return replace(state, history=added(state.history, times))


def slowness_step(state: Slowness, share: int) -> Slowness:
    """The lanes were moved: what is open is settled, and the lines are drawn anew."""
    state = _drawn(_settled(state, state.clock))
    lines = tuple(replace(line, bet=eprocess.moved(line.bet, share / 100)) for line in state.lines)
    if state.collected < _ENOUGH:
        return replace(state, lines=lines, share=share)
    # What this step saw counts more in the next one than the hour before.
    half = tuple(count / 2 for count in state.history)
    return replace(state, lines=lines, share=share, history=half, collected=0)


def slowness_seen(state: Slowness, sample: Sample) -> Slowness:
    """A part of a second more."""
    last, past = passed(state.last_second, sample.second, _LONGEST_GAP)
    clock = state.clock + past
    if clock // BLOCK != state.clock // BLOCK:
        state = _settled(state, clock)
    born = clock if state.born < 0 and sample.new.requests > 0 else state.born
    return replace(
        state,
        clock=clock,
        born=born,
        last_second=last,
        lines=tuple(_filled(line, sample) for line in state.lines),
        history=added(state.history, sample.old.times),
        collected=state.collected + sample.old.timed,
    )


def _filled(line: Line, sample: Sample) -> Line:
    old, new = sample.old, sample.new
    if not (old.times or new.times):
        return line
    if line.cut < 0:
        return replace(line, open=line.open + Counts(old.timed, 0, new.timed, 0))
    more = Counts(old.timed, old.slower(line.cut), new.timed, new.slower(line.cut))
    return replace(
        line, open=line.open + more, open_far=line.open_far + new.slower(line.cut + _FAR)
    )


def _settled(state: Slowness, now: float) -> Slowness:
    """The state with its open block judged. `now`: the clock of what comes next."""
    past = now - state.settled
    age = state.clock - state.born if state.born >= 0 else -1.0
    lines = tuple(_judged(state, line, age, past) for line in state.lines)
    if now // _WINDOW != state.settled // _WINDOW:
        lines = tuple(replace(line, base=line.bet.value) for line in lines)
    judged = replace(state, lines=lines, settled=now)
    return _drawn(judged) if state.lines[0].cut < 0 else judged


def _judged(state: Slowness, line: Line, age: float, past: float) -> Line:
    block, far = line.open, line.open_far
    line = replace(line, open=NOTHING, open_far=0)
    if age < 0 or line.cut < 0 or not 0 < state.share < 100:
        return replace(line, bet=eprocess.rested(line.bet, block, past))
    if age < state.warmup:
        early, early_far = line.early + block, line.early_far + far
        bet = eprocess.rested(line.bet, block, past)
        return replace(line, bet=bet, early=early, early_far=early_far)
    r0 = _allowed(line, age, state.warmup)
    against = Bet(tuple(times * r0 for times in _GRID), r0)
    bet = eprocess.judged(line.bet, against, block, past)
    fade = 0.5 ** (past / _HALF_RATE)
    return replace(
        line,
        bet=_capped(bet, line.base + _WINDOW_CAP * bet.needed),
        slow=line.slow + round(block.new_failed),
        recent=_faded(line.recent, fade) + block,
        far=line.far * fade + far,
    )


def _capped(bet: RatioEProcess, most: float) -> RatioEProcess:
    """No more than this log value: the rest of the money is thrown away."""
    if bet.value <= most:
        return bet
    room = max(_LITTLE, math.exp(most) - bet.cash)
    less = math.log(room / (math.exp(bet.value) - bet.cash))
    return replace(bet, logs=tuple(log + less for log in bet.logs), value=most)


def _faded(counts: Counts, fade: float) -> Counts:
    return Counts(
        counts.old * fade, counts.old_failed * fade, counts.new * fade, counts.new_failed * fade
    )


def _allowed(line: Line, age: float, warmup: float) -> float:
    """How many times as often the candidate may be slow at this age: a cold start that goes away."""
    if warmup <= 0:
        return TIMES_AS_OFTEN
    early = line.early
    most = min(1.0, (early.new_failed + 1 + math.sqrt(early.new_failed)) / max(1.0, early.new))
    least = (early.old_failed + 100 * line.tail) / (early.old + 100)
    cold = min(_MOST_COLD, max(TIMES_AS_OFTEN, most / least))
    left = math.exp(-(age - warmup) / (_COLD * warmup))
    return max(TIMES_AS_OFTEN, 1 + (cold - 1) * left)


def _drawn(state: Slowness) -> Slowness:
    """The lines drawn from the old slot's times, if there are enough."""
    total = sum(state.history)
    if total < _ENOUGH:
        return state
    return replace(
        state, lines=tuple(_moved(line, cut(state.history, line.tail)) for line in state.lines)
    )


def _moved(line: Line, cut: int) -> Line:
    if line.cut >= 0 and abs(cut - line.cut) <= 1:
        return line  # the same but for noise: what was counted still counts
    return replace(line, cut=cut, recent=NOTHING, far=0.0)

"""Do requests pile up on the candidate? A request that hangs is in no log until its timeout.

Compared with the old slot over the same seconds, as everything is: where the old one waits as much (long
polls, a database that is down) nothing is said, and neither where it is too quiet to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reld.core.verdict.logtime import passed
from reld.core.verdict.sample import Sample
from reld.core.verdict.words import NEW, OLD, counted, span

_STUCK = 0.8
"""Of all that ended or waits."""
_CALM = 0.2
_CONTROL = 10
"""Requests of the old slot; its silence is not its health."""
_LONGEST_GAP = 3
"""Seconds without a measurement: what was seen before does not count any more."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """`measured`: so many seconds in a row; `span`: seconds in which answers are counted."""

    measured: int
    span: int
    waiting: int


_RULES = (_Rule(3, 3, 10), _Rule(8, 20, 5))
_KEPT = max(rule.span for rule in _RULES)


@dataclass(frozen=True, slots=True)
class Answers:
    """Requests that ended in one second."""

    clock: int
    old: int = 0
    new: int = 0


@dataclass(frozen=True, slots=True)
class Hangs:
    """`clock`: seconds of the log, never going back; `answers`: of the last seconds, newest last.

    `stuck`: measured seconds in a row in which nearly all of the candidate's requests waited;
    `measured`: the clock at the last measurement; `answered`: the candidate's answers since then.
    """

    clock: int = 0
    last_second: int | None = None
    answers: tuple[Answers, ...] = ()
    stuck: int = 0
    measured: int = -1
    answered: int = 0
    old_waiting: int = 0
    new_waiting: int = 0

    @property
    def worse(self) -> bool:
        return any(self._piled_up(rule) and self._old_is_calm(rule.span) for rule in _RULES)

    @property
    def alone(self) -> bool:
        """Requests pile up, and the old slot is too quiet to compare with."""
        if self.worse:
            return False
        return any(self._piled_up(r) and self._total(r.span)[0] < _CONTROL for r in _RULES)

    @property
    def both(self) -> bool:
        """Requests pile up on both slots."""
        return any(
            self._piled_up(rule)
            and self._total(rule.span)[0] >= _CONTROL
            and not self._old_is_calm(rule.span)
            for rule in _RULES
        )

    @property
    def clause(self) -> str:
        """What is seen, in words; empty while nothing piles up."""
        piled = [rule for rule in _RULES if self._piled_up(rule)]
        if not piled:
            return ""
        last = span(piled[0].span)
        old, new = self._answers(piled[0].span)
        wait = "waits" if self.new_waiting == 1 else "wait"
        return (
            f"{counted(self.new_waiting, 'request')} to {NEW} {wait} without an answer, "
            f"{new or 'none'} answered in {last}; "
            f"{OLD}: {self.old_waiting or 'none'} waiting, {old or 'none'} answered"
        )

    def _piled_up(self, rule: _Rule) -> bool:
        waiting = self.new_waiting
        if self.stuck < rule.measured or waiting < rule.waiting:
            return False
        return waiting >= _STUCK * (waiting + self._answers(rule.span)[1])

    def _old_is_calm(self, seconds: int) -> bool:
        total = self._total(seconds)[0]
        return total >= _CONTROL and self.old_waiting <= _CALM * total

    def _total(self, seconds: int) -> tuple[int, int]:
        old, new = self._answers(seconds)
        return old + self.old_waiting, new + self.new_waiting

    def _answers(self, seconds: int) -> tuple[int, int]:
        """Old and new, of the last so many seconds."""
        since = self.clock - seconds
        recent = [one for one in self.answers if one.clock > since]
        return sum(one.old for one in recent), sum(one.new for one in recent)


def begin_hangs() -> Hangs:
    """Nothing seen yet."""
    return Hangs()


def hangs_seen(state: Hangs, sample: Sample) -> Hangs:
    """A part of a second more."""
    last, past = passed(state.last_second, sample.second, _KEPT)
    clock = state.clock + past
    answers = _with(state.answers, Answers(clock, sample.old.requests, sample.new.requests))
    seen = replace(
        state,
        clock=clock,
        last_second=last,
        answers=answers,
        answered=state.answered + sample.new.requests,
    )
    if sample.new_waiting is None or sample.old_waiting is None:
        lost = state.measured >= 0 and clock - state.measured > _LONGEST_GAP
        return replace(seen, stuck=0, old_waiting=0, new_waiting=0) if lost else seen
    return _measured(seen, sample.old_waiting, sample.new_waiting)


def _measured(state: Hangs, old: int, new: int) -> Hangs:
    stuck = new > 0 and new >= _STUCK * (new + state.answered)
    first = state.measured < 0
    again = not first and state.clock == state.measured  # twice in a second is one second
    row = 0 if first or state.clock - state.measured > _LONGEST_GAP else state.stuck
    if stuck:
        row += 0 if again and row else 1
    else:
        row = 0
    return replace(
        state,
        stuck=row,
        measured=state.clock,
        answered=0,
        old_waiting=old,
        new_waiting=new,
    )


def _with(answers: tuple[Answers, ...], more: Answers) -> tuple[Answers, ...]:
    if answers and answers[-1].clock == more.clock:
        newest = answers[-1]
        together = Answers(more.clock, newest.old + more.old, newest.new + more.new)
        return (*answers[:-1], together)
    return (*[one for one in answers if one.clock > more.clock - _KEPT], more)

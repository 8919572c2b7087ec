"""The four questions before a release: yes, no or unknown, why, and what to type.

"no" is for what was seen or declared; what nobody has looked at is "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from reld.core.model import Outcome, Rollout
from reld.core.verdict.words import counted

OLD_AFTER = 30 * 86400.0
"""Seconds after which a rehearsal says nothing of today."""
_NOT_SAID = ("failed", "aborted", None)


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Question:
    """`mend`: what to type or to do; "" where there is nothing."""

    name: str
    answer: Answer
    why: str
    mend: str = ""

    def shown(self) -> dict[str, Any]:
        return {"name": self.name, "answer": str(self.answer), "why": self.why, "mend": self.mend}


@dataclass(frozen=True, slots=True)
class Asked:
    """One smoke check of the config, asked of the live slot. `known`: the live release passed it when
    it was started, in the same words.
    """

    name: str
    ok: bool
    detail: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Smokes:
    """`configured`: so many there are. `why_not`: why none was asked. `late`: not all of them were."""

    configured: int
    asked: tuple[Asked, ...] = ()
    why_not: str = ""
    mend: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class WayBack:
    """What a rollback after this switch would find. `release` "": there is none.

    `sealed`: a contract has run since. `missing`: what is not there any more, and `mend` for it.
    `occupied`: why it could not be started beside the new one.
    """

    release: str
    external: str = ""
    unsettled: str = ""
    sealed: bool = False
    missing: tuple[str, ...] = ()
    mend: str = ""
    occupied: str = ""


def side_by_side(declared: bool | None, from_: str, to: str, *, stop_first: bool) -> Question:
    """`declared`: `[rollout] side_by_side`, None = nothing is said."""
    name = "side-by-side"
    if not from_:
        return Question(name, Answer.YES, f"nothing is live: {to} runs alone")
    if from_ == to:
        return Question(name, Answer.YES, f"{to} is live: it is the same release")
    if stop_first:
        why = f"they need not: {from_} is stopped before {to} starts (stop-first)"
        return Question(name, Answer.YES, why)
    key = "[rollout] side_by_side"
    if declared is None:
        why = f"nobody has declared that {from_} and {to} can use the same data at the same time"
        return Question(name, Answer.UNKNOWN, why, f"{key} = true in the config, if they can")
    if declared:
        return Question(name, Answer.YES, f"declared: {key} = true")
    why = f"declared: {key} = false, and this switch runs {from_} and {to} at the same time"
    mend = f"relctl switch {to} --stop-first, or make {to} fit the data of {from_}"
    return Question(name, Answer.NO, why, mend)


def gate_drains(
    rehearsal: Mapping[str, Any] | None, live: str, now: float, last_cut: str = ""
) -> Question:
    """`rehearsal`: the key of that name in the status. `now`: seconds since 1970. `last_cut`: what the
    last drain cut, in words; "" = nobody knows.
    """
    name, rehearse = "gate-drains", "relctl rehearse"
    if not live:
        return Question(name, Answer.UNKNOWN, "nothing is live that could be drained")
    if not rehearsal:
        why = "never rehearsed" + (f"; {last_cut}" if last_cut else "")
        return Question(name, Answer.UNKNOWN, why, rehearse)
    at, lost = _moment(rehearsal.get("at")), rehearsal.get("lost")
    of = f"the last rehearsal (rollout {rehearsal.get('id')}, {rehearsal.get('release')}"
    of += f", {_day(at)})" if at is not None else ")"
    if rehearsal.get("release") != live:
        return Question(name, Answer.UNKNOWN, f"{of} was of another release than {live}", rehearse)
    if at is None or now - at > OLD_AFTER:
        return Question(name, Answer.UNKNOWN, f"{of} is long ago", rehearse)
    if isinstance(lost, int) and lost > 0:
        mend = f"look at its advice: relctl show {rehearsal.get('id')}, then: {rehearse}"
        return Question(name, Answer.NO, f"{of} lost {counted(lost, 'request')}", mend)
    outcome, reason = rehearsal.get("outcome"), rehearsal.get("reason")
    if outcome in _NOT_SAID or lost is None:
        said = str(outcome or "without a result").replace("_", " ")
        why = f"{of} ended {said}" + (f": {reason}" if reason else "")
        return Question(name, Answer.UNKNOWN, why, rehearse)
    return Question(name, Answer.YES, f"{of} lost no request")


def last_cut(last: Rollout | None) -> str:
    """What the last rollout's drain cut, for `gate_drains`."""
    if last is None or last.outcome is not Outcome.DONE or last.old is None or not last.drained:
        return ""
    cut = counted(last.cut, "connection") if last.cut else "nothing"
    return f"the drain of rollout {last.id} cut {cut}"


def slow_endpoints(smokes: Smokes, live: str) -> Question:
    """Do the checks that do real work pass on what serves now?"""
    name = "slow-endpoints"
    if not smokes.configured:
        mend = "name the slow endpoints that do real work in [[smoke]]"
        return Question(name, Answer.UNKNOWN, "the config has no [[smoke]] check", mend)
    if smokes.why_not:
        return Question(name, Answer.UNKNOWN, smokes.why_not, smokes.mend)
    failed = [one for one in smokes.asked if not one.ok]
    mend = f"relctl logs; as long as {live} fails it, nobody can tell whether a release does"
    known = next((one for one in failed if one.known), None)
    if known is not None:
        return Question(name, Answer.NO, f"{live} fails a check now: {known.detail}", mend)
    if failed:
        why = f"{failed[0].detail}; {live} never had to pass this check: it is new in the config"
        return Question(
            name, Answer.UNKNOWN, why, "the new release has to pass it; so can this one"
        )
    if smokes.late:
        done = f"{len(smokes.asked)} of {counted(smokes.configured, 'check')}"
        why = f"only {done} ended in time, none of them failed"
        return Question(name, Answer.UNKNOWN, why, "fewer `times`, or a shorter `within`")
    return Question(
        name, Answer.YES, f"{live} passes now: " + "; ".join(one.detail for one in smokes.asked)
    )


def rollback_ready(way: WayBack, to: str, *, bakes: bool) -> Question:
    """`bakes`: the release that is live now stays warm for a while."""
    name = "rollback-ready"
    if way.unsettled:
        return Question(name, Answer.UNKNOWN, way.unsettled, "relctl watch")
    if way.external:
        why = f"{way.external} was not started by reld"
        if bakes:
            why += (
                ": going back is one rename until it is committed, and nothing is kept after that"
            )
        mend = "keep the old app running, and the site's old address at hand, for a while"
        return Question(name, Answer.UNKNOWN, why, mend)
    if not way.release:
        why = f"nothing is live: {to} would be the first release"
        return Question(name, Answer.UNKNOWN, why)
    if way.sealed:
        why = f"a contract migration has run since {way.release}, it may not fit the data any more"
        return Question(name, Answer.NO, why, "relctl rollback --force, if you know it does")
    if way.missing:
        return Question(name, Answer.NO, "; ".join(way.missing), way.mend)
    if way.occupied:
        return Question(name, Answer.NO, way.occupied, way.mend)
    first = "going back is one rename until it is committed, then " if bakes else ""
    why = f"{first}{way.release} starts again from its snapshot, in the other slot"
    return Question(name, Answer.YES, why)


def _moment(value: Any) -> float | None:
    """Seconds since 1970 of what a status says."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")

"""A rollout in one sentence: what became of it, why, who serves, and what it cost. Pure."""

from __future__ import annotations

from reld.core import rehearsal_words
from reld.core.model import Kind, Outcome, Rollout


def summary(rollout: Rollout, outcome: Outcome | None) -> str:
    """`outcome` None: it is not known yet."""
    said = _end(rollout, outcome)
    if rollout.observed:
        said = f"{said}; the verdict would have gone back {rollout.observed}"
    return f"{said}{_joint(said, rollout)} {_counted(rollout)}"


def _joint(said: str, rollout: Rollout) -> str:
    """A colon, unless the numbers before it already follow one."""
    told = rollout.watch.finding.known if rollout.unproven else ""
    return ";" if rollout.observed or (told and said.endswith(told)) else ":"


def _end(rollout: Rollout, outcome: Outcome | None) -> str:
    to, kind = rollout.to, rollout.kind
    stays = _stays(rollout)
    at = f" at {rollout.turned_at} %" if rollout.turned_at else ""
    if told := rehearsal_words.end(rollout, outcome, stays):
        return told
    match outcome:
        case None:
            return f"{kind} is {rollout.phase}"
        case Outcome.DONE if kind is Kind.STOP:
            return f"{rollout.from_ or 'the app'} was stopped"
        case Outcome.DONE if kind is Kind.CONTRACT:
            return "the contract migration has run"
        case Outcome.DONE if kind is Kind.EJECT:
            return f"{to} runs without reld, as {rollout.unit}"
        case Outcome.DONE:
            return f"{to} serves{_unproven(rollout)}{_in_brackets(rollout.reason)}"
        case Outcome.FAILED:
            return f"{kind} failed{_in_brackets(rollout.reason)}, {stays}"
        case Outcome.ROLLED_BACK:
            return f"{to} was rolled back{at}{_because(rollout.reason, 'rollback')}, {stays}"
        case Outcome.ABORTED:
            return f"{kind} was aborted{at}{_because(rollout.reason, 'aborted')}, {stays}"


def _stays(rollout: Rollout) -> str:
    if rollout.stranded:
        return "nothing serves"
    return f"{rollout.from_} serves" if rollout.from_ else "nothing was live before"


def _unproven(rollout: Rollout) -> str:
    if not rollout.unproven:
        return ""
    known = rollout.watch.finding.known
    return f", unproven: {known}" if known and not rollout.reason else ", unproven"


def _because(reason: str, verb: str) -> str:
    """`: why`; who merely wanted it so gave no reason but himself."""
    why = _line(reason)
    if why.startswith(f"{verb} by "):
        return why.removeprefix(verb)
    return f": {why}" if why else ""


def _in_brackets(reason: str) -> str:
    return f" ({_line(reason)})" if reason else ""


def _counted(rollout: Rollout) -> str:
    slots = (rollout.blue, rollout.green)
    errors, saved = sum(s.errors for s in slots), sum(s.saved for s in slots)
    parts = [_many(sum(s.total for s in slots), "request"), _many(errors, "error")]
    if saved:
        parts.append(f"{saved:,} saved by the shield")
    if rollout.turned_away:
        parts.append(f"{rollout.turned_away:,} turned away with a 503")
    if rollout.cut:
        parts.append(f"{_many(rollout.cut, 'connection')} cut at the end of the drain")
    return ", ".join(parts)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _line(text: str) -> str:
    return text.partition("\n")[0]

"""The account of a finished rollout: its lines, and the exit code that it stands for."""

from __future__ import annotations

from typing import Any

from relctl import afterwards, new_lines, shadow
from relctl.errors import DONE, FAILED, NEEDS_OPERATOR, WENT_BACK
from relctl.status import against
from relctl.text import NONE, clean, duration, labelled, local, paragraph, table, took, way

GONE_BACK = ("rolled_back", "aborted")
LOG_LINES = 5
"""Lines of the candidate's log at the end of a rollout; `show` has all that were kept."""
TOLD = (
    *("verdict", "sentence", "known", "errors", "slowness", "odds", "observed", "share", "log"),
    "excerpt",
)
"""What of the evidence has a line, or a part of one, of its own."""


def exit_code(receipt: dict[str, Any]) -> int:
    """What `switch`, `watch` and the like end with. reld's own number wins where it gives one."""
    if isinstance(receipt.get("exit"), int):
        return int(receipt["exit"])
    outcome = str(receipt.get("outcome"))
    if outcome.startswith("done"):
        return DONE
    if outcome == "rolled_back":
        return WENT_BACK
    if outcome == "aborted":
        return WENT_BACK if receipt.get("moved") else FAILED
    return FAILED


def exit_code_of_turning_back(receipt: dict[str, Any]) -> int:
    """What `rollback` ends with when it turned a running rollout round: going back was the wish.

    A rollout that ended "done" all the same could not go back: a person has to look.
    """
    outcome = str(receipt.get("outcome"))
    if outcome in GONE_BACK:
        code = exit_code(receipt)
        return DONE if code in (FAILED, WENT_BACK) else code
    if outcome.startswith("done"):  # a rehearsal goes back by itself
        return DONE if receipt.get("kind") == "rehearsal" else NEEDS_OPERATOR
    return exit_code(receipt)


def lines(receipt: dict[str, Any]) -> list[str]:
    """The few lines at the end of a rollout."""
    pairs = _pairs(receipt, log_lines=LOG_LINES)
    pairs.append(("next", afterwards.next_words(receipt, shown=False)))
    return labelled(pairs) + [clean(note) for note in receipt.get("notes") or []]


def full(receipt: dict[str, Any]) -> list[str]:
    """`relctl show`: the same, and everything that led there."""
    pairs = _pairs(receipt, log_lines=None)
    evidence = _mapping(receipt.get("evidence"))
    if evidence.get("verdict"):
        pairs.append(("evidence", _evidence(evidence)))
    for key, value in evidence.items():
        if key not in TOLD:
            pairs.append((f"evidence {clean(key)}", _plain(value)))
    pairs.append(("next", afterwards.next_words(receipt, shown=True)))
    shown = labelled(pairs)
    phases = [phase for phase in receipt.get("phases") or [] if isinstance(phase, dict)]
    if phases:
        rows = [(phase.get("phase") or NONE, _seconds(phase.get("seconds"))) for phase in phases]
        shown += ["", *table(("PHASE", "TOOK"), rows)]
    return shown + [clean(note) for note in receipt.get("notes") or []]


def _pairs(receipt: dict[str, Any], log_lines: int | None) -> list[tuple[str, str]]:
    """`log_lines`: how many of the candidate's log; None = all."""
    outcome = clean(receipt.get("outcome") or "still running").replace("_", " ")
    outcome += ", unproven" if receipt.get("unproven") and "unproven" not in outcome else ""
    who = f" by {clean(receipt['actor'])}" if receipt.get("actor") else ""
    kind = clean(receipt.get("kind") or "rollout")
    ended = receipt.get("ended")
    return [
        (f"rollout {receipt.get('id')}", f"{outcome}, {kind}{who}"),
        ("from → to", way(receipt.get("from"), receipt.get("to"))),
        ("note", clean(receipt.get("note") or "")),
        ("on duty", clean(receipt.get("on_duty") or "")),
        ("approved", _approved(receipt)),
        ("agreed", _agreed(receipt.get("agreed"))),
        *_why(receipt, _mapping(receipt.get("evidence")), log_lines),
        ("skipped", ", ".join(f"{clean(step)} %" for step in receipt.get("skipped") or [])),
        ("shadow", shadow.line(receipt.get("shadow"))),
        *_rehearsal(receipt.get("rehearsal")),
        ("requests", _requests(_mapping(receipt.get("requests")))),
        ("turned away", turned_away(receipt)),
        (
            "new lines",
            new_lines.brief(receipt.get("new_lines"), log_lines and new_lines.IN_RECEIPT),
        ),
        ("reloads", clean(receipt["reloads"]) if receipt.get("reloads") is not None else ""),
        ("drain", _drain(_mapping(receipt.get("drain")))),
        ("workers", _workers(receipt.get("workers"))),
        ("time", f"{took(receipt.get('started'), ended)} (until {local(ended)})" if ended else ""),
    ]


def _rehearsal(found: Any) -> list[tuple[str, str]]:
    if not found:
        return []
    from relctl import rehearsed

    return rehearsed.pairs(found)


def _why(
    receipt: dict[str, Any], evidence: dict[str, Any], log_lines: int | None
) -> list[tuple[str, str]]:
    """What it ended for, and what the watch says of it."""
    reason, said = paragraph(receipt.get("reason") or ""), clean(evidence.get("sentence") or "")
    share = f"at {clean(evidence['share'])} %: " if evidence.get("share") else ""
    observed, known = (clean(evidence.get(key) or "") for key in ("observed", "known"))
    log = _log(evidence, reason)
    return [
        ("reason", f"{share}{reason}" if reason else ""),
        ("verdict", said if said not in reason and said not in observed else ""),
        ("observed", f"would have gone back {observed}" if observed else ""),
        ("known", known if receipt.get("unproven") or log_lines is None else ""),
        ("its log", paragraph("\n".join(log if log_lines is None else log[-log_lines:]))),
    ]


def _log(evidence: dict[str, Any], reason: str) -> list[str]:
    """What the candidate wrote at last and the reason does not say already."""
    found = evidence.get("excerpt", evidence.get("log"))
    written = [str(line) for line in found] if isinstance(found, list) else []
    first, *more = [_uncounted(line.strip()) for line in reason.split("\n")]
    return [
        line
        for line in written
        if (bare := _uncounted(line)) not in (first, *more) and not first.endswith(f": {bare}")
    ]


def _uncounted(line: str) -> str:
    """Without the `3 × ` of what was written more than once; of a reason's first line its end."""
    count, times, text = line.partition(" × ")
    return text if times and count.rpartition(": ")[2].isdecimal() else line


def _approved(receipt: dict[str, Any]) -> str:
    if not receipt.get("approved_by"):
        return ""
    said = f": {clean(receipt['approval_note'])}" if receipt.get("approval_note") else ""
    return f"by {clean(receipt['approved_by'])}{said}"


def _agreed(agreed: Any) -> str:
    """Who let it go on between two steps, one a line."""
    told = [one for one in agreed if isinstance(one, dict)] if isinstance(agreed, list) else []
    return "\n".join(
        f"{gate(one.get('after'))} by {clean(one.get('by'))} at {local(one.get('at'))}"
        + (f": {clean(one['note'])}" if one.get("note") else "")
        for one in told
    )


def gate(after: Any) -> str:
    """Where in a rollout a person is asked."""
    return {0: "before any traffic", 100: "before the bake"}.get(after, f"after {clean(after)} %")


def _requests(slots: dict[str, Any]) -> str:
    parts = []
    for color, counted in slots.items():
        total = int(_mapping(counted).get("total") or 0)
        errors = int(_mapping(counted).get("errors") or 0)
        saved = int(_mapping(counted).get("saved") or 0)
        by_shield = f", {saved} saved by the shield" if saved else ""
        parts.append(
            f"{_slot(color, counted)} {total}, {errors} error{'' if errors == 1 else 's'}{by_shield}"
        )
    return " · ".join(parts)


def _slot(color: str, counted: Any) -> str:
    """By its release, where that is known: nobody remembers which one was which colour."""
    release = _mapping(counted).get("release")
    return f"{clean(release)} ({clean(color)})" if release else clean(color)


def turned_away(account: dict[str, Any]) -> str:
    """Of a receipt, or of the rollout in a status; empty = nobody was."""
    count = int(account.get("turned_away") or 0)
    return f"{count} request{'' if count == 1 else 's'} got the announced 503" if count else ""


def _evidence(evidence: dict[str, Any]) -> str:
    odds = float(evidence.get("odds") or 0)
    chance = f", by chance once in {odds:.0f} releases" if odds >= 1 else ""
    return f"{clean(evidence['verdict'])}, {against(evidence)} of what a verdict needs{chance}"


def _workers(moves: Any) -> str:
    """What was started and stopped, in order."""
    told = [move for move in moves if isinstance(move, dict)] if isinstance(moves, list) else []
    return ", ".join(
        f"{clean(m.get('worker'))} of {clean(m.get('release'))} {clean(m.get('what'))}"
        for m in told
    )


def _drain(drain: dict[str, Any]) -> str:
    if drain.get("seconds") is None:
        return ""
    closed = int(drain.get("closed") or 0)
    paced = f", {closed} closed one by one" if closed else ""
    return f"{duration(float(drain['seconds']))}, {int(drain.get('cut') or 0)} cut{paced}"


def _seconds(value: Any) -> str:
    return duration(float(value)) if isinstance(value, int | float) else NONE


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{clean(key)} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(inner) for inner in value)
    return clean(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

"""The lines that show what goes on now: pure, of any size.

Every line has a rank: where there is no room for all, those with the largest are left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from relctl.look import Look
from relctl.screen.advice import commands, then
from relctl.screen.bars import bars, in_shadow
from relctl.screen.pieces import Line, cells, fitted, plain, wrapped
from relctl.screen.slots import LABEL, Ranked, table
from relctl.status import closed
from relctl.text import clean, duration, epoch

WIDEST = 100
MOST_EVENTS = 6
_EVENTS = (7, 9, 12, 14, 15, 16)
"""Ranks of the events, the newest first."""
_GLUE = "\0"
"""Between the words of a command, which stay on one line."""
_ALARM = {"worse": "red", "doubt": "yellow", "environment": "yellow", "blind": "yellow"}


@dataclass(frozen=True, slots=True)
class Scene:
    """`events`: oldest first. `away`: seconds since reld was heard; None: it answers."""

    status: dict[str, Any]
    events: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    away: float | None = None


def frame(scene: Scene, size: tuple[int, int], look: Look) -> list[Line]:
    """At most `size` (columns, rows) less one of each: nothing wraps, and nothing scrolls."""
    columns, rows = min(size[0] - 1, WIDEST), size[1] - 1
    status = scene.status
    rollout = status.get("rollout")
    rollout = rollout if isinstance(rollout, dict) else None
    shown: list[Ranked] = []
    shown += _head(status, rollout, columns, look)
    shown += _troubles(scene, rollout, columns, look)
    shown += [_blank(10), *table(status, columns, look)]
    if rollout is not None:
        counted = bars(status, columns, look)
        shown += [_blank(11), *counted] if counted else []
        shown += _words(rollout, columns, look)
    shown += _told(scene.events, look)
    shown += [_blank(17), *_next(scene, rollout, columns, look)]
    return [fitted(line, columns, look) for line in _chosen(shown, rows)]


def _chosen(shown: list[Ranked], rows: int) -> list[Line]:
    """The most important ones, in their order."""
    order = sorted(range(len(shown)), key=lambda position: (shown[position][0], position))
    kept = set(order[: max(1, rows)])
    lines = [line for position, (_, line) in enumerate(shown) if position in kept]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _blank(rank: int) -> Ranked:
    return (rank, ())


def _head(
    status: dict[str, Any], rollout: dict[str, Any] | None, columns: int, look: Look
) -> list[Ranked]:
    app = clean(status.get("app") or "")
    if rollout is None:
        release = status.get("release")
        live = f"{clean(release)} is live" if release else "nothing is live: the gate answers 503"
        return [(0, (*_apart(f"{app}: {live}", "no rollout", columns, look),))]
    kind, number = clean(rollout.get("kind") or "rollout"), rollout.get("id")
    moves = " → ".join(clean(rollout[k]) for k in ("from", "to") if rollout.get(k))
    people = f" by {clean(rollout['actor'])}" if rollout.get("actor") else ""
    if rollout.get("on_duty"):
        people += f", {clean(rollout['on_duty'])} watches"
    took = duration(float(int(rollout.get("seconds") or 0)))
    title = f"{app}: rollout {number}, {kind} {moves}{people}"
    return [
        (0, _apart(title, took, columns, look)),
        (1, _phase(rollout, columns, look)),
    ]


def _phase(rollout: dict[str, Any], columns: int, look: Look) -> Line:
    words = [clean(rollout.get("phase") or "")]
    steps, step = rollout.get("steps") or [], rollout.get("step")
    if rollout.get("phase") == "shifting" and step:
        words.append(f"step {step} of {len(steps)}" if steps else f"step {step}")
    if in_shadow(rollout):
        words.append("copies only: no user is answered by it yet")
    if rollout.get("percent"):
        words.append(f"{rollout['percent']} %")
    if rollout.get("turned_away"):
        words.append(f"{clean(rollout['turned_away'])} requests got the announced 503")
    left = ""
    if rollout.get("paused"):
        left = "paused"
    elif rollout.get("waiting"):
        left = "waits"
    elif rollout.get("eta"):
        left = f"about {duration(float(int(rollout['eta'])))} left"
    line = _apart(", ".join(words), left, columns, look)
    return ((line[0][0], "bold"), *line[1:])


def _apart(left: str, right: str, columns: int, look: Look) -> Line:
    """One at each side, as far as there is room for both."""
    left, right = look.text(left), look.text(right)
    gap = columns - cells(left) - cells(right)
    if not right or gap < 2:
        return plain(left)
    return ((left, ""), (" " * gap, ""), (right, "dim"))


def _troubles(
    scene: Scene, rollout: dict[str, Any] | None, columns: int, look: Look
) -> list[Ranked]:
    status = scene.status
    found: list[Ranked] = []
    if scene.away is not None:
        said = f"reld is away for {duration(float(int(scene.away)))}, the app goes on; trying again"
        found.append((0, ((look.text(said), "yellow"),)))
    waiting = clean(rollout.get("waiting") or "") if rollout else ""
    if rollout and rollout.get("reason"):
        found += _labelled("reason", rollout["reason"], "red", columns, look)
    if waiting:
        found += _labelled("waiting", waiting, "yellow", columns, look)
    degraded = clean(status.get("degraded") or "")
    if degraded and not (waiting and degraded.endswith(waiting) and rollout):
        found += _labelled("degraded", degraded, "red", columns, look)
    if status.get("maintenance"):
        found += _labelled("gate shut", closed(status["maintenance"]), "yellow", columns, look)
    if status.get("config"):
        found += [(9, line) for _, line in _labelled("config", status["config"], "", columns, look)]
    return found


def _words(rollout: dict[str, Any], columns: int, look: Look) -> list[Ranked]:
    found: list[Ranked] = []
    evidence = rollout.get("evidence")
    if isinstance(evidence, dict) and rollout.get("percent"):
        verdict = clean(rollout.get("verdict") or evidence.get("verdict") or "")
        said = clean(evidence.get("sentence") or evidence.get("known") or "")
        told = [clean(rollout.get(key) or "") for key in ("waiting", "reason")]
        said = "" if any(said in text for text in told) else said
        words = f"{verdict}: {said}" if said else verdict
        style = _ALARM.get(verdict, "")
        lines = _labelled("verdict", words, style, columns, look, most=2)
        found += [(6 + 2 * place, line) for place, (_, line) in enumerate(lines)]
    new = rollout.get("new_lines")
    if isinstance(new, dict) and new.get("lines"):
        lines = _labelled("new lines", _new_lines(new), "yellow", columns, look, most=1)
        found += [(8, line) for _, line in lines]
    coming = then(rollout)
    if coming:
        found += [(8, line) for _, line in _labelled("then", coming, "", columns, look, most=1)]
    return found


def _new_lines(new: dict[str, Any]) -> str:
    kinds, many = int(new.get("kinds") or 0), int(new.get("lines") or 0)
    said = f"{many} of {kinds} kind{'' if kinds == 1 else 's'}"
    top = [one for one in new.get("top") or [] if isinstance(one, dict)]
    if not top:
        return said
    return f"{said}: {clean(top[0].get('count'))} × {clean(top[0].get('text') or '')}"


def _labelled(
    label: str, words: str, style: str, columns: int, look: Look, most: int = 2
) -> list[Ranked]:
    """At most `most` lines; the first one has the label."""
    rows = wrapped(look.text(clean(str(words).partition("\n")[0])), columns - LABEL)
    if len(rows) > most:
        rows = [*rows[: most - 1], " ".join(rows[most - 1 :])]
    heads = [label.ljust(LABEL), *[" " * LABEL] * len(rows)]
    return [(2, ((head, "dim"), (row, style))) for head, row in zip(heads, rows, strict=False)]


def _told(events: tuple[dict[str, Any], ...], look: Look) -> list[Ranked]:
    found: list[Ranked] = []
    newest = [event for event in events if event.get("text")][-MOST_EVENTS:]
    for age, event in enumerate(reversed(newest)):
        at = epoch(event.get("time"))
        clock = "" if at is None else time.strftime("%H:%M:%S", time.localtime(at))
        text = look.text(clean(str(event["text"]).partition("\n")[0]))
        found.append((_EVENTS[age], ((clock.ljust(LABEL), "dim"), (text, ""))))
    found.reverse()
    return [_blank(13), *found] if found else []


def _next(scene: Scene, rollout: dict[str, Any] | None, columns: int, look: Look) -> list[Ranked]:
    said = commands(scene.status, rollout, away=scene.away is not None)
    leave = "Ctrl-C stops watching, the rollout goes on" if rollout else "Ctrl-C stops watching"
    asked = look.text(said.replace(" ", _GLUE).replace(f"{_GLUE}·{_GLUE}", " · "))
    rows = [row.replace(_GLUE, " ") for row in wrapped(asked, columns - LABEL)]
    rows = [*rows[:1], " ".join(rows[1:])] if len(rows) > 1 else rows
    heads = ["next".ljust(LABEL), " " * LABEL]
    shown: list[Ranked] = [
        (2, ((head, "dim"), (row, "bold"))) for head, row in zip(heads, rows, strict=False)
    ]
    return [*shown, (9, ((" " * LABEL, ""), (leave, "dim")))]
